//! The queue in its table: sending, handing out, acknowledging, as functions of a transaction.
//!
//! A recipient's open messages, by id, begin with those that were handed out before; behind them come those
//! that never were. Only the first [`UNACKED_MAX`] of them are ever looked at, so a look costs the same for
//! an inbox of ten messages and of a million.

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use crate::error::Refusal;
use crate::event::{MARK, Message};
use crate::limits::{RECV_BYTES_MAX, UNACKED_MAX};

/// A message that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Delivery {
    /// Its id, to acknowledge it by.
    pub id: i64,
    /// Who sent it.
    pub from: String,
    /// Who it is for.
    pub to: String,
    /// What it says.
    pub body: String,
    /// When it was sent, in unix seconds.
    pub at: i64,
    /// Whether it had been handed out before: whoever had it may have done what it says.
    pub redelivered: bool,
    /// The question that it asks, where it is one: answering it acknowledges it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question_id: Option<i64>,
}

/// A message to be put into an inbox.
pub(super) struct Post<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) body: &'a str,
    /// In unix seconds.
    pub(super) at: i64,
    pub(super) question_id: Option<i64>,
}

/// Puts a message at the end of an inbox; gives its id.
pub(super) fn insert(conn: &Connection, post: &Post<'_>) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "INSERT INTO messages (sender, recipient, at, question_id, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .insert((post.from, post.to, post.at, post.question_id, post.body))
}

/// Which messages are asked for, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) recipient: &'a str,
    pub(super) max: usize,
    pub(super) lease_ms: i64,
    /// The time of leases.
    pub(super) now_ms: i64,
}

/// What a look at an inbox found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is to be handed out, in this order.
    ids: Vec<i64>,
    /// When the next lease lapses of those that were passed.
    pub(super) lapse_ms: Option<i64>,
    /// Leases that were given in a time that is still to come: the clock was set back.
    ahead: Vec<(i64, i64)>,
    passed: i64,
}

