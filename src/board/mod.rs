//! The board: what is open now, as pure functions of a transaction.
//!
//! `decide` reads and may refuse, `fold` writes the board's tables and never refuses, `view` reads
//! them. None of them knows a thread, a clock or a wire beyond bytes.

pub(crate) mod approval;
pub(crate) mod census;
pub(crate) mod closed;
pub(crate) mod intent;
pub(crate) mod lease;
pub(crate) mod load;
pub(crate) mod question;
pub(crate) mod refold;
pub(crate) mod transient;
pub(crate) mod view;

use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;

use crate::error::Refusal;
use crate::event::Event;
use crate::limits::{PAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, RECENT_ITEMS};
use crate::row::{Builder, Row, RowRef, Style};
use crate::seq::Seq;
use crate::store::{meta, rows};
use crate::wire;

pub(crate) use intent::{Intent, command, minted_id, plan, settle};

/// What an event means for the board.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Approval(approval::Step<'a>),
    Question(question::Step<'a>),
    Transient(transient::Step<'a>),
}

/// The one place where every kind says what it means for the board.
pub(crate) fn step(event: &Event) -> Option<Step<'_>> {
    match event {
        Event::Sent(_) | Event::Delivered(_) | Event::Custom(_) => None,
        Event::ApprovalAdded(added) => Some(Step::Approval(approval::Step::Added(added))),
        Event::ApprovalResolved(resolved) => Some(Step::Approval(approval::Step::Resolved(resolved))),
        Event::QuestionAdded(added) => Some(Step::Question(question::Step::Added(added))),
        Event::QuestionResolved(resolved) => Some(Step::Question(question::Step::Resolved(resolved))),
        Event::TransientSet(set) => Some(Step::Transient(transient::Step::Set(set))),
        Event::TransientCleared(cleared) => Some(Step::Transient(transient::Step::Cleared(cleared))),
    }
}

/// Whether the step may be taken; `bytes` is the length of its text. The answer names agents that
/// the event concerns beyond those it names itself.
pub(crate) fn decide(
    conn: &Connection,
    step: Step<'_>,
    bytes: usize,
) -> rusqlite::Result<Result<Option<String>, Refusal>> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    match step {
        Step::Approval(step) => approval::decide(conn, step, bytes),
        Step::Question(step) => question::decide(conn, step, bytes),
        Step::Transient(step) => transient::decide(conn, step, bytes),
    }
}

/// Takes the step, which stands at `seq` of the log.
pub(crate) fn fold(conn: &Connection, step: Step<'_>, seq: Seq, bytes: usize) -> rusqlite::Result<()> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    match step {
        Step::Approval(step) => approval::fold(conn, step, seq, bytes),
        Step::Question(step) => question::fold(conn, step, seq, bytes),
        Step::Transient(step) => transient::fold(conn, step, seq, bytes),
    }
}

/// Counts the text of an event anew whose text was replaced: it is this long now.
pub(crate) fn resize(conn: &Connection, step: Step<'_>, bytes: usize) -> rusqlite::Result<()> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    match step {
        Step::Approval(approval::Step::Added(added)) => approval::resize(conn, added.id, bytes),
        Step::Question(question::Step::Added(added)) => question::resize(conn, added.id, bytes),
        Step::Approval(_) | Step::Question(_) | Step::Transient(_) => Ok(()),
    }
}

/// Lets the counters of ids jump past an id that came from the caller. They are not board: no fold
/// moves them back.
pub(crate) fn count_id(conn: &Connection, step: Step<'_>) -> rusqlite::Result<()> {
    let (counter, id) = match step {
        Step::Approval(approval::Step::Added(added)) => ("approval_id", added.id),
        Step::Question(question::Step::Added(added)) => ("question_id", added.id),
        Step::Approval(_) | Step::Question(_) | Step::Transient(_) => return Ok(()),
    };
    if id > meta::integer(conn, counter)? {
        meta::set_integer(conn, counter, id)?;
    }
    Ok(())
}

