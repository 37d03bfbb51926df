//! A live read as a stream, and for a plain thread as an iterator.

use std::ops::Range;
use std::sync::Arc;

use futures_util::Stream;

use crate::error::Error;
use crate::log::feed::{Feed, ResetReason, Step};
use crate::query::Filter;
use crate::row::{Row, Segment};
use crate::seq::Seq;

/// What a live read gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Followed {
    /// The next event.
    Event(Row),
    /// The head as it stood when the read began was passed; what follows is live.
    CaughtUp(Seq),
    /// Up to this seq came only what the filter does not want. A position that is kept has to move with it: what
    /// stays behind is pruned some day.
    Passed(Seq),
    /// The reader cannot go on from where it stood: it has to take a snapshot anew, and gets what
    /// comes after this seq.
    Reset {
        /// Why.
        reason: ResetReason,
        /// Where the read goes on.
        seq: Seq,
    },
}

/// A live read as a stream, or for a plain thread as an iterator. It ends when the log is closed, or
/// after an error.
///
/// Dropping it at any point is safe; a new one resumes from the last seq that was seen.
pub struct Follower {
    feed: Feed,
    filter: Filter,
    rows: Option<(Arc<Segment>, Range<usize>)>,
    ended: bool,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("cursor", &self.feed.cursor()).finish_non_exhaustive()
    }
}

impl Follower {
    pub(crate) const fn new(feed: Feed, filter: Filter) -> Self {
        Self { feed, filter, rows: None, ended: false }
    }

    /// What the segment at hand gives next.
    fn take_rows(&mut self) -> Option<Followed> {
        let (segment, rest) = self.rows.as_mut()?;
        let wants = |(_, kind, agents): (Seq, &str, &str)| self.filter.wants(kind, agents);
        let found = segment.rows_from(rest.start).take(rest.len()).position(wants);
        let found = found.map(|skipped| rest.start + skipped);
        if let Some((found, row)) = found.and_then(|found| Some((found, segment.row(found)?))) {
            rest.start = found + 1;
            return Some(Followed::Event(row));
        }
        let is_over = rest.start >= rest.end;
        self.rows = None;
        (!is_over).then(|| Followed::Passed(self.feed.cursor()))
    }

    /// Turns a step into what is given, if it is something by itself.
    fn take_step(&mut self, step: Result<Step, Error>) -> Option<Result<Followed, Error>> {
        match step {
            Ok(Step::Rows(segment, rows)) => {
                self.rows = Some((segment, rows));
                None
            }
            Ok(Step::CaughtUp(seq)) => Some(Ok(Followed::CaughtUp(seq))),
            Ok(Step::Reset(reason, seq, _)) => Some(Ok(Followed::Reset { reason, seq })),
            Ok(Step::End) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }

    /// Waits for what comes next; `None` when the log was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Followed, Error>> {
        while !self.ended {
            if let Some(given) = self.take_rows() {
                return Some(Ok(given));
            }
            let step = self.feed.next().await;
            if let Some(given) = self.take_step(step) {
                return Some(given);
            }
        }
        None
    }

    /// This read as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<Followed, Error>> + Send {
        futures_util::stream::unfold(self, |mut follower| async {
            follower.next().await.map(|given| (given, follower))
        })
    }
}

/// A live read for a plain thread: each step blocks until there is one.
#[derive(Debug)]
pub struct BlockingFollower(Follower);

impl BlockingFollower {
    pub(crate) const fn new(follower: Follower) -> Self {
        Self(follower)
    }
}

impl Iterator for BlockingFollower {
    type Item = Result<Followed, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.ended {
            if let Some(given) = self.0.take_rows() {
                return Some(Ok(given));
            }
            let step = self.0.feed.next_blocking();
            if let Some(given) = self.0.take_step(step) {
                return Some(given);
            }
        }
        None
    }
}
