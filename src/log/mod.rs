//! The log: the façade over its parts.

pub(crate) mod activity;
pub(crate) mod authority;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod feed;
pub(crate) mod follower;
pub(crate) mod herald;
pub(crate) mod hints;
pub(crate) mod local;
pub(crate) mod lodger;
pub(crate) mod opening;
pub(crate) mod options;
pub(crate) mod positions;
pub(crate) mod prune;
pub(crate) mod pulse;
pub(crate) mod range;
pub(crate) mod recent;
pub(crate) mod redact;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod show;
pub(crate) mod snapshot;
pub(crate) mod transfer;
pub(crate) mod upkeep;
pub(crate) mod walk;
pub(crate) mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use crate::clock::{SharedClock, Steady};
use crate::draft::Draft;
use crate::error::{Error, Refusal};
use crate::event::FIXED_KINDS;
use crate::log::activity::{Activity, Bucket};
use crate::log::authority::{Appended, Authority, Command, Inlet, Lookout, Receipt};
use crate::log::feed::{Feed, Start, look_at_store};
use crate::log::follower::{BlockingFollower, Follower};
use crate::log::hints::Hints;
use crate::log::lodger::Lodgers;
use crate::log::positions::Positions;
use crate::log::range::{Page, Pager, get};
use crate::log::recent::Recent;
use crate::log::replay::Replay;
use crate::log::retention::Retention;
use crate::log::snapshot::{Kept, Snapshot};
use crate::log::watch::Watcher;
use crate::metrics::Metrics;
use crate::query::{Filter, Range};
use crate::row::Row;
use crate::seq::{LogId, Seq};
use crate::store::file::Store;
use crate::store::lock;
use crate::store::open::Durability;
use crate::store::readers::Readers;
use crate::store::settled;
use crate::store::wipe::Wipe;
use crate::store::writer::Writer;
use crate::sync::{self, Mutex, RwLock, lock as hold};
use crate::tail::{Tail, Woken};

/// What every part of an open log shares.
pub(crate) struct Shared {
    pub(crate) log_id: LogId,
    pub(crate) tail: Arc<Tail>,
    pub(crate) recent: Recent,
    pub(crate) replay: Replay,
    pub(crate) readers: Readers,
    pub(crate) metrics: Arc<Metrics>,
    /// Where live readers stand.
    pub(crate) positions: Positions,
    pub(crate) clock: SharedClock,
    /// The board as it was shown last.
    pub(crate) board: Kept,
    wipe: Arc<Mutex<Wipe>>,
    /// Where words are, if something keeps an index of them.
    hints: RwLock<Option<Arc<dyn Hints>>>,
}

impl Shared {
    fn hints(&self) -> Option<Arc<dyn Hints>> {
        sync::read(&self.hints).clone()
    }
}

/// A persistent event log in one `SQLite` file.
///
/// Clones share the same log. It needs no async runtime. Dropping the last clone closes it.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    source: Source,
    path: PathBuf,
    durability: Durability,
    kinds: BTreeSet<Box<str>>,
    retention: Retention,
    steady: Steady,
    /// What lives on this log as long as it is open.
    lodgers: Mutex<Lodgers>,
    closing: Once,
    // Last, so that the folder goes after everything that has files in it.
    _folder: Option<tempfile::TempDir>,
}

/// Where new events come from.
enum Source {
    /// This log's own writer.
    Own { writer: Arc<Writer>, authority: Arc<dyn Authority>, lookout: Arc<Lookout> },
    /// Another process; this one only reads.
    Foreign(Watcher),
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.inner.path)
            .field("head", &self.tail())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn close(&self) {
        // Once: by the second time the file may be open again, under a word of its own.
        self.closing.call_once(|| {
            let lodgers = hold(&self.lodgers).close();
            for lodger in lodgers {
                lodger.leave();
            }
            match &self.source {
                Source::Own { writer, .. } => writer.close(),
                Source::Foreign(watcher) => watcher.close(),
            }
            // After the writer: what it committed last is still shown to followers.
            self.shared.tail.close();
            if matches!(self.source, Source::Own { .. }) {
                // While the readers still hold the lock.
                lock::remove_holder(&self.path);
                settled::tidy(&self.path);
            }
            self.shared.readers.close(Error::Closed);
        });
    }
}

