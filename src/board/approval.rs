//! Approvals: an agent asks, somebody decides once.

use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::board::{
    VIEW_COLUMNS, Which, id_was_given, is_too_large, load, lost, next_id, raw, unreadable, view_rows, winner,
};
use crate::error::Refusal;
use crate::event::{ApprovalAdded, ApprovalResolved, ApprovalStatus, Event};
use crate::seq::Seq;
use crate::store::meta;
use crate::wire;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Added(&'a ApprovalAdded),
    Resolved(&'a ApprovalResolved),
}

struct Found {
    agent: String,
    bytes: i64,
    added_seq: i64,
    resolved_seq: Option<i64>,
}

fn find(conn: &Connection, id: i64) -> rusqlite::Result<Option<Found>> {
    conn.prepare_cached("SELECT agent, bytes, added_seq, resolved_seq FROM approvals WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(Found {
                agent: row.get(0)?,
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
                lost(conn, &format!("approval {} exists already", added.id), found.added_seq).map(Err)
            }
            None if added.id <= meta::integer(conn, "approval_id_pruned")? => Ok(Err(id_was_given())),
            None => Ok(load::check(conn, &added.agent, bytes)?.map(|()| None)),
        },
        Step::Resolved(resolved) => {
            let what = format!("approval {}", resolved.id);
            match find(conn, resolved.id)? {
                None => Ok(Err(Refusal::Unknown(what.into()))),
                Some(Found { resolved_seq: Some(seq), .. }) => {
                    lost(conn, &format!("{what} is resolved already"), seq).map(Err)
                }
                Some(found) if found.agent != resolved.agent => {
                    let detail = format!("is not the agent that asked ({})", found.agent);
                    Ok(Err(Refusal::invalid("agent", detail)))
                }
                Some(_) => Ok(Ok(None)),
            }
        }
    }
}

pub(super) fn fold(conn: &Connection, step: Step<'_>, seq: Seq, bytes: i64) -> rusqlite::Result<()> {
    match step {
        Step::Added(added) => {
            conn.prepare_cached(
                "INSERT INTO approvals (id, agent, status, bytes, added_seq) VALUES (?1, ?2, 'pending', ?3, ?4)",
            )?
            .execute((added.id, &added.agent, bytes, seq.get()))?;
            load::add(conn, &added.agent, 1, bytes)
        }
        Step::Resolved(resolved) => {
            let Some(found) = find(conn, resolved.id)?.filter(|found| found.resolved_seq.is_none()) else {
                return Ok(());
            };
            conn.prepare_cached("UPDATE approvals SET status = ?2, resolved_seq = ?3 WHERE id = ?1")?
                .execute((resolved.id, resolved.status.as_str(), seq.get()))?;
            load::add(conn, &found.agent, -1, found.bytes)
        }
    }
}

/// The text of its opening event is this long now.
pub(super) fn resize(conn: &Connection, id: i64, bytes: i64) -> rusqlite::Result<()> {
    let Some(found) = find(conn, id)? else { return Ok(()) };
    conn.prepare_cached("UPDATE approvals SET bytes = ?2 WHERE id = ?1")?.execute((id, bytes))?;
    if found.resolved_seq.is_some() {
        return Ok(());
    }
    load::add(conn, &found.agent, -1, found.bytes)?;
    load::add(conn, &found.agent, 1, bytes)
}

/// What is said of one that is open.
pub(super) const OPEN: &str =
    ",\"status\":\"pending\",\"resolved_seq\":null,\"resolved_at\":null,\"note\":null,\"by\":null";

