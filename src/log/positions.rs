//! Where every live reader stands, so that the slowest can be told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::seq::Seq;
use crate::sync::{AtomicI64, Mutex, Ordering, lock};

/// Where a reader stands that waits to be told of something.
const AT_REST: i64 = i64::MAX;

/// Where the live readers of one log stand.
///
/// A mutex over a map, not a channel: it is taken when a reader comes or goes, and when somebody asks; a reader
/// that moves stores one number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    readers: BTreeMap<u64, Arc<AtomicI64>>,
}

/// The place of one reader, until it is dropped.
#[derive(Debug)]
pub(crate) struct Position {
    seq: Arc<AtomicI64>,
    number: u64,
    all: Positions,
}

impl Positions {
    /// A reader comes.
    pub(crate) fn enter(&self, seq: Seq) -> Position {
        let seq = Arc::new(AtomicI64::new(seq.get()));
        let mut held = lock(&self.0);
        let number = held.next;
        held.next += 1;
        held.readers.insert(number, Arc::clone(&seq));
        Position { seq, number, all: self.clone() }
    }

    /// Whether there is no live reader.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).readers.is_empty()
    }

    /// The lowest place; none where nobody has anything to read.
    pub(crate) fn lowest(&self) -> Option<Seq> {
        let held = lock(&self.0);
        let places = held.readers.values().map(|seq| seq.load(Ordering::Relaxed));
        places.min().filter(|place| *place != AT_REST).map(Seq::clamped)
    }
}

impl Position {
    /// The reader stands here now. Nothing else is ordered by it.
    pub(crate) fn set(&self, seq: Seq) {
        self.seq.store(seq.get(), Ordering::Relaxed);
    }

    /// The reader waits: it is not behind, however far the log goes on without concerning it.
    pub(crate) fn rest(&self) {
        self.seq.store(AT_REST, Ordering::Relaxed);
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        lock(&self.all.0).readers.remove(&self.number);
    }
}
