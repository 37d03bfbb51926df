//! What the swarm was told: the account that the file is held against afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::Answer;

/// A message whose sending was acknowledged.
#[derive(Clone, Debug)]
pub struct Sent {
    pub from: String,
    pub to: String,
    pub body: String,
}

/// What the clients of one swarm were told.
#[derive(Default)]
pub struct Account {
    salt: AtomicU64,
    pub retries: AtomicU64,
    pub busy: AtomicU64,
    /// Decisions that came too late, each with its winner.
    pub conflicts: AtomicU64,
    pub redeliveries: AtomicU64,
    pub requeues: AtomicU64,
    /// Transients whose owner died.
    pub orphans: AtomicU64,
    pub transients: AtomicU64,
    pub sent: Mutex<BTreeMap<i64, Sent>>,
    /// By recipient and id: the body. Taken and acknowledged.
    pub received: Mutex<BTreeMap<(String, i64), String>>,
    /// By id: how the one who waited was told that it ended.
    pub approvals: Mutex<BTreeMap<i64, String>>,
    pub questions: Mutex<BTreeMap<i64, String>>,
    pub peer_questions: Mutex<BTreeMap<i64, String>>,
    /// Ids of own requests that were there after a crash.
    pub found_again: AtomicU64,
    /// When a send was acknowledged, by id; and the times from there to the first delivery.
    acked: Mutex<BTreeMap<i64, Instant>>,
    to_recv: Mutex<Vec<Duration>>,
    to_stream: Mutex<Vec<Duration>>,
    seen: Mutex<(BTreeSet<i64>, BTreeSet<i64>)>,
}

/// Where a message came out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Recv,
    Stream,
}

impl Account {
    pub fn salt(&self) -> u64 {
        self.salt.fetch_add(1, Ordering::Relaxed)
    }

    pub fn note_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn note_busy(&self, call: &str, answer: &Answer) {
        self.busy.fetch_add(1, Ordering::Relaxed);
        // A server that is being closed says so; nothing else may, in a swarm of this size.
        assert_eq!(answer.status, 503, "{call}: {answer:?}");
    }

    pub fn note_sent(&self, id: i64, sent: Sent) {
        self.acked.lock().unwrap().insert(id, Instant::now());
        self.sent.lock().unwrap().insert(id, sent);
    }

    /// A message came out there, perhaps before its sender had the answer.
    pub fn note_seen(&self, id: i64, way: Way) {
        let mut seen = self.seen.lock().unwrap();
        let is_first = if way == Way::Recv { seen.0.insert(id) } else { seen.1.insert(id) };
        if is_first && let Some(acked) = self.acked.lock().unwrap().get(&id) {
            let times = if way == Way::Recv { &self.to_recv } else { &self.to_stream };
            times.lock().unwrap().push(acked.elapsed());
        }
    }

    /// The middle and the hundredth from the end, in milliseconds.
    pub fn times(&self, way: Way) -> (f64, f64) {
        let mut times =
            if way == Way::Recv { &self.to_recv } else { &self.to_stream }.lock().unwrap().clone();
        times.sort();
        let at = |share: usize| {
            times.get(times.len() * share / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
        };
        (at(50), at(99))
    }
}

pub fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
