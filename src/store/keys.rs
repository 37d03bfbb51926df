//! Idempotency keys: what each of them stands for.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Refusal};
use crate::limits::{BATCH_EVENTS_MAX, KEY_KEPT_MS};
use crate::seq::Seq;
use crate::store::reading;
use crate::store::task::Done;
use crate::store::turn::Turn;

/// What a key stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) content_hash: [u8; 32],
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

/// The call whose keys have no answer of their own: an append.
pub(crate) const APPEND: &str = "append";

/// In place of the hash of a content that is to be gone, since a short one could be guessed from its hash: all that
/// is left of it is which call it was of.
fn forgotten(what: &str) -> [u8; 32] {
    content_hash("forgotten", &what)
}

impl Known {
    /// Whether the content of this hash, sent to the call of this name, is what the key stands for. What was redacted
    /// could be any of as many events.
    pub(crate) fn stands_for(&self, what: &str, content_hash: [u8; 32], events: usize) -> bool {
        let count = usize::try_from(self.last.get() - self.first.get() + 1).unwrap_or(0);
        self.content_hash == content_hash || (count == events && self.content_hash == forgotten(what))
    }
}

/// Forgets what was sent under the keys of this event, which was appended or made by a command of this name; that they
/// stand for it stays.
pub(crate) fn forget_content(conn: &Connection, seq: Seq, command: &str) -> rusqlite::Result<()> {
    let batch = i64::try_from(BATCH_EVENTS_MAX).unwrap_or(i64::MAX);
    conn.prepare_cached(
        "UPDATE keys SET content_hash = iif(answer IS NULL, ?3, ?4)
         WHERE first_seq > max(0, ?1 - ?2) AND first_seq <= ?1 AND last_seq >= ?1",
    )?
    .execute((seq.get(), batch, forgotten(APPEND), forgotten(command)))?;
    Ok(())
}

/// The sign has the index by age taken, since nearly all keys of messages stand for no event.
const FORGET_SENT: &str = "UPDATE keys SET content_hash = ?4
     WHERE +first_seq = 0 AND content_hash = ?1 AND recorded_at_ms >= ?2 AND recorded_at_ms < ?3";

/// Forgets what was sent to a call that made no event, where it was this and was written at this time.
pub(crate) fn forget_sent(
    conn: &Connection,
    (what, content): (&str, &impl Serialize),
    at: i64,
) -> rusqlite::Result<()> {
    let hash = content_hash(what, content);
    conn.prepare_cached(FORGET_SENT)?.execute((hash, at * 1_000, (at + 1) * 1_000, forgotten(what)))?;
    Ok(())
}

/// The key of one command, with the hash of what its client sent.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    actor: Arc<str>,
    text: Box<str>,
    what: &'static str,
    content_hash: [u8; 32],
}

impl Key {
    /// The key of a command: `what` names the call, `content` is all that the client said.
    pub(crate) fn new(actor: &str, key: &str, what: &'static str, content: &impl Serialize) -> Self {
        Self { actor: actor.into(), text: key.into(), what, content_hash: content_hash(what, content) }
    }

    /// What was answered before, where it stands for what was sent now.
    fn answered<T: DeserializeOwned>(&self, known: Known, kept: Option<String>) -> Result<T, Refusal> {
        let is_this = known.stands_for(self.what, self.content_hash, 1);
        // Never a fault of the log: another program may have put it there.
        let answer = kept.filter(|_| is_this).and_then(|text| serde_json::from_str(&text).ok());
        answer.ok_or_else(|| Refusal::KeyReused(self.text.clone()))
    }
}

/// The hash of a command: which call, and what was sent.
pub(crate) fn content_hash(what: &str, content: &impl Serialize) -> [u8; 32] {
    // What was read from JSON can be written as JSON.
    let content = serde_json::to_vec(content).unwrap_or_default();
    Sha256::new_with_prefix(what).chain_update([0]).chain_update(&content).finalize().into()
}

/// An answer, and whether it is the first one under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Once<T> {
    pub(crate) answer: T,
    pub(crate) is_new: bool,
}

impl Key {
    /// What was answered under it before, if it is known.
    pub(crate) fn known<T: DeserializeOwned>(
        &self,
        conn: &Connection,
    ) -> Result<Option<Result<T, Error>>, Error> {
        let failed = |error: rusqlite::Error| reading(&error);
        let Some(known) = find(conn, &self.actor, &self.text).map_err(failed)? else { return Ok(None) };
        let kept = answer(conn, &self.actor, &self.text).map_err(failed)?;
        Ok(Some(self.answered(known, kept).map_err(Into::into)))
    }
}

/// Writes something that makes no event, or finds that its key is known and what was answered then.
pub(crate) fn once<T: Serialize + DeserializeOwned>(
    turn: &Turn<'_>,
    key: Option<&Key>,
    write: impl FnOnce() -> Done<T>,
) -> Done<Once<T>> {
    let fresh = |answer| Once { answer, is_new: true };
    let Some(key) = key else {
        return Ok(write()?.map(fresh));
    };
    let (actor, text) = (&*key.actor, &*key.text);
    if let Some(known) = find(turn.conn, actor, text)? {
        let kept = answer(turn.conn, actor, text)?;
        return Ok(key.answered(known, kept).map(|answer| Once { answer, is_new: false }));
    }
    let done = write()?;
    if let Ok(answer) = &done {
        let known = Known { content_hash: key.content_hash, first: Seq::ZERO, last: Seq::ZERO };
        insert(turn.conn, (actor, text), known, turn.now_ms)?;
        set_answer(turn.conn, actor, text, answer)?;
    }
    Ok(done.map(fresh))
}

