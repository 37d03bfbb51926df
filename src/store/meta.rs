//! What is true of the log as a whole: named values that no row can lose.

use rusqlite::{Connection, OptionalExtension as _, ToSql};

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
    set(conn, name, value)
}

pub(crate) fn text(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(crate) fn set_text(conn: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    set(conn, name, value)
}

fn set(conn: &Connection, name: &str, value: impl ToSql) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute((name, value))?;
    if SUMMED.contains(&name) { seal(conn, name) } else { Ok(()) }
}

pub(crate) fn remove(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM meta WHERE name IN (?1, 'sum.' || ?1)", [name])?;
    Ok(())
}

/// What readers go by without a look at any event: each has a sum beside it, by which the doctor knows that it is
/// what was written.
const SUMMED: [&str; 3] = ["log_id", "floor", "board_floor"];

/// Sums up what a new file begins with.
pub(crate) fn seal_all(conn: &Connection) -> rusqlite::Result<()> {
    SUMMED.iter().try_for_each(|name| seal(conn, name))
}

fn seal(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    let sum = sum_of(conn, name)?;
    set(conn, &format!("sum.{name}"), sum)
}

fn sum_of(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    let value = conn
        .prepare_cached("SELECT CAST(value AS TEXT) FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(crc32fast::hash(format!("{name}={}", value.unwrap_or_default()).as_bytes()).into())
}

/// Those that are not what was written, as far as they have a sum: older files have none.
pub(crate) fn damaged(conn: &Connection) -> rusqlite::Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for name in SUMMED {
        let sum = integer(conn, &format!("sum.{name}"))?;
        if sum != 0 && sum != sum_of(conn, name)? {
            found.push(name);
        }
    }
    Ok(found)
}

/// The highest pruned seq; 0 where nothing was.
pub(crate) fn floor(conn: &Connection) -> rusqlite::Result<Seq> {
    integer(conn, "floor").map(Seq::clamped)
}

/// The highest pruned seq of a board kind.
pub(crate) fn board_floor(conn: &Connection) -> rusqlite::Result<Seq> {
    integer(conn, "board_floor").map(Seq::clamped)
}

/// What changes with the log: where it is the same, nothing was appended, pruned or redacted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) head: Seq,
    pub(crate) floor: i64,
    pub(crate) board_floor: i64,
    pub(crate) redactions: i64,
}

/// One statement, so that it is of one moment by itself.
const STANDING: &str = "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'events'),
                               (SELECT value FROM meta WHERE name = 'floor'),
                               (SELECT value FROM meta WHERE name = 'board_floor'),
                               (SELECT value FROM meta WHERE name = 'redactions')";

pub(crate) fn standing(conn: &Connection) -> rusqlite::Result<Standing> {
    conn.prepare_cached(STANDING)?.query_row([], |row| {
        let number = |index| row.get::<_, Option<i64>>(index).map(Option::unwrap_or_default);
        let (head, floor) = (Seq::clamped(number(0)?), number(1)?);
        Ok(Standing { head, floor, board_floor: number(2)?, redactions: number(3)? })
    })
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::STANDING;

    #[test]
    fn where_a_log_stands_costs_places_in_small_tables() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../migrations/01-log/up.sql")).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {STANDING}")).unwrap();
        let plan = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let plan = plan.collect::<rusqlite::Result<Vec<_>>>().unwrap();
        let places = plan.iter().filter(|line| line.starts_with("SEARCH meta USING PRIMARY KEY")).count();
        assert_eq!(places, 3, "{plan:?}");
        let scans: Vec<_> = plan.iter().filter(|line| line.starts_with("SCAN")).collect();
        assert!(
            scans.iter().all(|line| line.contains("sqlite_sequence") || line.contains("CONSTANT")),
            "{plan:?}"
        );
    }
}
