//! What a redaction leaves behind in the file after its commit, made to go.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::Error;
use crate::store::file::Store;
use crate::store::scrub::{self, Dirty};
use crate::store::task::Task;
use crate::store::{meta, reading};

/// Pages that are looked at in one step, and pages that are cleared in one commit.
const LOOK_PAGES: usize = 1_024;
const SCRUB_PAGES: usize = 32;
/// Passes over pages that were dirty, before that is given up as impossible.
const PASSES_MAX: u32 = 8;
/// How long the writer waits for readers that are in the way of emptying the WAL: they read for milliseconds.
pub(crate) const EMPTY_WAIT: Duration = Duration::from_millis(5);

/// How many redactions were committed whose text may still lie somewhere in the file.
pub(crate) fn unwiped(conn: &Connection) -> rusqlite::Result<i64> {
    meta::integer(conn, MARK)
}

/// Notes that a text was taken out of the log in this transaction.
pub(crate) fn note(conn: &Connection) -> rusqlite::Result<()> {
    meta::set_integer(conn, MARK, unwiped(conn)? + 1)
}

const MARK: &str = "unwiped";

/// How far it came with one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nothing of a redacted text is left.
    Through,
    /// There is more to do.
    On,
    /// A reader keeps old pages in the WAL.
    Nowhere,
}

/// The way to a file without a trace of what was redacted. It can be gone in pieces, and begun anew.
#[derive(Debug, Default)]
pub(crate) struct Wipe {
    /// The redactions that it is for.
    of: i64,
    stage: Stage,
    /// Pages with old text that were found, and cleared since.
    found: Vec<u64>,
    passes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The WAL has to be emptied.
    #[default]
    Empty,
    /// The file has to be looked through, from this page on.
    Look(u64),
}

impl Wipe {
    /// Goes one step, of some milliseconds.
    pub(crate) fn step(&mut self, store: &Store) -> Result<Came, Error> {
        let due = store.readers.with(|conn| unwiped(conn).map_err(|error| reading(&error)))?;
        if due == 0 {
            return Ok(Came::Through);
        }
        if due != self.of {
            *self = Self { of: due, ..Self::default() };
        }
        match self.stage {
            Stage::Empty => self.empty(store),
            Stage::Look(first) => self.look(store, first),
        }
    }

    fn empty(&mut self, store: &Store) -> Result<Came, Error> {
        fail::fail_point!("wipe.empty");
        pollster::block_on(store.write(Task::new(|turn| {
            turn.ask_empty_wal();
            Ok(Ok(()))
        })))?;
        if !store.has_empty_wal() {
            return Ok(Came::Nowhere);
        }
        if self.passes == 0 {
            self.stage = Stage::Look(1);
            return Ok(Came::On);
        }
        // Only what was found: what other pages hold by now is younger than the redaction.
        let mut dirty = Vec::new();
        for page in std::mem::take(&mut self.found) {
            dirty.extend(look(store, page, 1)?.0);
        }
        if dirty.is_empty() {
            return self.end(store);
        }
        if self.passes >= PASSES_MAX {
            *self = Self::default();
            tracing::warn!(pages = dirty.len(), "pages keep old text in their unused middle");
            return Ok(Came::Nowhere);
        }
        self.passes += 1;
        self.scrub(store, &dirty)?;
        Ok(Came::On)
    }

    fn look(&mut self, store: &Store, first: u64) -> Result<Came, Error> {
        let (dirty, read) = look(store, first, LOOK_PAGES)?;
        self.scrub(store, &dirty)?;
        if read == LOOK_PAGES as u64 {
            self.stage = Stage::Look(first + read);
            return Ok(Came::On);
        }
        if self.found.is_empty() {
            return self.end(store);
        }
        (self.stage, self.passes) = (Stage::Empty, 1);
        Ok(Came::On)
    }

    fn scrub(&mut self, store: &Store, dirty: &[Dirty]) -> Result<(), Error> {
        self.found.extend(dirty.iter().map(|dirty| dirty.page));
        for some in dirty.chunks(SCRUB_PAGES) {
            let some: Arc<[Dirty]> = some.into();
            let task = Task::new(move |turn| {
                fail::fail_point!("wipe.scrub");
                some.iter().try_for_each(|dirty| scrub::scrub(turn.conn, dirty))?;
                Ok(Ok(()))
            });
            pollster::block_on(store.write(task))?;
        }
        Ok(())
    }

    fn end(&mut self, store: &Store) -> Result<Came, Error> {
        let of = self.of;
        let task = Task::new(move |turn| {
            fail::fail_point!("wipe.end");
            let due = unwiped(turn.conn)?;
            if due == of {
                meta::set_integer(turn.conn, MARK, 0)?;
            }
            Ok(Ok(due == of))
        });
        let ended = pollster::block_on(store.write(task))?;
        *self = Self::default();
        Ok(if ended { Came::Through } else { Came::On })
    }
}

fn look(store: &Store, first: u64, pages: usize) -> Result<(Vec<Dirty>, u64), Error> {
    // By the descriptor that holds the lock: to close another one would drop SQLite's own locks.
    let held = store.readers.held().ok_or(Error::Closed)?;
    Ok(scrub::look(held.file(), first, pages)?)
}
