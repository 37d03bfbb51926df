//! Questions between peers: a message in the peer's inbox that waits for its answer, and never on the log.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::board::question::{Answer, Ask, check_choice};
use crate::board::take_question_id;
use crate::broker::queue::{self, Post};
use crate::broker::{Broker, check_name, check_recipient};
use crate::error::{Error, Refusal};
use crate::event::{OPERATOR, QuestionOutcome, TTL_WATCHDOG};
use crate::limits::{
    COMMAND_TIMEOUT, OPEN_BYTES_LISTED, OPEN_BYTES_PER_AGENT_MAX, OPEN_ITEMS_LISTED,
    OPEN_ITEMS_PER_AGENT_MAX, PAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, RECENT_ITEMS,
};
use crate::store::fault::Failure;
use crate::store::keys::{Key, Once, once};
use crate::store::readers::Lane;
use crate::store::reading;
use crate::store::task::{Pending, Task};

/// A question as it stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerQuestion {
    pub(crate) id: i64,
    pub(crate) asker: String,
    /// Who was asked.
    pub(crate) to: String,
    pub(crate) question: String,
    pub(crate) options: Box<RawValue>,
    pub(crate) multi: bool,
    pub(crate) asked_at: i64,
    pub(crate) deadline_at: Option<i64>,
    /// `open`, `answered`, `cancelled` or `expired`.
    pub(crate) outcome: String,
    pub(crate) answer: Option<String>,
    pub(crate) answerer: Option<String>,
    pub(crate) answered_at: Option<i64>,
    pub(crate) cancelled: bool,
    pub(crate) selected: Option<Box<RawValue>>,
    #[serde(skip)]
    message_id: i64,
}

impl PeerQuestion {
    pub(crate) fn is_open(&self) -> bool {
        self.outcome == "open"
    }

    /// The row as JSON.
    pub(crate) fn json(&self) -> String {
        // Text and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The answer to the one who came too late.
    fn closed(&self) -> Refusal {
        let detail = format!("question {} is closed already: it was {}", self.id, self.outcome);
        Refusal::Closed { detail: detail.into(), row: self.json().into() }
    }
}

/// Whose questions.
#[derive(Clone, Debug)]
pub(crate) enum Whose {
    /// Everybody's.
    All,
    /// Those that this agent asked.
    AskedBy(String),
    /// Those that this agent was asked.
    PutTo(String),
}

/// Which questions are asked for.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// This one.
    One(i64),
    /// Those that are open, the oldest first.
    Open(Whose),
    /// Those closed of late, the newest first.
    Closed(Whose),
}

const COLUMNS: &str =
    "SELECT id, asker, peer, question, options, multi, asked_at, deadline_at, outcome, answer,
    answerer, answered_at, selected, message_id FROM peer_questions";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<PeerQuestion> {
    let raw = |text: String| RawValue::from_string(text).unwrap_or_default();
    let outcome: String = row.get(8)?;
    Ok(PeerQuestion {
        id: row.get(0)?,
        asker: row.get(1)?,
        to: row.get(2)?,
        question: row.get(3)?,
        options: raw(row.get(4)?),
        multi: row.get(5)?,
        asked_at: row.get(6)?,
        deadline_at: row.get(7)?,
        cancelled: outcome == QuestionOutcome::Cancelled.as_str(),
        outcome,
        answer: row.get(9)?,
        answerer: row.get(10)?,
        answered_at: row.get(11)?,
        selected: row.get::<_, Option<String>>(12)?.map(raw),
        message_id: row.get(13)?,
    })
}

/// The question of this id, where it is one between peers.
pub(crate) fn find(conn: &Connection, id: i64) -> rusqlite::Result<Option<PeerQuestion>> {
    conn.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?.query_row([id], read).optional()
}

/// Appends `[`, the rows, then `]`.
pub(crate) fn view(conn: &Connection, which: &Which, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    let (whose, state, order, limit, bytes_max) = match which {
        Which::One(id) => {
            let row = find(conn, *id)?.map(|question| question.json()).unwrap_or_default();
            out.extend_from_slice(format!("[{row}]").as_bytes());
            return Ok(());
        }
        Which::Open(whose) => (whose, "=", "ASC", OPEN_ITEMS_LISTED, OPEN_BYTES_LISTED),
        Which::Closed(whose) => (whose, "<>", "DESC", RECENT_ITEMS, PAGE_BYTES_MAX),
    };
    let (column, name) = match whose {
        Whose::All => ("?1", ""),
        Whose::AskedBy(name) => ("asker", name.as_str()),
        Whose::PutTo(name) => ("peer", name.as_str()),
    };
    let sql =
        format!("{COLUMNS} WHERE {column} = ?1 AND outcome {state} 'open' ORDER BY id {order} LIMIT {limit}");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([name])?;
    out.push(b'[');
    let begin = out.len();
    while out.len() - begin < bytes_max
        && let Some(row) = rows.next()?
    {
        if out.len() > begin {
            out.push(b',');
        }
        out.extend_from_slice(read(row)?.json().as_bytes());
    }
    out.push(b']');
    Ok(())
}

