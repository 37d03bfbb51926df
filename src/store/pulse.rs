//! When the writer's thread took its last turn.

use std::time::{Duration, Instant};

use crate::sync::{AtomicI64, Ordering};

/// Written by the thread, read by whoever asks whether it lives.
pub(crate) struct Pulse {
    started: Instant,
    /// Milliseconds since then. Nothing else is ordered by it.
    last_ms: AtomicI64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { started: Instant::now(), last_ms: AtomicI64::new(0) }
    }
}

impl Pulse {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn beat(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long ago the last turn was.
    pub(crate) fn age(&self) -> Duration {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(self.now_ms().saturating_sub(last_ms)).unwrap_or(0))
    }
}
