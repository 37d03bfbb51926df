//! The journal: what happened to messages and is not on the log yet.

use rusqlite::Connection;

use crate::limits::{MIRROR_BYTES, MIRROR_EVENTS};
use crate::seq::Seq;
use crate::store::meta;

/// What can happen to a message that the log is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It was sent.
    Sent,
    /// It was handed out for the first time.
    Delivered,
}

impl What {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
        }
    }
}

/// One row of the journal, with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) what: What,
    /// In unix seconds.
    pub(crate) at: i64,
    pub(crate) message_id: i64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) body: String,
}

/// Writes down what happened; gives the row's id.
pub(super) fn note(conn: &Connection, what: What, message_id: i64, at: i64) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT INTO journal (what, message_id, at) VALUES (?1, ?2, ?3)")?.insert((
        what.as_str(),
        message_id,
        at,
    ))
}

/// The id of the last row that was ever written.
pub(crate) fn head(conn: &Connection) -> rusqlite::Result<Seq> {
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(seq) FROM sqlite_sequence WHERE name = 'journal'")?
        .query_row([], |row| row.get(0))?;
    Ok(Seq::clamped(last.unwrap_or(0)))
}

const CURSOR: &str = "mirrored_journal_id";

/// The last row that is on the log.
pub(crate) fn cursor(conn: &Connection) -> rusqlite::Result<i64> {
    meta::integer(conn, CURSOR)
}

/// Writes down that the rows up to this one are on the log, and forgets them.
pub(crate) fn set_cursor(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    meta::set_integer(conn, CURSOR, id)?;
    conn.prepare_cached("DELETE FROM journal WHERE id <= ?1")?.execute([id])?;
    Ok(())
}

/// The next rows that are not on the log, as many as one transaction of the mirror takes, and the id of the
/// last of them. A row whose message is gone is passed over.
pub(crate) fn next(conn: &Connection) -> rusqlite::Result<Option<(Vec<Entry>, i64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT j.id, j.what, j.at, j.message_id, m.sender, m.recipient, m.body
         FROM journal AS j LEFT JOIN messages AS m ON m.id = j.message_id
         WHERE j.id > ?1 ORDER BY j.id LIMIT ?2",
    )?;
    let mut rows = statement.query((cursor(conn)?, MIRROR_EVENTS))?;
    let (mut entries, mut last, mut bytes) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let Some(body) = row.get::<_, Option<String>>(6)? else {
            last = Some(row.get(0)?);
            continue;
        };
        bytes += body.len();
        if bytes > MIRROR_BYTES && !entries.is_empty() {
            break;
        }
        last = Some(row.get(0)?);
        let is_sent = row.get_ref(1)?.as_str()? == What::Sent.as_str();
        entries.push(Entry {
            id: row.get(0)?,
            what: if is_sent { What::Sent } else { What::Delivered },
            at: row.get(2)?,
            message_id: row.get(3)?,
            from: row.get(4)?,
            to: row.get(5)?,
            body,
        });
    }
    Ok(last.map(|last| (entries, last)))
}

/// The messages that rows of the journal still need, or `None` where they are too many to say.
pub(super) fn needed(conn: &Connection, at_most: i64) -> rusqlite::Result<Option<Vec<i64>>> {
    let mut statement = conn.prepare_cached("SELECT message_id FROM journal ORDER BY id LIMIT ?1")?;
    let ids: Vec<i64> = statement.query_map([at_most], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok((i64::try_from(ids.len()).is_ok_and(|count| count < at_most)).then_some(ids))
}
