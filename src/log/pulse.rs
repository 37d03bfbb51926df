//! Whether the one that writes still takes its turns.

use std::time::Duration;

use crate::log::{Log, Source};

impl Log {
    /// For how long the writer has taken no turn; it takes one each second, whatever there is to do. Nothing for a
    /// log that another process writes.
    pub(crate) fn silence(&self) -> Duration {
        match &self.inner.source {
            Source::Own { writer, .. } => writer.silence(),
            Source::Foreign(_) => Duration::ZERO,
        }
    }
}
