//! Approvals: an agent asks, somebody decides once.

use rusqlite::{Connection, OptionalExtension as _};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::board::{load, lost, raw, unreadable, view_rows};
use crate::error::Refusal;
use crate::event::{ApprovalAdded, ApprovalResolved};
use crate::limits::RECENT_ITEMS;
use crate::seq::Seq;
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

pub(super) fn view_open(conn: &Connection, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    let sql = "SELECT e.seq, e.recorded_at_ms, e.kind, e.payload
               FROM approvals AS a JOIN events AS e ON e.seq = a.added_seq
               WHERE a.resolved_seq IS NULL ORDER BY a.added_seq";
    view_rows(conn, sql, out, |_, out| {
        out.extend_from_slice(
            b",\"status\":\"pending\",\"resolved_seq\":null,\"resolved_at\":null,\"note\":null,\"by\":null",
        );
        Ok(())
    })
}

pub(super) fn view_recent(conn: &Connection, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    #[derive(Deserialize)]
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
        "SELECT e.seq, e.recorded_at_ms, e.kind, e.payload, a.resolved_seq, r.payload
         FROM approvals AS a JOIN events AS e ON e.seq = a.added_seq JOIN events AS r ON r.seq = a.resolved_seq
         WHERE a.resolved_seq IS NOT NULL ORDER BY a.resolved_seq DESC LIMIT {RECENT_ITEMS}"
    );
    view_rows(conn, &sql, out, |row, out| {
        let end: End<'_> = serde_json::from_slice(row.get_ref(5)?.as_bytes()?).map_err(unreadable)?;
        out.extend_from_slice(b",\"status\":");
        out.extend_from_slice(raw(end.status));
        out.extend_from_slice(b",\"resolved_seq\":");
        wire::integer(out, row.get(4)?);
        out.extend_from_slice(b",\"resolved_at\":");
        out.extend_from_slice(raw(end.resolved_at));
        out.extend_from_slice(b",\"note\":");
        out.extend_from_slice(raw(end.note));
        out.extend_from_slice(b",\"by\":");
        out.extend_from_slice(raw(end.by));
        Ok(())
    })
}
