//! How many items are open, and since when.

use rusqlite::{Connection, OptionalExtension as _};

/// What is open of one sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) count: i64,
    /// When the log took the oldest, in milliseconds since 1970.
    pub(crate) oldest_ms: Option<i64>,
}

/// What is open, by sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) approvals: Open,
    pub(crate) questions: Open,
    pub(crate) transients: Open,
}

/// Counts on indexes of what is open alone, so its cost does not grow with the log.
pub(crate) fn census(conn: &Connection) -> rusqlite::Result<Census> {
    Ok(Census {
        approvals: open(conn, "SELECT count(*), min(added_seq) FROM approvals WHERE resolved_seq IS NULL")?,
        questions: open(conn, "SELECT count(*), min(added_seq) FROM questions WHERE resolved_seq IS NULL")?,
        transients: open(conn, "SELECT count(*), min(set_seq) FROM transients")?,
    })
}

fn open(conn: &Connection, sql: &str) -> rusqlite::Result<Open> {
    let (count, first): (i64, Option<i64>) =
        conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let oldest_ms = conn
        .prepare_cached("SELECT recorded_at_ms FROM events WHERE seq = ?1")?
        .query_row([first], |row| row.get(0))
        .optional()?;
    Ok(Open { count, oldest_ms })
}
