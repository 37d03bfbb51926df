//! The thread that takes events up into the index.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::Error;
use crate::limits::{INDEX_COMMIT_BYTES, INDEX_COMMIT_EVENTS, INDEX_PAUSE, INDEX_READ_EVENTS};
use crate::log::hints::Hints;
use crate::log::{Log, Shared};
use crate::query::{Filter, Order};
use crate::search::index::{self, Batch, Index, Seen};
use crate::seq::{LogId, Seq};
use crate::store::readers::{Readers, at_one_moment};
use crate::store::rows::{self, Stretch};
use crate::store::{meta, reading};
use crate::sync::{AtomicI64, Condvar, Mutex, Ordering, lock, wait_for};
use crate::tail::Tail;
use crate::words::Words;

/// How long the thread waits before it begins anew after a failure, at first and at most: where the disk is full,
/// the index leaves what there is to the log.
const BACKOFF: Duration = Duration::from_secs(5);
const BACKOFF_MAX: Duration = Duration::from_mins(5);

/// The index as those who search see it.
struct Shelf {
    /// Readers of the index's own file.
    readers: Readers,
    upto: AtomicI64,
}

impl Hints for Shelf {
    fn upto(&self) -> Seq {
        Seq::clamped(self.upto.load(Ordering::Acquire))
    }

    fn candidates(
        &self,
        words: Option<&Words>,
        filter: &Filter,
        stretch: Stretch,
        order: Order,
        each: &mut dyn FnMut(Seq) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        self.readers.with(|conn| index::find(conn, (words, filter), stretch, order, each))
    }
}

/// The thread, and what it keeps. It ends when it is closed.
pub(super) struct Follower {
    place: Arc<Place>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and those who ask share.
#[derive(Default)]
struct Place {
    open: Mutex<Option<Arc<Shelf>>>,
    is_closed: Mutex<bool>,
    bell: Condvar,
}

impl Place {
    /// Waits, and says whether to go on.
    fn rest(&self, time: Duration) -> bool {
        let is_closed = lock(&self.is_closed);
        let is_closed = if *is_closed { is_closed } else { wait_for(&self.bell, is_closed, time) };
        !*is_closed
    }

