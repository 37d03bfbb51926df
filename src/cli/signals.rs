//! The signals that end a server, whatever it waits for.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::failure::Failure;

/// The signal of a write past the file size limit; its default is to kill the process.
const SIGXFSZ: i32 = 25;

/// How long it is waited for what was begun and is not wanted any more.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// The signals that a server listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    // Kept so that a write past the file size limit comes back as an error: a full disk, not a death.
    _file_size: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Does what blocks; `None` where a signal to stop came first, after which nobody waits for it.
    pub(crate) async fn beside<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<Option<T>, Failure> {
        tokio::select! {
            () = self.stop() => Ok(None),
            done = tokio::task::spawn_blocking(work) => done.map_err(Failure::failed)?.map(Some),
        }
    }

    /// Waits for a signal to stop. Cancel-safe.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
