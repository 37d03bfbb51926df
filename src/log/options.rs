//! How a log is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::{Clock, SharedClock, SystemClock};
use crate::store::open::Durability;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    pub(super) durability: Durability,
    pub(super) clock: SharedClock,
    pub(super) kinds: BTreeSet<Box<str>>,
    pub(super) create: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            clock: Arc::new(SystemClock),
            kinds: BTreeSet::new(),
            create: true,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("durability", &self.durability).finish_non_exhaustive()
    }
}

impl Options {
    /// Acknowledges appends when `durability` says so. Default: [`Durability::Full`].
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Declares a kind without a dot in its name. The declaration is kept in the file.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        self.kinds.insert(kind.into());
        self
    }

    /// Whether a file that is not there is made. Default: yes.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }
}
