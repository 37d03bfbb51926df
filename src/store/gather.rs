//! Encoding rows where `SQLite` comes by them.
//!
//! A row that is fetched costs a step of the statement, and each of its columns four calls into `SQLite`. A
//! function in the statement's condition is given all of a row in one call instead, and the statement comes
//! back only once there is enough: measured, that takes a fifth off a scan.

use std::cell::RefCell;
use std::time::Instant;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};

use crate::query::Order;
use crate::row::{Builder, RowRef};
use crate::seq::Seq;
use crate::store::rows::{self, Stretch};

thread_local! {
    /// Who gathers on this thread now. `SQLite` calls back on the thread that steps, and a function of a
    /// connection may borrow nothing: what is gathered is put here meanwhile.
    static GATHERER: RefCell<Option<Gatherer>> = const { RefCell::new(None) };
}

/// Rows between two looks at the clock: one costs as much as a third of a row.
const LOOK_ROWS: u32 = 64;

/// Why a scan came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The stretch has no more rows.
    End,
    /// The one who takes the rows has enough.
    Enough,
    /// Its time was over; there may be more.
    Time,
}

/// When there is enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Rows in the builder, those that were in it before included.
    pub(crate) rows: usize,
    /// Encoded bytes in it.
    pub(crate) bytes: usize,
    pub(crate) until: Instant,
}

/// What was gathered: `last` is the last row of it.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) builder: Builder,
    pub(crate) last: Option<Seq>,
    pub(crate) left: Left,
}

struct Gatherer {
    gathered: Gathered,
    bound: Bound,
    seen: u32,
}

/// Makes a connection one that can be gathered on.
pub(crate) fn prepare(conn: &Connection) -> Result<()> {
    // Not from a view or a trigger of a file, whoever made it.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function(rows::TAKER, 5, flags, take)
}

/// Adds every row of a stretch to a builder, in order, until there is enough.
pub(crate) fn gather(
    conn: &Connection,
    stretch: Stretch,
    order: Order,
    builder: Builder,
    bound: Bound,
) -> Result<Gathered> {
    let gathered = Gathered { builder, last: None, left: Left::End };
    if stretch.is_empty() {
        return Ok(gathered);
    }
    GATHERER.replace(Some(Gatherer { gathered, bound, seen: 0 }));
    let ended = rows::take_each(conn, stretch, order);
    let done = GATHERER.take().map(|gatherer| gatherer.gathered);
    ended?;
    done.ok_or(Error::InvalidQuery)
}

/// The function: true for the row after which there is enough.
fn take(context: &Context<'_>) -> Result<bool> {
    GATHERER.with_borrow_mut(|gatherer| match gatherer {
        Some(gatherer) => gatherer.take(context),
        // Called by a statement of somebody else.
        None => Err(Error::InvalidQuery),
    })
}

impl Gatherer {
    fn take(&mut self, context: &Context<'_>) -> Result<bool> {
        let text = |index| match context.get_raw(index) {
            ValueRef::Text(bytes) => bytes,
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => &[],
        };
        let row = RowRef {
            seq: Seq::clamped(context.get(0)?),
            recorded_at_ms: context.get(1)?,
            kind: context.get_raw(2).as_str()?,
            payload: text(3),
            agents: "",
        };
        rows::check(row, context.get(4)?, false)?;
        let Gathered { builder, last, left } = &mut self.gathered;
        builder.push(row);
        *last = Some(row.seq);
        self.seen += 1;
        if builder.len() >= self.bound.rows || builder.weight() >= self.bound.bytes {
            *left = Left::Enough;
        } else if self.seen.is_multiple_of(LOOK_ROWS) && Instant::now() > self.bound.until {
            *left = Left::Time;
        }
        Ok(*left != Left::End)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::prepare;

    #[test]
    fn a_statement_of_somebody_else_is_given_nothing() {
        let conn = Connection::open_in_memory().unwrap();
        prepare(&conn).unwrap();
        let asked = conn.query_row("SELECT hivelog_take(1, 2, 'a.b', '{}', NULL)", [], |_| Ok(()));
        assert!(asked.is_err());
    }
}