    fn is_open(&self) -> bool {
        !*lock(&self.is_closed)
    }
}

impl Follower {
    pub(super) fn start(shared: &Arc<Shared>, log: &Path) -> Result<Self, Error> {
        let place = Arc::<Place>::default();
        let mut work = Work {
            log_id: shared.log_id,
            path: index::path(log),
            log: shared.readers.clone(),
            tail: Arc::clone(&shared.tail),
            shared: Arc::downgrade(shared),
            place: Arc::clone(&place),
        };
        let thread = std::thread::Builder::new().name("hivelog-search".into()).spawn(move || work.run())?;
        Ok(Self { place, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn upto(&self) -> Seq {
        lock(&self.place.open).as_ref().map_or(Seq::ZERO, |open| open.upto())
    }

    /// The agents that were seen last, up to where the log was taken up.
    pub(super) fn agents(&self, most: usize) -> Result<(Seq, Vec<(String, Seen)>), Error> {
        let open = lock(&self.place.open).clone();
        let Some(open) = open else { return Ok((Seq::ZERO, Vec::new())) };
        open.readers.with(|conn| at_one_moment(conn, |conn| index::agents(conn, most)))
    }

    /// Ends the thread and waits for it, unless it is this very one.
    pub(super) fn close(&self) {
        *lock(&self.place.is_closed) = true;
        self.place.bell.notify_one();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ended = thread.join();
        }
    }
}

/// What the thread owns.
struct Work {
    log_id: LogId,
    path: PathBuf,
    log: Readers,
    tail: Arc<Tail>,
    // Weak: the log ends this thread, which must not keep it.
    shared: Weak<Shared>,
    place: Arc<Place>,
}

/// What one look at the log gave.
struct Look {
    batch: Batch,
    upto: Seq,
    floor: Seq,
    redactions: i64,
}

impl Work {
    fn run(&mut self) {
        give_way();
        let mut backoff = BACKOFF;
        while self.place.is_open() {
            let ended = self.follow();
            self.show(None);
            match ended {
                Ok(()) => backoff = BACKOFF,
                Err(Error::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the search index begins anew; searches scan the log meanwhile");
                    // What cannot be removed cannot be opened either: the next attempt says so.
                    let _told_then = index::remove(&self.path);
                    self.place.rest(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Takes up the log until it is closed, or until the file has to be built anew.
    fn follow(&mut self) -> Result<(), Error> {
        let now = self.look(Seq::clamped(i64::MAX))?;
        let head = self.tail.head();
        let mut index = Index::open(&self.path, self.log_id, head, now.redactions)?;
        let open = Arc::new(Shelf {
            readers: Readers::open(&self.path, None)?,
            upto: AtomicI64::new(index.known.upto.get()),
        });
        self.show(Some(Arc::clone(&open)));
        loop {
            if self.tail.head() > index.known.upto {
                let look = self.look(index.known.upto)?;
                if look.redactions != index.known.redactions {
                    // A text is to be gone, and its words with it.
                    return Ok(());
                }
                index.add(look.batch, look.upto)?;
                open.upto.store(look.upto.get(), Ordering::Release);
                self.take_out(&mut index, look.floor)?;
            } else if !self.place.rest(INDEX_PAUSE) {
                return Ok(());
            }
            if !self.place.is_open() {
                return Ok(());
            }
        }
    }

    /// Reads what comes after a seq, in short reads.
    fn look(&self, after: Seq) -> Result<Look, Error> {
        let head = self.tail.head();
        let mut look = Look { batch: Batch::default(), upto: after, floor: Seq::ZERO, redactions: 0 };
        loop {
            let ended = self.log.with(|conn| at_one_moment(conn, |conn| read(conn, &mut look, head)))?;
            let is_full = look.batch.len() >= INDEX_COMMIT_EVENTS || look.batch.bytes() >= INDEX_COMMIT_BYTES;
            if ended || is_full || !self.place.is_open() {
                return Ok(look);
            }
        }
    }

    /// Takes out what was pruned.
    fn take_out(&self, index: &mut Index, floor: Seq) -> Result<(), Error> {
        if floor == index.known.floor {
            return Ok(());
        }
        let mut after = Seq::ZERO;
        loop {
            let known = index.below(after, floor)?;
            let Some(last) = known.last() else { return index.set_floor(floor) };
            after = *last;
            let gone = self.log.with(|conn| {
                let is_gone = |seq: &Seq| rows::get(conn, *seq, |_| ()).map(|row| row.is_none());
                let mut gone = Vec::new();
                for seq in known {
                    if is_gone(&seq).map_err(|error| reading(&error))? {
                        gone.push(seq);
                    }
                }
                Ok(gone)
            })?;
            index.take_out(&gone)?;
            if !self.place.is_open() {
                return Ok(());
            }
        }
    }

    fn show(&self, open: Option<Arc<Shelf>>) {
        if let Some(shared) = self.shared.upgrade() {
            let hints = open.clone().map(|open| -> Arc<dyn Hints> { open });
            Log::set_hints(&shared, hints);
        }
        *lock(&self.place.open) = open;
    }
}

/// Adds some rows to the look; says whether it reached `head`.
fn read(conn: &Connection, look: &mut Look, head: Seq) -> rusqlite::Result<bool> {
    look.floor = meta::floor(conn)?;
    look.redactions = meta::integer(conn, "redactions")?;
    let (mut count, mut ended) = (0, true);
    rows::scan_whole(conn, Stretch::upto(look.upto, head), |row| {
        look.batch.push(&row);
        look.upto = row.seq;
        count += 1;
        if count >= INDEX_READ_EVENTS || look.batch.bytes() >= INDEX_COMMIT_BYTES {
            ended = false;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if ended {
        look.upto = look.upto.max(head);
    }
    Ok(ended)
}

/// Puts the thread behind all others: who appends does not wait for a core.
fn give_way() {
    // On Linux a priority is a thread's own. Without it the index is only less modest.
    let _refused = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19);
}
