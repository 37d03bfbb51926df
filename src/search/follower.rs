//! The thread that takes events up into the index.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::Error;
use crate::limits::{
    INDEX_COMMIT_BYTES, INDEX_COMMIT_EVENTS, INDEX_FLOOD_EVENTS_PER_SECOND, INDEX_PAUSE, INDEX_READ_BYTES,
    INDEX_READ_EVENTS, INDEX_REST, INDEX_REST_EVENTS, INDEX_SWEEP,
};
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
    /// How many redactions the file knows of; as many as there can be while there is no file.
    redactions: AtomicI64,
    /// How many somebody waits for it to know of.
    redactions_due: AtomicI64,
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

    /// Whether somebody waits for a text to be gone.
    fn is_asked(&self) -> bool {
        self.redactions.load(Ordering::Acquire) < self.redactions_due.load(Ordering::Acquire)
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

    /// Waits until nothing is left of what so many redactions took out of the log; says whether it came to that.
    pub(super) fn forgot(&self, redactions: i64, patience: Duration) -> bool {
        let begin = Instant::now();
        // It need not rest until it looks again by itself.
        self.place.redactions_due.fetch_max(redactions, Ordering::AcqRel);
        self.place.bell.notify_one();
        while self.place.redactions.load(Ordering::Acquire) < redactions {
            if begin.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
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

/// How fast the log grows.
struct Pace {
    /// The head, and when it was there.
    last: (Seq, Instant),
    /// Since when more come than the thread works beside.
    flood: Option<Instant>,
}

impl Pace {
    fn new(head: Seq) -> Self {
        Self { last: (head, Instant::now()), flood: None }
    }

    /// Whether the machine is to be left to those who append. Bounded in time and in what a search has to scan.
    fn is_flood(&mut self, now: Instant, head: Seq, upto: Seq) -> bool {
        let (before, then) = std::mem::replace(&mut self.last, (head, now));
        let came = u64::try_from(head.get() - before.get()).unwrap_or(0);
        let ms = u64::try_from((now - then).as_millis()).unwrap_or(u64::MAX).max(1);
        if came.saturating_mul(1_000) / ms < INDEX_FLOOD_EVENTS_PER_SECOND {
            self.flood = None;
            return false;
        }
        let since = *self.flood.get_or_insert(now);
        now - since < INDEX_REST && head.get() - upto.get() < INDEX_REST_EVENTS
    }
}

/// What one look at the log gave.
struct Look {
    batch: Batch,
    upto: Seq,
    floor: Seq,
    redactions: i64,
}

/// Why the thread cannot go on.
enum Fault {
    /// The log cannot be read from where it stands, as where an event is damaged. What was taken up stays.
    Log(Error),
    /// The index is not to be trusted.
    Index(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Index(error)
    }
}

impl Work {
    fn run(&mut self) {
        give_way();
        let mut backoff = BACKOFF;
        while self.place.is_open() {
            let ended = self.follow();
            self.show(None);
            match ended {
                Ok(()) => {
                    backoff = BACKOFF;
                    continue;
                }
                Err(Fault::Log(Error::Closed) | Fault::Index(Error::Closed)) => return,
                Err(Fault::Log(error)) => {
                    tracing::warn!(%error, "the search index waits; searches scan the log meanwhile");
                }
                Err(Fault::Index(error)) => {
                    tracing::warn!(%error, "the search index begins anew; searches scan the log meanwhile");
                    // What cannot be removed cannot be opened either: the next attempt says so.
                    if index::remove(&self.path).is_ok() {
                        self.place.redactions.store(i64::MAX, Ordering::Release);
                    }
                }
            }
            self.place.rest(backoff);
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Takes up the log until it is closed, or until the file has to be built anew.
    fn follow(&mut self) -> Result<(), Fault> {
        let now = self.look(Seq::clamped(i64::MAX))?;
        let head = self.tail.head();
        let mut index = Index::open(&self.path, self.log_id, head, now.redactions)?;
        let open = Arc::new(Shelf {
            readers: Readers::open(&self.path, None)?,
            upto: AtomicI64::new(index.known.upto.get()),
        });
        self.place.redactions.store(index.known.redactions, Ordering::Release);
        self.show(Some(Arc::clone(&open)));
        let mut pace = Pace::new(head);
        let mut swept = None::<Instant>;
        loop {
            let head = self.tail.head();
            let is_flood = pace.is_flood(Instant::now(), head, index.known.upto);
            if head > index.known.upto && (!is_flood || self.place.is_asked()) {
                let look = self.look(index.known.upto)?;
                if look.redactions != index.known.redactions {
                    // A text is to be gone, and its words with it.
                    return Ok(());
                }
                // This thread is behind all others: who closes the log does not wait for all of it.
                if index.add(look.batch, look.upto, || self.place.is_open())?.is_break() {
                    return Ok(());
                }
                open.upto.store(look.upto.get(), Ordering::Release);
                if look.floor != index.known.floor {
                    let is_due = swept.is_none_or(|at| at.elapsed() >= INDEX_SWEEP);
                    let from = if is_due { Seq::ZERO } else { index.known.floor };
                    swept = if is_due { Some(Instant::now()) } else { swept };
                    self.take_out(&mut index, from, look.floor)?;
                }
            } else if !self.place.rest(INDEX_PAUSE) {
                return Ok(());
            }
            if !self.place.is_open() {
                return Ok(());
            }
        }
    }

    /// Reads what comes after a seq, in short reads.
    fn look(&self, after: Seq) -> Result<Look, Fault> {
        let head = self.tail.head();
        let mut look = Look { batch: Batch::default(), upto: after, floor: Seq::ZERO, redactions: 0 };
        loop {
            let goes_on = || self.place.is_open();
            let ended = self
                .log
                .with(|conn| at_one_moment(conn, |conn| read(conn, &mut look, head, &goes_on)))
                .map_err(Fault::Log)?;
            let is_full = look.batch.len() >= INDEX_COMMIT_EVENTS || look.batch.bytes() >= INDEX_COMMIT_BYTES;
            if ended || is_full || !self.place.is_open() {
                return Ok(look);
            }
        }
    }

    /// Takes out what was pruned after one seq and up to another.
    fn take_out(&self, index: &mut Index, mut after: Seq, floor: Seq) -> Result<(), Fault> {
        loop {
            let known = index.below(after, floor)?;
            let Some(last) = known.last() else { return Ok(index.set_floor(floor)?) };
            after = *last;
            let gone = self.log.with(|conn| {
                let is_gone = |seq: &Seq| rows::is_there(conn, *seq).map(|is_there| !is_there);
                let mut gone = Vec::new();
                for seq in known {
                    if is_gone(&seq).map_err(|error| reading(&error))? {
                        gone.push(seq);
                    }
                }
                Ok(gone)
            });
            let gone = gone.map_err(Fault::Log)?;
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

/// Adds some rows to the look, while it is to go on; says whether it reached `head`.
fn read(conn: &Connection, look: &mut Look, head: Seq, goes_on: &dyn Fn() -> bool) -> rusqlite::Result<bool> {
    look.floor = meta::floor(conn)?;
    look.redactions = meta::integer(conn, "redactions")?;
    let (begun, mut count, mut ended) = (look.batch.bytes(), 0, true);
    rows::scan_whole(conn, Stretch::upto(look.upto, head), |row| {
        look.batch.push(&row);
        look.upto = row.seq;
        count += 1;
        if count >= INDEX_READ_EVENTS || look.batch.bytes() - begun >= INDEX_READ_BYTES || !goes_on() {
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use rusqlite::Connection;

    use super::{Follower, INDEX_REST, INDEX_REST_EVENTS, Look, Pace, Place, read};
    use crate::Draft;
    use crate::log::Log;
    use crate::search::index::{self, Batch, Index};
    use crate::seq::Seq;
    use crate::sync::Ordering;

    /// Yes, so many times.
    fn yes(times: u32) -> impl Fn() -> bool {
        let left = Cell::new(times);
        move || left.replace(left.get().saturating_sub(1)) > 0
    }

    #[test]
    fn who_closes_the_log_waits_for_one_event_at_most() {
        let log = Log::temp().unwrap();
        for n in 0..6 {
            let text = format!(r#"{{"kind":"sent","from":"a","to":"b","body":"word{n}","at":5}}"#);
            log.append(Draft::from_json(&text).unwrap()).wait().unwrap();
        }
        let conn = Connection::open(log.path()).unwrap();
        let mut look = Look { batch: Batch::default(), upto: Seq::ZERO, floor: Seq::ZERO, redactions: 0 };
        assert!(!read(&conn, &mut look, log.tail(), &yes(3)).unwrap());
        assert_eq!((look.upto.get(), look.batch.len()), (4, 4));

        let mut index = Index::open(&index::path(log.path()), log.id(), log.tail(), 0).unwrap();
        assert!(index.add(look.batch, look.upto, yes(2)).unwrap().is_break());
        assert_eq!((index.known.upto, index.below(Seq::ZERO, log.tail()).unwrap()), (Seq::ZERO, vec![]));
    }

    #[test]
    fn who_waits_for_a_text_to_be_gone_ends_the_rest() {
        let follower = Follower { place: Place::default().into(), thread: Default::default() };
        assert!(!follower.place.is_asked());
        assert!(!follower.forgot(1, Duration::ZERO));
        assert!(follower.place.is_asked());
        follower.place.redactions.store(1, Ordering::Release);
        assert!(follower.forgot(1, Duration::ZERO));
        assert!(!follower.place.is_asked());
    }

    #[test]
    fn a_flood_is_left_alone_for_a_while() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let seq = Seq::clamped;
        let mut pace = Pace { last: (seq(0), begin), flood: None };
        assert!(!pace.is_flood(at(250), seq(100), seq(0)));
        assert!(pace.is_flood(at(500), seq(20_000), seq(0)));
        // It ends, and what came is taken up.
        assert!(!pace.is_flood(at(750), seq(20_100), seq(0)));
        // It goes on, but what a search would have to scan is bounded, and so is the time.
        assert!(pace.is_flood(at(1_000), seq(INDEX_REST_EVENTS - 1), seq(0)));
        assert!(!pace.is_flood(at(1_250), seq(INDEX_REST_EVENTS + 9_000), seq(0)));
        assert!(pace.is_flood(at(1_500), seq(INDEX_REST_EVENTS + 18_000), seq(INDEX_REST_EVENTS)));
        let rest = u64::try_from(INDEX_REST.as_millis()).unwrap();
        assert!(!pace.is_flood(at(1_000 + rest), seq(900_000), seq(890_000)));
    }
}
