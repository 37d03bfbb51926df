//! The last committed rows, encoded once for every live reader.
//!
//! It is a cache, bounded in bytes: who asks for what has left it goes to the store. Only the
//! writer adds, before it publishes the tail, and only while somebody reads.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::row::Segment;
use crate::seq::Seq;
use crate::sync::{RwLock, read, write};

/// Committed rows by commit, oldest first, without a hole between two.
#[derive(Debug)]
pub(crate) struct Recent {
    // Many readers, one writer, sections of a few instructions: a readers-writer lock.
    ring: RwLock<Ring>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Ring {
    commits: VecDeque<Arc<Segment>>,
    bytes: usize,
}

/// What the ring has after a seq.
#[derive(Debug)]
pub(crate) enum After {
    /// A commit of which some rows come after the seq.
    Rows(Arc<Segment>),
    /// Nothing newer is here.
    Nothing,
    /// Newer rows have left the ring already, or never were in it.
    Gone,
}

impl Recent {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { ring: RwLock::default(), bytes_max }
    }

    /// Adds the rows of one commit.
    pub(crate) fn push(&self, commit: Arc<Segment>) {
        let mut ring = write(&self.ring);
        ring.bytes += commit.weight();
        ring.commits.push_back(commit);
        while ring.bytes > self.bytes_max {
            match ring.commits.pop_front() {
                Some(oldest) => ring.bytes -= oldest.weight(),
                None => break,
            }
        }
    }

    /// Forgets everything, and what is committed now too: it is never pushed.
    pub(crate) fn clear(&self) {
        let mut ring = write(&self.ring);
        ring.commits.clear();
        ring.bytes = 0;
    }

    /// The commit that goes on after `cursor`, given that the tail stood at `head` before the call.
    pub(crate) fn after(&self, cursor: Seq, head: Seq) -> After {
        if cursor >= head {
            return After::Nothing;
        }
        let ring = read(&self.ring);
        let first = ring.commits.front().and_then(|commit| commit.first());
        match first {
            Some(first) if first <= cursor.next() => {
                let index = ring.commits.partition_point(|commit| commit.last() <= Some(cursor));
                ring.commits.get(index).map_or(After::Nothing, |commit| After::Rows(Arc::clone(commit)))
            }
            Some(_) | None => After::Gone,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        read(&self.ring).bytes
    }
}
