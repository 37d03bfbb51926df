//! A scan that can be left and taken up again, with or without hints where to look.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;

use crate::error::Error;
use crate::limits::SCAN_SLICE;
use crate::log::Shared;
use crate::log::hints::Hints;
use crate::query::{Order, Range};
use crate::row::{Builder, RowRef};
use crate::seq::Seq;
use crate::store::gather::{Bound, Gathered, Left, gather};
use crate::store::reading;
use crate::store::rows::{self, Stretch};
use crate::words::Words;

/// A scan that can be left and taken up again.
pub(super) struct Walk {
    rest: Stretch,
    order: Order,
    hints: Option<Arc<dyn Hints>>,
}

impl Walk {
    /// The scan for a page. A page wants few rows, so hints also help where only agents are asked for, or kinds
    /// that no index holds and that are not most of the log.
    pub(super) fn page(shared: &Shared, range: &Range, rest: Stretch, order: Order) -> Self {
        let by_kind = range.filter.rare_kinds().is_none() && range.filter.wants_few_kinds();
        let wanted = names_places(range) || range.filter.names_agents() || by_kind;
        Self { rest, order, hints: shared.hints().filter(|_| wanted) }
    }

    /// The scan of a whole range, which reads on faster than it can look up.
    pub(super) fn whole(shared: &Shared, range: &Range, rest: Stretch, order: Order) -> Self {
        Self { rest, order, hints: shared.hints().filter(|_| names_places(range)) }
    }

    pub(super) const fn rest(&self) -> Stretch {
        self.rest
    }

    pub(super) const fn order(&self) -> Order {
        self.order
    }

    /// The walk as it was when this rested.
    pub(super) const fn back_to(&mut self, rest: Stretch) {
        self.rest = rest;
    }

    /// Encodes wanted rows for one slice of time, until the builder has this many of them or this much text.
    pub(super) fn fill(
        &mut self,
        conn: &Connection,
        range: &Range,
        mut builder: Builder,
        (rows, bytes): (usize, usize),
    ) -> Result<(Builder, Left), Error> {
        if self.hints.is_none() && range.words.is_none() && range.filter.wants_all() {
            let bound = Bound { rows, bytes, until: Instant::now() + SCAN_SLICE };
            let gathered = gather(conn, self.rest, self.order, builder, bound);
            let Gathered { builder, last, left } = gathered.map_err(|error| reading(&error))?;
            return Ok((builder, self.pass(self.rest, last, left)));
        }
        let left = self.slice(conn, range, |row| {
            builder.push(row);
            let full = builder.len() >= rows || builder.weight() >= bytes;
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((builder, left))
    }

    /// Gives wanted rows for one slice of time.
    pub(super) fn slice(
        &mut self,
        conn: &Connection,
        range: &Range,
        mut take: impl FnMut(RowRef<'_>) -> ControlFlow<()>,
    ) -> Result<Left, Error> {
        let (part, hints) = self.next_part();
        let mut progress = Progress::new();
        if let Some(hints) = hints {
            let looked = by_hints(conn, range, &*hints, (part, self.order), &mut progress, &mut take);
            if let Err(error) = looked {
                // An index is a help, not a source: what it cannot say is read from the log.
                tracing::debug!(%error, "a search goes on without the index");
                self.hints = None;
                progress.left = Left::Time;
                if progress.last.is_none() {
                    return Ok(Left::Time);
                }
            }
        } else {
            plainly(conn, range, (part, self.order), &mut progress, &mut take)?;
        }
        Ok(self.pass(part, progress.last, progress.left))
    }

    /// Leaves behind what of a part was looked at, up to `last` where that is not all of it.
    fn pass(&mut self, part: Stretch, last: Option<Seq>, left: Left) -> Left {
        match (left, self.order, last) {
            (Left::Enough | Left::Time, Order::Asc, Some(seq)) => self.rest.after = seq,
            (Left::Enough | Left::Time, Order::Desc, Some(seq)) => self.rest.before = seq.get(),
            // The end of the part: nothing of it rests.
            (_, Order::Asc, _) => self.rest.after = self.rest.after.max(Seq::clamped(part.before - 1)),
            (_, Order::Desc, _) => self.rest.before = self.rest.before.min(part.after.get() + 1),
        }
        let is_over = self.rest.is_empty();
        if left == Left::End && !is_over { Left::Time } else { left }
    }

    /// What is looked at next: all that rests, or the part of it that the hints know, or do not know.
    fn next_part(&self) -> (Stretch, Option<Arc<dyn Hints>>) {
        let Some(hints) = &self.hints else { return (self.rest, None) };
        let known = hints.upto();
        let Stretch { after, before } = self.rest;
        let knows_first = match self.order {
            Order::Asc => after < known,
            Order::Desc => before <= known.get() + 1,
        };
        let part = match (self.order, knows_first) {
            (Order::Asc, true) => Stretch { after, before: before.min(known.get() + 1) },
            (Order::Desc, false) => Stretch { after: after.max(known), before },
            (Order::Asc, false) | (Order::Desc, true) => self.rest,
        };
        (part, knows_first.then(|| Arc::clone(hints)))
    }
}

/// How far a slice has come.
struct Progress {
    begin: Instant,
    seen: u32,
    last: Option<Seq>,
    left: Left,
}

impl Progress {
    fn new() -> Self {
        Self { begin: Instant::now(), seen: 0, last: None, left: Left::End }
    }

    /// Counts a row that was looked at, and says whether to go on.
    fn pass(&mut self, seq: Seq, has_enough: bool) -> ControlFlow<()> {
        self.last = Some(seq);
        self.seen += 1;
        if has_enough {
            self.left = Left::Enough;
            return ControlFlow::Break(());
        }
        // A look at the clock costs as much as a third of a row.
        if self.seen.is_multiple_of(64) && self.begin.elapsed() > SCAN_SLICE {
            self.left = Left::Time;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn plainly(
    conn: &Connection,
    range: &Range,
    (part, order): (Stretch, Order),
    progress: &mut Progress,
    take: &mut dyn FnMut(RowRef<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    rows::scan(conn, part, order, &range.filter, |seq, row| {
        let row = row.filter(|row| has_words(range, row));
        let has_enough = row.is_some_and(|row| take(row).is_break());
        progress.pass(seq, has_enough)
    })
    .map_err(|error| reading(&error))
}

fn by_hints(
    conn: &Connection,
    range: &Range,
    hints: &dyn Hints,
    (part, order): (Stretch, Order),
    progress: &mut Progress,
    take: &mut dyn FnMut(RowRef<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    if part.is_empty() {
        return Ok(());
    }
    hints.candidates(range.words.as_ref(), &range.filter, part, order, &mut |seq| {
        let enough = rows::get(conn, seq, |row| {
            // The row decides: it may have been redacted since it was taken up.
            let is_wanted = range.filter.wants(row.kind, row.agents) && has_words(range, &row);
            is_wanted && take(row).is_break()
        })
        .map_err(|error| reading(&error))?;
        // One that was pruned since is no row any more.
        Ok(progress.pass(seq, enough.unwrap_or(false)))
    })
}

/// Whether words are asked for of which an index knows where they are.
fn names_places(range: &Range) -> bool {
    range.words.as_ref().is_some_and(Words::are_selective)
}

fn has_words(range: &Range, row: &RowRef<'_>) -> bool {
    range.words.as_ref().is_none_or(|words| words.are_in(row.payload))
}
