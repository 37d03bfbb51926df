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

/// A number that changes with every commit of another connection.
pub(crate) fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// The mark of the application that made the file.
pub(crate) fn application_id(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA application_id", [], |row| row.get(0))
}

/// The length of a page in bytes.
pub(crate) fn page_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    conn.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0)).map(u64::from)
}

/// The number of the first page of a table.
pub(crate) fn root_page(conn: &Connection, table: &str) -> rusqlite::Result<u64> {
    conn.query_row("SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?1", [table], |row| {
        row.get::<_, u32>(0)
    })
    .map(u64::from)
}

/// Puts the file into WAL mode.
///
/// The answer is given before the change is committed: only the end of the statement tells whether it was.
pub(crate) fn use_wal(conn: &Connection) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA journal_mode = WAL")?;
    let mut answers = statement.query([])?;
    while answers.next()?.is_some() {}
    Ok(())
}

/// How the file is journalled.
pub(crate) fn journal_mode(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))
}

/// Whether a commit of this connection is on disk when it is told.
pub(crate) fn syncs_commits(conn: &Connection) -> rusqlite::Result<bool> {
    const FULL: i64 = 2;
    Ok(conn.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))? >= FULL)
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
