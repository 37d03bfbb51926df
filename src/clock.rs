//! Wall time, read here and nowhere else.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Gives the wall time in milliseconds since 1970.
///
/// A log is opened with one, so that a test can hold time still or turn it back.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

impl<F: Fn() -> i64 + Send + Sync + 'static> Clock for F {
    fn now_ms(&self) -> i64 {
        self()
    }
}

pub(crate) type SharedClock = Arc<dyn Clock>;

/// Time for leases: begins as wall time, and from then on runs evenly, whatever becomes of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    base_ms: i64,
    since: Instant,
}

impl Steady {
    pub(crate) fn start(clock: &dyn Clock) -> Self {
        Self { base_ms: clock.now_ms(), since: Instant::now() }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.base_ms.saturating_add(elapsed)
    }
}
