//! A history question, answered by scans that give way to each other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;

use crate::error::Error;
use crate::limits::{CHUNK_BYTES, PAGE_BYTES_MAX, SCAN_SLICE, SCAN_TIME_MAX};
use crate::query::{Order, Range};
use crate::row::{Builder, Row, RowRef, Segment, Style};
use crate::seq::{LogId, Seq};
use crate::store::readers::at_one_moment;
use crate::store::rows::{self, Stretch};
use crate::store::{meta, reading};

/// One page of history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The log that it is of.
    pub log_id: LogId,
    /// The head when the question was read.
    pub seq: Seq,
    /// The highest pruned seq.
    pub floor: Seq,
    /// Where a page of what comes later begins: give it as `after`.
    pub next_after: i64,
    /// Where a page of what comes earlier begins: give it as `before`.
    pub next_before: i64,
    pub(crate) rows: Arc<Segment>,
}

impl Page {
    /// The events in the order that was asked.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        (0..self.rows.len()).filter_map(|index| self.rows.row(index))
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing matched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What a question means for the log as it stands.
#[derive(Clone, Copy, Debug)]
struct Plan {
    head: Seq,
    floor: Seq,
    stretch: Stretch,
}

fn plan(conn: &Connection, range: &Range) -> Result<Plan, Error> {
    at_one_moment(conn, |conn| {
        let (head, floor) = (rows::head(conn)?, meta::floor(conn)?);
        let mut after = range.after.unwrap_or(0).max(0);
        let mut before = range.before.unwrap_or(i64::MAX).clamp(0, head.get() + 1);
        let stretch = |after, before| Stretch { after: Seq::clamped(after), before };
        if let Some(since) = range.since_ms {
            after = after.max(rows::at_or_after(conn, stretch(after, before), since)? - 1);
        }
        if let Some(until) = range.until_ms {
            before = before.min(rows::at_or_after(conn, stretch(after, before), until)?);
        }
        Ok(Plan { head, floor, stretch: stretch(after, before) })
    })
}

/// A scan that can be left and taken up again.
#[derive(Debug)]
struct Walk {
    rest: Stretch,
    order: Order,
}

/// Why a scan came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The stretch has no more rows.
    End,
    /// The one who takes the rows has enough.
    Enough,
    /// Its time was over; there may be more.
    Time,
}

