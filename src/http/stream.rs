//! `GET /api/stream`: the live read as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Refusal;
use crate::http::caller::{Caller, READERS};
use crate::http::params::Params;
use crate::http::problem::Problem;
use crate::http::{Shared, herald, history};
use crate::limits::{HEARTBEAT, JOINED_BYTES, RETRY_MS, SHARED_BYTES_MAX};
use crate::log::feed::{Feed, ResetReason, Start, Step, look_ahead};
use crate::query::Filter;
use crate::row::Segment;
use crate::seq::{Cursor, Seq};
use crate::store::readers::Lane;
use crate::wire;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// The query of a stream.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
struct Asked {
    /// Where to go on: a cursor (`<log id>-<seq>`) or a seq. `Last-Event-ID` wins over it.
    after: Option<String>,
    /// Only these kinds; may be repeated.
    kind: Vec<String>,
    /// Only events that concern one of these agents; may be repeated.
    agent: Vec<String>,
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follows the log: what is there after the position, then what comes.
///
/// Every frame carries the position that a client resumes from. Log events have no event name; the
/// stream's own frames are `hello`, `caught_up`, `heartbeat` and `reset`.
#[utoipa::path(
    get, path = "/api/stream", tag = "live",
    params(Asked, ("Last-Event-ID" = Option<String>, Header, description = "the id of the last frame that was received")),
    responses(
        (status = 200, description = "the stream", body = String, content_type = "text/event-stream"),
        (status = 400, description = "no position, or no filter", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn follow(
    State(door): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let query = |refusal: Refusal| Problem::query(refusal.into());
    let filter = history::filter(&mut params).map_err(query)?;
    let after = params.one("after").map_err(query)?;
    params.end().map_err(query)?;
    let start = start(&headers, after.as_deref())?;
    let shared = Arc::clone(door.log.shared());
    let looked = Arc::clone(&shared);
    let look = move |conn: &rusqlite::Connection| look_ahead(conn, &looked, start);
    let begin = shared.readers.run(Lane::Point, look).await?;
    let filter = Arc::new(filter);
    let feed = herald::seat(&door)(Feed::begin(Arc::clone(&shared), start, begin), &filter);
    let stopped = door.stop.clone().cancelled_owned();
    let gone = caller.gone();
    let frames = Frames::new(feed, filter, async move {
        tokio::select! {
            () = stopped => {}
            () = gone => {}
        }
    });
    let mut response = Body::from_stream(frames).into_response();
    let headers = response.headers_mut();
    super::set(headers, header::CONTENT_TYPE, "text/event-stream");
    super::set(headers, header::CACHE_CONTROL, "no-store");
    super::set(headers, HeaderName::from_static("x-accel-buffering"), "no");
    Ok(response)
}

pub(super) fn start(headers: &HeaderMap, after: Option<&str>) -> Result<Start, Problem> {
    let mut ids = headers.get_all(LAST_EVENT_ID).iter();
    let text = match (ids.next(), ids.next()) {
        (None, _) => after,
        (Some(id), None) => {
            Some(id.to_str().map_err(|_| Problem::header("Last-Event-ID is not an id of this stream"))?)
        }
        (Some(_), Some(_)) => return Err(Problem::header("Last-Event-ID is given twice")),
    };
    match text.map(str::parse::<Cursor>) {
        None => Ok(Start::Now),
        Some(Ok(cursor)) => Ok(cursor.into()),
        Some(Err(_)) if headers.contains_key(LAST_EVENT_ID) => {
            Err(Problem::header("the position is neither <log id>-<seq> nor a seq from 0 to 2^63-1"))
        }
        Some(Err(_)) => {
            let detail = "is neither <log id>-<seq> nor a seq from 0 to 2^63-1";
            Err(Problem::query(Refusal::invalid("after", detail).into()))
        }
    }
}

/// The frames of one stream, as bytes. It holds no event but those that it is about to give.
struct Frames {
    feed: Feed,
    filter: Arc<Filter>,
    ready: VecDeque<Bytes>,
    // Both live as long as the stream, so that a wake-up costs no new timer and no new registration.
    heartbeat: Pin<Box<Sleep>>,
    /// The server stops, or the credential does not hold any more.
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
    /// Something was given since it was last asked whether to stop.
    is_fed: bool,
}

impl Frames {
    fn new(feed: Feed, filter: Arc<Filter>, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        let begin = feed.begun();
        let (log_id, head, floor) = (feed.log_id(), begin.head, begin.floor);
        let hello = wire::control_frame(
            "hello",
            begin.from,
            format_args!("{{\"log_id\":\"{log_id}\",\"seq\":{head},\"floor\":{floor}}}"),
        );
        let mut first = wire::retry_frame(jitter());
        first.extend_from_slice(&hello);
        Self {
            feed,
            filter,
            ready: VecDeque::from([Bytes::from(first)]),
            heartbeat: Box::pin(sleep(HEARTBEAT)),
            stop: Box::pin(stop),
            ended: false,
            is_fed: false,
        }
    }

    /// Whether it has to stop.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_fed = false;
        self.stop.as_mut().poll(cx)
    }

    fn beat(&mut self) {
        self.heartbeat.as_mut().reset(Instant::now() + HEARTBEAT);
        self.feed.catch_up();
        let head = self.feed.head();
        self.control("heartbeat", format_args!("{{\"seq\":{head}}}"));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Rows(segment, rows) => self.give(&segment, rows),
            Step::CaughtUp(seq) => self.control("caught_up", format_args!("{{\"seq\":{seq}}}")),
            Step::Reset(reason, seq, floor) => self.reset(reason, seq, floor),
            Step::End => self.ended = true,
        }
    }

    fn has_room(&self) -> bool {
        !self.ended && self.ready.iter().map(Bytes::len).sum::<usize>() < JOINED_BYTES
    }

    /// What goes out next: small pieces as one, a large one as it lies in the memory that all share.
    fn take_ready(&mut self) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        let small = |bytes: &Bytes| bytes.len() < JOINED_BYTES;
        if !small(&first) || !self.ready.front().is_some_and(small) {
            return Some(first);
        }
        let mut joined = Vec::with_capacity(
            first.len() + self.ready.iter().map(Bytes::len).sum::<usize>().min(JOINED_BYTES),
        );
        joined.extend_from_slice(&first);
        while joined.len() < JOINED_BYTES
            && let Some(next) = self.ready.pop_front_if(|bytes| small(bytes))
        {
            joined.extend_from_slice(&next);
        }
        Some(joined.into())
    }