impl Log {
    /// Appends one event. It has its place in the order when this returns; the receipt tells its seq
    /// when it is on disk. Does not block.
    pub fn append(&self, draft: impl Into<Draft>) -> Receipt<Seq> {
        let first = |appended: Appended| appended.seqs.first().copied().unwrap_or_default();
        self.submit_as(Command::new(vec![draft.into()]), first)
    }

    /// Appends the events of a command, all or none. Does not block.
    ///
    /// This is the one way into the log: whoever gives the seqs is behind it.
    pub fn submit(&self, command: Command) -> Receipt<Appended> {
        self.submit_as(command, |appended| appended)
    }

    pub(crate) fn submit_as<T>(&self, command: Command, read: fn(Appended) -> T) -> Receipt<T> {
        let Source::Own { authority, lookout, .. } = &self.inner.source else {
            return Receipt::failed(Error::ReadOnly);
        };
        if let Err(refusal) = command.check().and_then(|()| self.check_kinds(&command)) {
            self.inner.shared.metrics.refuse(refusal.word());
            return Receipt::failed(refusal.into());
        }
        let (answer, receipt) = Receipt::under_way(read, Arc::clone(lookout));
        authority.submit(command, answer);
        receipt
    }

    /// A kind that is neither fixed, nor dotted, nor declared is a typo.
    fn check_kinds(&self, command: &Command) -> Result<(), Refusal> {
        let records = command.drafts().iter().filter_map(|draft| draft.record.as_ref().ok());
        for record in records {
            let is_ours = FIXED_KINDS.contains(&record.kind());
            if !is_ours && !record.kind().contains('.') && !self.inner.kinds.contains(record.kind()) {
                return Err(Refusal::UnknownKind(record.kind().into()));
            }
        }
        Ok(())
    }

    /// Reads one page of history. Blocks for as long as the scan takes, 5 s at most.
    ///
    /// # Errors
    /// [`Error::Refused`] for a question that no page can answer, [`Error::Storage`].
    pub fn range(&self, range: &Range) -> Result<Page, Error> {
        let mut pager = Pager::new(&self.inner.shared, range.clone(), true)?;
        loop {
            let page = self.inner.shared.readers.with(|conn| pager.slice(conn))?;
            if let Some(page) = page {
                return Ok(page);
            }
        }
    }

    /// Reads one event. Blocks for microseconds.
    ///
    /// # Errors
    /// [`Error::Gone`] where it was pruned, [`Error::Storage`].
    pub fn get(&self, seq: Seq) -> Result<Option<Row>, Error> {
        self.inner.shared.readers.with(|conn| get(conn, seq))
    }