impl Walk {
    /// Gives wanted rows for one slice of time.
    fn slice(
        &mut self,
        conn: &Connection,
        range: &Range,
        mut take: impl FnMut(RowRef<'_>) -> ControlFlow<()>,
    ) -> Result<Left, Error> {
        let begin = Instant::now();
        let mut left = Left::End;
        let mut seen = 0u32;
        let mut last = None;
        rows::scan(conn, self.rest, self.order, &range.filter, |seq, row| {
            last = Some(seq);
            seen += 1;
            if row.is_some_and(|row| take(row).is_break()) {
                left = Left::Enough;
                return ControlFlow::Break(());
            }
            // A look at the clock costs as much as a third of a row.
            if seen.is_multiple_of(64) && begin.elapsed() > SCAN_SLICE {
                left = Left::Time;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| reading(&error))?;
        match (left, self.order, last) {
            (Left::Enough | Left::Time, Order::Asc, Some(seq)) => self.rest.after = seq,
            (Left::Enough | Left::Time, Order::Desc, Some(seq)) => self.rest.before = seq.get(),
            // The end of the stretch: nothing rests.
            (_, Order::Asc, _) => self.rest.after = self.rest.after.max(Seq::clamped(self.rest.before - 1)),
            (_, Order::Desc, _) => self.rest.before = self.rest.before.min(self.rest.after.get() + 1),
        }
        Ok(left)
    }
}

/// A page in the making: call [`Pager::slice`] until it gives the page.
#[derive(Debug)]
pub(crate) struct Pager {
    range: Range,
    /// Whether rows are taken out of the page, or only its bytes.
    with_rows: bool,
    log_id: LogId,
    began: Instant,
    state: Option<Making>,
}

#[derive(Debug)]
struct Making {
    plan: Plan,
    walk: Walk,
    builder: Builder,
    /// The page of the newest is found newest first and then read oldest first, so that it is never
    /// held twice.
    found: Vec<Seq>,
    found_bytes: usize,
}

impl Pager {
    pub(crate) fn new(log_id: LogId, range: Range, with_rows: bool) -> Result<Self, Error> {
        range.check()?;
        Ok(Self { range, with_rows, log_id, began: Instant::now(), state: None })
    }

    const fn is_turned(&self) -> bool {
        self.range.is_newest() && matches!(self.range.order, Order::Asc)
    }

    /// Works for a slice of time; `None` asks to be called again.
    pub(crate) fn slice(&mut self, conn: &Connection) -> Result<Option<Page>, Error> {
        let turned = self.is_turned();
        if self.state.is_none() {
            let plan = plan(conn, &self.range)?;
            let order = if turned { Order::Desc } else { self.range.order };
            let builder = Builder::new(Style::Array);
            self.state = Some(Making {
                plan,
                walk: Walk { rest: plan.stretch, order },
                builder: if self.with_rows { builder } else { builder.bare() },
                found: Vec::new(),
                found_bytes: 0,
            });
        }
        let Some(making) = &mut self.state else { return Ok(None) };
        let limit = self.range.limit;
        let Making { walk, builder, found, found_bytes, .. } = making;
        let left = walk.slice(conn, &self.range, |row| {
            let full = if turned {
                found.push(row.seq);
                *found_bytes += row.payload.len() + row.kind.len() + 64;
                found.len() >= limit || *found_bytes >= PAGE_BYTES_MAX
            } else {
                builder.push(row);
                builder.len() >= limit || builder.weight() >= PAGE_BYTES_MAX
            };
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if left == Left::Time && self.began.elapsed() < SCAN_TIME_MAX {
            return Ok(None);
        }
        let Some(mut making) = self.state.take() else { return Ok(None) };
        self.read_found(conn, &mut making)?;
        Ok(Some(self.page(making)))
    }

    /// Reads what was found newest first once more, oldest first: in one scan where it lies close
    /// together, by its seqs where other rows lie between.
    fn read_found(&self, conn: &Connection, making: &mut Making) -> Result<(), Error> {
        let Making { found, builder, .. } = making;
        let (Some(newest), Some(oldest)) = (found.first(), found.last()) else { return Ok(()) };
        let span = newest.get() - oldest.get();
        if span > 4 * i64::try_from(found.len()).unwrap_or(i64::MAX) {
            for seq in found.iter().rev() {
                rows::get(conn, *seq, |row| builder.push(row)).map_err(|error| reading(&error))?;
            }
            return Ok(());
        }
        let stretch = Stretch { after: Seq::clamped(oldest.get() - 1), before: newest.get() + 1 };
        rows::scan(conn, stretch, Order::Asc, &self.range.filter, |_, row| {
            if let Some(row) = row {
                builder.push(row);
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| reading(&error))
    }

    fn page(&self, making: Making) -> Page {
        let Plan { head, floor, stretch } = making.plan;
        let (low, high) = (stretch.after.get() + 1, (stretch.before - 1).max(stretch.after.get()));
        let (next_after, next_before) = match making.walk.order {
            Order::Asc => (making.walk.rest.after.get(), low),
            Order::Desc => (high, making.walk.rest.before.max(low)),
        };
        let rows = making.builder.finish();
        Page { log_id: self.log_id, seq: head, floor, next_after, next_before, rows }
    }
}

/// A whole range in chunks of lines: call [`Lines::chunk`] until it gives none.
#[derive(Debug)]
pub(crate) struct Lines {
    range: Range,
    /// Rows that may still come; `None` for all.
    rest: Option<usize>,
    walk: Option<Walk>,
    done: bool,
}

impl Lines {
    /// The range from its start, in its order, and `limit` rows of it at most.
    pub(crate) const fn new(range: Range, limit: Option<usize>) -> Self {
        Self { range, rest: limit, walk: None, done: false }
    }

    /// The next chunk; an empty one after a slice of time that found nothing.
    pub(crate) fn chunk(&mut self, conn: &Connection) -> Result<Option<bytes::Bytes>, Error> {
        if self.done {
            return Ok(None);
        }
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => Walk { rest: plan(conn, &self.range)?.stretch, order: self.range.order },
        };
        let mut builder = Builder::with_capacity(Style::Lines, CHUNK_BYTES + (4 << 10)).bare();
        let rest = self.rest;
        let left = walk.slice(conn, &self.range, |row| {
            builder.push(row);
            let full = builder.weight() >= CHUNK_BYTES || rest.is_some_and(|rest| builder.len() >= rest);
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.rest = rest.map(|rest| rest.saturating_sub(builder.len()));
        self.done = left == Left::End || self.rest == Some(0);
        self.walk = Some(walk);
        Ok(Some(builder.finish().bytes().clone()))
    }
}
