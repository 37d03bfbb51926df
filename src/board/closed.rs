//! What is closed, whole: the events that go together when they go.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::seq::Seq;
use crate::store::prune;

/// What has a beginning and an end on the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entity {
    Approval,
    Question,
    Transient,
}

/// One that is closed, with all of its events.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    /// Its row on the board; a transient that has ended has none.
    pub(crate) id: Option<i64>,
    /// Whose transient it was.
    pub(crate) name: Option<String>,
    pub(crate) events: Vec<Seq>,
    /// Length of its text.
    pub(crate) bytes: i64,
}

impl Closed {
    /// Where it was closed.
    pub(crate) fn end(&self) -> Seq {
        self.events.iter().copied().max().unwrap_or_default()
    }
}

/// The last end of each name's transients that a walk has passed: what comes after it is another one.
pub(crate) type Ends = BTreeMap<String, Seq>;

/// The next ones that were closed after `after` and before `before`, up to some, in the order of their ends.
pub(crate) fn next(
    conn: &Connection,
    entity: Entity,
    (after, before): (Seq, i64),
    limit: i64,
    ends: &Ends,
) -> rusqlite::Result<Vec<Closed>> {
    let sql = match entity {
        Entity::Approval => {
            "SELECT id, added_seq, resolved_seq, bytes FROM approvals
             WHERE resolved_seq IS NOT NULL AND resolved_seq > ?1 AND resolved_seq < ?2
             ORDER BY resolved_seq LIMIT ?3"
        }
        Entity::Question => {
            "SELECT id, added_seq, resolved_seq, bytes FROM questions
             WHERE resolved_seq IS NOT NULL AND resolved_seq > ?1 AND resolved_seq < ?2
             ORDER BY resolved_seq LIMIT ?3"
        }
        Entity::Transient => return transients(conn, (after, before), limit, ends),
    };
    let mut statement = conn.prepare_cached(sql)?;
    let found = statement.query_map((after.get(), before, limit), |row| {
        let events = vec![Seq::clamped(row.get(1)?), Seq::clamped(row.get(2)?)];
        Ok(Closed { id: Some(row.get(0)?), name: None, events, bytes: row.get(3)? })
    })?;
    found.collect()
}

/// A transient lasts from the first event that sets it to the one that clears it, however often it was
/// replaced in between: a part of that would be a past that never was.
fn transients(
    conn: &Connection,
    (after, before): (Seq, i64),
    limit: i64,
    ends: &Ends,
) -> rusqlite::Result<Vec<Closed>> {
    let mut cleared = conn.prepare_cached(
        "SELECT seq, agents, octet_length(payload) FROM events INDEXED BY events_rare
         WHERE kind = 'transient_cleared' AND kind <> 'sent' AND kind <> 'delivered' AND instr(kind, '.') = 0
           AND seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut set = conn.prepare_cached(
        "SELECT seq, octet_length(payload) FROM events INDEXED BY events_rare
         WHERE kind = 'transient_set' AND kind <> 'sent' AND kind <> 'delivered' AND instr(kind, '.') = 0
           AND seq > ?1 AND seq < ?2 AND agents = ?3",
    )?;
    let ended: Vec<(Seq, String, i64)> = cleared
        .query_map((after.get(), before, limit), |row| {
            Ok((Seq::clamped(row.get(0)?), row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut found = Vec::with_capacity(ended.len());
    // The caller may take only some of them: it remembers the ends of those.
    let mut ends = ends.clone();
    for (end, name, length) in ended {
        let begin = ends.get(&name).copied().unwrap_or_default();
        let mut closed = Closed { id: None, name: Some(name.clone()), events: vec![end], bytes: length };
        let mut rows = set.query((begin.get(), end.get(), &name))?;
        while let Some(row) = rows.next()? {
            closed.events.push(Seq::clamped(row.get(0)?));
            closed.bytes += row.get::<_, i64>(1)?;
        }
        ends.insert(name, end);
        found.push(closed);
    }
    Ok(found)
}

/// Takes the row of one that is closed off the board: its events go. An id is never given again, so the highest
/// that went is remembered.
pub(crate) fn forget(conn: &Connection, entity: Entity, id: i64) -> rusqlite::Result<()> {
    let (sql, mark) = match entity {
        Entity::Approval => {
            ("DELETE FROM approvals WHERE id = ?1 AND resolved_seq IS NOT NULL", "approval_id_pruned")
        }
        Entity::Question => {
            ("DELETE FROM questions WHERE id = ?1 AND resolved_seq IS NOT NULL", "question_id_pruned")
        }
        Entity::Transient => return Ok(()),
    };
    conn.prepare_cached(sql)?.execute([id])?;
    prune::raise(conn, mark, id)
}

/// How many are closed, and the length of their text.
pub(crate) fn count(conn: &Connection, entity: Entity) -> rusqlite::Result<(i64, i64)> {
    let sql = match entity {
        Entity::Approval => {
            "SELECT count(*), coalesce(sum(bytes), 0) FROM approvals WHERE resolved_seq IS NOT NULL"
        }
        Entity::Question => {
            "SELECT count(*), coalesce(sum(bytes), 0) FROM questions WHERE resolved_seq IS NOT NULL"
        }
        Entity::Transient => {
            "SELECT count(*), coalesce(sum(octet_length(payload)), 0) FROM events INDEXED BY events_rare
             WHERE kind = 'transient_cleared' AND kind <> 'sent' AND kind <> 'delivered' AND instr(kind, '.') = 0"
        }
    };
    conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}
