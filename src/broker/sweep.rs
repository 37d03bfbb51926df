//! Retention: what is done and old goes, a little at a time.

use rusqlite::Connection;

use crate::broker::{Broker, journal};
use crate::error::Error;
use crate::limits::{MESSAGE_KEPT_SECONDS, SWEEP_ROWS};
use crate::store::reading;
use crate::store::task::Task;
use crate::sync::lock;

/// How far the present walk over each table has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Swept {
    messages: i64,
    questions: i64,
}

/// Rows of one table that a walk passed.
struct Passed {
    last: i64,
    /// Those to be deleted.
    due: Vec<i64>,
    /// Whether there may be more behind them.
    goes_on: bool,
}

impl Broker {
    /// Deletes some of the messages that were acknowledged, and of the questions that were closed, longer ago
    /// than they are kept; says whether there is more to do at once.
    ///
    /// A message that nobody acknowledged stays, however old it is, and so does one that the mirror still
    /// needs. A call looks at [`SWEEP_ROWS`] of each and blocks for the commit.
    ///
    /// # Errors
    /// As every write; the next call goes on.
    pub(crate) fn sweep(&self) -> Result<bool, Error> {
        let now_ms = self.store.clock.now_ms();
        let cutoff = now_ms / 1_000 - MESSAGE_KEPT_SECONDS;
        let from = *lock(&self.shared.swept);
        let (messages, questions) = self.store.readers.with(|conn| {
            let pass = || {
                Ok((
                    pass(conn, MESSAGES, from.messages, cutoff)?,
                    pass(conn, QUESTIONS, from.questions, cutoff)?,
                ))
            };
            pass().map_err(|error| reading(&error))
        })?;
        let goes_on = messages.goes_on || questions.goes_on;
        let to = Swept { messages: messages.resume(), questions: questions.resume() };
        if !messages.due.is_empty() || !questions.due.is_empty() {
            let task = Task::new(move |turn| {
                delete_messages(turn.conn, &messages.due)?;
                for id in &questions.due {
                    turn.conn.prepare_cached("DELETE FROM peer_questions WHERE id = ?1")?.execute([id])?;
                }
                Ok(Ok(()))
            });
            pollster::block_on(self.store.write(task))?;
        }
        *lock(&self.shared.swept) = to;
        Ok(goes_on)
    }
}

impl Passed {
    /// Where the next call begins: at the end of a walk, from the start.
    const fn resume(&self) -> i64 {
        if self.goes_on { self.last } else { 0 }
    }
}

/// What each walk reads: id, when the row came, when it was done with (NULL while it is not).
const MESSAGES: &str = "SELECT id, at, acked_at FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2";
const QUESTIONS: &str =
    "SELECT id, asked_at, answered_at FROM peer_questions WHERE id > ?1 ORDER BY id LIMIT ?2";

fn pass(conn: &Connection, sql: &str, after: i64, cutoff: i64) -> rusqlite::Result<Passed> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((after, SWEEP_ROWS))?;
    let mut passed = Passed { last: after, due: Vec::new(), goes_on: false };
    let (mut count, mut is_any_old) = (0, false);
    while let Some(row) = rows.next()? {
        passed.last = row.get(0)?;
        is_any_old |= row.get::<_, i64>(1)? <= cutoff;
        if row.get::<_, Option<i64>>(2)?.is_some_and(|done_at| done_at <= cutoff) {
            passed.due.push(passed.last);
        }
        count += 1;
    }
    // Behind rows that are all young there are younger ones: none of them is done with for long.
    passed.goes_on = count == SWEEP_ROWS && is_any_old;
    Ok(passed)
}

fn delete_messages(conn: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    // A mirror that is so far behind is waited for.
    let Some(needed) = journal::needed(conn, 4_096)? else { return Ok(()) };
    for id in ids.iter().filter(|id| !needed.contains(id)) {
        conn.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])?;
    }
    Ok(())
}
