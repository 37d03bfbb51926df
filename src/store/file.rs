//! The file as its tenants see it: one way to write, one to read, and the two clocks.

use std::sync::Arc;

use crate::clock::{SharedClock, Steady};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::store::readers::Readers;
use crate::store::task::{Pending, Task};
use crate::store::wipe::Wipe;
use crate::store::writer::Writer;
use crate::sync::Mutex;

/// What keeps tables of its own beside the log writes and reads them through this. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Store {
    writer: Arc<Writer>,
    pub(crate) readers: Readers,
    pub(crate) clock: SharedClock,
    /// The time of leases.
    pub(crate) steady: Steady,
    pub(crate) metrics: Arc<Metrics>,
    /// What is on its way to wipe out what was redacted.
    pub(crate) wipe: Arc<Mutex<Wipe>>,
}

impl Store {
    pub(crate) fn new(
        writer: Arc<Writer>,
        readers: Readers,
        (clock, steady): (SharedClock, Steady),
        metrics: Arc<Metrics>,
        wipe: Arc<Mutex<Wipe>>,
    ) -> Self {
        Self { writer, readers, clock, steady, metrics, wipe }
    }

    /// Whether the WAL could be emptied when that was asked for last.
    pub(crate) fn has_empty_wal(&self) -> bool {
        self.writer.has_empty_wal()
    }

    /// Why the file takes no more writes; `None` while it does.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.writer.poisoned()
    }

    /// Gives the task its place in the order. Does not block.
    pub(crate) fn write<T: Send + 'static>(&self, task: Task<T>) -> Pending<T> {
        let (job, pending) = task.into_job();
        self.writer.submit(job);
        pending
    }
}
