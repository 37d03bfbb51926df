//! A snapshot: the board and the seq that it stands at, read in one moment.

use std::time::Instant;

use bytes::Bytes;
use rusqlite::Connection;
use serde::de::DeserializeOwned;

use crate::board;
use crate::board::refold;
use crate::error::{Error, Refusal};
use crate::limits::FOLD_TIME_MAX;
use crate::seq::{LogId, Seq};
use crate::store::readers::at_one_moment;
use crate::store::{meta, rows};
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

/// What a snapshot depends on: where it is the same, the snapshot is the same.
pub(crate) fn version(conn: &Connection, log_id: LogId) -> Result<String, Error> {
    at_one_moment(conn, |conn| version_of(conn, log_id))
}

fn version_of(conn: &Connection, log_id: LogId) -> rusqlite::Result<String> {
    let (head, floor, board_floor) = (rows::head(conn)?, meta::floor(conn)?, meta::board_floor(conn)?);
    let redactions = meta::integer(conn, "redactions")?;
    Ok(format!("{log_id}-{head}-{floor}-{board_floor}-{redactions}"))
}

/// The board as it stands, with its version.
pub(crate) fn now(conn: &Connection, log_id: LogId) -> Result<(Snapshot, String), Error> {
    at_one_moment(conn, |conn| {
        let head = rows::head(conn)?;
        Ok((view(conn, log_id, head)?, version_of(conn, log_id)?))
    })
}

/// The board as it stood at `seq`.
pub(crate) fn at(conn: &Connection, log_id: LogId, seq: Seq) -> Result<Snapshot, Error> {
    let deadline = Instant::now() + FOLD_TIME_MAX;
    let (head, board_floor) = at_one_moment(conn, |conn| Ok((rows::head(conn)?, meta::board_floor(conn)?)))?;
    if seq > head {
        return Err(Refusal::invalid("at", format!("is above the head ({head})")).into());
    }
    if seq < board_floor {
        return Err(Error::Gone { floor: board_floor });
    }
    at_one_moment(conn, |conn| refold::at(conn, seq, Some(deadline), |conn| view(conn, log_id, seq)))?
        .ok_or(Error::TimedOut)
}

fn view(conn: &Connection, log_id: LogId, seq: Seq) -> rusqlite::Result<Snapshot> {
    let floor = meta::floor(conn)?;
    let mut out = Vec::with_capacity(4 << 10);
    out.extend_from_slice(b"{\"log_id\":");
    wire::string(&mut out, log_id.as_str());
    out.extend_from_slice(b",\"seq\":");
    wire::integer(&mut out, seq.get());
    out.extend_from_slice(b",\"floor\":");
    wire::integer(&mut out, floor.get());
    out.push(b',');
    board::view(conn, &mut out)?;
    out.push(b'}');
    Ok(Snapshot { log_id, seq, floor, json: out.into() })
}
