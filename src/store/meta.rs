//! What is true of the log as a whole: named values that no row can lose.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::Error;
use crate::seq::{LogId, Seq};
use crate::store::reading;

/// The named whole number; 0 where it was never set.
pub(crate) fn integer(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    let value = conn
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(value.unwrap_or(0))
}

pub(crate) fn set_integer(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute((name, value))?;
    Ok(())
}

pub(crate) fn text(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(crate) fn set_text(conn: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute((name, value))?;
    Ok(())
}

pub(crate) fn remove(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM meta WHERE name = ?1", [name])?;
    Ok(())
}

/// The highest pruned seq; 0 where nothing was.
pub(crate) fn floor(conn: &Connection) -> rusqlite::Result<Seq> {
    integer(conn, "floor").map(Seq::clamped)
}

/// The highest pruned seq of a board kind.
pub(crate) fn board_floor(conn: &Connection) -> rusqlite::Result<Seq> {
    integer(conn, "board_floor").map(Seq::clamped)
}

/// The log's name.
pub(crate) fn log_id(conn: &Connection) -> Result<LogId, Error> {
    text(conn, "log_id").map_err(|error| reading(&error))?.and_then(|text| text.parse().ok()).ok_or_else(
        || {
            Error::NotALog(
                "the file has no log id: an unfinished import? resume it with `hivelog import`".into(),
            )
        },
    )
}

/// The declared kinds.
pub(crate) fn kinds(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement =
        conn.prepare("SELECT substr(name, 6) FROM meta WHERE name >= 'kind.' AND name < 'kind/'")?;

    statement.query_map([], |row| row.get(0))?.collect()
}
