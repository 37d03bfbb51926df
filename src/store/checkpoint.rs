//! Moving the WAL's pages into the database: explicit, so that its errors are seen.

use std::cell::Cell;

use rusqlite::Connection;

thread_local! {
    /// Pages in the WAL after this thread's last commit. SQLite calls the hook on the thread that
    /// commits and gives it no state, so the number waits here for the writer that made it.
    static WAL_PAGES: Cell<i64> = const { Cell::new(0) };
}

/// Lets commits on this connection leave the number of WAL pages for [`pages`].
///
/// To be called after `wal_autocheckpoint` was set: that pragma takes the same hook.
pub(crate) fn watch(conn: &Connection) {
    conn.wal_hook(Some(|_, pages| {
        WAL_PAGES.with(|cell| cell.set(pages.into()));
        Ok(())
    }));
}

/// Pages in the WAL after this thread's last commit.
pub(crate) fn pages() -> i64 {
    WAL_PAGES.with(Cell::get)
}

/// What a checkpoint left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Pages in the WAL.
    pub(crate) wal: i64,
    /// How many of them are in the database too.
    pub(crate) moved: i64,
}

impl Left {
    /// Whether a reader keeps pages from being moved.
    pub(crate) const fn is_held(self) -> bool {
        self.moved < self.wal
    }
}

/// Moves what readers allow, without waiting for them.
pub(crate) fn passive(conn: &Connection) -> rusqlite::Result<Left> {
    conn.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |row| {
        Ok(Left { wal: row.get::<_, i64>(1)?.max(0), moved: row.get::<_, i64>(2)?.max(0) })
    })
}
