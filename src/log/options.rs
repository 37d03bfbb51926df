//! How a log is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::{Clock, SharedClock, SystemClock};
use crate::draft::is_kind;
use crate::error::{Error, Refusal};
use crate::event::FIXED_KINDS;
use crate::limits::WAL_BYTES_MAX_LEAST;
use crate::log::retention::Retention;
use crate::store::checkpoint::{Checkpoints, Plan};
use crate::store::open::{Durability, Opened};
use crate::store::{meta, reading};

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    pub(super) durability: Durability,
    pub(super) clock: SharedClock,
    pub(super) kinds: BTreeSet<Box<str>>,
    pub(super) create: bool,
    pub(super) wal: Plan,
    pub(super) retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            clock: Arc::new(SystemClock),
            kinds: BTreeSet::new(),
            create: true,
            wal: Plan::default(),
            retention: Retention::default(),
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
    ///
    /// [`Log::open`](crate::Log::open) refuses it where it is no kind, or one of hivelog's own.
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

    /// Leaves checkpoints to another program that copies the WAL, such as Litestream. Default:
    /// [`Checkpoints::Own`].
    #[must_use]
    pub const fn checkpoints(mut self, by: Checkpoints) -> Self {
        self.wal.by = by;
        self
    }

    /// Refuses appends ([`Error::WalHeld`]) while a reader keeps the WAL at this size, in bytes: 8,192,000 at
    /// least. Default: 1 GiB.
    #[must_use]
    pub fn wal_bytes_max(mut self, bytes: u64) -> Self {
        self.wal.bytes_max = i64::try_from(bytes).unwrap_or(i64::MAX).max(WAL_BYTES_MAX_LEAST);
        self
    }

    /// Keeps events this long. Default: [`Retention::default`].
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Refuses what no file could be opened with, before there is one.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let may_be =
            |kind: &str| is_kind(kind) && !kind.starts_with("hivelog.") && !FIXED_KINDS.contains(&kind);
        match self.kinds.iter().find(|kind| !may_be(kind)) {
            Some(kind) => Err(Refusal::invalid("kind", format!("{kind:?} cannot be declared"))),
            None => Ok(()),
        }
    }
}

/// Writes new declarations down, and gives all that hold.
pub(super) fn declare(opened: &Opened, options: &Options) -> Result<BTreeSet<Box<str>>, Error> {
    let failed = |error: rusqlite::Error| reading(&error);
    let mut known: BTreeSet<Box<str>> =
        meta::kinds(&opened.conn).map_err(failed)?.into_iter().map(Into::into).collect();
    for kind in &options.kinds {
        if known.insert(kind.clone()) {
            meta::set_integer(&opened.conn, &format!("kind.{kind}"), 1).map_err(failed)?;
        }
    }
    let durability = options.durability.as_str();
    if meta::text(&opened.conn, "durability").map_err(failed)?.as_deref() != Some(durability) {
        meta::set_text(&opened.conn, "durability", durability).map_err(failed)?;
    }
    Ok(known)
}
