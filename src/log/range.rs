//! A history question, answered by scans that give way to each other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rusqlite::Connection;

use crate::error::Error;
use crate::limits::{CHUNK_BYTES, PAGE_BYTES_MAX, PAGE_PART_BYTES, SCAN_TIME_MAX};
use crate::log::Shared;
use crate::log::walk::Walk;
use crate::query::{Order, Range};
use crate::row::{Builder, ROW_BYTES, Row, Segment, Style};
use crate::seq::{LogId, Seq};
use crate::store::gather::Left;
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
    /// The highest pruned seq once it was answered: above it no event is missing.
    pub floor: Seq,
    /// Where a page of what comes later begins: give it as `after`.
    pub next_after: i64,
    /// Where a page of what comes earlier begins: give it as `before`.
    pub next_before: i64,
    /// Whether all that was asked for was looked at.
    pub(crate) is_whole: bool,
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
    stretch: Stretch,
}

fn plan(conn: &Connection, range: &Range) -> Result<Plan, Error> {
    let look = |conn: &Connection| {
        let head = rows::head(conn)?;
        let mut after = range.after.unwrap_or(0).max(0);
        let mut before = range.before.unwrap_or(i64::MAX).clamp(0, head.get() + 1);
        let stretch = |after, before| Stretch { after: Seq::clamped(after), before };
        if let Some(since) = range.since_ms {
            after = after.max(rows::at_or_after(conn, stretch(after, before), since)? - 1);
        }
        if let Some(until) = range.until_ms {
            before = before.min(rows::at_or_after(conn, stretch(after, before), until)?);
        }
        Ok(Plan { head, stretch: stretch(after, before) })
    };
    // A statement alone is of one moment by itself.
    if range.since_ms.is_none() && range.until_ms.is_none() {
        look(conn).map_err(|error| reading(&error))
    } else {
        at_one_moment(conn, look)
    }
}

/// What a slice of time gave.
pub(crate) enum Made {
    /// Nothing that could be passed on.
    Nothing,
    /// What comes next of a page that is not at its end.
    Part(Part),
    /// The end of the page: all of it, or what comes after its parts.
    Page(Page),
}

/// A part of a page that is passed on while the rest is read.
pub(crate) struct Part {
    pub(crate) seq: Seq,
    pub(crate) bytes: Bytes,
}

/// A page in the making: call [`Pager::slice`] until it gives the page, or [`Pager::part`].
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
    /// Encoded bytes that were passed on, and what rested then.
    passed_on: Option<(usize, Stretch)>,
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
        match self.work(conn, PAGE_BYTES_MAX)? {
            Made::Page(page) => Ok(Some(page)),
            Made::Part(_) | Made::Nothing => Ok(None),
        }
    }

    /// The same for bytes that go out while the rest is read.
    ///
    /// What cannot be read ends a page that has begun to go out: the next one begins there, and fails.
    pub(crate) fn part(&mut self, conn: &Connection) -> Result<Made, Error> {
        self.work(conn, PAGE_PART_BYTES).or_else(|error| match self.state.take() {
            Some(Making { plan, mut walk, passed_on: Some((_, rest)), .. }) => {
                tracing::warn!(%error, "a page of history ends before what cannot be read");
                walk.back_to(rest);
                self.page(conn, plan, &walk, Builder::new(Style::Array).bare()).map(Made::Page)
            }
            _ => Err(error),
        })
    }

    /// Works until there are this many bytes, or the page is at its end, or the time is over.
    fn work(&mut self, conn: &Connection, bytes: usize) -> Result<Made, Error> {
        let turned = self.is_turned();
        if self.state.is_none() {
            let plan = plan(conn, &self.range)?;
            fail::fail_point!("range.planned");
            let order = if turned { Order::Desc } else { self.range.order };
            // Room for a part from the start: a text that grows is copied each time.
            let room = bytes.min(PAGE_PART_BYTES) + ROW_BYTES;
            let builder = Builder::with_capacity(Style::Array, room.min(self.range.limit * ROW_BYTES));
            self.state = Some(Making {
                plan,
                walk: Walk::page(&self.shared, &self.range, plan.stretch, order),
                builder: if self.with_rows { builder } else { builder.bare() },
                passed_on: None,
                found: Vec::new(),
                found_bytes: 0,
            });
        }
        let Some(making) = &mut self.state else { return Ok(Made::Nothing) };
        let left =
            if turned { making.find(conn, &self.range)? } else { making.fill(conn, &self.range, bytes)? };
        let is_over = self.began.elapsed() >= SCAN_TIME_MAX;
        if left == Left::Enough
            && !turned
            && !is_over
            && let Some(part) = making.pass_on(self.range.limit)
        {
            return Ok(Made::Part(part));
        }
        if left == Left::Time && !is_over {
            return Ok(Made::Nothing);
        }
        let Some(mut making) = self.state.take() else { return Ok(Made::Nothing) };
        self.read_found(conn, &mut making)?;
        self.page(conn, making.plan, &making.walk, making.builder).map(Made::Page)
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

    fn page(&self, conn: &Connection, plan: Plan, walk: &Walk, builder: Builder) -> Result<Page, Error> {
        let Plan { head, stretch } = plan;
        // After the rows: what was pruned before they were read is below it.
        let floor = meta::floor(conn).map_err(|error| reading(&error))?;
        let (low, high) = (stretch.after.get() + 1, (stretch.before - 1).max(stretch.after.get()));
        let rest = walk.rest();
        let (next_after, next_before) = match walk.order() {
            Order::Asc => (rest.after.get(), low),
            Order::Desc => (high, rest.before.max(low)),
        };
        let (rows, is_whole) = (builder.finish(), rest.is_empty());
        Ok(Page { log_id: self.shared.log_id, seq: head, floor, next_after, next_before, is_whole, rows })
    }
}

