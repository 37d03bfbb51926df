//! The board as it stood at some seq, folded anew into temporary tables of a reader.

use std::ops::ControlFlow;
use std::time::Instant;

use rusqlite::Connection;

use crate::board::{fold, step};
use crate::event::{BOARD_KINDS, Event};
use crate::query::{Filter, Order};
use crate::seq::Seq;
use crate::store::rows::{self, Stretch};

const TABLES: [&str; 4] = ["approvals", "questions", "transients", "open_load"];

/// Whether a fold got to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folded {
    Whole,
    /// The deadline passed.
    Late,
}

/// Runs `read` on a connection whose board is the one at `upto`.
///
/// The board's tables are made again in the temporary schema of the connection, where they hide
/// those of the file: so the fold and the view are the same statements as ever, and the file is
/// not written.
pub(crate) fn at<T>(
    conn: &Connection,
    upto: Seq,
    deadline: Option<Instant>,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    clear(conn)?;
    make(conn)?;
    let done = match refold(conn, upto, deadline) {
        Ok(Folded::Whole) => read(conn).map(Some),
        Ok(Folded::Late) => Ok(None),
        Err(error) => Err(error),
    };
    clear(conn)?;
    done
}

/// The definitions come from the file itself, so they cannot differ from the ones it has.
fn make(conn: &Connection) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(
        "SELECT type, sql FROM main.sqlite_schema
         WHERE tbl_name IN ('approvals', 'questions', 'transients', 'open_load') AND sql IS NOT NULL
         ORDER BY type DESC",
    )?;
    let definitions: Vec<(String, String)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (what, sql) in definitions {
        let temporary = match what.as_str() {
            "table" => sql.replacen("CREATE TABLE ", "CREATE TEMP TABLE ", 1),
            _ => sql.replacen("CREATE INDEX ", "CREATE INDEX temp.", 1),
        };
        conn.execute_batch(&temporary)?;
    }
    Ok(())
}

fn clear(conn: &Connection) -> rusqlite::Result<()> {
    for table in TABLES {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS temp.{table}"))?;
    }
    // Statements that were made while the temporary tables were there must not outlive them.
    conn.flush_prepared_statement_cache();
    Ok(())
}

fn refold(conn: &Connection, upto: Seq, deadline: Option<Instant>) -> rusqlite::Result<Folded> {
    let filter =
        BOARD_KINDS.iter().try_fold(Filter::default(), |filter, kind| filter.kind(kind)).unwrap_or_default();
    let mut done = Ok(Folded::Whole);
    rows::scan(conn, Stretch::upto(Seq::ZERO, upto), Order::Asc, &filter, |seq, row| {
        let Some(row) = row else { return ControlFlow::Continue(()) };
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            done = Ok(Folded::Late);
            return ControlFlow::Break(());
        }
        let payload = std::str::from_utf8(row.payload).unwrap_or_default();
        let folded = match Event::read(row.kind, payload) {
            Ok(event) => step(&event).map_or(Ok(()), |step| fold(conn, step, seq, payload.len())),
            Err(error) => Err(super::unreadable(error)),
        };
        match folded {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                done = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    done
}

/// The tables of the file's board that differ from the fold of its events, by name.
pub(crate) fn differences(conn: &Connection, head: Seq) -> rusqlite::Result<Vec<&'static str>> {
    let compared = at(conn, head, None, |conn| {
        let mut different = Vec::new();
        for table in TABLES {
            let sql = format!(
                "SELECT (SELECT count(*) FROM (SELECT * FROM main.{table} EXCEPT SELECT * FROM temp.{table}))
                      + (SELECT count(*) FROM (SELECT * FROM temp.{table} EXCEPT SELECT * FROM main.{table}))"
            );
            if conn.query_row(&sql, [], |row| row.get::<_, i64>(0))? != 0 {
                different.push(table);
            }
        }
        Ok(different)
    })?;
    Ok(compared.unwrap_or_default())
}
