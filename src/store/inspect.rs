//! What SQLite itself says of a file.

use rusqlite::Connection;

/// What a full check of the pages and indexes found; empty for a sound file.
pub(crate) fn integrity(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare("PRAGMA integrity_check(20)")?;
    let mut found: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    found.retain(|line| line != "ok");
    Ok(found)
}

/// The schema that the file has.
pub(crate) fn schema(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// The mark of the application that made the file.
pub(crate) fn application_id(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA application_id", [], |row| row.get(0))
}

/// How the file is journalled.
pub(crate) fn journal_mode(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))
}

/// Begins a transaction that writes, commits it, or takes it back: for the one who owns the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bracket {
    Begin,
    Commit,
    RollBack,
}

impl Bracket {
    pub(crate) fn run(self, conn: &Connection) -> rusqlite::Result<()> {
        conn.execute_batch(match self {
            Self::Begin => "BEGIN IMMEDIATE",
            Self::Commit => "COMMIT",
            Self::RollBack => "ROLLBACK",
        })
    }
}