impl Making {
    /// Notes which rows a page of the newest will hold.
    fn find(&mut self, conn: &Connection, range: &Range) -> Result<Left, Error> {
        let Self { walk, found, found_bytes, .. } = self;
        walk.slice(conn, range, |row| {
            found.push(row.seq);
            *found_bytes += row.payload.len() + row.kind.len() + 64;
            let full = found.len() >= range.limit || *found_bytes >= PAGE_BYTES_MAX;
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// Encodes rows until there are this many bytes, or the page is full.
    fn fill(&mut self, conn: &Connection, range: &Range, bytes: usize) -> Result<Left, Error> {
        let room = PAGE_BYTES_MAX.saturating_sub(self.passed_on.map_or(0, |(bytes, _)| bytes));
        let builder = std::mem::replace(&mut self.builder, Builder::new(Style::Array));
        let (builder, left) = self.walk.fill(conn, range, builder, (range.limit, bytes.min(room)))?;
        self.builder = builder;
        Ok(left)
    }

    /// Takes out what is encoded, unless the page is full: then it goes with the end.
    fn pass_on(&mut self, limit: usize) -> Option<Part> {
        let before = self.passed_on.map_or(0, |(bytes, _)| bytes);
        let passed_on = before + self.builder.weight();
        if self.builder.len() >= limit || passed_on >= PAGE_BYTES_MAX {
            return None;
        }
        self.passed_on = Some((passed_on, self.walk.rest()));
        Some(Part { seq: self.plan.head, bytes: self.builder.take() })
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
    pub(crate) fn chunk(&mut self, conn: &Connection) -> Result<Option<Bytes>, Error> {
        if self.done {
            return Ok(None);
        }
        fail::fail_point!("range.lines");
        let mut walk = if let Some(walk) = self.walk.take() {
            walk
        } else {
            let stretch = plan(conn, &self.range)?.stretch;
            Walk::whole(&self.shared, &self.range, stretch, self.range.order)
        };
        let builder = Builder::with_capacity(Style::Lines, CHUNK_BYTES + ROW_BYTES).bare();
        let most = (self.rest.unwrap_or(usize::MAX), CHUNK_BYTES);
        let (builder, left) = walk.fill(conn, &self.range, builder, most)?;
        self.rest = self.rest.map(|rest| rest.saturating_sub(builder.len()));
        self.done = left == Left::End || self.rest == Some(0);
        self.walk = Some(walk);
        Ok(Some(builder.finish().bytes().clone()))
    }
}

/// Reads one event.
pub(crate) fn get(conn: &Connection, seq: Seq) -> Result<Option<Row>, Error> {
    let failed = |error: rusqlite::Error| reading(&error);
    let segment = rows::get(conn, seq, |row| {
        let mut builder = Builder::new(Style::Lines);
        builder.push(row);
        builder.finish()
    })
    .map_err(failed)?;
    let floor = meta::floor(conn).map_err(failed)?;
    if segment.is_none() && seq <= floor && seq > Seq::ZERO {
        return Err(Error::Gone { floor });
    }
    Ok(segment.and_then(|segment| segment.row(0)))
}
