//! The live read: replay from the store, then from memory as it is committed, without a hole.
//!
//! There is no channel of events to a reader: it holds a cursor, takes what is after it, and waits
//! for the tail where nothing is. So a slow reader costs nothing and loses nothing.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::Stream;

use crate::error::Error;
use crate::limits::{CHUNK_BYTES, CHUNK_EVENTS};
use crate::log::Shared;
use crate::log::recent::After;
use crate::query::Filter;
use crate::row::{Builder, Row, Segment, Style};
use crate::seq::{Cursor, LogId, Seq};
use crate::store::meta;
use crate::store::readers::{Lane, at_one_moment};
use crate::store::rows::{self, Stretch};
use crate::tail::Woken;

/// Where a live read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is appended from now on.
    Now,
    /// After a position that was read before.
    After(Cursor),
}

impl From<Seq> for Start {
    fn from(seq: Seq) -> Self {
        Self::After(seq.into())
    }
}

impl From<Cursor> for Start {
    fn from(cursor: Cursor) -> Self {
        Self::After(cursor)
    }
}

/// Why a reader cannot go on from where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// Its position belongs to another log: this one was restored or imported.
    OtherLog,
    /// Its position is above the head.
    Future,
    /// What comes after its position was pruned.
    Pruned,
}

impl ResetReason {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherLog => "other_log",
            Self::Future => "future",
            Self::Pruned => "pruned",
        }
    }
}

/// What a live read gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Followed {
    /// The next event.
    Event(Row),
    /// The head as it stood when the read began was passed; what follows is live.
    CaughtUp(Seq),
    /// The reader cannot go on from where it stood: it has to take a snapshot anew, and gets what
    /// comes after this seq.
    Reset {
        /// Why.
        reason: ResetReason,
        /// Where the read goes on.
        seq: Seq,
    },
}

/// What a feed gives.
#[derive(Debug)]
pub(crate) enum Step {
    /// Rows of a segment from an index on. The cursor stands at the last of them.
    Rows(Arc<Segment>, usize),
    CaughtUp(Seq),
    Reset(ResetReason, Seq),
    /// The log was closed, and everything in it was given.
    End,
}

/// Where a feed stood when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    pub(crate) head: Seq,
    pub(crate) floor: Seq,
    pub(crate) reset: Option<ResetReason>,
    /// The position that it starts from. Before a reset that is the one that was asked for: a client
    /// that is cut off before it hears of the reset comes back with it, and is told then.
    pub(crate) from: Cursor,
}

/// A live read of one reader.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    /// The last seq that was given or skipped.
    cursor: Seq,
    begin: Begin,
    told_reset: bool,
    told_caught_up: bool,
}

/// What the next step needs.
enum Next {
    Step(Step),
    Store,
    Wait,
}

impl Feed {
    /// Begins a read. The tail exists since the log was opened, so what is committed after this look
    /// at the store is seen by it: no hole is possible.
    pub(crate) fn begin(shared: Arc<Shared>, start: Start, begin: (Seq, Seq)) -> Self {
        let (head, floor) = begin;
        let (cursor, reset) = judge(shared.log_id, start, head, floor);
        let from = match (start, reset) {
            (Start::After(asked), Some(_)) => {
                Cursor { log_id: asked.log_id.or(Some(shared.log_id)), ..asked }
            }
            (Start::Now | Start::After(_), _) => Cursor::new(shared.log_id, cursor),
        };
        shared.metrics.followers.inc();
        if let Some(reason) = reset {
            shared.metrics.resets.get_or_create(&crate::metrics::Reason { reason: reason.as_str() }).inc();
        }
        Self {
            shared,
            cursor,
            begin: Begin { head, floor, reset, from },
            told_reset: reset.is_none(),
            told_caught_up: false,
        }
    }

    pub(crate) const fn cursor(&self) -> Seq {
        self.cursor
    }

    pub(crate) const fn begun(&self) -> Begin {
        self.begin
    }

    pub(crate) fn head(&self) -> Seq {
        self.shared.tail.head()
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.shared.log_id
    }

    fn look(&mut self) -> Next {
        if !self.told_reset {
            self.told_reset = true;
            if let Some(reason) = self.begin.reset {
                return Next::Step(Step::Reset(reason, self.cursor));
            }
        }
        if !self.told_caught_up && self.cursor >= self.begin.head {
            self.told_caught_up = true;
            return Next::Step(Step::CaughtUp(self.begin.head));
        }
        match self.shared.recent.after(self.cursor, self.shared.tail.head()) {
            After::Rows(segment) => self.give(segment),
            After::Gone => Next::Store,
            After::Nothing if self.shared.tail.is_closed() && self.cursor >= self.shared.tail.head() => {
                Next::Step(Step::End)
            }
            After::Nothing => Next::Wait,
        }
    }

    fn give(&mut self, segment: Arc<Segment>) -> Next {
        let from = segment.position(self.cursor);
        if let Some(last) = segment.last() {
            self.cursor = self.cursor.max(last);
        }
        Next::Step(Step::Rows(segment, from))
    }

    fn given_by_store(&mut self, chunk: Chunk) -> Option<Step> {
        match chunk {
            Chunk::Rows(segment, upto) => {
                self.cursor = self.cursor.max(upto);
                (!segment.is_empty()).then_some(Step::Rows(segment, 0))
            }
            Chunk::Pruned(head) => {
                self.cursor = head;
                Some(Step::Reset(ResetReason::Pruned, head))
            }
        }
    }

