//! The live read: replay from the store, then from memory as it is committed, without a hole.
//!
//! There is no channel of events to a reader: it holds a cursor, takes what is after it, and waits
//! for the tail where nothing is. So a slow reader costs nothing and loses nothing.

use std::future::poll_fn;
use std::ops::{ControlFlow, Range};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::error::Error;
use crate::limits::{CHUNK_EVENTS, REPLAY_BYTES};
use crate::log::Shared;
use crate::log::herald::{Heard, Herald, Seat};
use crate::log::positions::Position;
use crate::log::recent::After;
use crate::query::Filter;
use crate::row::{Builder, Segment, Style};
use crate::seq::{Cursor, LogId, Seq};
use crate::store::readers::{Lane, at_one_moment};
use crate::store::rows::{self, Stretch};
use crate::store::{meta, reading};
use crate::tail::{Wait, Woken};

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

/// What a feed gives.
#[derive(Debug)]
pub(crate) enum Step {
    /// These rows of a segment. The cursor stands at the last of them.
    Rows(Arc<Segment>, Range<usize>),
    CaughtUp(Seq),
    /// Why, where it goes on, and the floor.
    Reset(ResetReason, Seq, Seq),
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
    position: Position,
    begin: Begin,
    told_reset: bool,
    told_caught_up: bool,
    /// Where it waits to be told of what concerns it; at the tail, where it has none.
    seat: Option<Seat>,
    under_way: UnderWay,
}

type Reading = Pin<Box<dyn Future<Output = Result<Chunk, Error>> + Send>>;