/// The id after the last one given; it is given once the event that has it is folded.
fn next_id(conn: &Connection, counter: &str) -> rusqlite::Result<i64> {
    Ok(meta::integer(conn, counter)? + 1)
}

/// The counters of ids that stand below an id which was given.
pub(crate) fn ids_behind(conn: &Connection) -> rusqlite::Result<Vec<&'static str>> {
    let mut behind = Vec::new();
    // A file of the first schema has no questions between peers.
    let has_peers: bool = conn.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'peer_questions'",
        [],
        |row| row.get(0),
    )?;
    let peers = if has_peers { " UNION ALL SELECT id FROM peer_questions" } else { "" };
    for (name, ids) in [
        ("approval_id", "SELECT id FROM approvals".to_owned()),
        ("question_id", format!("SELECT id FROM questions{peers}")),
    ] {
        let sql = format!("SELECT coalesce(max(id), 0) FROM ({ids})");
        let given: i64 = conn.query_row(&sql, [], |row| row.get(0))?;
        if given > meta::integer(conn, name)? {
            behind.push(name);
        }
    }
    Ok(behind)
}

/// Gives an id of a question's without an event: those between peers share the counter.
pub(crate) fn take_question_id(conn: &Connection) -> rusqlite::Result<i64> {
    let id = next_id(conn, "question_id")?;
    meta::set_integer(conn, "question_id", id)?;
    Ok(id)
}

/// Which rows of the board are asked for.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// This one.
    One(i64),
    /// All that are open, or those of this agent, the oldest first.
    Open(Option<String>),
    /// Those closed last, or those of this agent, the newest first, as far as a list of them goes.
    Closed(Option<String>),
    /// Those closed last, the newest first: what a board shows of them.
    Recent,
}

/// Below the highest id that was pruned nobody knows any more which ids were given, and none is given twice.
fn id_was_given() -> Refusal {
    Refusal::invalid("id", "is not above the ids that were pruned: it may have been given before")
}

