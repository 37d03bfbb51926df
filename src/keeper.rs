//! The keeper: one timer for what falls due, whoever is there to see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::board::question::{self, Expire};
use crate::board::transient::{Clear, Only};
use crate::board::{Intent, lease};
use crate::broker::Broker;
use crate::error::Error;
use crate::event::ClearReason;
use crate::limits::{KEEPER_TICK, SWEEP_PAUSE, WIPE_SLICE};
use crate::log::Log;
use crate::log::authority::{Command, Inlet};
use crate::log::upkeep::Upkeep;
use crate::store::file::Store;
use crate::store::reading;
use crate::store::task::Task;
use crate::store::wipe::Came;
use crate::sync::{Condvar, Mutex, lock, wait_for};

/// What is closed in one round of commits.
const DUE_MAX: u32 = 256;
/// How long something that cannot be closed is left alone.
const ASIDE: Duration = Duration::from_mins(1);

/// A thread that looks twice a second at what falls due: questions, leases, inboxes, events past their time.
///
/// It polls rather than sleeping until the next deadline: a deadline may come nearer at any commit, and the
/// look costs microseconds. It ends when it is closed, which the log does when its last handle goes: the keeper
/// holds none, so that handle's end closes the file there and then.
pub(crate) struct Keeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Clears what a process left that is gone, then starts the thread.
    pub(crate) fn start(log: &Log, broker: &Broker, owner: &Arc<str>) -> Result<Self, Error> {
        let store = log.store()?;
        clear_orphans(log, &store, owner)?;
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let mut rounds = Rounds {
            inlet: log.inlet()?,
            store,
            broker: broker.clone(),
            next_sweep: Instant::now(),
            upkeep: Upkeep::new(log.retention()),
            aside: BTreeMap::new(),
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("hivelog-keeper".into()).spawn(move || {
            let (flag, bell) = &*stopped;
            let mut is_over = lock(flag);
            while !*is_over {
                drop(is_over);
                let goes_on = rounds.make();
                is_over = lock(flag);
                if !goes_on {
                    return;
                }
                if !*is_over {
                    is_over = wait_for(bell, is_over, KEEPER_TICK);
                }
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread, and waits for it unless it is this very one.
    pub(crate) fn close(&self) {
        *lock(&self.stop.0) = true;
        self.stop.1.notify_one();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ended = thread.join();
        }
    }
}

/// The last process may have been killed while it held transients: they are nobody's now. Those set over HTTP
/// keep their lease.
fn clear_orphans(log: &Log, store: &Store, owner: &Arc<str>) -> Result<(), Error> {
    let steady_ms = store.steady.now_ms();
    let tidied = store.write(Task::new(move |turn| Ok(Ok(lease::tidy(turn.conn, steady_ms)?))));
    pollster::block_on(tidied)?;
    let orphans = store.readers.with(|conn| lease::orphans(conn, owner).map_err(|error| reading(&error)))?;
    let cleared: Vec<_> = orphans
        .into_iter()
        .map(|name| {
            let only = Some(Only::Orphaned(Arc::clone(owner)));
            log.submit(Command::intend(Intent::Clear(Clear { name, reason: ClearReason::Restart, only })))
        })
        .collect();
    cleared.into_iter().try_for_each(|cleared| cleared.wait().map(drop))
}

struct Rounds {
    inlet: Inlet,
    store: Store,
    broker: Broker,
    next_sweep: Instant,
    upkeep: Upkeep,
    /// What could not be closed, as where its event is damaged, and until when it is left alone: it would keep the
    /// rest from what is due, and have each commit that it joins rolled back.
    aside: BTreeMap<String, Instant>,
}

impl Rounds {
    /// Looks once after everything; says whether the log still takes what comes of it.
    fn make(&mut self) -> bool {
        match self.look() {
            Err(Error::Closed | Error::Poisoned(_)) => {
                // Who waits for a message learns it too.
                self.broker.ring_due();
                false
            }
            Err(error) if error.is_transient() => true,
            Err(error) => {
                tracing::warn!(%error, "what falls due could not be looked after; it is tried again");
                true
            }
            Ok(()) => true,
        }
    }

    fn look(&mut self) -> Result<(), Error> {
        // In one go what fell due while nobody looked: at most as much as may be open.
        while self.close_some()? >= DUE_MAX as usize {}
        self.broker.ring_due();
        while self.broker.expire_peers()? > 0 {}
        self.sweep()?;
        self.wipe()?;
        self.upkeep.look(&self.store)
    }

    /// Closes some of what is due; says how much that was.
    fn close_some(&mut self) -> Result<usize, Error> {
        let steady_ms = self.store.steady.now_ms();
        let now = self.store.clock.now_ms() / 1_000;
        let (due, lapsed): (Vec<i64>, Vec<String>) = self.store.readers.with(|conn| {
            let look =
                || Ok((question::due(conn, now, DUE_MAX)?, lease::lapsed(conn, steady_ms, now, DUE_MAX)?));
            look().map_err(|error| reading(&error))
        })?;
        let expire = due.into_iter().map(|id| (format!("question {id}"), Intent::Expire(Expire { id })));
        let clear = lapsed.into_iter().map(|name| {
            let (what, only) = (format!("transient {name}"), Some(Only::Lapsed(steady_ms)));
            (what, Intent::Clear(Clear { name, reason: ClearReason::LeaseExpired, only }))
        });
        let begin = Instant::now();
        self.aside.retain(|_, until| *until > begin);
        let under_way: Vec<_> = expire
            .chain(clear)
            .filter(|(what, _)| !self.aside.contains_key(what))
            .map(|(what, intent)| (what, self.inlet.submit(Command::intend(intent))))
            .collect();
        let mut closed = 0;
        for (what, receipt) in under_way {
            match receipt.wait() {
                // Decided in its transaction: where somebody was faster, nothing came of it.
                Ok(done) => closed += done.new,
                Err(error @ (Error::Closed | Error::Poisoned(_))) => return Err(error),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, what, "it is due and cannot be closed; it is tried again");
                    self.aside.insert(what, begin + ASIDE);
                }
            }
        }
        Ok(closed)
    }

    /// Goes on with what a redaction left to be wiped out, where readers were in its way or it was cut off.
    fn wipe(&self) -> Result<(), Error> {
        let begin = Instant::now();
        while begin.elapsed() < WIPE_SLICE {
            match lock(&self.store.wipe).step(&self.store)? {
                Came::On => {}
                Came::Through | Came::Nowhere => break,
            }
        }
        Ok(())
    }

    /// Goes on at the next look where there is more to delete, else after a while.
    fn sweep(&mut self) -> Result<(), Error> {
        if Instant::now() >= self.next_sweep {
            let pause = if self.broker.sweep()? { KEEPER_TICK } else { SWEEP_PAUSE };
            self.next_sweep = Instant::now() + pause;
        }
        Ok(())
    }
}
