//! The one writer: a thread with a connection that turns queued jobs into group commits.
//!
//! COMMIT, then what was inserted is handed to the log, then the tail is published, then the jobs
//! are answered: so nobody holds an answer that a reader does not have yet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::error::Error;
use crate::limits::{CHECKPOINT_PAGES, WAL_BYTES_MAX, WRITER_TICK};
use crate::metrics::Metrics;
use crate::seq::Seq;
use crate::store::fault::{self, Failure, Fault};
use crate::store::lock::Held;
use crate::store::open::{Opened, beside, inode, is_same_file};
use crate::store::queue::{Linger, NotTaken, Queue, Taken};
use crate::store::turn::{Inserted, Job, Turn};
use crate::store::{checkpoint, rows};
use crate::sync::{Mutex, lock};
use crate::tail::Tail;

/// Why a log takes no more appends; empty while it does.
pub(crate) type Poison = watch::Receiver<Option<Arc<str>>>;

/// Shows committed rows to the log before the tail is published.
pub(crate) type Show = Box<dyn FnMut(&[Inserted]) + Send>;

/// The handle of the writer's thread.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    poison: Poison,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer shares with the log.
pub(crate) struct Surroundings {
    pub(crate) tail: Arc<Tail>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: SharedClock,
    pub(crate) show: Show,
}