    /// Cuts what is wanted out of the shared memory: neighbours stay one piece.
    fn give(&mut self, segment: &Segment, rows: Range<usize>) {
        if self.filter.wants_all() {
            return self.cut(segment, rows.start, rows.end);
        }
        let mut begin = None;
        for (index, (_, kind, agents)) in rows.clone().zip(segment.rows_from(rows.start)) {
            match (self.filter.wants(kind, agents), begin) {
                (true, None) => begin = Some(index),
                (false, Some(first)) => {
                    self.cut(segment, first, index);
                    begin = None;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        if let Some(first) = begin {
            self.cut(segment, first, rows.end);
        }
    }

    /// A piece of what all share; of a large one a copy, since the piece would keep the whole for as long as the
    /// client takes.
    fn cut(&mut self, segment: &Segment, from: usize, to: usize) {
        let piece = segment.slice(from, to);
        let is_large = segment.weight() > SHARED_BYTES_MAX;
        self.ready.push_back(if is_large { Bytes::copy_from_slice(&piece) } else { piece });
    }

    fn control(&mut self, name: &str, data: std::fmt::Arguments<'_>) {
        let frame = wire::control_frame(name, Cursor::new(self.feed.log_id(), self.feed.cursor()), data);
        self.ready.push_back(frame.into());
    }

    fn reset(&mut self, reason: ResetReason, seq: Seq, floor: Seq) {
        let (log_id, reason) = (self.feed.log_id(), reason.as_str());
        self.control(
            "reset",
            format_args!(
                "{{\"reason\":\"{reason}\",\"log_id\":\"{log_id}\",\"seq\":{seq},\"floor\":{floor}}}"
            ),
        );
    }
}

impl Stream for Frames {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(bytes) = self.take_ready() {
                self.is_fed = true;
                return Poll::Ready(Some(Ok(bytes)));
            }
            // Who never has to wait for something to read is asked all the same.
            if self.is_fed && self.poll_stop(cx).is_ready() {
                self.ended = true;
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.feed.poll_next(cx) {
                Poll::Ready(Ok(step)) => {
                    self.take(step);
                    // What is there already goes out with it, in one write.
                    while self.has_room()
                        && let Some(step) = self.feed.next_at_hand()
                    {
                        self.take(step);
                    }
                    continue;
                }
                // An error ends the stream: the client comes back and is told by the answer.
                Poll::Ready(Err(_)) => {
                    self.ended = true;
                    continue;
                }
                Poll::Pending => {}
            }
            if self.heartbeat.as_mut().poll(cx).is_ready() {
                self.beat();
            } else if self.poll_stop(cx).is_ready() {
                self.ended = true;
            } else {
                return Poll::Pending;
            }
        }
    }
}

/// A delay for reconnecting, spread evenly.
fn jitter() -> u32 {
    let (low, high) = (*RETRY_MS.start(), *RETRY_MS.end());
    // Without a random source every client gets the same delay, which is still a delay.
    low + getrandom::u32().unwrap_or(0) % (high - low + 1)
}
