//! The desk of a door, which may come later than the door.

use std::sync::{Arc, OnceLock};

use crate::desk::Desk;
use crate::error::Error;
use crate::log::Log;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// The desk of a door. Where somebody holds the write lock while the door is made there is none yet: each call
/// that misses it has it tried again.
pub(super) struct Counter(Arc<Inner>);

struct Inner {
    log: Log,
    desk: OnceLock<Desk>,
    /// Why there is none, so far.
    why: Mutex<Error>,
    is_tried: AtomicBool,
}

impl Counter {
    /// Opens it, or notes why it is not open yet.
    pub(super) fn open(log: &Log) -> Self {
        let inner = Inner {
            log: log.clone(),
            desk: OnceLock::new(),
            why: Mutex::new(Error::Busy),
            is_tried: AtomicBool::new(false),
        };
        inner.try_to_open();
        Self(Arc::new(inner))
    }

    /// What commands go to. Does not block.
    pub(super) fn desk(&self) -> Result<&Desk, Error> {
        if let Some(desk) = self.0.desk.get() {
            return Ok(desk);
        }
        let why = lock(&self.0.why).clone();
        let may_change = !matches!(why, Error::ReadOnly | Error::Closed | Error::Poisoned(_));
        if may_change && !self.0.is_tried.swap(true, Ordering::AcqRel) {
            let inner = Arc::clone(&self.0);
            // It waits for the lock as long as any write does: not on a thread of the runtime.
            let _begun = std::thread::Builder::new().name("hivelog-desk".into()).spawn(move || {
                inner.try_to_open();
                inner.is_tried.store(false, Ordering::Release);
            });
        }
        Err(why)
    }
}

impl Inner {
    fn try_to_open(&self) {
        match Desk::of(&self.log) {
            Ok(desk) => drop(self.desk.set(desk)),
            Err(error) => *lock(&self.why) = error,
        }
    }
}