impl Writer {
    /// Starts the thread. It ends when the writer is closed or dropped.
    pub(crate) fn start(opened: Opened, around: Surroundings) -> Result<Self, Error> {
        let queue = Arc::new(Queue::default());
        let (poisoned, poison) = watch::channel(None);
        let Opened { conn, lock, path, head, last_ms } = opened;
        // SQLite makes this file when it opens the database, and keeps it as long as it has it open.
        let wal = inode(&beside(&path, "-wal"));
        let mut work = Work {
            conn,
            path,
            wal,
            lock,
            queue: Arc::clone(&queue),
            tail: around.tail,
            metrics: around.metrics,
            clock: around.clock,
            show: around.show,
            poisoned,
            head,
            last_ms,
            data_version: 0,
            looked_at: Instant::now(),
            next_checkpoint: CHECKPOINT_PAGES,
            is_held: false,
        };
        let thread = std::thread::Builder::new().name("hivelog-writer".into()).spawn(move || work.run())?;
        Ok(Self { queue, poison, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a job, or answers it at once where it cannot be taken.
    pub(crate) fn submit(&self, job: Box<dyn Job>) {
        if let Err((job, why)) = self.queue.push(job) {
            let error = match why {
                NotTaken::Full => Error::QueueFull,
                NotTaken::Closed => self.poisoned().unwrap_or(Error::Closed),
            };
            job.answer(Err(error));
        }
    }

    pub(crate) fn poison(&self) -> Poison {
        self.poison.clone()
    }

    pub(crate) fn poisoned(&self) -> Option<Error> {
        self.poison.borrow().clone().map(Error::Poisoned)
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
    /// The WAL that is written to, by device and inode.
    wal: Option<(u64, u64)>,
    lock: Arc<Held>,
    queue: Arc<Queue>,
    tail: Arc<Tail>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
    show: Show,
    poisoned: watch::Sender<Option<Arc<str>>>,
    head: Seq,
    last_ms: i64,
    data_version: i64,
    looked_at: Instant,
    next_checkpoint: i64,
    is_held: bool,
}

impl Work {
    fn run(&mut self) {
        let mut batch: Vec<Box<dyn Job>> = Vec::new();
        let mut linger = Linger::default();
        let mut answered = 0;
        loop {
            let taken = self.queue.take(&mut batch, (answered, &mut linger), WRITER_TICK);
            answered = batch.len();
            if matches!(taken, Taken::Closed) {
                break;
            }
            let turned = catch_unwind(AssertUnwindSafe(|| self.turn(&mut batch)));
            let stop = match turned {
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(reason),
                Err(_) => Some("the writer panicked".to_owned()),
            };
            if let Some(reason) = stop {
                self.poison(&reason, &mut batch);
                return;
            }
        }
        self.leave();
    }

    /// One round: commits the batch, then looks after the file.
    fn turn(&mut self, batch: &mut Vec<Box<dyn Job>>) -> Result<(), String> {
        let is_idle = batch.is_empty();
        if !is_idle {
            self.commit(batch)?;
        }
        if is_idle || self.looked_at.elapsed() >= WRITER_TICK {
            self.looked_at = Instant::now();
            self.look()?;
        }
        self.checkpoint()
    }

    /// Commits a batch; on return every job of it was answered, or the reason to stop is given.
    fn commit(&mut self, batch: &mut Vec<Box<dyn Job>>) -> Result<(), String> {
        self.drop_expired(batch);
        if let Some(error) = self.held() {
            self.answer_all(batch, &error);
            return Ok(());
        }
        match self.transact(batch) {
            Ok(inserted) => self.reveal(inserted, batch),
            Err(Fault::Stop(reason)) => return Err(reason),
            Err(Fault::Later(error)) => self.answer_all(batch, &error),
            Err(Fault::Job(error)) if batch.len() == 1 => self.answer_all(batch, &error),
            Err(Fault::Job(_)) => {
                // One of them is guilty: each runs alone, so that only that one fails.
                for job in std::mem::take(batch) {
                    let mut alone = vec![job];
                    let done = self.transact(&mut alone);
                    match done {
                        Ok(inserted) => self.reveal(inserted, &mut alone),
                        Err(Fault::Later(error) | Fault::Job(error)) => self.answer_all(&mut alone, &error),
                        Err(Fault::Stop(reason)) => {
                            batch.append(&mut alone);
                            return Err(reason);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn drop_expired(&self, batch: &mut Vec<Box<dyn Job>>) {
        let now = Instant::now();
        let is_late = |job: &dyn Job| job.deadline().is_some_and(|deadline| deadline < now);
        if batch.iter().any(|job| is_late(job.as_ref())) {
            let (mut late, kept) = std::mem::take(batch).into_iter().partition(|job| is_late(job.as_ref()));
            *batch = kept;
            self.answer_all(&mut late, &Error::Expired);
        }
    }

    /// The error that is due while a reader keeps the WAL at its bound.
    fn held(&mut self) -> Option<Error> {
        let over = |pages: i64| pages.saturating_mul(4_096) >= WAL_BYTES_MAX;
        if !over(checkpoint::pages()) {
            return None;
        }
        let held = checkpoint::passive(&self.conn).is_ok_and(checkpoint::Left::is_held);
        held.then_some(Error::WalHeld)
    }

    /// Runs the jobs in one transaction and commits it.
    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<Vec<Inserted>, Fault> {
        let begin = Instant::now();
        fail::fail_point!("writer.before-begin");
        self.execute("BEGIN IMMEDIATE").map_err(|error| self.fault(&error.into()))?;
        let ran = self.run_jobs(batch);
        let (head, inserted) = ran.map_err(|failure| self.roll_back(&failure))?;
        fail::fail_point!("writer.before-commit");
        if let Err(error) = self.execute("COMMIT") {
            return Err(self.roll_back(&error.into()));
        }
        fail::fail_point!("writer.after-commit");
        self.head = head;
        if let Some(last) = inserted.last() {
            self.last_ms = last.recorded_at_ms;
        }
        self.metrics.commits.inc();
        self.metrics.appended.inc_by(inserted.len() as u64);
        self.metrics.commit_seconds.observe(begin.elapsed().as_secs_f64());
        self.metrics.commit_events.observe(inserted.len() as f64);
        Ok(inserted)
    }

    fn run_jobs(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(Seq, Vec<Inserted>), Failure> {
        self.check_foreign()?;
        let turn = Turn::new(&self.conn, self.clock.now_ms().max(self.last_ms), self.head);
        for job in batch {
            job.run(&turn)?;
        }
        turn.end()
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(sql)?.execute([])
    }

    fn roll_back(&self, failure: &Failure) -> Fault {
        let is_open = !self.conn.is_autocommit();
        if is_open && let Err(error) = self.execute("ROLLBACK") {
            return Fault::Stop(format!("a transaction could not be rolled back: {error}"));
        }
        self.fault(failure)
    }

    fn fault(&self, failure: &Failure) -> Fault {
        fault::judge(failure, &self.path)
    }

    /// Another connection's commit is fine as long as it left the log alone.
    fn check_foreign(&mut self) -> Result<(), Failure> {
        let version = self.conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
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
            job.answer(Ok(()));
        }
    }

    fn answer_all(&self, batch: &mut Vec<Box<dyn Job>>, error: &Error) {
        for job in batch.drain(..) {
            self.metrics.refuse(fault::word(error));
            job.answer(Err(error.clone()));
        }
    }

    /// Looks whether the file is still the one that was opened, and still ours.
    fn look(&mut self) -> Result<(), String> {
        if !is_same_file(&self.path, self.lock.file()) {
            return Err(format!("{} was removed or replaced", self.path.display()));
        }
        let wal = beside(&self.path, "-wal");
        if self.wal.is_some() && inode(&wal) != self.wal {
            return Err(format!("{} was removed or replaced", wal.display()));
        }
        self.check_foreign().or_else(|failure| match self.fault(&failure) {
            Fault::Stop(reason) => Err(reason),
            Fault::Later(_) | Fault::Job(_) => Ok(()),
        })
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        let pages = checkpoint::pages();
        self.metrics.wal_bytes.set(pages * 4_096);
        if pages < self.next_checkpoint {
            return Ok(());
        }
        fail::fail_point!("writer.before-checkpoint");
        self.metrics.checkpoints.inc();
        match checkpoint::passive(&self.conn) {
            Ok(left) => {
                // Held back, the next try waits for more to do.
                self.next_checkpoint =
                    if left.is_held() { pages + CHECKPOINT_PAGES } else { CHECKPOINT_PAGES };
                if left.is_held() && !self.is_held {
                    tracing::info!(wal_pages = left.wal, "a reader holds back the checkpoint");
                }
                self.is_held = left.is_held();
                fail::fail_point!("writer.after-checkpoint");
                Ok(())
            }
            Err(error) => {
                self.metrics.checkpoint_errors.inc();
                self.next_checkpoint = pages + CHECKPOINT_PAGES;
                match self.fault(&error.into()) {
                    Fault::Stop(reason) => Err(format!("a checkpoint failed: {reason}")),
                    Fault::Later(error) | Fault::Job(error) => {
                        tracing::warn!(%error, "a checkpoint failed; it is tried again");
                        Ok(())
                    }
                }
            }
        }
    }

    fn poison(&mut self, reason: &str, batch: &mut Vec<Box<dyn Job>>) {
        let reason: Arc<str> = reason.into();
        tracing::error!(%reason, "the log takes no more appends");
        self.poisoned.send_replace(Some(Arc::clone(&reason)));
        batch.extend(self.queue.close_and_drain());
        self.answer_all(batch, &Error::Poisoned(reason));
    }

    /// A clean end: the WAL goes into the database, so that the file can be copied alone.
    fn leave(&mut self) {
        let emptied = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = emptied {
            tracing::info!(%error, "the WAL stays: the next start goes on from it");
        }
    }
}