/// What was answered, where the seqs do not say it.
pub(crate) fn answer(conn: &Connection, actor: &str, key: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT answer FROM keys WHERE actor = ?1 AND key = ?2")?
        .query_row((actor, key), |row| row.get(0))
}

/// Keeps what was answered beside a key that was just inserted.
pub(crate) fn set_answer(
    conn: &Connection,
    actor: &str,
    key: &str,
    answer: &impl Serialize,
) -> rusqlite::Result<()> {
    set_answer_text(conn, actor, key, &serde_json::to_string(answer).unwrap_or_default())
}

/// The same for an answer that was kept before.
pub(crate) fn set_answer_text(conn: &Connection, actor: &str, key: &str, text: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE keys SET answer = ?3 WHERE actor = ?1 AND key = ?2")?
        .execute((actor, key, text))?;
    Ok(())
}

pub(crate) fn find(conn: &Connection, actor: &str, key: &str) -> rusqlite::Result<Option<Known>> {
    conn.prepare_cached("SELECT content_hash, first_seq, last_seq FROM keys WHERE actor = ?1 AND key = ?2")?
        .query_row((actor, key), |row| {
            Ok(Known {
                content_hash: row.get(0)?,
                first: Seq::clamped(row.get(1)?),
                last: Seq::clamped(row.get(2)?),
            })
        })
        .optional()
}

/// Remembers a key, and forgets up to two that are past their time: so the table stays bounded by
/// the rate of writing, without a timer.
pub(crate) fn insert(
    conn: &Connection,
    (actor, key): (&str, &str),
    known: Known,
    now_ms: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM keys WHERE (actor, key) IN
           (SELECT actor, key FROM keys WHERE recorded_at_ms < ?1 ORDER BY recorded_at_ms LIMIT 2)",
    )?
    .execute([now_ms - KEY_KEPT_MS])?;
    conn.prepare_cached(
        "INSERT INTO keys (actor, key, content_hash, first_seq, last_seq, recorded_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((actor, key, known.content_hash, known.first.get(), known.last.get(), now_ms))?;
    Ok(())
}

/// The key of one appended event alone, given by nobody in particular: what an export can tell in the
/// event's own envelope. The key of a command stands for what was asked, not for the event; it has an answer. Nor does
/// one whose content was forgotten stand for what is left of it.
pub(crate) fn of_one(conn: &Connection, seq: Seq) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached(
        "SELECT key FROM keys WHERE first_seq = ?1 AND last_seq = ?1 AND actor = '' AND answer IS NULL
           AND content_hash NOT IN (?2, zeroblob(32))",
    )?
    .query_row((seq.get(), forgotten(APPEND)), |row| row.get(0))
    .optional()
}

/// A key beside the events, as an export tells it.
pub(crate) struct Kept {
    pub(crate) actor: String,
    pub(crate) key: String,
    pub(crate) known: Known,
    pub(crate) recorded_at_ms: i64,
    pub(crate) answer: Option<String>,
}

/// How many keys stand for events above a head.
pub(crate) fn count_above(conn: &Connection, head: Seq) -> rusqlite::Result<i64> {
    conn.query_row("SELECT count(*) FROM keys WHERE last_seq > ?1", [head.get()], |row| row.get(0))
}

/// Whose keys the mirror's are: no name that a client can have. They count the rows of the file's own journal, and
/// mean nothing in another file.
pub(crate) const MIRROR: &str = ":broker";

/// All other keys of events up to a head.
pub(crate) fn of_many(conn: &Connection, head: Seq) -> rusqlite::Result<Vec<Kept>> {
    let mut statement = conn.prepare(
        "SELECT actor, key, content_hash, first_seq, last_seq, recorded_at_ms, answer FROM keys
         WHERE last_seq <= ?1 AND first_seq > 0 AND actor <> ?2
           AND (first_seq <> last_seq OR actor <> '' OR answer IS NOT NULL OR content_hash IN (?3, zeroblob(32))
                OR NOT EXISTS (SELECT 1 FROM events WHERE seq = first_seq))
         ORDER BY first_seq, actor, key",
    )?;
    statement
        .query_map((head.get(), MIRROR, forgotten(APPEND)), |row| {
            let known = Known {
                content_hash: row.get(2)?,
                first: Seq::clamped(row.get(3)?),
                last: Seq::clamped(row.get(4)?),
            };
            let (actor, key) = (row.get(0)?, row.get(1)?);
            Ok(Kept { actor, key, known, recorded_at_ms: row.get(5)?, answer: row.get(6)? })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::FORGET_SENT;
    use crate::store::migrate;

    #[test]
    fn the_keys_of_one_second_are_found_by_their_age() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate::up(&mut conn).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {FORGET_SENT}");
        let plan: String = conn.query_row(&sql, (1, 2, 3, 4), |row| row.get(3)).unwrap();
        assert!(plan.contains("keys_by_age"), "{plan}");
    }
}