    /// Waits for the next step. Dropping the future loses nothing: the cursor moves with the answer.
    pub(crate) async fn next(&mut self) -> Result<Step, Error> {
        loop {
            match self.look() {
                Next::Step(step) => return Ok(step),
                Next::Store => {
                    let (shared, cursor) = (Arc::clone(&self.shared), self.cursor);
                    let read = move |conn: &rusqlite::Connection| read_chunk(conn, &shared, cursor);
                    let chunk = self.shared.readers.run(Lane::Scan, read).await?;
                    if let Some(step) = self.given_by_store(chunk) {
                        return Ok(step);
                    }
                }
                Next::Wait => {
                    if self.shared.tail.wait(self.cursor).await == Woken::Closed {
                        return Ok(Step::End);
                    }
                }
            }
        }
    }

    /// The same for a plain thread, which it blocks.
    pub(crate) fn next_blocking(&mut self) -> Result<Step, Error> {
        loop {
            match self.look() {
                Next::Step(step) => return Ok(step),
                Next::Store => {
                    let (shared, cursor) = (Arc::clone(&self.shared), self.cursor);
                    let chunk = self.shared.readers.with(|conn| read_chunk(conn, &shared, cursor))?;
                    if let Some(step) = self.given_by_store(chunk) {
                        return Ok(step);
                    }
                }
                Next::Wait => {
                    if self.shared.tail.wait_blocking(self.cursor) == Woken::Closed {
                        return Ok(Step::End);
                    }
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.metrics.followers.dec();
    }
}

/// Head and floor of one moment, as the store has them: a feed is judged by them, never by the tail.
pub(crate) fn look_at_store(conn: &rusqlite::Connection) -> Result<(Seq, Seq), Error> {
    at_one_moment(conn, |conn| Ok((rows::head(conn)?, meta::floor(conn)?)))
}

/// The position that a reader starts from, and why it is not the one it asked for.
fn judge(log_id: LogId, start: Start, head: Seq, floor: Seq) -> (Seq, Option<ResetReason>) {
    let cursor = match start {
        Start::Now => return (head, None),
        Start::After(cursor) => cursor,
    };
    if cursor.log_id.is_some_and(|id| id != log_id) {
        return (head, Some(ResetReason::OtherLog));
    }
    match Seq::new(cursor.seq) {
        Some(seq) if seq < floor => (head, Some(ResetReason::Pruned)),
        Some(seq) if seq <= head => (seq, None),
        Some(_) | None => (head, Some(ResetReason::Future)),
    }
}

/// What the store has after a cursor.
enum Chunk {
    /// Rows as frames, and how far the read went.
    Rows(Arc<Segment>, Seq),
    /// What comes next was pruned while this reader was behind.
    Pruned(Seq),
}

fn read_chunk(conn: &rusqlite::Connection, shared: &Shared, cursor: Seq) -> Result<Chunk, Error> {
    // The tail is taken first: every row up to it is committed and synced, so a reader here sees it.
    let head = shared.tail.head();
    at_one_moment(conn, |conn| {
        if cursor < meta::floor(conn)? {
            return Ok(Chunk::Pruned(head));
        }
        let mut builder = Builder::with_capacity(Style::Frames(shared.log_id), CHUNK_BYTES + (4 << 10));
        let mut upto = head;
        rows::scan_whole(conn, Stretch::upto(cursor, head), |row| {
            builder.push(row);
            if builder.weight() >= CHUNK_BYTES || builder.len() >= CHUNK_EVENTS {
                upto = row.seq;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(Chunk::Rows(builder.finish(), upto))
    })
}

/// A live read as a stream, or for a plain thread as an iterator. It ends when the log is closed, or
/// after an error.
///
/// Dropping it at any point is safe; a new one resumes from the last seq that was seen.
pub struct Follower {
    feed: Feed,
    filter: Filter,
    rows: Option<(Arc<Segment>, usize)>,
    ended: bool,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("cursor", &self.feed.cursor).finish_non_exhaustive()
    }
}

impl Follower {
    pub(crate) const fn new(feed: Feed, filter: Filter) -> Self {
        Self { feed, filter, rows: None, ended: false }
    }

    /// The next wanted row of the segment at hand.
    fn take_row(&mut self) -> Option<Row> {
        let (segment, index) = self.rows.as_mut()?;
        let skipped = segment.words_from(*index).position(|(kind, agents)| self.filter.wants(kind, agents));
        let found = skipped.map(|skipped| *index + skipped);
        if let Some(row) = found.and_then(|index| segment.row(index)) {
            *index = found.map_or(*index, |index| index + 1);
            Some(row)
        } else {
            self.rows = None;
            None
        }
    }

    /// Turns a step into what is given, if it is something by itself.
    fn take_step(&mut self, step: Result<Step, Error>) -> Option<Result<Followed, Error>> {
        match step {
            Ok(Step::Rows(segment, from)) => {
                self.rows = Some((segment, from));
                None
            }
            Ok(Step::CaughtUp(seq)) => Some(Ok(Followed::CaughtUp(seq))),
            Ok(Step::Reset(reason, seq)) => Some(Ok(Followed::Reset { reason, seq })),
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
            if let Some(row) = self.take_row() {
                return Some(Ok(Followed::Event(row)));
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
            if let Some(row) = self.0.take_row() {
                return Some(Ok(Followed::Event(row)));
            }
            let step = self.0.feed.next_blocking();
            if let Some(given) = self.0.take_step(step) {
                return Some(given);
            }
        }
        None
    }
}
