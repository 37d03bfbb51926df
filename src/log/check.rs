//! Whether a file is whole: the doctor's questions.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use crate::board::{self, refold};
use crate::error::Error;
use crate::seq::{LogId, Seq};
use crate::store::open::readable;
use crate::store::readers::{Readers, at_one_moment};
use crate::store::{inspect, keys, meta, rows};

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
        at_one_moment(conn, |conn| examine(conn, log_id)).map(|(report, _)| report)
    })
}

/// Something that is not as it should be: what, why that may be, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// A word for scripts that does not change.
    pub word: &'static str,
    /// What was found.
    pub what: String,
    /// What may have caused it.
    pub cause: String,
    /// What helps.
    pub cure: String,
}

impl Finding {
    pub(crate) fn new(
        word: &'static str,
        what: impl Into<String>,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { word, what: what.into(), cause: cause.into(), cure: cure.into() }
    }
}

const RESTORE: &str =
    "stop the server and restore a backup (hivelog restore BACKUP --replace keeps this file beside it)";
const REFOLD: &str = "stop the server, hivelog export, and hivelog import into a new file, which folds it anew (as another log)";
const FOREIGN: &str = "another program wrote to the file, or it was damaged";

/// A file that cannot even be read.
pub(crate) fn damaged(why: &str) -> Finding {
    Finding::new("damaged", why, "the disk, or a program that wrote to the file", RESTORE)
}

/// Reads all of the log, at one moment.
pub(crate) fn examine(conn: &Connection, log_id: LogId) -> rusqlite::Result<(Report, Vec<Finding>)> {
    let mut found = Vec::new();
    for line in inspect::integrity(conn)? {
        found.push(damaged(&line));
    }
    let (head, floor, last) = (rows::head(conn)?, meta::floor(conn)?, rows::last(conn)?);
    for name in meta::damaged(conn)? {
        found.push(damaged(&format!("the log's {name} is damaged: it is not what was written")));
    }
    let rows = rows::count_above(conn, floor)?;
    if rows != head.get() - floor.get() {
        let due = head.get() - floor.get();
        let what = format!("the log has holes: {rows} rows above the floor, {due} seqs");
        found.push(Finding::new("holes", what, FOREIGN, RESTORE));
    }
    if last > head {
        let what = format!("row {last} is above the counter ({head}): another program wrote it");
        found.push(Finding::new("counter", what, FOREIGN, RESTORE));
    }
    let back = rows::times_that_go_back(conn)?;
    if back > 0 {
        found.push(Finding::new("times", format!("recorded_at_ms goes back {back} times"), FOREIGN, RESTORE));
    }
    let (changed, foreign) = rows::damaged(conn)?;
    for seq in changed {
        found.push(damaged(&format!("event {seq} is damaged: its bytes are not those that were stored")));
    }
    if foreign > 0 {
        let what = format!("{foreign} events have no sum: another program wrote them");
        found.push(Finding::new("sums", what, FOREIGN, RESTORE));
    }
    let ahead = keys::count_above(conn, head)?;
    if ahead > 0 {
        let what = format!("{ahead} idempotency keys stand for events above the counter ({head})");
        found.push(Finding::new("keys", what, FOREIGN, RESTORE));
    }
    for name in board::ids_behind(conn)? {
        let what = format!("the counter {name} is behind the ids that were given: one would be given twice");
        found.push(Finding::new("ids", what, FOREIGN, REFOLD));
    }
    if found.is_empty() {
        for table in refold::differences(conn, head)? {
            let what = format!("the board's table {table} is not the fold of the events");
            found.push(Finding::new("board", what, FOREIGN, REFOLD));
        }
    }
    let report = report(conn, (log_id, head, floor), rows, &found)?;
    Ok((report, found))
}

fn report(
    conn: &Connection,
    (log_id, head, floor): (LogId, Seq, Seq),
    rows: i64,
    found: &[Finding],
) -> rusqlite::Result<Report> {
    Ok(Report {
        log_id,
        head: head.get(),
        floor: floor.get(),
        rows,
        schema: inspect::schema(conn)?,
        sqlite: rusqlite::version().to_owned(),
        durability: meta::text(conn, "durability")?.unwrap_or_else(|| "unknown".into()),
        journal_mode: inspect::journal_mode(conn)?,
        problems: found.iter().map(|finding| finding.what.clone()).collect(),
    })
}
