//! One transaction as the jobs of a commit see it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;

use crate::error::Error;
use crate::record::Record;
use crate::seq::Seq;
use crate::store::fault::Failure;
use crate::store::rows::{self, INSERT_ROWS_MAX, NewRow};

/// Something to be written.
///
/// It may run twice: a fault in a batch rolls everything back and runs each job alone. So it has
/// no effect outside its transaction until it is answered.
pub(crate) trait Job: Send {
    /// Bytes that it holds while it waits.
    fn weight(&self) -> usize;

    /// When its caller no longer waits; it is then not run at all.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Writes. What the domain refuses is no failure: the job keeps it for its answer.
    fn run(&mut self, turn: &Turn<'_>) -> Result<(), Failure>;

    /// Why the domain refused it, in a word to be counted by; none where it did not.
    fn refusal(&self) -> Option<&'static str> {
        None
    }

    /// Answers, after the commit was published, or with the reason why there was none.
    fn answer(self: Box<Self>, outcome: Result<(), Error>);
}

/// What was inserted in a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Inserted {
    pub(crate) seq: Seq,
    pub(crate) recorded_at_ms: i64,
    pub(crate) record: Arc<Record>,
    /// The agents, where they are more than the record says.
    pub(crate) agents: Option<Box<str>>,
}

impl Inserted {
    /// The names that the event concerns.
    pub(crate) fn agents(&self) -> &str {
        self.agents.as_deref().unwrap_or(self.record.agents())
    }

    fn as_row(&self) -> NewRow<'_> {
        NewRow {
            seq: self.seq,
            recorded_at_ms: self.recorded_at_ms,
            kind: self.record.kind(),
            agents: self.agents(),
            payload: self.record.payload(),
        }
    }
}

/// One transaction, as a job sees it.
pub(crate) struct Turn<'a> {
    pub(crate) conn: &'a Connection,
    /// The time of the events of this transaction, in milliseconds since 1970: it never goes back.
    pub(crate) now_ms: i64,
    wall_ms: i64,
    head: Cell<Seq>,
    inserted: RefCell<Vec<Inserted>>,
    /// How many of them are in the table.
    flushed: Cell<usize>,
    empties_wal: Cell<bool>,
}

impl<'a> Turn<'a> {
    /// A transaction that was begun on `conn`, when the clock said `wall_ms`, after `head` and the time of that.
    pub(crate) fn new(conn: &'a Connection, wall_ms: i64, (head, last_ms): (Seq, i64)) -> Self {
        Self {
            conn,
            now_ms: wall_ms.max(last_ms),
            wall_ms,
            head: Cell::new(head),
            inserted: RefCell::new(Vec::new()),
            flushed: Cell::new(0),
            empties_wal: Cell::new(false),
        }
    }

    /// What the clock says, in unix seconds: it may have been set back, and by it deadlines pass.
    pub(crate) const fn wall_seconds(&self) -> i64 {
        let ms = if self.wall_ms > 0 { self.wall_ms } else { 0 };
        ms / 1_000
    }

    /// Has the WAL emptied after the commit and before the answer, if no reader is in the way.
    pub(crate) fn ask_empty_wal(&self) {
        self.empties_wal.set(true);
    }

    /// Whether a job asked for that.
    pub(crate) const fn empties_wal(&self) -> bool {
        self.empties_wal.get()
    }

    /// Writes what waits; gives the new head and what was inserted.
    pub(crate) fn end(self) -> Result<(Seq, Vec<Inserted>), Failure> {
        self.flush()?;
        Ok((self.head.get(), self.inserted.into_inner()))
    }

    /// The highest seq that is inserted so far.
    pub(crate) const fn head(&self) -> Seq {
        self.head.get()
    }

    /// Inserts an event at the next seq. The row may reach the table later, but before anything else
    /// of this transaction reads it: see [`Turn::flush`].
    pub(crate) fn insert(&self, record: &Arc<Record>, agents: Option<Box<str>>) -> Result<Seq, Failure> {
        let seq = self.head.get().next();
        if seq == self.head.get() {
            return Err(Failure::Stop("the log has reached its last seq (2^53-1)".into()));
        }
        self.head.set(seq);
        let row = Inserted { seq, recorded_at_ms: self.now_ms, record: Arc::clone(record), agents };
        let mut inserted = self.inserted.borrow_mut();
        inserted.push(row);
        if inserted.len() - self.flushed.get() >= INSERT_ROWS_MAX {
            drop(inserted);
            self.flush()?;
        }
        Ok(seq)
    }

    /// Writes the rows that wait: one statement for many rows takes two thirds of the time of many
    /// statements.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        let inserted = self.inserted.borrow();
        let waiting = inserted.get(self.flushed.get()..).unwrap_or_default();
        rows::insert(self.conn, waiting.iter().map(Inserted::as_row))?;
        self.flushed.set(inserted.len());
        Ok(())
    }

    /// Runs several writes of which all or none stay: none where `write` refuses.
    pub(crate) fn all_or_none<T, R>(
        &self,
        write: impl FnOnce() -> Result<Result<T, R>, Failure>,
    ) -> Result<Result<T, R>, Failure> {
        self.flush()?;
        let (head, count) = (self.head.get(), self.inserted.borrow().len());
        self.conn.prepare_cached("SAVEPOINT command")?.execute([])?;
        let done = write()?;
        if done.is_err() {
            self.conn.prepare_cached("ROLLBACK TO command")?.execute([])?;
            self.head.set(head);
            self.inserted.borrow_mut().truncate(count);
            self.flushed.set(count);
        }
        self.conn.prepare_cached("RELEASE command")?.execute([])?;
        Ok(done)
    }
}
