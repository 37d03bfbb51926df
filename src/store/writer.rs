//! The one writer: a thread with a connection that turns queued jobs into group commits.
//!
//! COMMIT, then what was inserted is handed to the log, then the tail is published, then the jobs
//! are answered: so nobody holds an answer that a reader does not have yet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::error::Error;
use crate::limits::WRITER_TICK;
use crate::metrics::Metrics;
use crate::seq::Seq;
use crate::store::checkpoint::{Duty, Plan};
use crate::store::fault::{self, Failure, Fault};
use crate::store::intact::Intact;
use crate::store::open::Opened;
use crate::store::pulse::Pulse;
use crate::store::queue::{Gathering, NotTaken, Queue, Taken};
use crate::store::turn::{Inserted, Job, Turn};
use crate::store::wipe::EMPTY_WAIT;
use crate::store::{checkpoint, inspect, meta, reading, rows};
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use crate::tail::Tail;

/// Why a log takes no more appends; empty while it does.
pub(crate) type Poison = watch::Receiver<Option<Arc<str>>>;

/// Shows committed rows to the log before the tail is published.
pub(crate) type Show = Box<dyn FnMut(&[Inserted]) + Send>;

/// The handle of the writer's thread.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    poison: Poison,
    metrics: Arc<Metrics>,
    pulse: Arc<Pulse>,
    has_empty_wal: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer shares with the log.
pub(crate) struct Surroundings {
    pub(crate) tail: Arc<Tail>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: SharedClock,
    pub(crate) show: Show,
    pub(crate) wal: Plan,
}