/// What a feed waits for.
enum UnderWay {
    Nothing,
    /// A chunk from the store. Boxed: most of its life a feed reads none.
    Read(Reading),
    /// To be told of something that concerns it.
    Sleep,
    Wait(Wait),
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
            position: shared.positions.enter(cursor),
            shared,
            cursor,
            begin: Begin { head, floor, reset, from },
            told_reset: reset.is_none(),
            told_caught_up: false,
            seat: None,
            under_way: UnderWay::Nothing,
        }
    }

    /// The same, that skips what the filter does not want for as long as it waits.
    pub(crate) fn seated(mut self, herald: &Arc<Herald>, filter: &Arc<Filter>) -> Self {
        self.seat = Some(herald.enter(filter, self.shared.tail.head()));
        self
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
                return Next::Step(Step::Reset(reason, self.cursor, self.begin.floor));
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

    /// Gives what comes next of a commit, and of a large one no more than a replay would: who reads slowly holds
    /// what it was given last.
    fn give(&mut self, segment: Arc<Segment>) -> Next {
        let from = segment.position(self.cursor);
        let to = segment.within(from, REPLAY_BYTES);
        if let Some(last) = to.checked_sub(1).and_then(|index| segment.seq(index)) {
            self.go_to(self.cursor.max(last));
        }
        Next::Step(Step::Rows(segment, from..to))
    }

    fn go_to(&mut self, seq: Seq) {
        self.cursor = seq;
        self.position.set(seq);
    }

    fn given_by_store(&mut self, chunk: Chunk) -> Option<Step> {
        match chunk {
            Chunk::Rows(segment, upto) => {
                self.go_to(self.cursor.max(upto));
                let rows = 0..segment.len();
                (!rows.is_empty()).then_some(Step::Rows(segment, rows))
            }
            Chunk::Pruned(head, floor) => {
                self.go_to(head);
                let reason = ResetReason::Pruned;
                let resets = &self.shared.metrics.resets;
                resets.get_or_create(&crate::metrics::Reason { reason: reason.as_str() }).inc();
                Some(Step::Reset(reason, head, floor))
            }
        }
    }

    /// A log that was closed ends in good order; a file that is no longer there does not.
    fn end(&self) -> Result<Step, Error> {
        match self.shared.readers.ended() {
            Some(Error::Replaced) => Err(Error::Replaced),
            Some(_) | None => Ok(Step::End),
        }
    }

    /// The next step, where nothing has to be waited for or read.
    pub(crate) fn next_at_hand(&mut self) -> Option<Step> {
        match self.look() {
            Next::Step(step) => Some(step),
            Next::Store | Next::Wait => None,
        }
    }

    /// Waits for the next step. Dropping the future loses nothing: the cursor moves with the answer.
    pub(crate) async fn next(&mut self) -> Result<Step, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, for who waits for other things too.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Error>> {
        loop {
            match &mut self.under_way {
                UnderWay::Nothing => match self.look() {
                    Next::Step(Step::End) => return Poll::Ready(self.end()),
                    Next::Step(step) => return Poll::Ready(Ok(step)),
                    Next::Store => self.under_way = UnderWay::Read(self.read()),
                    // Who has not caught up yet wants to hear of a commit that is not for it, too.
                    Next::Wait if self.seat.is_some() && self.told_caught_up => {
                        self.under_way = UnderWay::Sleep;
                    }
                    Next::Wait => self.under_way = UnderWay::Wait(self.shared.tail.wait(self.cursor)),
                },
                UnderWay::Read(chunk) => {
                    let chunk = ready!(chunk.as_mut().poll(cx));
                    self.under_way = UnderWay::Nothing;
                    if let Some(step) = self.given_by_store(chunk?) {
                        return Poll::Ready(Ok(step));
                    }
                }
                UnderWay::Sleep => {
                    self.under_way = match ready!(self.sleep(cx)) {
                        Heard::More(upto) => {
                            self.go_to(upto.max(self.cursor));
                            UnderWay::Nothing
                        }
                        Heard::Closed => return Poll::Ready(self.end()),
                        Heard::Nobody => UnderWay::Wait(self.shared.tail.wait(self.cursor)),
                    };
                }
                UnderWay::Wait(wait) => {
                    let woken = ready!(Pin::new(wait).poll(cx));
                    self.under_way = UnderWay::Nothing;
                    if woken == Woken::Closed {
                        return Poll::Ready(self.end());
                    }
                }
            }
        }
    }

    fn read(&self) -> Reading {
        let (shared, cursor) = (Arc::clone(&self.shared), self.cursor);
        Box::pin(async move {
            let scanned = Arc::clone(&shared);
            let read = move |conn: &rusqlite::Connection| read_chunk(conn, &scanned, cursor);
            shared.replay.after(cursor, shared.readers.run(Lane::Scan, read)).await
        })
    }

    fn sleep(&self, cx: &mut Context<'_>) -> Poll<Heard> {
        let Some(seat) = &self.seat else { return Poll::Ready(Heard::Nobody) };
        self.position.rest();
        let heard = ready!(seat.poll(self.cursor, cx));
        self.position.set(self.cursor);
        Poll::Ready(heard)
    }

    /// Moves the cursor past what it sleeps through.
    pub(crate) fn catch_up(&mut self) {
        if let Some(upto) = self.seat.as_ref().and_then(Seat::slept_to) {
            self.go_to(upto.max(self.cursor));
        }
    }

    /// The same for a plain thread, which it blocks.
    pub(crate) fn next_blocking(&mut self) -> Result<Step, Error> {
        loop {
            match self.look() {
                Next::Step(Step::End) => return self.end(),
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
                        return self.end();
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

/// The same for one that is answered before it reads: it is told by the answer where what comes next cannot be read.
pub(crate) fn look_ahead(
    conn: &rusqlite::Connection,
    shared: &Shared,
    start: Start,
) -> Result<(Seq, Seq), Error> {
    let (head, floor) = look_at_store(conn)?;
    let (cursor, reset) = judge(shared.log_id, start, head, floor);
    if reset.is_none() && matches!(shared.recent.after(cursor, shared.tail.head()), After::Gone) {
        rows::scan_whole(conn, Stretch::upto(cursor, head), |_| ControlFlow::Break(()))
            .map_err(|error| reading(&error))?;
    }
    Ok((head, floor))
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
#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    /// Rows as frames, and how far the read went.
    Rows(Arc<Segment>, Seq),
    /// What comes next was pruned while this reader was behind: the head and the floor.
    Pruned(Seq, Seq),
}

fn read_chunk(conn: &rusqlite::Connection, shared: &Shared, cursor: Seq) -> Result<Chunk, Error> {
    // The tail is taken first: every row up to it is committed and synced, so a reader here sees it.
    let head = shared.tail.head();
    at_one_moment(conn, |conn| {
        let floor = meta::floor(conn)?;
        if cursor < floor {
            return Ok(Chunk::Pruned(head.max(floor), floor));
        }
        let mut builder = Builder::with_capacity(Style::Frames(shared.log_id), REPLAY_BYTES + (4 << 10));
        let (mut last, mut is_full) = (cursor, false);
        let scanned = rows::scan_whole(conn, Stretch::upto(cursor, head), |row| {
            builder.push(row);
            last = row.seq;
            is_full = builder.weight() >= REPLAY_BYTES || builder.len() >= CHUNK_EVENTS;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match scanned {
            Ok(()) if !is_full => last = head,
            Ok(()) => {}
            // What comes before it is given: the next read begins there, and fails.
            Err(error) if last > cursor => {
                tracing::warn!(%error, after = last.get(), "a replay ends before what cannot be read");
            }
            Err(error) => return Err(error),
        }
        fail::fail_point!("feed.after-scan");
        Ok(Chunk::Rows(builder.finish(), last))
    })
}
