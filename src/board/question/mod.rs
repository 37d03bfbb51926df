//! Questions for the operator: asked by an agent, closed once.

use rusqlite::{Connection, OptionalExtension as _};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::board::{VIEW_COLUMNS, Which, id_was_given, load, lost, raw, unreadable, view_rows, winner};
use crate::error::Refusal;
use crate::event::{Event, QuestionAdded, QuestionResolved, is_redacted};
use crate::seq::Seq;
use crate::store::meta;
use crate::wire;

mod ask;

pub use ask::{Answer, Ask, Cancel, Expire};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Added(&'a QuestionAdded),
    Resolved(&'a QuestionResolved),
}

struct Found {
    asker: String,
    bytes: i64,
    added_seq: i64,
    resolved_seq: Option<i64>,
}

fn find(conn: &Connection, id: i64) -> rusqlite::Result<Option<Found>> {
    conn.prepare_cached("SELECT asker, bytes, added_seq, resolved_seq FROM questions WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(Found {
                asker: row.get(0)?,
                bytes: row.get(1)?,
                added_seq: row.get(2)?,
                resolved_seq: row.get(3)?,
            })
        })
        .optional()
}

pub(super) fn decide(
    conn: &Connection,
    step: Step<'_>,
    bytes: i64,
) -> rusqlite::Result<Result<Option<String>, Refusal>> {
    match step {
        Step::Added(added) => match find(conn, added.id)? {
            Some(found) => {
                lost(conn, &format!("question {} exists already", added.id), found.added_seq).map(Err)
            }
            None if is_between_peers(conn, added.id)? => {
                Ok(Err(Refusal::invalid("id", "is that of a question between peers")))
            }
            None if added.id <= meta::integer(conn, "question_id_pruned")? => Ok(Err(id_was_given())),
            None => Ok(load::check(conn, &added.asker, bytes)?.map(|()| None)),
        },
        Step::Resolved(resolved) => {
            let what = format!("question {}", resolved.id);
            match find(conn, resolved.id)? {
                None => Ok(Err(Refusal::Unknown(what.into()))),
                Some(Found { resolved_seq: Some(seq), .. }) => {
                    lost(conn, &format!("{what} is closed already"), seq).map(Err)
                }
                Some(found) => {
                    Ok(check_selected(conn, resolved, found.added_seq)?.map(|()| Some(found.asker)))
                }
            }
        }
    }
}

/// Questions between peers are not on the board, but their ids come from the same counter.
fn is_between_peers(conn: &Connection, id: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM peer_questions WHERE id = ?1)")?
        .query_row([id], |row| row.get(0))
}

/// What is selected must have been offered.
fn check_selected(
    conn: &Connection,
    resolved: &QuestionResolved,
    added_seq: i64,
) -> rusqlite::Result<Result<(), Refusal>> {
    let Some(selected) = &resolved.selected else { return Ok(Ok(())) };
    let asked = winner(conn, added_seq)?.and_then(|row| row.event().ok());
    let Some(Event::QuestionAdded(asked)) = asked else { return Ok(Ok(())) };
    if is_redacted(&asked.question, &asked.options) {
        // Nobody knows any more: a log that is imported has answers from before, as has a coordinator of its own.
        return Ok(Ok(()));
    }
    Ok(check_choice(selected, &asked.options, asked.multi))
}

/// Refuses a choice of what was not offered, or of several where one may be chosen.
pub(crate) fn check_choice(selected: &[String], options: &[String], multi: bool) -> Result<(), Refusal> {
    if selected.len() > 1 && !multi {
        return Err(Refusal::invalid("selected", "has several options where one may be chosen"));
    }
    for (index, choice) in selected.iter().enumerate() {
        if !options.contains(choice) {
            return Err(Refusal::invalid("selected", format!("has {choice:?}, which is not an option")));
        }
        if selected.iter().take(index).any(|other| other == choice) {
            return Err(Refusal::invalid("selected", format!("has {choice:?} twice")));
        }
    }
    Ok(())
}

