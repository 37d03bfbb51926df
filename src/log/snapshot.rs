//! A snapshot: the board and the seq that it stands at, read in one moment.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rusqlite::Connection;
use serde::de::DeserializeOwned;

use crate::board::refold;
use crate::board::view::{self, Open, Shown};
use crate::error::{Error, Refusal};
use crate::limits::{BOARD_KEPT_BYTES, FOLD_TIME_MAX};
use crate::seq::{LogId, Seq};
use crate::store::meta::Standing;
use crate::store::readers::{at_one_moment, during_one_moment};
use crate::store::{meta, reading, rows};
use crate::sync::{Mutex, lock};
use crate::wire;

/// The board at one seq: what is open, and what was closed last.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The log that it is of.
    pub log_id: LogId,
    /// The seq that it stands at: it equals the fold of the surviving events up to here.
    pub seq: Seq,
    /// The highest pruned seq.
    pub floor: Seq,
    json: Bytes,
}

impl Snapshot {
    /// The snapshot as it goes over the wire: `{log_id, seq, floor, approvals[], questions[],
    /// transients[], recent_approvals[], recent_questions[]}`.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// The snapshot as a type of the caller's.
    ///
    /// # Errors
    /// The JSON does not have that type's shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.json).map_err(|error| Refusal::shape(error.to_string()).into())
    }
}

/// The last board that was shown, for the next one to take from.
pub(crate) type Kept = Mutex<Option<Arc<Shown>>>;

/// The name of what a snapshot depends on: where it is the same, the snapshot is the same.
fn name(log_id: LogId, standing: &Standing) -> String {
    let Standing { head, floor, board_floor, redactions } = standing;
    format!("{log_id}-{head}-{floor}-{board_floor}-{redactions}")
}

/// The name of the board as it stands.
pub(crate) fn version(conn: &Connection, log_id: LogId) -> Result<String, Error> {
    meta::standing(conn).map(|standing| name(log_id, &standing)).map_err(|error| reading(&error))
}

/// The board as it stands, with its name.
pub(crate) fn now(conn: &Connection, log_id: LogId, kept: &Kept) -> Result<(Snapshot, String), Error> {
    let known = lock(kept).clone();
    let (snapshot, open, standing) = at_one_moment(conn, |conn| {
        let standing = meta::standing(conn)?;
        let known = known.filter(|known| known.holds(standing.redactions));
        let (snapshot, open) = view(conn, log_id, standing.head, known.as_deref())?;
        Ok((snapshot, open, standing))
    })?;
    let small = snapshot.json.len() <= BOARD_KEPT_BYTES;
    let shown = small.then(|| Arc::new(Shown::new(snapshot.json(), open, standing.redactions)));
    *lock(kept) = shown;
    Ok((snapshot, name(log_id, &standing)))
}

/// The board as it stood at `seq`.
pub(crate) fn at(conn: &Connection, log_id: LogId, seq: Seq) -> Result<Snapshot, Error> {
    let deadline = Instant::now() + FOLD_TIME_MAX;
    // One moment: what is pruned between a look at the floor and the fold would be missing from it.
    let folded = during_one_moment(conn, |conn| {
        let failed = |error: rusqlite::Error| reading(&error);
        let head = rows::head(conn).map_err(failed)?;
        if seq > head {
            return Err(Refusal::invalid("at", format!("is above the head ({head})")).into());
        }
        let board_floor = meta::board_floor(conn).map_err(failed)?;
        if seq < board_floor {
            return Err(Error::Gone { floor: board_floor });
        }
        fail::fail_point!("snapshot.past");
        refold::at(conn, seq, Some(deadline), |conn| view(conn, log_id, seq, None)).map_err(failed)
    })?;
    folded.map(|(snapshot, _)| snapshot).ok_or(Error::TimedOut)
}

fn view(
    conn: &Connection,
    log_id: LogId,
    seq: Seq,
    known: Option<&Shown>,
) -> rusqlite::Result<(Snapshot, Open)> {
    let floor = meta::floor(conn)?;
    let mut out = Vec::with_capacity(known.map_or(0, Shown::weight) + (4 << 10));
    out.extend_from_slice(b"{\"log_id\":");
    wire::string(&mut out, log_id.as_str());
    out.extend_from_slice(b",\"seq\":");
    wire::integer(&mut out, seq.get());
    out.extend_from_slice(b",\"floor\":");
    wire::integer(&mut out, floor.get());
    out.push(b',');
    let open = view::view(conn, known, &mut out)?;
    out.push(b'}');
    Ok((Snapshot { log_id, seq, floor, json: out.into() }, open))
}
