//! A whole range as lines, read ahead of the client that takes them.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use rusqlite::Connection;
use tokio::sync::mpsc::{OwnedPermit, Receiver, Sender, channel};

use crate::error::Error;
use crate::http::Shared;
use crate::http::answer::Loaded;
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::limits::{CHUNK_BYTES, CHUNKS_AHEAD, PAYLOAD_BYTES_MAX, SCAN_SLICE};
use crate::log::range::Lines;
use crate::query::Range;
use crate::store::readers::Lane;

/// Some lines; nothing is the end of the range.
type Chunk = Result<Option<Bytes>, Error>;

/// What is read ahead of a client, and the chunk that is being sent: each ends with the event that fills it.
const AHEAD_BYTES: usize = (CHUNKS_AHEAD + 1) * (CHUNK_BYTES + PAYLOAD_BYTES_MAX);

/// Streams the range. A slow client costs a few chunks of memory and no connection to the file.
pub(super) fn response(
    door: Shared,
    range: Range,
    limit: Option<usize>,
    caller: &Caller,
) -> Result<Response, Problem> {
    // A channel, because reading and sending run on two threads; its bound is the memory of a slow
    // client; it ends when either side goes away.
    let (sender, chunks) = channel(CHUNKS_AHEAD);
    let load = door.room.take(caller.share(), AHEAD_BYTES)?;
    let lines = Lines::new(door.log.shared(), range, limit);
    tokio::spawn(read_ahead(door, lines, sender));
    let gone = Box::pin(caller.gone());
    let body = stream::unfold(Some((chunks, gone)), |ends: Option<(Receiver<Chunk>, _)>| async {
        let (mut chunks, mut gone) = ends?;
        let chunk = tokio::select! {
            // First: what is read ahead is not given to who may not read any more.
            biased;
            () = &mut gone => None,
            chunk = chunks.recv() => chunk,
        };
        // An error where nobody told the end: an end in good order would say that the range is whole.
        match chunk.unwrap_or(Err(Error::Closed)) {
            Ok(Some(lines)) => Some((Ok(lines), Some((chunks, gone)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let mut response = Body::from_stream(body).into_response();
    super::set(response.headers_mut(), header::CONTENT_TYPE, "application/x-ndjson");
    response.extensions_mut().insert(Loaded(load));
    Ok(response)
}

async fn read_ahead(door: Shared, mut lines: Lines, sender: Sender<Chunk>) {
    // Room is waited for here, without a place among the scans.
    while let Ok(room) = sender.clone().reserve_owned().await {
        if door.stop.is_cancelled() {
            // An end in good order would say that the range is whole.
            let _room = room.send(Err(Error::Closed));
            return;
        }
        let again = sender.clone();
        let read = move |conn: &Connection| read_slice(conn, lines, room, &again);
        match door.log.shared().readers.run(Lane::Scan, read).await {
            Ok(Some(rest)) => lines = rest,
            Ok(None) => return,
            Err(error) => {
                // The client may be gone.
                let _unheard = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

/// Reads chunks for a slice of time, or until the client is behind; gives what rests.
fn read_slice(
    conn: &Connection,
    mut lines: Lines,
    mut room: OwnedPermit<Chunk>,
    sender: &Sender<Chunk>,
) -> Result<Option<Lines>, Error> {
    let begin = Instant::now();
    while let Some(bytes) = lines.chunk(conn)? {
        if !bytes.is_empty() {
            room.send(Ok(Some(bytes)));
            match sender.clone().try_reserve_owned() {
                Ok(next) => room = next,
                Err(_full_or_gone) => return Ok(Some(lines)),
            }
        }
        if begin.elapsed() > SCAN_SLICE {
            return Ok(Some(lines));
        }
    }
    room.send(Ok(None));
    Ok(None)
}