pub(super) fn fold(conn: &Connection, step: Step<'_>, seq: Seq, bytes: i64) -> rusqlite::Result<()> {
    match step {
        Step::Added(added) => {
            conn.prepare_cached(
                "INSERT INTO questions (id, asker, outcome, deadline_at, bytes, added_seq)
                 VALUES (?1, ?2, 'open', ?3, ?4, ?5)",
            )?
            .execute((added.id, &added.asker, added.deadline_at, bytes, seq.get()))?;
            load::add(conn, &added.asker, 1, bytes)
        }
        Step::Resolved(resolved) => {
            let Some(found) = find(conn, resolved.id)?.filter(|found| found.resolved_seq.is_none()) else {
                return Ok(());
            };
            conn.prepare_cached("UPDATE questions SET outcome = ?2, resolved_seq = ?3 WHERE id = ?1")?
                .execute((resolved.id, resolved.outcome.as_str(), seq.get()))?;
            load::add(conn, &found.asker, -1, found.bytes)
        }
    }
}

/// The text of its opening event is this long now.
pub(super) fn resize(conn: &Connection, id: i64, bytes: i64) -> rusqlite::Result<()> {
    let Some(found) = find(conn, id)? else { return Ok(()) };
    conn.prepare_cached("UPDATE questions SET bytes = ?2 WHERE id = ?1")?.execute((id, bytes))?;
    if found.resolved_seq.is_some() {
        return Ok(());
    }
    load::add(conn, &found.asker, -1, found.bytes)?;
    load::add(conn, &found.asker, 1, bytes)
}

/// What is said of one that is open.
pub(super) const OPEN: &str = ",\"outcome\":\"open\",\"resolved_seq\":null,\"answer\":null,\"answerer\":null,\
     \"answered_at\":null,\"cancelled\":false,\"selected\":null";

/// Appends rows: the opening event and what has become of it.
pub(crate) fn view(conn: &Connection, which: &Which, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    #[derive(Deserialize)]
    struct End<'a> {
        #[serde(borrow)]
        answer: Option<&'a RawValue>,
        #[serde(borrow)]
        answerer: Option<&'a RawValue>,
        #[serde(borrow)]
        answered_at: Option<&'a RawValue>,
        #[serde(borrow)]
        cancelled: Option<&'a RawValue>,
        #[serde(borrow)]
        selected: Option<&'a RawValue>,
    }
    let sql = format!(
        "SELECT {VIEW_COLUMNS}, x.outcome FROM questions AS x JOIN events AS e ON e.seq = x.added_seq
         LEFT JOIN events AS r ON r.seq = x.resolved_seq {}",
        which.clauses("asker")
    );
    view_rows(conn, &sql, [which.param()], (out, which.bytes_max()), |row, out| {
        let Some(seq) = row.get::<_, Option<i64>>(4)? else {
            out.extend_from_slice(OPEN.as_bytes());
            return Ok(());
        };
        let end: End<'_> = serde_json::from_slice(row.get_ref(5)?.as_bytes()?).map_err(unreadable)?;
        out.extend_from_slice(b",\"outcome\":");
        wire::string(out, row.get_ref(10)?.as_str()?);
        out.extend_from_slice(b",\"resolved_seq\":");
        wire::integer(out, seq);
        let members: [(&[u8], Option<&RawValue>); 5] = [
            (b",\"answer\":", end.answer),
            (b",\"answerer\":", end.answerer),
            (b",\"answered_at\":", end.answered_at),
            (b",\"cancelled\":", end.cancelled),
            (b",\"selected\":", end.selected),
        ];
        for (name, value) in members {
            out.extend_from_slice(name);
            out.extend_from_slice(raw(value));
        }
        Ok(())
    })
}

/// Who asked, and whether it was closed.
pub(crate) fn look(conn: &Connection, id: i64) -> rusqlite::Result<Option<(String, bool)>> {
    Ok(find(conn, id)?.map(|found| (found.asker, found.resolved_seq.is_some())))
}

/// The open questions whose deadline has passed, up to some.
pub(crate) fn due(conn: &Connection, now: i64, limit: u32) -> rusqlite::Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM questions WHERE resolved_seq IS NULL AND deadline_at IS NOT NULL AND deadline_at <= ?1
         ORDER BY deadline_at LIMIT ?2",
    )?;
    statement.query_map((now, limit), |row| row.get(0))?.collect()
}
