//! The board as it goes over the wire.
//!
//! An open item is shown as the event that opened it, and that never changes unless it is redacted. So what a
//! view before this one has encoded is taken from it, and only what was opened since is read from the log: ten
//! thousand items are ten thousand places in a large file.

use bytes::Bytes;
use rusqlite::Connection;

use crate::board::{Which, approval, question, transient};
use crate::seq::Seq;
use crate::store::rows;
use crate::wire;

/// A view that was made, and where in it the open items are.
#[derive(Debug)]
pub(crate) struct Shown {
    json: Bytes,
    open: Open,
    /// How many redactions there were: each may have changed an item.
    redactions: i64,
}

/// The open items of a view: approvals, questions, transients.
pub(crate) type Open = [Vec<Item>; 3];

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    seq: i64,
    start: usize,
    end: usize,
}

impl Shown {
    pub(crate) const fn new(json: Bytes, open: Open, redactions: i64) -> Self {
        Self { json, open, redactions }
    }

    /// The bytes of it.
    pub(crate) const fn weight(&self) -> usize {
        self.json.len()
    }

    /// Whether its items are still what they were.
    pub(crate) const fn holds(&self, redactions: i64) -> bool {
        self.redactions == redactions
    }
}

/// What is open of each kind: the seqs of the opening events in order, and what is said of an item that is open.
const OPEN: [(&str, &str, &str); 3] = [
    (
        "\"approvals\":",
        "SELECT added_seq FROM approvals WHERE resolved_seq IS NULL ORDER BY added_seq",
        approval::OPEN,
    ),
    (
        ",\"questions\":",
        "SELECT added_seq FROM questions WHERE resolved_seq IS NULL ORDER BY added_seq",
        question::OPEN,
    ),
    (",\"transients\":", "SELECT set_seq FROM transients ORDER BY set_seq", transient::OPEN),
];

/// Appends the board as JSON members: what is open, and what was closed last.
pub(crate) fn view(conn: &Connection, known: Option<&Shown>, out: &mut Vec<u8>) -> rusqlite::Result<Open> {
    let mut open = Open::default();
    for (index, ((name, sql, rest), items)) in OPEN.into_iter().zip(&mut open).enumerate() {
        out.extend_from_slice(name.as_bytes());
        let known = known.and_then(|known| Some((&*known.json, known.open.get(index)?.as_slice())));
        *items = array(conn, sql, rest, known.unwrap_or_default(), out)?;
    }
    out.extend_from_slice(b",\"recent_approvals\":");
    approval::view(conn, &Which::Recent, out)?;
    out.extend_from_slice(b",\"recent_questions\":");
    question::view(conn, &Which::Recent, out)?;
    Ok(open)
}

fn array(
    conn: &Connection,
    sql: &str,
    rest: &str,
    (json, mut known): (&[u8], &[Item]),
    out: &mut Vec<u8>,
) -> rusqlite::Result<Vec<Item>> {
    let mut items = Vec::with_capacity(known.len());
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    out.push(b'[');
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        let before = out.len();
        if !items.is_empty() {
            out.push(b',');
        }
        let start = out.len();
        // Both go by rising seqs.
        while let Some((_, later)) = known.split_first().filter(|(item, _)| item.seq < seq) {
            known = later;
        }
        let text = known.first().filter(|item| item.seq == seq);
        if let Some(text) = text.and_then(|item| json.get(item.start..item.end)) {
            out.extend_from_slice(text);
        } else if !item(conn, Seq::clamped(seq), rest, out)? {
            out.truncate(before);
            continue;
        }
        items.push(Item { seq, start, end: out.len() });
    }
    out.push(b']');
    Ok(items)
}

/// Appends one item, its opening event with what is said of it; not where that event is missing.
fn item(conn: &Connection, seq: Seq, rest: &str, out: &mut Vec<u8>) -> rusqlite::Result<bool> {
    let found = rows::get(conn, seq, |row| {
        wire::envelope(out, (row.seq, row.recorded_at_ms), row.kind, None, row.payload);
        // The envelope's closing brace makes room for the rest.
        out.pop();
        out.extend_from_slice(rest.as_bytes());
        out.push(b'}');
    })?;
    Ok(found.is_some())
}
