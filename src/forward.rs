//! The forwarder: mirrors the broker's journal on the log, exactly once and in order.
//!
//! The events and the cursor that says how far the mirror has come are written in one transaction, so no end
//! of the process comes between them. Whatever an attempt came to, the next one begins with a look at the
//! cursor: so an outcome that is unknown is never guessed at.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::broker::journal::{self, Entry, What};
use crate::draft::Draft;
use crate::error::Error;
use crate::event::{Event, Message};
use crate::limits::MIRROR_DRAIN;
use crate::log::Log;
use crate::log::authority::{Command, Inlet};
use crate::store::file::Store;
use crate::store::readers::at_one_moment;
use crate::store::task::Task;
use crate::store::{keys, meta, rows};
use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, lock, wait_for};
use crate::tail::{Tail, Woken};

/// How long the mirror waits after a failure, at first and at most.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The thread that mirrors. It ends when it is closed, or when the log takes nothing more.
pub(crate) struct Forwarder {
    journal: Arc<Tail>,
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Cuts a wait after a failure short.
#[derive(Default)]
struct Stop {
    is_set: Mutex<bool>,
    bell: Condvar,
}

impl Stop {
    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut is_set = lock(&self.is_set);
        while !*is_set {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            is_set = wait_for(&self.bell, is_set, left);
        }
    }
}

impl Forwarder {
    /// Starts the thread. It keeps neither the log open nor its handle.
    pub(crate) fn start(log: &Log, broker: &Broker) -> Result<Self, Error> {
        let (journal, stop) = (Arc::clone(broker.journal()), Arc::<Stop>::default());
        let mut mirror = Mirror {
            inlet: log.inlet()?,
            store: broker.store().clone(),
            journal: Arc::clone(&journal),
            stop: Arc::clone(&stop),
            closed_at: None,
            has_caught_up: false,
        };
        let thread = std::thread::Builder::new().name("hivelog-mirror".into()).spawn(move || mirror.run())?;
        Ok(Self { journal, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Mirrors what is in the journal, as far as [`MIRROR_DRAIN`] suffices, and ends the thread. Waits for it
    /// unless it is this very one.
    pub(crate) fn close(&self) {
        self.journal.close();
        *lock(&self.stop.is_set) = true;
        self.stop.bell.notify_one();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ended = thread.join();
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread owns.
struct Mirror {
    inlet: Inlet,
    store: Store,
    journal: Arc<Tail>,
    stop: Arc<Stop>,
    /// When it was first seen that the journal is closed.
    closed_at: Option<Instant>,
    /// Whether all that was sent before the journal was closed is in it.
    has_caught_up: bool,
}

impl Mirror {
    fn run(&mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            // Before the look: what is published later is waited for, what was published by then is seen.
            let head = self.journal.head();
            match self.turn() {
                Ok(true) => {
                    backoff = BACKOFF_MIN;
                    if self.is_out_of_time() {
                        return;
                    }
                }
                Ok(false) => match self.journal.wait_blocking(head) {
                    Woken::More => {}
                    Woken::Closed if self.has_caught_up => return,
                    Woken::Closed => {
                        // What was sent before the end may still be in the queue, which is in order.
                        let behind = self.store.write(Task::new(|_| Ok(Ok(()))));
                        if pollster::block_on(behind).is_err() {
                            return;
                        }
                        self.has_caught_up = true;
                    }
                },
                Err(Error::Closed | Error::Poisoned(_) | Error::ReadOnly) => return,
                Err(error) => {
                    if self.journal.is_closed() {
                        return;
                    }
                    if error.is_transient() {
                        tracing::info!(%error, "the mirror of messages waits");
                    } else {
                        tracing::error!(%error, "messages could not be mirrored; it is tried again");
                    }
                    self.stop.wait(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Whether the log is being closed and has waited long enough.
    fn is_out_of_time(&mut self) -> bool {
        self.journal.is_closed() && self.closed_at.get_or_insert_with(Instant::now).elapsed() > MIRROR_DRAIN
    }

    /// Mirrors the next rows of the journal; says whether there were any.
    fn turn(&self) -> Result<bool, Error> {
        let look =
            |conn: &rusqlite::Connection| Ok((journal::next(conn)?, meta::integer(conn, "redactions")?));
        let (next, redactions) = self.store.readers.with(|conn| at_one_moment(conn, look))?;
        let Some((entries, last)) = next else { return Ok(false) };
        fail::fail_point!("forward.before-submit");
        if entries.is_empty() {
            // Their messages are gone, which nothing of ours does.
            tracing::warn!(journal_id = last, "rows of the journal name no message");
            let task = Task::new(move |turn| Ok(Ok(journal::set_cursor(turn.conn, last)?)));
            pollster::block_on(self.store.write(task))?;
            return Ok(true);
        }
        let drafts = entries.into_iter().map(draft).collect();
        let is_old = Arc::new(AtomicBool::new(false));
        let found_old = Arc::clone(&is_old);
        let command = Command::new(drafts).actor(keys::MIRROR).also(move |conn| {
            // What was read may be what was taken out since.
            if meta::integer(conn, "redactions")? != redactions {
                found_old.store(true, Ordering::Release);
                return Err(rows::taken_back("a text was redacted meanwhile"));
            }
            journal::set_cursor(conn, last)
        });
        let receipt = self.inlet.submit(command);
        fail::fail_point!("forward.after-submit");
        let appended = match receipt.wait() {
            Err(_) if is_old.load(Ordering::Acquire) => return Ok(true),
            appended => appended?,
        };
        self.store.metrics.messages.mirrored.inc_by(appended.new as u64);
        fail::fail_point!("forward.mirrored");
        Ok(true)
    }
}

/// The event of a row.
fn draft(entry: Entry) -> Draft {
    let Entry { id, what, at, message_id, from, to, body } = entry;
    let message = Message { from, to, body, at, message_id: Some(message_id) };
    let event = match what {
        What::Sent => Event::Sent(message),
        What::Delivered => Event::Delivered(message),
    };
    Draft::from(event).key(format!("broker:{id}"))
}