/// Refuses what could not be asked of anybody.
fn check(ask: &Ask, to: &str) -> Result<(), Refusal> {
    check_name("asker", &ask.asker)?;
    check_recipient(to)?;
    if to == OPERATOR {
        return Err(Refusal::invalid("to", "is the operator, who is no peer"));
    }
    if to == ask.asker {
        return Err(Refusal::invalid("to", "is the asker: nobody answers a question of their own"));
    }
    let bytes = serde_json::to_string(ask).map_or(usize::MAX, |text| text.len());
    if bytes > PAYLOAD_BYTES_MAX {
        let detail = format!("a question has at most {PAYLOAD_BYTES_MAX} bytes, this one {bytes}");
        return Err(Refusal::TooLarge(detail.into()));
    }
    ask.check()
}

/// Refuses one more open question where the asker has too many, or too much of their text.
fn check_load(conn: &Connection, asker: &str) -> rusqlite::Result<Result<(), Refusal>> {
    let (items, bytes): (i64, i64) = conn
        .prepare_cached(
            "SELECT count(*), coalesce(sum(octet_length(question) + octet_length(options)), 0)
             FROM peer_questions WHERE asker = ?1 AND outcome = 'open'",
        )?
        .query_row([asker], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if items < OPEN_ITEMS_PER_AGENT_MAX && bytes < OPEN_BYTES_PER_AGENT_MAX {
        return Ok(Ok(()));
    }
    let detail = format!("{asker} has {items} open questions to peers with {bytes} bytes of text");
    Ok(Err(Refusal::TooManyOpen(detail.into())))
}

/// Puts the question into the peer's inbox; `now` is wall time in seconds.
fn put(conn: &Connection, ask: &Ask, to: &str, now: i64) -> Result<Result<i64, Refusal>, Failure> {
    let deadline_at = match check_load(conn, &ask.asker)?.and_then(|()| ask.deadline(now)) {
        Ok(deadline_at) => deadline_at,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let id = take_question_id(conn)?;
    let post = Post { from: &ask.asker, to, body: &ask.question, at: now, question_id: Some(id) };
    let message_id = queue::insert(conn, &post)?;
    let options = serde_json::to_string(&ask.options).unwrap_or_default();
    conn.prepare_cached(
        "INSERT INTO peer_questions (id, asker, peer, question, options, multi, asked_at, deadline_at, message_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((id, &ask.asker, to, &ask.question, options, ask.multi, now, deadline_at, message_id))?;
    Ok(Ok(id))
}

/// How a question ends.
struct End<'a> {
    outcome: QuestionOutcome,
    answer: &'a str,
    answerer: &'a str,
    selected: Option<String>,
}

/// Closes a question. Its message asks nothing any more: it leaves the inbox, whoever has it.
fn close(conn: &Connection, asked: &PeerQuestion, end: &End<'_>, now: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE peer_questions SET outcome = ?2, answer = ?3, answerer = ?4, answered_at = ?5, selected = ?6
         WHERE id = ?1",
    )?
    .execute((asked.id, end.outcome.as_str(), end.answer, end.answerer, now, &end.selected))?;
    queue::settle(conn, asked.message_id, now)
}

/// Answers, where this one may and nobody was faster.
fn answer(conn: &Connection, given: &Answer, now: i64) -> rusqlite::Result<Result<(), Refusal>> {
    let unknown = || Refusal::Unknown(format!("question {}", given.id).into());
    let Some(asked) = find(conn, given.id)? else { return Ok(Err(unknown())) };
    if asked.asker == given.answerer {
        return Ok(Err(Refusal::Forbidden("nobody answers a question of their own".into())));
    }
    if asked.to != given.answerer {
        return Ok(Err(unknown()));
    }
    if !asked.is_open() {
        return Ok(Err(asked.closed()));
    }
    if let Some(selected) = &given.selected {
        let options: Vec<String> = serde_json::from_str(asked.options.get()).unwrap_or_default();
        if let Err(refusal) = check_choice(selected, &options, asked.multi) {
            return Ok(Err(refusal));
        }
    }
    let end = End {
        outcome: QuestionOutcome::Answered,
        answer: &given.text(),
        answerer: &given.answerer,
        selected: given.selected.as_ref().and_then(|selected| serde_json::to_string(selected).ok()),
    };
    close(conn, &asked, &end, now)?;
    Ok(Ok(()))
}

/// Takes back, where it is the asker who does and nobody was faster.
fn cancel(conn: &Connection, id: i64, by: &str, now: i64) -> rusqlite::Result<Result<(), Refusal>> {
    let Some(asked) = find(conn, id)?.filter(|asked| asked.asker == by) else {
        return Ok(Err(Refusal::Unknown(format!("question {id}").into())));
    };
    if !asked.is_open() {
        return Ok(Err(asked.closed()));
    }
    let outcome = QuestionOutcome::Cancelled;
    close(conn, &asked, &End { outcome, answer: "[cancelled]", answerer: by, selected: None }, now)?;
    Ok(Ok(()))
}

/// The open questions whose deadline has passed, up to some.
fn due(conn: &Connection, now: i64) -> rusqlite::Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM peer_questions WHERE outcome = 'open' AND deadline_at IS NOT NULL AND deadline_at <= ?1
         ORDER BY deadline_at LIMIT 256",
    )?;
    statement.query_map([now], |row| row.get(0))?.collect()
}

