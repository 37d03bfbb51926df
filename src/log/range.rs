//! A history question, answered by scans that give way to each other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;

use crate::error::Error;
use crate::limits::{CHUNK_BYTES, PAGE_BYTES_MAX, SCAN_TIME_MAX};
use crate::log::Shared;
use crate::log::walk::{Left, Walk};
use crate::query::{Order, Range};
use crate::row::{Builder, Row, Segment, Style};
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

/// A page in the making: call [`Pager::slice`] until it gives the page.
pub(crate) struct Pager {
    shared: Arc<Shared>,
    range: Range,
    /// Whether rows are taken out of the page, or only its bytes.
    with_rows: bool,
    began: Instant,
    state: Option<Making>,
}

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
    pub(crate) fn new(shared: &Arc<Shared>, range: Range, with_rows: bool) -> Result<Self, Error> {
        range.check()?;
        let shared = Arc::clone(shared);
        Ok(Self { shared, range, with_rows, began: Instant::now(), state: None })
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
                walk: Walk::page(&self.shared, &self.range, plan.stretch, order),
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
        let words = self.range.words.as_ref();
        rows::scan(conn, stretch, Order::Asc, &self.range.filter, |_, row| {
            if let Some(row) = row.filter(|row| words.is_none_or(|words| words.are_in(row.payload))) {
                builder.push(row);
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| reading(&error))
    }

    fn page(&self, making: Making) -> Page {
        let Plan { head, floor, stretch } = making.plan;
        let (low, high) = (stretch.after.get() + 1, (stretch.before - 1).max(stretch.after.get()));
        let rest = making.walk.rest();
        let (next_after, next_before) = match making.walk.order() {
            Order::Asc => (rest.after.get(), low),
            Order::Desc => (high, rest.before.max(low)),
        };
        let rows = making.builder.finish();
        Page { log_id: self.shared.log_id, seq: head, floor, next_after, next_before, rows }
    }
}

/// A whole range in chunks of lines: call [`Lines::chunk`] until it gives none.
pub(crate) struct Lines {
    shared: Arc<Shared>,
    range: Range,
    /// Rows that may still come; `None` for all.
    rest: Option<usize>,
    walk: Option<Walk>,
    done: bool,
}

impl Lines {
    /// The range from its start, in its order, and `limit` rows of it at most.
    pub(crate) fn new(shared: &Arc<Shared>, range: Range, limit: Option<usize>) -> Self {
        Self { shared: Arc::clone(shared), range, rest: limit, walk: None, done: false }
    }

    /// The next chunk; an empty one after a slice of time that found nothing.
    pub(crate) fn chunk(&mut self, conn: &Connection) -> Result<Option<bytes::Bytes>, Error> {
        if self.done {
            return Ok(None);
        }
        let mut walk = if let Some(walk) = self.walk.take() {
            walk
        } else {
            let stretch = plan(conn, &self.range)?.stretch;
            Walk::whole(&self.shared, &self.range, stretch, self.range.order)
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