impl Found {
    /// Whether nothing can be handed out because so much is out.
    pub(super) const fn is_full(&self) -> bool {
        self.ids.is_empty() && self.passed >= UNACKED_MAX
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Looks for the oldest messages that nobody has: lapsed ones in their old place, then new ones.
pub(super) fn look(conn: &Connection, wanted: &Wanted<'_>) -> rusqlite::Result<Found> {
    let mut statement = conn.prepare_cached(
        "SELECT id, lease_ms, lease_until_ms, octet_length(body) FROM messages
         WHERE recipient = ?1 AND acked_at IS NULL ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query((wanted.recipient, UNACKED_MAX))?;
    let (mut found, mut bytes) = (Found::default(), 0_usize);
    while let Some(row) = rows.next()? {
        let (id, until_ms): (i64, Option<i64>) = (row.get(0)?, row.get(2)?);
        if let Some(until_ms) = until_ms.filter(|until_ms| *until_ms > wanted.now_ms) {
            let lease_ms: i64 = row.get::<_, Option<i64>>(1)?.unwrap_or_default();
            let latest_ms = wanted.now_ms.saturating_add(lease_ms);
            if until_ms > latest_ms {
                found.ahead.push((id, latest_ms));
            }
            let lapse_ms = until_ms.min(latest_ms);
            found.lapse_ms = Some(found.lapse_ms.map_or(lapse_ms, |before| before.min(lapse_ms)));
            found.passed += 1;
            continue;
        }
        let length = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(usize::MAX);
        if found.ids.len() >= wanted.max
            || (bytes.saturating_add(length) > RECV_BYTES_MAX && !found.ids.is_empty())
        {
            break;
        }
        bytes = bytes.saturating_add(length);
        found.ids.push(id);
    }
    Ok(found)
}

/// Shortens the leases that would last longer than they were given for. Within one opening of the file the
/// time of leases never goes back, so there are such only where the clock was set back between two.
pub(super) fn shorten(conn: &Connection, found: &Found) -> rusqlite::Result<()> {
    for (id, until_ms) in &found.ahead {
        conn.prepare_cached("UPDATE messages SET lease_until_ms = ?2 WHERE id = ?1")?
            .execute((id, until_ms))?;
    }
    Ok(())
}

/// Hands out what was found.
pub(super) fn hand_out(
    conn: &Connection,
    wanted: &Wanted<'_>,
    found: &Found,
) -> rusqlite::Result<Vec<Delivery>> {
    let mut statement = conn.prepare_cached(
        "UPDATE messages SET handed_out = handed_out + 1, lease_ms = ?2, lease_until_ms = ?3 WHERE id = ?1
         RETURNING sender, body, at, question_id, handed_out",
    )?;
    let until_ms = wanted.now_ms.saturating_add(wanted.lease_ms);
    let mut deliveries = Vec::with_capacity(found.ids.len());
    for id in &found.ids {
        deliveries.push(statement.query_row((id, wanted.lease_ms, until_ms), |row| {
            Ok(Delivery {
                id: *id,
                from: row.get(0)?,
                to: wanted.recipient.into(),
                body: row.get(1)?,
                at: row.get(2)?,
                question_id: row.get(3)?,
                redelivered: row.get::<_, i64>(4)? > 1,
            })
        })?);
    }
    Ok(deliveries)
}

/// A message as its recipient's calls judge it.
struct Known {
    recipient: String,
    handed_out: i64,
    lease_until_ms: Option<i64>,
    is_acked: bool,
}

/// The message, where there is one of this id and it is this recipient's (or anybody's, where none is named).
fn known(conn: &Connection, id: i64, recipient: Option<&str>) -> rusqlite::Result<Result<Known, Refusal>> {
    let known = conn
        .prepare_cached(
            "SELECT recipient, handed_out, lease_until_ms, acked_at IS NOT NULL FROM messages WHERE id = ?1",
        )?
        .query_row([id], |row| {
            Ok(Known {
                recipient: row.get(0)?,
                handed_out: row.get(1)?,
                lease_until_ms: row.get(2)?,
                is_acked: row.get(3)?,
            })
        })
        .optional()?;
    let mine = known.filter(|known| recipient.is_none_or(|recipient| recipient == known.recipient));
    Ok(mine.ok_or_else(|| Refusal::Unknown(format!("message {id}").into())))
}

/// Acknowledges a message; says whether it was not before. `now` is wall time in seconds.
pub(super) fn ack(
    conn: &Connection,
    id: i64,
    recipient: Option<&str>,
    now: i64,
) -> rusqlite::Result<Result<bool, Refusal>> {
    let known = match known(conn, id, recipient)? {
        Ok(known) => known,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if known.is_acked {
        return Ok(Ok(false));
    }
    if known.handed_out == 0 {
        return Ok(Err(Refusal::Unknown(format!("message {id} was never handed out; it").into())));
    }
    settle(conn, id, now)?;
    Ok(Ok(true))
}

/// Takes a message out of its inbox, whoever has it.
pub(super) fn settle(conn: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE messages SET acked_at = ?2 WHERE id = ?1 AND acked_at IS NULL")?
        .execute((id, now))?;
    Ok(())
}

/// Gives a message that is out a new lease; tells whose it is.
pub(super) fn renew(
    conn: &Connection,
    id: i64,
    recipient: Option<&str>,
    (lease_ms, until_ms): (i64, i64),
) -> rusqlite::Result<Result<String, Refusal>> {
    let known = match known(conn, id, recipient)? {
        Ok(known) => known,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if known.is_acked || known.lease_until_ms.is_none() {
        return Ok(Err(Refusal::Unknown(format!("message {id} is not out; it").into())));
    }
    conn.prepare_cached("UPDATE messages SET lease_ms = ?2, lease_until_ms = ?3 WHERE id = ?1")?
        .execute((id, lease_ms, until_ms))?;
    Ok(Ok(known.recipient))
}

/// Takes back all that a recipient has out; says how many that were.
pub(super) fn requeue(conn: &Connection, recipient: &str, now_ms: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE messages SET lease_until_ms = NULL WHERE lease_until_ms > ?2 AND id IN
           (SELECT id FROM messages WHERE recipient = ?1 AND acked_at IS NULL ORDER BY id LIMIT ?3)",
    )?
    .execute((recipient, now_ms, UNACKED_MAX))
}

/// Takes back a message that was handed out to somebody who was gone by then, unless something has become of it
/// since.
pub(super) fn put_back(conn: &Connection, id: i64, until_ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE messages SET lease_until_ms = NULL WHERE id = ?1 AND lease_until_ms = ?2")?
        .execute((id, until_ms))?;
    Ok(())
}

/// Puts a mark in the place of a message's text, if it is this one; tells when it was sent, in unix seconds.
pub(super) fn forget(conn: &Connection, id: i64, message: &Message) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "UPDATE messages SET body = ?2 WHERE id = ?1 AND sender = ?3 AND recipient = ?4 AND body = ?5
         RETURNING at",
    )?
    .query_row((id, MARK, &message.from, &message.to, &message.body), |row| row.get(0))
    .optional()
}
