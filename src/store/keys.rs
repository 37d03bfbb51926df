//! Idempotency keys: what each of them stands for.

use rusqlite::{Connection, OptionalExtension as _};

use crate::limits::KEY_KEPT_MS;
use crate::seq::Seq;

/// What a key stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) content_hash: [u8; 32],
    pub(crate) first: Seq,
    pub(crate) last: Seq,
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

/// The key of one event alone, given by nobody in particular: what an export can tell in the event's
/// own envelope.
pub(crate) fn of_one(conn: &Connection, seq: Seq) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT key FROM keys WHERE first_seq = ?1 AND last_seq = ?1 AND actor = ''")?
        .query_row([seq.get()], |row| row.get(0))
        .optional()
}

/// All other keys up to a head: actor, key, what it stands for, when it was given.
pub(crate) fn of_many(conn: &Connection, head: Seq) -> rusqlite::Result<Vec<(String, String, Known, i64)>> {
    let mut statement = conn.prepare(
        "SELECT actor, key, content_hash, first_seq, last_seq, recorded_at_ms FROM keys
         WHERE last_seq <= ?1 AND (first_seq <> last_seq OR actor <> '') ORDER BY first_seq, actor, key",
    )?;

    statement
        .query_map([head.get()], |row| {
            let known = Known {
                content_hash: row.get(2)?,
                first: Seq::clamped(row.get(3)?),
                last: Seq::clamped(row.get(4)?),
            };
            Ok((row.get(0)?, row.get(1)?, known, row.get(5)?))
        })?
        .collect()
}
