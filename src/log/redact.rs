//! A redaction, in the transaction of the one who gives seqs.

use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;

use crate::board;
use crate::error::Refusal;
use crate::event::{Event, Message, REDACTED, is_name, redacted};
use crate::log::authority::Appended;
use crate::log::local::answer_known;
use crate::record::Record;
use crate::seq::Seq;
use crate::store::fault::Failure;
use crate::store::keys::{self, Known};
use crate::store::turn::Turn;
use crate::store::{meta, rows, wipe};

/// What is asked of the log: that one event's text goes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Redaction {
    pub(crate) seq: Seq,
    /// Whether the other event of a message goes too, by a redaction of its own.
    pub(crate) both: bool,
    /// Who wants it.
    pub(crate) by: Option<Box<str>>,
    /// Takes the text of a message out of whatever else this file keeps of it, in the same transaction.
    #[serde(skip)]
    pub(crate) also: fn(&Connection, &Message) -> rusqlite::Result<()>,
}

/// The payload of the event that says of another that its text is gone.
#[derive(Serialize)]
struct Told<'a> {
    redacted_seq: Seq,
    by: Option<&'a str>,
}

/// What the log as a whole knows of one redacted event: which event says so.
fn mark(seq: Seq) -> String {
    format!("redacted.{seq}")
}

/// The event that says of this one that its text is gone.
pub(crate) fn told_by(conn: &Connection, seq: Seq) -> rusqlite::Result<Option<Seq>> {
    let told = meta::integer(conn, &mark(seq))?;
    Ok((told > 0).then(|| Seq::clamped(told)))
}

/// Replaces the text and inserts the event that says so, or finds that it was done.
pub(super) fn carry_out(
    turn: &Turn<'_>,
    key: Option<(&str, &str)>,
    asked: &Redaction,
) -> Result<Result<Appended, Refusal>, Failure> {
    let done = |seq, new| Appended { seqs: vec![seq], new, id: None };
    let content_hash = keys::content_hash("redact", &(asked.seq, asked.both));
    if let Some((actor, key)) = key
        && let Some(known) = keys::find(turn.conn, actor, key)?
    {
        return Ok(answer_known(known, ("redact", content_hash, 1), key).map(|()| done(known.first, 0)));
    }
    // It may be an event of this very transaction.
    turn.flush()?;
    if let Some(told) = told_by(turn.conn, asked.seq)? {
        return Ok(Ok(done(told, 0)));
    }
    let (event, payload) = match plan(turn.conn, asked.seq)? {
        Ok(plan) => plan,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Event::Sent(message) | Event::Delivered(message) = &event {
        (asked.also)(turn.conn, message)?;
    }
    rows::replace_payload(turn.conn, asked.seq, &payload)?;
    fail::fail_point!("redact.replaced");
    if let Some(step) = board::step(&event) {
        board::resize(turn.conn, step, payload.len())?;
    }
    keys::forget_content(turn.conn, asked.seq, board::command(&event).unwrap_or_default())?;
    meta::set_integer(turn.conn, "redactions", meta::integer(turn.conn, "redactions")? + 1)?;
    wipe::note(turn.conn)?;
    let told = tell(turn, asked)?;
    meta::set_integer(turn.conn, &mark(asked.seq), told.get())?;
    if let Some(key) = key {
        keys::insert(turn.conn, key, Known { content_hash, first: told, last: told }, turn.now_ms)?;
    }
    fail::fail_point!("redact.told");
    Ok(Ok(done(told, 1)))
}

/// The event as it is, and its payload as it will be.
fn plan(conn: &Connection, seq: Seq) -> Result<Result<(Event, String), Refusal>, Failure> {
    let read = rows::get(conn, seq, |row| {
        let payload = std::str::from_utf8(row.payload).unwrap_or_default();
        Ok::<_, serde_json::Error>((Event::read(row.kind, payload)?, redacted(row.kind, payload)?))
    })?;
    Ok(match read {
        None => Err(Refusal::Unknown(format!("event {seq}").into())),
        Some(Ok((event, Some(payload)))) => Ok((event, payload)),
        Some(Ok((event, None))) => {
            let detail = format!("is of an event that has no text: {}", event.kind());
            Err(Refusal::invalid("seq", detail))
        }
        // Only a file that was changed by hand holds such a one.
        Some(Err(error)) => Err(Refusal::shape(format!("event {seq} cannot be read: {error}"))),
    })
}

fn tell(turn: &Turn<'_>, asked: &Redaction) -> Result<Seq, Failure> {
    let by = asked.by.as_deref();
    let payload = serde_json::to_string(&Told { redacted_seq: asked.seq, by })
        .map_err(|error| Failure::Stop(format!("numbers and names cannot be written: {error}")))?;
    let names: &[&str] = &by.filter(|by| is_name(by)).into_iter().collect::<Vec<_>>();
    let record = Record::new(REDACTED, names, &payload);
    turn.insert(&Arc::new(record), None)
}