/// Closes those whose deadline has passed; gives their ids.
fn expire(conn: &Connection, now: i64) -> rusqlite::Result<Vec<i64>> {
    let ids = due(conn, now)?;
    let outcome = QuestionOutcome::Expired;
    for id in &ids {
        if let Some(asked) = find(conn, *id)? {
            let end = End { outcome, answer: "[expired]", answerer: TTL_WATCHDOG, selected: None };
            close(conn, &asked, &end, now)?;
        }
    }
    Ok(ids)
}

fn soon() -> Instant {
    Instant::now() + COMMAND_TIMEOUT
}

impl Broker {
    /// Asks a peer: the question is a message in its inbox, and has an id from the same counter as those for
    /// the operator. Tells that id.
    ///
    /// Refused with [`Refusal::Invalid`] for a question to oneself or to the operator,
    /// [`Refusal::TooManyOpen`], [`Refusal::TooLarge`].
    pub(crate) fn ask_peer(&self, ask: Ask, to: &str, key: Option<Key>) -> Pending<Once<i64>> {
        if let Err(refusal) = check(&ask, to) {
            return Pending::failed(refusal.into());
        }
        let (shared, to): (_, Arc<str>) = (Arc::clone(&self.shared), to.into());
        let (peer, weight) = (Arc::clone(&to), ask.question.len());
        let task = Task::new(move |turn| {
            once(turn, key.as_ref(), || put(turn.conn, &ask, &to, turn.wall_seconds()))
        });
        let task = task.after(move |asked| {
            if asked.is_new {
                shared.inboxes.ring(&peer);
            }
        });
        self.store.write(task.weight(weight).deadline(Some(soon())))
    }

    /// Answers a question, which also acknowledges its message. Only the peer that was asked can.
    ///
    /// Refused with [`Refusal::Closed`], which holds the row, where it is closed, [`Refusal::Forbidden`] for
    /// the asker, [`Refusal::Unknown`] for anybody else, [`Refusal::Invalid`] for what was not offered.
    pub(crate) fn answer_peer(&self, given: Answer, key: Option<Key>) -> Pending<Once<()>> {
        if let Err(refusal) = given.check() {
            return Pending::failed(refusal.into());
        }
        let id = given.id;
        let task = Task::new(move |turn| {
            once(turn, key.as_ref(), || Ok(answer(turn.conn, &given, turn.wall_seconds())?))
        });
        self.end_of(id, task)
    }

    /// Takes a question back. Only the asker can; refused otherwise as [`Broker::answer_peer`].
    pub(crate) fn cancel_peer(&self, id: i64, by: &str, key: Option<Key>) -> Pending<Once<()>> {
        let by: Box<str> = by.into();
        let task = Task::new(move |turn| {
            once(turn, key.as_ref(), || Ok(cancel(turn.conn, id, &by, turn.wall_seconds())?))
        });
        self.end_of(id, task)
    }

    fn end_of(&self, id: i64, task: Task<Once<()>>) -> Pending<Once<()>> {
        let shared = Arc::clone(&self.shared);
        let task = task.after(move |_| shared.outcomes.ring(&id.to_string()));
        self.store.write(task.deadline(Some(soon())))
    }

    /// Closes the questions whose deadline has passed, 256 at most; says how many that were. Blocks for a
    /// look, and for a commit where there are some.
    ///
    /// # Errors
    /// As every write; the next call finds them again.
    pub(crate) fn expire_peers(&self) -> Result<usize, Error> {
        let now = self.store.clock.now_ms() / 1_000;
        let due = self.store.readers.with(|conn| due(conn, now).map_err(|error| reading(&error)))?;
        if due.is_empty() {
            return Ok(0);
        }
        let shared = Arc::clone(&self.shared);
        let task = Task::new(move |turn| Ok(Ok(expire(turn.conn, now)?)));
        let task =
            task.after(move |ids: &Vec<i64>| ids.iter().for_each(|id| shared.outcomes.ring(&id.to_string())));
        pollster::block_on(self.store.write(task)).map(|ids| ids.len())
    }

    /// Waits until a question is closed. Needs no runtime; cancel-safe.
    ///
    /// Ends with [`Refusal::Unknown`] where there is none of this id, with [`Error::Closed`] when the broker
    /// closes.
    pub(crate) fn peer_outcome(&self, id: i64) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (readers, mut bell) = (self.store.readers.clone(), self.shared.outcomes.listen(&id.to_string()));
        async move {
            loop {
                let look = move |conn: &Connection| find(conn, id).map_err(|error| reading(&error));
                match readers.run(Lane::Point, look).await? {
                    None => return Err(Refusal::Unknown(format!("question {id}").into()).into()),
                    Some(asked) if !asked.is_open() => return Ok(()),
                    Some(_) => bell.heard().await?,
                }
            }
        }
    }
}
