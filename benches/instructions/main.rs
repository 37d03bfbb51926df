//! The hot paths, a few thousand times, for a count of their instructions: `.ci/instructions` runs this.
//!
//! What is counted is what runs inside a commit of the writer and inside the functions of this file that say
//! so. Whoever waits, spins or sleeps elsewhere does not count: that depends on the machine, the work does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    reason = "a case that cannot run ends the program; nothing here is shipped"
)]

#[path = "../figures/mix.rs"]
mod mix;
#[path = "../figures/payload.rs"]
#[allow(dead_code, reason = "of the figures' samples it needs only the drafts")]
mod payload;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures_util::Stream as _;
use hivelog::http::{Access, router};
use hivelog::{Appended, Command, Draft, Durability, Log, Options, Range, Receipt};
use payload::Sample;
use tower::ServiceExt as _;

const BATCH: usize = 1_000;
const SINGLES: usize = 2_000;
const BATCHES: usize = 10;
const ROWS: usize = 20_000;
/// More than the task needs to wake all of them.
const TURNS: usize = 64;
const READERS: usize = 100;
const COMMITS: usize = 50;

/// Runs the case that is named and prints how many events that was.
fn main() {
    let name = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = tempfile::tempdir().unwrap();
    let log =
        Log::open(folder.path().join("log.db"), Options::default().durability(Durability::Full)).unwrap();
    let samples = payload::samples();
    let events = match name.as_deref() {
        Some("append") => append(&log, &samples),
        Some("batch") => batches(&log, &samples, BATCHES),
        Some("scan") => scan(&log, &samples),
        Some("fanout") => fanout(&log, &samples),
        _ => return println!("append batch scan fanout: run by .ci/instructions"),
    };
    println!("{events}");
    log.close();
}

fn append(log: &Log, samples: &[Sample]) -> usize {
    for sample in samples.iter().take(SINGLES) {
        submit(log, sample.ready.clone()).wait().unwrap();
    }
    SINGLES
}

fn batches(log: &Log, samples: &[Sample], count: usize) -> usize {
    for index in 0..count {
        let batch =
            (index * BATCH..(index + 1) * BATCH).map(|index| samples[index % samples.len()].ready.clone());
        submit_batch(log, Command::new(batch.collect())).wait().unwrap();
    }
    count * BATCH
}

fn scan(log: &Log, samples: &[Sample]) -> usize {
    batches(log, samples, ROWS / BATCH);
    assert_eq!(read(log), ROWS);
    ROWS
}

/// The frames of a commit to many streams, up to where a socket would take them: events times readers.
fn fanout(log: &Log, samples: &[Sample]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let app = router(log.clone(), Access::no_auth());
    let mut streams: Vec<_> = (0..READERS)
        .map(|_| {
            let request =
                Request::get("/api/stream").header("host", "localhost").body(Body::empty()).unwrap();
            let response = runtime.block_on(app.clone().oneshot(request)).unwrap();
            assert!(response.status().is_success());
            response.into_body().into_data_stream()
        })
        .collect();
    // What they are greeted with.
    runtime.block_on(poll_fn(|context| Poll::Ready(take(&mut streams, context))));
    tell(&runtime);
    for sample in samples.iter().take(COMMITS) {
        submit(log, sample.ready.clone()).wait().unwrap();
        tell(&runtime);
        let bytes = runtime.block_on(poll_fn(|context| Poll::Ready(take(&mut streams, context))));
        assert!(bytes > READERS * sample.payload.len(), "a stream did not get the event");
    }
    COMMITS * READERS
}

/// Counted: the task that tells the streams has its turns.
#[inline(never)]
fn tell(runtime: &tokio::runtime::Runtime) {
    runtime.block_on(async {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    });
}

/// Counted: a draft becomes a job in the queue.
#[inline(never)]
fn submit(log: &Log, draft: Draft) -> Receipt<hivelog::Seq> {
    log.append(draft)
}

/// Counted: the same for a thousand.
#[inline(never)]
fn submit_batch(log: &Log, command: Command) -> Receipt<Appended> {
    log.submit(command)
}

/// Counted: the whole log, page after page, with each row's line looked at.
#[inline(never)]
fn read(log: &Log) -> usize {
    let (mut after, mut rows) = (0, 0);
    loop {
        let page = log.range(&Range { after: Some(after), limit: BATCH, ..Range::default() }).unwrap();
        if page.is_empty() {
            return rows;
        }
        after = page.next_after;
        assert!(page.rows().all(|row| row.line().len() > 2));
        rows += page.len();
    }
}

/// Counted: what is ready on all streams is taken, and each of them waits again. How many bytes that was.
#[inline(never)]
fn take(streams: &mut [BodyDataStream], context: &mut std::task::Context<'_>) -> usize {
    let mut bytes = 0;
    for stream in streams {
        while let Poll::Ready(Some(chunk)) = Pin::new(&mut *stream).poll_next(context) {
            bytes += chunk.unwrap().len();
        }
    }
    bytes
}
