//! Transients: one lifecycle action in progress for each name.

use rusqlite::{Connection, OptionalExtension as _};

use crate::board::{load, view_rows};
use crate::error::Refusal;
use crate::event::{TransientCleared, TransientSet};
use crate::seq::Seq;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Set(&'a TransientSet),
    Cleared(&'a TransientCleared),
}

/// The bytes of the transient that is set for this name.
fn find(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT bytes FROM transients WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn decide(
    conn: &Connection,
    step: Step<'_>,
    bytes: i64,
) -> rusqlite::Result<Result<Option<String>, Refusal>> {
    match step {
        // Setting a name again replaces what was set, so nothing more is open afterwards.
        Step::Set(set) if find(conn, &set.name)?.is_some() => Ok(Ok(None)),
        Step::Set(set) => Ok(load::check(conn, &set.name, bytes)?.map(|()| None)),
        Step::Cleared(cleared) => Ok(match find(conn, &cleared.name)? {
            Some(_) => Ok(None),
            None => Err(Refusal::Unknown(format!("a transient of {}", cleared.name).into())),
        }),
    }
}

pub(super) fn fold(conn: &Connection, step: Step<'_>, seq: Seq, bytes: i64) -> rusqlite::Result<()> {
    let name = match step {
        Step::Set(set) => &set.name,
        Step::Cleared(cleared) => &cleared.name,
    };
    if let Some(before) = find(conn, name)? {
        conn.prepare_cached("DELETE FROM transients WHERE name = ?1")?.execute([name])?;
        load::add(conn, name, -1, before)?;
    }
    let Step::Set(set) = step else { return Ok(()) };
    conn.prepare_cached(
        "INSERT INTO transients (name, transient_kind, since_unix, expires_at, bytes, set_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((name, set.transient_kind.as_str(), set.since_unix, set.expires_at, bytes, seq.get()))?;
    load::add(conn, name, 1, bytes)
}

pub(super) fn view(conn: &Connection, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    let sql = "SELECT e.seq, e.recorded_at_ms, e.kind, e.payload
               FROM transients AS t JOIN events AS e ON e.seq = t.set_seq ORDER BY t.set_seq";
    view_rows(conn, sql, out, |_, _| Ok(()))
}
