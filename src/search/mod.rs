//! The text index: a follower of the log with a file of its own.
//!
//! It takes up events after they are committed, on a thread that gives way to every other, so appends pay
//! nothing for it. What it has not taken up yet is scanned plainly, so an answer covers the log up to its head
//! all the same. The file can be deleted whenever the log is closed: it is built anew.

mod follower;
mod index;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::limits::{AGENTS_LISTED_MAX, INDEX_COMMIT_EVENTS};
use crate::log::lodger::Lodger;
use crate::log::{Log, Shared};
use crate::search::follower::Follower;
use crate::search::index::Seen;
use crate::seq::{LogId, Seq};
use crate::store::readers::at_one_moment;
use crate::store::rows::{self, Stretch};

/// The text index of a log: while it is there, searches by words and by agents find what they are for
/// without reading the log.
///
/// Clones share it. There is one for each open log; it ends with the log.
#[derive(Clone)]
pub struct Search {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Weak<Shared>,
    follower: Follower,
}

impl Lodger for Inner {
    fn leave(&self) {
        self.follower.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.follower.close();
    }
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("upto", &self.upto()).finish_non_exhaustive()
    }
}

/// How far the index of a file's log goes, with or without a server that writes it; `None` where there is none:
/// the next server begins one.
pub(crate) fn indexed_upto(log: &Path, log_id: LogId) -> Option<Seq> {
    index::state(log, log_id)
}

/// Everyone who was seen on a log, up to a seq.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Agents {
    /// The log that it is of.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub log_id: LogId,
    /// The list counts the events up to here.
    #[cfg_attr(feature = "server", schema(value_type = i64))]
    pub seq: Seq,
    /// The agents, the one that was seen last first; 10,000 at most.
    pub agents: Vec<AgentRow>,
}

/// What the log says of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AgentRow {
    /// Its name.
    pub name: String,
    /// The first event that concerns it.
    pub first_seq: i64,
    /// The last one.
    pub last_seq: i64,
    /// When the log took that, in milliseconds since 1970.
    pub last_at_ms: i64,
    /// When the log took the last message that it sent or was sent, in milliseconds since 1970.
    pub last_message_at_ms: Option<i64>,
    /// How many events concern it.
    pub events: i64,
}

/// Sees to it that no index has a word of what was redacted: one that follows the log is waited for as long as
/// `patience`, one that nothing keeps at present is deleted. Says whether it is so.
pub(crate) fn forget(log: &Log, redactions: i64, patience: Duration) -> Result<bool, Error> {
    match log.lodger_or::<Inner, _>(|| index::remove(&index::path(log.path()))) {
        Ok(inner) => Ok(inner.follower.forgot(redactions, patience)),
        Err(removed) => removed.map(|()| true),
    }
}

impl Search {
    /// The text index of this log. The first call starts the thread that keeps it, in a file beside the log
    /// that is named after it with `.search` behind.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for a log that was opened to be read, [`Error::Closed`] for one that was closed.
    pub fn of(log: &Log) -> Result<Self, Error> {
        let inner = log.lodge(|log| {
            let shared = log.shared_to_write()?;
            let follower = Follower::start(shared, log.path())?;
            Ok(Inner { shared: Arc::downgrade(shared), follower })
        })?;
        Ok(Self { inner })
    }

    /// The seq up to which the log was taken up.
    #[must_use]
    pub fn upto(&self) -> Seq {
        self.inner.follower.upto()
    }

    /// Everyone who was seen. Blocks for milliseconds. While the index is being built the answer's `seq` is
    /// behind the head.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Storage`].
    pub fn agents(&self) -> Result<Agents, Error> {
        let shared = self.inner.shared.upgrade().ok_or(Error::Closed)?;
        let (upto, listed) = self.inner.follower.agents(AGENTS_LISTED_MAX)?;
        let mut seen: BTreeMap<String, Seen> = listed.into_iter().collect();
        // What came since is few, unless the index is being built.
        let head = shared.tail.head();
        let is_close =
            usize::try_from(head.get() - upto.get()).is_ok_and(|behind| behind <= INDEX_COMMIT_EVENTS);
        let seq = if is_close { head } else { upto };
        let scan = |conn: &rusqlite::Connection| {
            at_one_moment(conn, |conn| {
                rows::scan_whole(conn, Stretch::upto(upto, seq), |row| {
                    index::see(&mut seen, &row);
                    ControlFlow::Continue(())
                })
            })
        };
        shared.readers.with(scan)?;
        let mut agents: Vec<AgentRow> = seen.into_iter().map(|(name, seen)| seen.row(name)).collect();
        agents.sort_unstable_by(|a, b| b.last_seq.cmp(&a.last_seq).then_with(|| a.name.cmp(&b.name)));
        agents.truncate(AGENTS_LISTED_MAX);
        Ok(Agents { log_id: shared.log_id, seq, agents })
    }
}
