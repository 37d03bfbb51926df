//! Transients: one lifecycle action in progress for each name.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use crate::board::lease::{self, Lease};
use crate::board::load;
use crate::error::Refusal;
use crate::event::{ClearReason, Event, TransientCleared, TransientKind, TransientSet, is_name};
use crate::limits::TRANSIENT_LEASE_MS_MAX;
use crate::seq::Seq;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Set(&'a TransientSet),
    Cleared(&'a TransientCleared),
}

/// The bytes of the transient that is set for this name.
fn find(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT bytes FROM transients WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn decide(
    conn: &Connection,
    step: Step<'_>,
    bytes: i64,
) -> rusqlite::Result<Result<Option<String>, Refusal>> {
    match step {
        // Setting a name again replaces what was set, so nothing more is open afterwards.
        Step::Set(set) if find(conn, &set.name)?.is_some() => Ok(Ok(None)),
        Step::Set(set) => Ok(load::check(conn, &set.name, bytes)?.map(|()| None)),
        Step::Cleared(cleared) => Ok(match find(conn, &cleared.name)? {
            Some(_) => Ok(None),
            None => Err(Refusal::Unknown(format!("a transient of {}", cleared.name).into())),
        }),
    }
}

pub(super) fn fold(conn: &Connection, step: Step<'_>, seq: Seq, bytes: i64) -> rusqlite::Result<()> {
    let name = match step {
        Step::Set(set) => &set.name,
        Step::Cleared(cleared) => &cleared.name,
    };
    if let Some(before) = find(conn, name)? {
        conn.prepare_cached("DELETE FROM transients WHERE name = ?1")?.execute([name])?;
        load::add(conn, name, -1, before)?;
    }
    let Step::Set(set) = step else { return Ok(()) };
    conn.prepare_cached(
        "INSERT INTO transients (name, transient_kind, since_unix, expires_at, bytes, set_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((name, set.transient_kind.as_str(), set.since_unix, set.expires_at, bytes, seq.get()))?;
    load::add(conn, name, 1, bytes)
}

/// What is said of one that is set: its event says it all.
pub(super) const OPEN: &str = "";

/// What is set for a name now.
struct Current {
    transient_kind: String,
    expires_at: Option<i64>,
    set_seq: i64,
}

fn current(conn: &Connection, name: &str) -> rusqlite::Result<Option<Current>> {
    conn.prepare_cached("SELECT transient_kind, expires_at, set_seq FROM transients WHERE name = ?1")?
        .query_row([name], |row| {
            Ok(Current { transient_kind: row.get(0)?, expires_at: row.get(1)?, set_seq: row.get(2)? })
        })
        .optional()
}

/// A lifecycle action that begins, or whose lease is renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Set {
    /// Whose action it is.
    pub name: String,
    /// Which action. The one that is set already is renewed, without an event; another one replaces it.
    pub transient_kind: TransientKind,
    /// How long it may last unrenewed.
    pub lease_ms: i64,
    /// When that is over, in the time of leases.
    #[serde(skip)]
    pub(crate) until_ms: i64,
    /// The process that sets it through the crate.
    #[serde(skip)]
    pub(crate) owner: Option<Arc<str>>,
}

impl Set {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if !is_name(&self.name) {
            return Err(Refusal::invalid("name", "is not a name: expected [a-z0-9][a-z0-9._-]{0,63}"));
        }
        if (1..=TRANSIENT_LEASE_MS_MAX).contains(&self.lease_ms) {
            return Ok(());
        }
        let most = TRANSIENT_LEASE_MS_MAX / 1_000;
        Err(Refusal::invalid("lease_seconds", format!("is not above 0 and at most {most}")))
    }

    pub(super) fn plan(
        &self,
        conn: &Connection,
        now: i64,
    ) -> rusqlite::Result<Result<Option<Event>, Refusal>> {
        let before = current(conn, &self.name)?;
        if before.is_some_and(|before| before.transient_kind == self.transient_kind.as_str()) {
            return Ok(Ok(None));
        }
        Ok(Ok(Some(Event::TransientSet(TransientSet {
            name: self.name.clone(),
            transient_kind: self.transient_kind,
            since_unix: now,
            expires_at: Some(now + (self.lease_ms + 999) / 1_000),
        }))))
    }

    pub(super) fn settle(&self, conn: &Connection) -> rusqlite::Result<()> {
        let Some(set) = current(conn, &self.name)? else { return Ok(()) };
        let owner = self.owner.as_deref();
        let lease = Lease { set_seq: set.set_seq, length_ms: self.lease_ms, until_ms: self.until_ms, owner };
        lease::put(conn, &self.name, &lease)
    }
}

/// A lifecycle action that ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clear {
    /// Whose action it was.
    pub name: String,
    /// Why it ends.
    pub reason: ClearReason,
    /// Only under this condition; otherwise nothing happens.
    #[serde(skip)]
    pub(crate) only: Option<Only>,
}

/// When a transient may be cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// If it is of this kind and this process set it.
    Held {
        /// The process.
        owner: Arc<str>,
        /// The kind.
        kind: TransientKind,
    },
    /// If its lease is over at this time of leases.
    Lapsed(i64),
    /// If a process set it that is not this one.
    Orphaned(Arc<str>),
}

impl Clear {
    pub(super) fn plan(
        &self,
        conn: &Connection,
        now: i64,
    ) -> rusqlite::Result<Result<Option<Event>, Refusal>> {
        let Some(set) = current(conn, &self.name)? else {
            return Ok(match self.only {
                Some(_) => Ok(None),
                None => Err(Refusal::Unknown(format!("a transient of {}", self.name).into())),
            });
        };
        let lease = lease::find(conn, &self.name, set.set_seq)?;
        let is_due = match (&self.only, lease) {
            (None, _) => true,
            (Some(Only::Held { owner, kind }), Some((_, holder))) => {
                set.transient_kind == kind.as_str() && holder.as_deref() == Some(&**owner)
            }
            (Some(Only::Lapsed(steady_ms)), Some((until_ms, _))) => until_ms <= *steady_ms,
            (Some(Only::Lapsed(_)), None) => set.expires_at.is_some_and(|at| at <= now),
            (Some(Only::Orphaned(alive)), Some((_, owner))) => owner.is_some_and(|owner| *owner != **alive),
            (Some(Only::Held { .. } | Only::Orphaned(_)), None) => false,
        };
        let cleared = TransientCleared { name: self.name.clone(), reason: self.reason };
        Ok(Ok(is_due.then_some(Event::TransientCleared(cleared))))
    }

    pub(super) fn settle(&self, conn: &Connection) -> rusqlite::Result<()> {
        if current(conn, &self.name)?.is_none() { lease::remove(conn, &self.name) } else { Ok(()) }
    }
}