    /// Reads the board. Blocks for as long as its open items take to read.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let shared = &self.inner.shared;
        shared
            .readers
            .with(|conn| snapshot::now(conn, shared.log_id, &shared.board))
            .map(|(snapshot, _)| snapshot)
    }

    /// Reads the board as it stood at `seq`, by a fold that blocks for 10 s at most.
    ///
    /// # Errors
    /// [`Error::Gone`] below the board's floor, [`Error::Refused`] above the head, [`Error::TimedOut`],
    /// [`Error::Storage`].
    pub fn snapshot_at(&self, seq: Seq) -> Result<Snapshot, Error> {
        let log_id = self.id();
        self.inner.shared.readers.with(|conn| snapshot::at(conn, log_id, seq))
    }

    /// Counts events over time without reading them: the cost grows with the log's logarithm.
    ///
    /// # Errors
    /// [`Error::Refused`] for bounds or buckets that make no histogram, [`Error::Storage`].
    pub fn activity(&self, asked: Activity) -> Result<Vec<Bucket>, Error> {
        let now_ms = self.inner.shared.clock.now_ms();
        self.inner.shared.readers.with(|conn| activity::activity(conn, asked, now_ms))
    }

    /// Follows the log from a position on: what is there, then what comes. Reads the store once,
    /// which blocks for microseconds.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn follow(&self, start: impl Into<Start>, filter: Filter) -> Result<Follower, Error> {
        let begin = self.inner.shared.readers.with(look_at_store)?;
        let feed = Feed::begin(Arc::clone(&self.inner.shared), start.into(), begin);
        Ok(Follower::new(feed, filter))
    }

    /// The same for a plain thread.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn follow_blocking(
        &self,
        start: impl Into<Start>,
        filter: Filter,
    ) -> Result<BlockingFollower, Error> {
        self.follow(start, filter).map(BlockingFollower::new)
    }

    /// The highest committed seq.
    #[must_use]
    pub fn tail(&self) -> Seq {
        self.inner.shared.tail.head()
    }

    /// Waits until the tail is past `after`, or the log is closed. Cancel-safe.
    pub async fn wait_past(&self, after: Seq) -> Woken {
        self.inner.shared.tail.wait(after).await
    }

    /// The log's name.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.inner.shared.log_id
    }

    /// The file, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// When appends are acknowledged.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    /// Why the log takes no appends, or a read-only one no reads; `None` while it does.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        match &self.inner.source {
            Source::Own { writer, .. } => writer.poisoned(),
            Source::Foreign(_) => self.inner.shared.readers.ended().filter(|why| *why == Error::Replaced),
        }
    }

    /// Waits until the log takes no more appends because the machine failed, and says why. Never
    /// ends for a log that was closed in good order. Cancel-safe.
    pub async fn failed(&self) -> Error {
        if let Source::Own { writer, .. } = &self.inner.source {
            let mut poison = writer.poison();
            if let Ok(reason) = poison.wait_for(Option::is_some).await
                && let Some(reason) = reason.clone()
            {
                return Error::Poisoned(reason);
            }
        } else if self.wait_past(Seq::clamped(i64::MAX)).await == Woken::Closed
            && let Some(why) = self.failure()
        {
            return why;
        }
        std::future::pending().await
    }

    /// Refuses new appends, commits those that wait, ends followers and frees the file. Blocks until
    /// that is done; safe to call again.
    pub fn close(&self) {
        self.inner.close();
    }

    /// What reads the file, also where it is not written here.
    pub(crate) fn readers(&self) -> Readers {
        self.inner.shared.readers.clone()
    }

    /// The file, for what keeps tables of its own beside the log.
    pub(crate) fn store(&self) -> Result<Store, Error> {
        let Source::Own { writer, .. } = &self.inner.source else { return Err(Error::ReadOnly) };
        let Shared { readers, clock, metrics, wipe, .. } = &*self.inner.shared;
        let times = (Arc::clone(clock), self.inner.steady);
        Ok(Store::new(Arc::clone(writer), readers.clone(), times, Arc::clone(metrics), Arc::clone(wipe)))
    }

    /// How long events are kept.
    pub(crate) fn retention(&self) -> &Retention {
        &self.inner.retention
    }

    /// What the parts of a log share, for what follows it where it is written.
    pub(crate) fn shared_to_write(&self) -> Result<&Arc<Shared>, Error> {
        match &self.inner.source {
            Source::Own { .. } => Ok(&self.inner.shared),
            Source::Foreign(_) => Err(Error::ReadOnly),
        }
    }

    /// Lets searches be helped by what keeps an index of words, or by nothing any more.
    pub(crate) fn set_hints(shared: &Shared, hints: Option<Arc<dyn Hints>>) {
        *sync::write(&shared.hints) = hints;
    }

    /// The way in for what lives on this log and must not keep it open.
    pub(crate) fn inlet(&self) -> Result<Inlet, Error> {
        let Source::Own { authority, lookout, .. } = &self.inner.source else { return Err(Error::ReadOnly) };
        Ok(Inlet::new(Arc::clone(authority), Arc::clone(lookout)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    #[cfg(feature = "server")]
    pub(crate) fn queued(&self) -> usize {
        match &self.inner.source {
            Source::Own { writer, .. } => writer.queued(),
            Source::Foreign(_) => 0,
        }
    }

    /// Says in `PATH.lock` where this log is served, for those who look for its server.
    #[cfg(feature = "server")]
    pub(crate) fn announce(&self, url: &str) -> Result<(), Error> {
        lock::write_holder(&self.inner.path, Some(url))
    }
}