/// The event at `seq`, for the one who lost against it.
fn winner(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Row>> {
    let segment = rows::get(conn, Seq::clamped(seq), |row| {
        let mut builder = Builder::new(Style::Lines);
        builder.push(row);
        builder.finish()
    })?;
    Ok(segment.and_then(|segment: Arc<_>| segment.row(0)))
}

/// The answer to the one who came too late: with the event that won, where it is still there.
fn lost(conn: &Connection, what: &str, seq: i64) -> rusqlite::Result<Refusal> {
    Ok(match winner(conn, seq)? {
        Some(row) => {
            let detail = format!("{what}: seq {seq} ({}) was first", row.kind());
            Refusal::Conflict { detail: detail.into(), winner: Box::new(row) }
        }
        None => Refusal::Unknown(what.into()),
    })
}

/// The columns of [`view_rows`], of a board's table as `x`: its opening event as `e`, the one that ended it as `r`.
const VIEW_COLUMNS: &str = "e.seq, e.recorded_at_ms, e.kind, e.payload, x.resolved_seq, r.payload, \
     r.recorded_at_ms, r.kind, e.sum, r.sum";

/// Appends `[`, then each row of the query with its opening event first, then `]`.
///
/// The query gives [`VIEW_COLUMNS`] first, and then its own; `rest` appends what has become of the
/// row, as members that begin with a comma. Fails for an event that is not what was stored.
fn view_rows(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    (out, bytes_max): (&mut Vec<u8>, usize),
    mut rest: impl FnMut(&rusqlite::Row<'_>, &mut Vec<u8>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = rows::prepare(conn, sql)?;
    let mut rows = statement.query(params)?;
    out.push(b'[');
    let begin = out.len();
    while out.len() - begin < bytes_max
        && let Some(row) = rows.next()?
    {
        if out.len() > begin {
            out.push(b',');
        }
        let (kind, payload) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_bytes()?);
        let (seq, recorded_at_ms) = (Seq::clamped(row.get(0)?), row.get(1)?);
        let added = RowRef { seq, recorded_at_ms, kind, payload, agents: "" };
        rows::check(added, row.get(8)?, false)?;
        if let (Some(seq), Some(recorded_at_ms)) = (row.get(4)?, row.get(6)?) {
            let (kind, payload) = (row.get_ref(7)?.as_str()?, row.get_ref(5)?.as_bytes()?);
            let ended = RowRef { seq: Seq::clamped(seq), recorded_at_ms, kind, payload, agents: "" };
            rows::check(ended, row.get(9)?, false)?;
        }
        wire::envelope(out, (seq, recorded_at_ms), kind, None, payload);
        // The envelope's closing brace makes room for what has become of it.
        out.pop();
        rest(row, out)?;
        out.push(b'}');
    }
    out.push(b']');
    Ok(())
}

/// Whether an event of this payload is larger than one may be.
fn is_too_large(payload: &impl Serialize) -> bool {
    serde_json::to_vec(payload).is_ok_and(|text| text.len() > PAYLOAD_BYTES_MAX)
}

/// Appends an array to what is an array already, or nothing yet: the two become one.
pub(crate) fn join(
    out: &mut Vec<u8>,
    view: impl FnOnce(&mut Vec<u8>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let before = out.len();
    view(out)?;
    match out.get(before..) {
        Some(b"[]") if before > 0 => out.truncate(before),
        Some(_) if before == 2 => drop(out.drain(..before)),
        Some(_) if before > 2 => drop(out.splice(before - 1..=before, *b",")),
        _ => {}
    }
    Ok(())
}

impl Which {
    /// What a list is asked for: open, closed or both, of everybody or of one.
    pub(crate) fn listed(open: Option<bool>, owner: Option<String>) -> Vec<Self> {
        match open {
            Some(true) => vec![Self::Open(owner)],
            Some(false) => vec![Self::Closed(owner)],
            None => vec![Self::Open(owner.clone()), Self::Closed(owner)],
        }
    }

    /// The clauses of a query on a board table that has its rows' owner in this column, as `x`.
    fn clauses(&self, owner: &str) -> String {
        match self {
            Self::One(_) => "WHERE x.id = ?1".into(),
            Self::Open(None) => "WHERE x.resolved_seq IS NULL AND ?1 IS NULL ORDER BY x.added_seq".into(),
            Self::Open(Some(_)) => {
                format!("WHERE x.{owner} = ?1 AND x.resolved_seq IS NULL ORDER BY x.added_seq")
            }
            Self::Recent | Self::Closed(None) => format!(
                "WHERE x.resolved_seq IS NOT NULL AND ?1 IS NULL ORDER BY x.resolved_seq DESC LIMIT {RECENT_ITEMS}"
            ),
            Self::Closed(Some(_)) => format!(
                "WHERE x.{owner} = ?1 AND x.resolved_seq IS NOT NULL
                 ORDER BY x.resolved_seq DESC LIMIT {RECENT_ITEMS}"
            ),
        }
    }

    /// Where a list of it ends: what is closed has no bound in all, as what is open has.
    const fn bytes_max(&self) -> usize {
        match self {
            Self::One(_) | Self::Open(_) | Self::Recent => usize::MAX,
            Self::Closed(_) => PAGE_BYTES_MAX,
        }
    }

    fn param(&self) -> rusqlite::types::Value {
        match self {
            Self::One(id) => (*id).into(),
            Self::Open(owner) | Self::Closed(owner) => owner.clone().into(),
            Self::Recent => rusqlite::types::Value::Null,
        }
    }
}

/// A text column as JSON value, or `null`: for members that are pasted as they were stored.
fn raw(value: Option<&serde_json::value::RawValue>) -> &[u8] {
    value.map_or(b"null", |value| value.get().as_bytes())
}

fn unreadable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}