/// Appends rows: the opening event and what has become of it.
pub(crate) fn view(conn: &Connection, which: &Which, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    #[derive(Default, Deserialize)]
    struct End<'a> {
        #[serde(borrow)]
        status: Option<&'a RawValue>,
        #[serde(borrow)]
        resolved_at: Option<&'a RawValue>,
        #[serde(borrow)]
        note: Option<&'a RawValue>,
        #[serde(borrow)]
        by: Option<&'a RawValue>,
    }
    let sql = format!(
        "SELECT {VIEW_COLUMNS} FROM approvals AS x JOIN events AS e ON e.seq = x.added_seq
         LEFT JOIN events AS r ON r.seq = x.resolved_seq {}",
        which.clauses("agent")
    );
    view_rows(conn, &sql, [which.param()], (out, which.bytes_max()), |row, out| {
        let Some(seq) = row.get::<_, Option<i64>>(4)? else {
            out.extend_from_slice(OPEN.as_bytes());
            return Ok(());
        };
        let end: End<'_> = serde_json::from_slice(row.get_ref(5)?.as_bytes()?).map_err(unreadable)?;
        out.extend_from_slice(b",\"status\":");
        out.extend_from_slice(raw(end.status));
        out.extend_from_slice(b",\"resolved_seq\":");
        wire::integer(out, seq);
        let members: [(&[u8], Option<&RawValue>); 3] =
            [(b",\"resolved_at\":", end.resolved_at), (b",\"note\":", end.note), (b",\"by\":", end.by)];
        for (name, value) in members {
            out.extend_from_slice(name);
            out.extend_from_slice(raw(value));
        }
        Ok(())
    })
}

/// Whose request it is, and whether it was decided.
pub(crate) fn look(conn: &Connection, id: i64) -> rusqlite::Result<Option<(String, bool)>> {
    Ok(find(conn, id)?.map(|found| (found.agent, found.resolved_seq.is_some())))
}

/// What an agent wants to have approved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Who asks.
    pub agent: String,
    /// What for: `apply_commit`, `spawn`, or another word.
    pub approval_kind: String,
    /// The commit, shortened.
    pub sha_short: Option<String>,
    /// The raw unified diff, never cut.
    pub diff: Option<String>,
    /// The request in words.
    pub description: Option<String>,
}

impl Request {
    pub(super) fn plan(&self, conn: &Connection) -> rusqlite::Result<Result<Option<Event>, Refusal>> {
        let Self { agent, approval_kind, sha_short, diff, description } = self.clone();
        let id = next_id(conn, "approval_id")?;
        let added = ApprovalAdded { id, agent, approval_kind, sha_short, diff, description };
        Ok(Ok(Some(Event::ApprovalAdded(added))))
    }
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolve {
    /// Which approval.
    pub id: i64,
    /// The decision.
    pub status: ApprovalStatus,
    /// Why.
    pub note: Option<String>,
    /// Who decides.
    pub by: Option<String>,
}

impl Resolve {
    pub(super) fn plan(
        &self,
        conn: &Connection,
        now: i64,
    ) -> rusqlite::Result<Result<Option<Event>, Refusal>> {
        let what = format!("approval {}", self.id);
        let Some(found) = find(conn, self.id)? else { return Ok(Err(Refusal::Unknown(what.into()))) };
        if let Some(seq) = found.resolved_seq {
            return lost(conn, &format!("{what} is resolved already"), seq).map(Err);
        }
        let asked = winner(conn, found.added_seq)?.and_then(|row| row.event().ok());
        let Some(Event::ApprovalAdded(asked)) = asked else { return Ok(Err(Refusal::Unknown(what.into()))) };
        let mut resolved = ApprovalResolved {
            id: self.id,
            agent: asked.agent,
            approval_kind: asked.approval_kind,
            sha_short: asked.sha_short,
            status: self.status,
            resolved_at: now,
            note: self.note.clone(),
            description: asked.description,
            by: self.by.clone(),
        };
        // What is copied from the request leaves room for the decision: nobody can ask for what nobody can decide.
        if is_too_large(&resolved) {
            resolved.description = None;
            if is_too_large(&resolved) {
                resolved.sha_short = None;
            }
        }
        Ok(Ok(Some(Event::ApprovalResolved(resolved))))
    }
}
