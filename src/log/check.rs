//! Whether a file is whole: the doctor's questions.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use crate::board::refold;
use crate::error::Error;
use crate::seq::LogId;
use crate::store::open::readable;
use crate::store::readers::{Readers, at_one_moment};
use crate::store::{inspect, meta, rows};

/// What a check found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The log's name.
    pub log_id: LogId,
    /// The highest seq ever given.
    pub head: i64,
    /// The highest pruned seq.
    pub floor: i64,
    /// Rows above the floor.
    pub rows: i64,
    /// The schema of the file.
    pub schema: i64,
    /// The version of `SQLite` that read it.
    pub sqlite: String,
    /// The durability that it was last written with.
    pub durability: String,
    /// The journal mode of the file.
    pub journal_mode: String,
    /// What is wrong; empty for a whole log.
    pub problems: Vec<String>,
}

/// Checks the file at `path`, with or without a server that writes it. Reads all of it, and blocks
/// that long.
///
/// # Errors
/// The file cannot be opened as a log, or cannot be read.
pub fn check(path: impl AsRef<Path>) -> Result<Report, Error> {
    let path = readable(path.as_ref())?;
    let readers = Readers::open(&path, None)?;
    readers.with(|conn| {
        let log_id = meta::log_id(conn)?;
        at_one_moment(conn, |conn| examine(conn, log_id))
    })
}

fn examine(conn: &Connection, log_id: LogId) -> rusqlite::Result<Report> {
    let mut problems = inspect::integrity(conn)?;
    let (head, floor, last) = (rows::head(conn)?, meta::floor(conn)?, rows::last(conn)?);
    let rows = rows::count_above(conn, floor)?;
    if rows != head.get() - floor.get() {
        problems.push(format!(
            "the log has holes: {rows} rows above the floor, {} seqs",
            head.get() - floor.get()
        ));
    }
    if last > head {
        problems.push(format!("row {last} is above the counter ({head}): another program wrote it"));
    }
    let back = rows::times_that_go_back(conn)?;
    if back > 0 {
        problems.push(format!("recorded_at_ms goes back {back} times"));
    }
    if problems.is_empty() {
        for table in refold::differences(conn, head)? {
            problems.push(format!("the board's table {table} is not the fold of the events"));
        }
    }
    Ok(Report {
        log_id,
        head: head.get(),
        floor: floor.get(),
        rows,
        schema: inspect::schema(conn)?,
        sqlite: rusqlite::version().to_owned(),
        durability: meta::text(conn, "durability")?.unwrap_or_else(|| "unknown".into()),
        journal_mode: inspect::journal_mode(conn)?,
        problems,
    })
}
