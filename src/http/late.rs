//! The desk of a door, which may come later than the door.

use std::sync::{Arc, OnceLock};

use crate::desk::Desk;
use crate::error::Error;
use crate::log::Log;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// The desk of a door. Where somebody holds the write lock while the door is made there is none yet: each call
/// that misses it has it tried again.
pub(super) struct LateDesk(Arc<Inner>);

struct Inner {
    log: Log,
    desk: OnceLock<Desk>,
    /// Why there is none, so far.
    why: Mutex<Error>,
    is_tried: AtomicBool,
}

impl LateDesk {
    /// Asks for it, or notes why there is none yet.
    pub(super) fn of(log: &Log) -> Self {
        let inner = Arc::new(Inner {
            log: log.clone(),
            desk: OnceLock::new(),
            why: Mutex::new(Error::Busy),
            is_tried: AtomicBool::new(true),
        });
        Attempt(Arc::clone(&inner)).carry_out();
        Self(inner)
    }

    /// What commands go to. Does not block.
    pub(super) fn get(&self) -> Result<&Desk, Error> {
        if let Some(desk) = self.0.desk.get() {
            return Ok(desk);
        }
        let why = lock(&self.0.why).clone();
        let may_come = !matches!(why, Error::ReadOnly | Error::Closed | Error::Poisoned(_));
        if may_come && !self.0.is_tried.swap(true, Ordering::AcqRel) {
            let attempt = Attempt(Arc::clone(&self.0));
            // It waits for the lock as long as any write does: not on a thread of the runtime. Where there is no thread
            // for it the next call tries again.
            let _begun =
                std::thread::Builder::new().name("hivelog-desk".into()).spawn(move || attempt.carry_out());
        }
        Err(why)
    }
}

/// The one attempt that is under way, until this is dropped.
struct Attempt(Arc<Inner>);

impl Attempt {
    fn carry_out(self) {
        match Desk::of(&self.0.log) {
            Ok(desk) => drop(self.0.desk.set(desk)),
            Err(error) => *lock(&self.0.why) = error,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.is_tried.store(false, Ordering::Release);
    }
}