impl Writer {
    /// Starts the thread. It ends when the writer is closed or dropped.
    pub(crate) fn start(opened: Opened, around: Surroundings) -> Result<Self, Error> {
        let queue = Arc::new(Queue::default());
        let (poisoned, poison) = watch::channel(None);
        let has_empty_wal = Arc::<AtomicBool>::default();
        let Opened { conn, lock, path, head, last_ms } = opened;
        let log_id = meta::log_id(&conn)?;
        let intact = Intact::new(&conn, &path, lock, log_id.as_str()).map_err(|error| reading(&error))?;
        let metrics = Arc::clone(&around.metrics);
        let pulse = Arc::<Pulse>::default();
        let mut work = Work {
            duty: Duty::new(around.wal, path.clone(), Arc::clone(&around.metrics)),
            conn,
            path,
            intact,
            queue: Arc::clone(&queue),
            gathering: Gathering::default(),
            tail: around.tail,
            metrics: around.metrics,
            clock: around.clock,
            show: around.show,
            poisoned,
            head,
            last_ms,
            data_version: 0,
            looked_at: Instant::now(),
            since: Instant::now(),
            pulse: Arc::clone(&pulse),
            empties_wal: false,
            has_empty_wal: Arc::clone(&has_empty_wal),
        };
        let thread = std::thread::Builder::new().name("hivelog-writer".into()).spawn(move || work.run())?;
        Ok(Self { queue, poison, metrics, pulse, has_empty_wal, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a job, or answers it at once where it cannot be taken.
    pub(crate) fn submit(&self, job: Box<dyn Job>) {
        if let Err((job, why)) = self.queue.push(job) {
            let error = match why {
                NotTaken::Full => Error::QueueFull,
                NotTaken::Closed => self.poisoned().unwrap_or(Error::Closed),
            };
            self.metrics.refuse(fault::word(&error));
            job.answer(Err(error));
        }
    }

    /// For how long the thread has taken no turn.
    pub(crate) fn silence(&self) -> Duration {
        self.pulse.age()
    }

    pub(crate) fn poison(&self) -> Poison {
        self.poison.clone()
    }

    pub(crate) fn poisoned(&self) -> Option<Error> {
        self.poison.borrow().clone().map(Error::Poisoned)
    }

    /// Whether the WAL could be emptied when that was asked for last.
    pub(crate) fn has_empty_wal(&self) -> bool {
        self.has_empty_wal.load(Ordering::Acquire)
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes no more jobs, commits those that wait, and blocks until the file is closed.
    pub(crate) fn close(&self) {
        self.queue.close();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A panic of the thread was caught inside it and told by the poison.
            let _ended = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread owns.
struct Work {
    conn: Connection,
    path: PathBuf,
    intact: Intact,
    duty: Duty,
    queue: Arc<Queue>,
    gathering: Gathering,
    tail: Arc<Tail>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
    show: Show,
    poisoned: watch::Sender<Option<Arc<str>>>,
    head: Seq,
    last_ms: i64,
    data_version: i64,
    looked_at: Instant,
    /// When the oldest job of the batch was given.
    since: Instant,
    pulse: Arc<Pulse>,
    /// Whether a job of the present batch wants the WAL emptied.
    empties_wal: bool,
    has_empty_wal: Arc<AtomicBool>,
}

impl Work {
    fn run(&mut self) {
        let mut batch: Vec<Box<dyn Job>> = Vec::new();
        loop {
            let taken = self.queue.take(&mut batch, &mut self.gathering, WRITER_TICK);
            self.pulse.beat();
            match taken {
                Taken::Jobs(since) => self.since = since,
                Taken::Idle => {}
                Taken::Closed => break,
            }
            let turned = catch_unwind(AssertUnwindSafe(|| self.turn(&mut batch)));
            let stop = match turned {
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(self.intact.explain(&self.conn, reason)),
                Err(_) => Some("the writer panicked".to_owned()),
            };
            if let Some(reason) = stop {
                self.poison(&reason, &mut batch);
                return;
            }
        }
        match self.intact.look(&self.conn) {
            Ok(()) => self.duty.leave(&self.conn),
            // Nothing of ours goes into a file that is another one by now.
            Err(reason) => tracing::warn!(%reason, "the WAL stays where it is"),
        }
    }

    /// One round: commits the batch, then looks after the file.
    fn turn(&mut self, batch: &mut Vec<Box<dyn Job>>) -> Result<(), String> {
        let is_idle = batch.is_empty();
        if !is_idle {
            self.commit(batch)?;
        }
        let is_time = is_idle || self.looked_at.elapsed() >= WRITER_TICK;
        if is_time {
            self.looked_at = Instant::now();
            self.look()?;
        }
        self.checkpoint(is_time)
    }

    /// Commits a batch; on return every job of it was answered, or the reason to stop is given.
    fn commit(&mut self, batch: &mut Vec<Box<dyn Job>>) -> Result<(), String> {
        self.drop_expired(batch, 0);
        if let Some(error) = self.held()? {
            self.answer_all(batch, &error);
            return Ok(());
        }
        match self.transact(batch, true) {
            Ok(inserted) => self.reveal(inserted, batch),
            Err(Fault::Stop(reason)) => return Err(reason),
            Err(Fault::Later(error)) => self.answer_all(batch, &error),
            Err(Fault::Job(error)) if batch.len() == 1 => self.answer_all(batch, &error),
            Err(Fault::Job(_)) => {
                // One of them is guilty: each runs alone, so that only that one fails.
                let mut rest = std::mem::take(batch).into_iter();
                while let Some(job) = rest.next() {
                    let mut alone = vec![job];
                    self.drop_expired(&mut alone, 0);
                    if alone.is_empty() {
                        continue;
                    }
                    match self.transact(&mut alone, false) {
                        Ok(inserted) => self.reveal(inserted, &mut alone),
                        Err(Fault::Later(Error::Busy)) => {
                            // It would be as long until each of the others hears the same.
                            alone.extend(rest.by_ref());
                            self.answer_all(&mut alone, &Error::Busy);
                        }
                        Err(Fault::Job(error) | Fault::Later(error)) => self.answer_all(&mut alone, &error),
                        Err(Fault::Stop(reason)) => {
                            batch.extend(alone.into_iter().chain(rest));
                            return Err(reason);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Answers those of the jobs from an index on whose callers no longer wait.
    fn drop_expired(&self, batch: &mut Vec<Box<dyn Job>>, from: usize) {
        let now = Instant::now();
        let mut late: Vec<_> =
            batch.extract_if(from.., |job| job.deadline().is_some_and(|deadline| deadline < now)).collect();
        self.answer_all(&mut late, &Error::Expired);
    }

    /// The error that is due while a reader keeps the WAL at its bound.
    fn held(&mut self) -> Result<Option<Error>, String> {
        if !self.duty.is_at_bound() {
            return Ok(None);
        }
        self.intact.look(&self.conn)?;
        match self.duty.is_held(&self.conn) {
            Ok(is_held) => Ok(is_held.then_some(Error::WalHeld)),
            Err(error) => self.checkpoint_failed(error).map(|()| None),
        }
    }

    /// Runs the jobs in one transaction and commits it. Open: those that come meanwhile belong to it too.
    fn transact(&mut self, batch: &mut Vec<Box<dyn Job>>, is_open: bool) -> Result<Vec<Inserted>, Fault> {
        let begin = Instant::now();
        fail::fail_point!("writer.before-begin");
        self.execute("BEGIN IMMEDIATE").map_err(|error| self.fault(&error.into()))?;
        let ran = self.run_jobs(batch, is_open);
        let (head, inserted) = ran.map_err(|failure| self.roll_back(&failure))?;
        fail::fail_point!("writer.before-commit");
        let sync = Instant::now();
        if let Err(error) = self.execute("COMMIT") {
            return Err(self.roll_back(&error.into()));
        }
        self.metrics.fsync_seconds.observe(sync.elapsed().as_secs_f64());
        fail::fail_point!("writer.after-commit");
        self.intact.after_commit(&self.conn, checkpoint::pages()).map_err(Fault::Stop)?;
        self.head = head;
        if let Some(last) = inserted.last() {
            self.last_ms = last.recorded_at_ms;
        }
        if std::mem::take(&mut self.empties_wal) {
            self.empty_wal()?;
        }
        self.metrics.commits.inc();
        self.metrics.appended.inc_by(inserted.len() as u64);
        self.metrics.commit_seconds.observe(begin.elapsed().as_secs_f64());
        self.metrics.commit_events.observe(inserted.len() as f64);
        Ok(inserted)
    }

    fn run_jobs(
        &mut self,
        batch: &mut Vec<Box<dyn Job>>,
        is_open: bool,
    ) -> Result<(Seq, Vec<Inserted>), Failure> {
        self.check_foreign()?;
        let turn = Turn::new(&self.conn, self.clock.now_ms(), (self.head, self.last_ms));
        let mut ran = 0;
        loop {
            for job in batch.iter_mut().skip(ran) {
                job.run(&turn)?;
            }
            ran = batch.len();
            if !is_open || !self.queue.take_more(batch, &mut self.gathering) {
                break;
            }
            self.drop_expired(batch, ran);
        }
        if is_open {
            self.gathering.end(ran);
        }
        self.empties_wal = turn.empties_wal();
        turn.end()
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(sql)?.execute([])
    }

    fn roll_back(&self, failure: &Failure) -> Fault {
        let is_open = !self.conn.is_autocommit();
        if is_open && let Err(error) = self.execute("ROLLBACK") {
            return Fault::Stop(format!("a transaction could not be rolled back: {}", fault::cause(&error)));
        }
        self.fault(failure)
    }

    fn fault(&self, failure: &Failure) -> Fault {
        fault::judge(failure, &self.path)
    }

    /// Another connection's commit is fine as long as it left the log alone.
    fn check_foreign(&mut self) -> Result<(), Failure> {
        let version = inspect::data_version(&self.conn)?;
        if version == self.data_version {
            return Ok(());
        }
        self.data_version = version;
        let (counter, last) = (rows::head(&self.conn)?, rows::last(&self.conn)?);
        if counter == self.head && last <= self.head {
            return Ok(());
        }
        let head = self.head;
        Err(Failure::Stop(format!(
            "another program wrote to the log: head was {head}, its counter is now {counter} and its last row {last}"
        )))
    }

    /// After the commit: the log first, the tail second, the answers last.
    fn reveal(&mut self, inserted: Vec<Inserted>, batch: &mut Vec<Box<dyn Job>>) {
        if !inserted.is_empty() {
            (self.show)(&inserted);
        }
        // Before the answers, so that who made the text frees it: this thread has other things to do.
        drop(inserted);
        if self.head > self.tail.head() {
            fail::fail_point!("writer.before-publish");
            self.tail.publish(self.head);
            fail::fail_point!("writer.before-answer");
        }
        for job in batch.drain(..) {
            if let Some(word) = job.refusal() {
                self.metrics.refuse(word);
            }
            job.answer(Ok(()));
        }
        self.metrics.append_seconds.observe(self.since.elapsed().as_secs_f64());
    }

    fn answer_all(&self, batch: &mut Vec<Box<dyn Job>>, error: &Error) {
        for job in batch.drain(..) {
            self.metrics.refuse(fault::word(error));
            job.answer(Err(error.clone()));
        }
    }

    /// Looks whether the file is still the one that was opened, and still ours.
    fn look(&mut self) -> Result<(), String> {
        self.intact.look(&self.conn)?;
        self.check_foreign().or_else(|failure| match self.fault(&failure) {
            Fault::Stop(reason) => Err(reason),
            Fault::Later(_) | Fault::Job(_) => Ok(()),
        })
    }

    fn checkpoint(&mut self, is_time: bool) -> Result<(), String> {
        if self.duty.is_near() {
            // Written into a file that is another one by now, it would make that look like ours.
            self.intact.look(&self.conn)?;
        }
        match self.duty.look(&self.conn, is_time) {
            Ok(()) => Ok(()),
            Err(error) => self.checkpoint_failed(error),
        }
    }

    fn checkpoint_failed(&self, error: rusqlite::Error) -> Result<(), String> {
        match self.fault(&error.into()) {
            Fault::Stop(reason) => Err(format!("a checkpoint failed: {reason}")),
            Fault::Later(error) | Fault::Job(error) => {
                tracing::warn!(%error, "a checkpoint failed; it is tried again");
                Ok(())
            }
        }
    }

    /// Empties the WAL if no reader is in the way. What is committed is in it no longer, so a failure that leaves
    /// the file unsure is one of the commit.
    fn empty_wal(&mut self) -> Result<(), Fault> {
        self.intact.look(&self.conn).map_err(Fault::Stop)?;
        fail::fail_point!("writer.before-emptying");
        let emptied = checkpoint::empty(&self.conn, EMPTY_WAIT);
        self.has_empty_wal.store(matches!(emptied, Ok(true)), Ordering::Release);
        fail::fail_point!("writer.after-emptying");
        self.metrics.checkpoints.inc();
        if let Err(error) = emptied {
            self.metrics.checkpoint_errors.inc();
            self.checkpoint_failed(error).map_err(Fault::Stop)?;
        }
        Ok(())
    }

    fn poison(&mut self, reason: &str, batch: &mut Vec<Box<dyn Job>>) {
        let reason: Arc<str> = reason.into();
        tracing::error!(%reason, "the log takes no more appends");
        self.poisoned.send_replace(Some(Arc::clone(&reason)));
        batch.extend(self.queue.close_and_drain());
        self.answer_all(batch, &Error::Poisoned(reason));
    }
}
