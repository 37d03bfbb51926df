//! What the swarm was told: the account that the file is held against afterwards.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Answer;

/// A message whose sending was acknowledged.
#[derive(Clone, Debug)]
pub struct Sent {
    pub from: String,
    pub to: String,
    pub body: String,
}

/// What the clients of one swarm were told of what it did, to be compared with what the file says.
#[derive(Clone, Default)]
pub struct Told {
    pub sent: BTreeMap<i64, Sent>,
    /// By recipient and id: the body. Taken and acknowledged.
    pub received: BTreeMap<(String, i64), String>,
    /// By id: how the one who waited was told that it ended, in the words of `approval_end` or `question_end`.
    pub approvals: BTreeMap<i64, String>,
    pub questions: BTreeMap<i64, String>,
    pub peer_questions: BTreeMap<i64, String>,
    /// By seq: the kind and the id of what the operator was told to have closed, or that somebody else had.
    pub closed: BTreeMap<i64, (String, i64)>,
    /// By seq: whose transient it was, and why it ended.
    pub cleared: BTreeMap<i64, (String, String)>,
}

/// How an approval ended, whole.
pub fn approval_end(row: &Value) -> String {
    format!("{} at {} by {}: {}", row["status"], row["resolved_at"], row["by"], row["note"])
}

/// How a question ended, whole.
pub fn question_end(row: &Value) -> String {
    let [outcome, answer, answerer] = ["outcome", "answer", "answerer"].map(|member| &row[member]);
    format!("{outcome} at {} by {answerer}: {answer} {}", row["answered_at"], row["selected"])
}

/// What the clients of one swarm share.
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
    /// Calls whose caller died before it had the answer.
    pub cut: AtomicU64,
    /// Writes that were done again after they had succeeded.
    pub repeats: AtomicU64,
    pub told: Mutex<Told>,
    /// Ids of own requests that were there after a crash.
    pub found_again: AtomicU64,
    /// By id: from the first try to send until the message was acknowledged, received, shown.
    begun: Mutex<BTreeMap<i64, Instant>>,
    acked: Mutex<Vec<Duration>>,
    received: Mutex<BTreeMap<i64, Instant>>,
    shown: Mutex<BTreeMap<i64, Instant>>,
}

/// Where a message came out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Ack,
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

    /// A send is acknowledged that was first tried then.
    pub fn note_sent(&self, id: i64, sent: Sent, begun: Instant) {
        self.acked.lock().unwrap().push(begun.elapsed());
        self.begun.lock().unwrap().insert(id, begun);
        self.told.lock().unwrap().sent.insert(id, sent);
    }

    /// A message came out there, perhaps before its sender had the answer, perhaps not for the first time.
    pub fn note_seen(&self, id: i64, way: Way) {
        let seen = if way == Way::Recv { &self.received } else { &self.shown };
        seen.lock().unwrap().entry(id).or_insert_with(Instant::now);
    }

    /// From the first try to send, kills included: the middle and the hundredth from the end, in milliseconds.
    pub fn times(&self, way: Way) -> (f64, f64) {
        let begun = self.begun.lock().unwrap();
        let since = |seen: &BTreeMap<i64, Instant>| {
            let times = begun.iter().map(|(id, begun)| seen[id].saturating_duration_since(*begun));
            times.collect::<Vec<_>>()
        };
        let mut times = match way {
            Way::Ack => self.acked.lock().unwrap().clone(),
            Way::Recv => since(&self.received.lock().unwrap()),
            Way::Stream => since(&self.shown.lock().unwrap()),
        };
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
