//! The two ways to fail: a refusal (the domain says no) and an error (the machine failed).

use std::sync::Arc;

use crate::row::Row;
use crate::seq::Seq;

/// Why the domain said no. Nothing was stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The text does not have the shape that its kind demands.
    #[error("{}{detail}", field.as_ref().map(|name| format!("`{name}`: ")).unwrap_or_default())]
    Invalid {
        /// The field that is wrong, where one can be named.
        field: Option<Box<str>>,
        /// What is wrong with it.
        detail: Box<str>,
    },
    /// The text is not JSON.
    #[error("not JSON: {0}")]
    Malformed(Box<str>),
    /// The kind is neither fixed, nor dotted, nor declared: a typo.
    #[error("unknown kind {0:?}: a kind of your own needs a dot in its name, or to be declared")]
    UnknownKind(Box<str>),
    /// What the event speaks of was never there.
    #[error("{0} is not known here")]
    Unknown(Box<str>),
    /// Somebody else was first.
    #[error("{detail}")]
    Conflict {
        /// What was already decided.
        detail: Box<str>,
        /// The event that won.
        winner: Box<Row>,
    },
    /// It is closed, and was never on the log: a question between peers.
    #[error("{detail}")]
    Closed {
        /// What is closed.
        detail: Box<str>,
        /// What has become of it, as JSON.
        row: Box<str>,
    },
    /// The idempotency key stands for other content.
    #[error("idempotency key {0:?} was used before with other content")]
    KeyReused(Box<str>),
    /// Somebody else has to do that.
    #[error("{0}")]
    Forbidden(Box<str>),
    /// Too many open items, or too much of their text.
    #[error("{0}")]
    TooManyOpen(Box<str>),
    /// More text or more events than one append may carry.
    #[error("{0}")]
    TooLarge(Box<str>),
}

impl Refusal {
    /// The word under which it is counted.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Malformed(_) => "malformed",
            Self::UnknownKind(_) => "unknown_kind",
            Self::Unknown(_) => "unknown",
            Self::Conflict { .. } | Self::Closed { .. } => "conflict",
            Self::KeyReused(_) => "key_reused",
            Self::Forbidden(_) => "forbidden",
            Self::TooManyOpen(_) => "too_many_open",
            Self::TooLarge(_) => "too_large",
        }
    }

    pub(crate) fn invalid(field: &str, detail: impl Into<Box<str>>) -> Self {
        Self::Invalid { field: Some(field.into()), detail: detail.into() }
    }

    /// What the JSON reader says: text that is no JSON, or JSON of another shape.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
                Self::Malformed(error.to_string().into())
            }
            serde_json::error::Category::Data | serde_json::error::Category::Io => {
                Self::shape(error.to_string())
            }
        }
    }

    pub(crate) fn shape(detail: impl Into<Box<str>>) -> Self {
        Self::Invalid { field: None, detail: detail.into() }
    }
}

/// Why the machine failed.
///
/// `QueueFull`, `Busy`, `DiskFull`, `WalHeld`, `Expired` and `Closed` mean that nothing was stored. For an
/// append, `Poisoned` and `Storage` leave the outcome unknown: repeat it with its idempotency
/// key after a restart, and it is stored exactly once.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The domain said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// The log was opened read-only.
    #[error("the log was opened read-only")]
    ReadOnly,
    /// A write failed in a way that leaves the file's state unsure; no append is taken any more.
    #[error("the log takes no more appends: {0}")]
    Poisoned(Arc<str>),
    /// The queue of appends is at its bound.
    #[error("the queue of appends is full; try later")]
    QueueFull,
    /// The append waited longer than its deadline for its turn.
    #[error("the append did not get its turn in time")]
    Expired,
    /// Another process holds the file's write lock.
    #[error("another process holds the write lock of the file; try later")]
    Busy,
    /// The disk is full.
    #[error("the disk is full; reads go on, and appends resume when there is space")]
    DiskFull,
    /// A reader holds back every checkpoint and the WAL has reached its bound.
    #[error(
        "a reader holds an old snapshot of the file and the WAL has reached its bound; end that reader (often an open sqlite3 shell)"
    )]
    WalHeld,
    /// Another process serves this file.
    #[error("the file is in use by {}{}", pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}")), url.as_ref().map(|url| format!(", which serves it at {url}")).unwrap_or_default())]
    Locked {
        /// Its process id, where it could be learnt.
        pid: Option<u32>,
        /// The base URL that it serves.
        url: Option<Box<str>>,
    },
    /// The path does not hold a log.
    #[error("{0}")]
    NotALog(Box<str>),
    /// The file was written by a newer hivelog.
    #[error("the file has schema {found}, this hivelog knows {known}: use a newer hivelog")]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The newest schema that this build reads.
        known: i64,
    },
    /// The path does not exist.
    #[error("there is no log at {0}")]
    NotFound(Box<str>),
    /// The file that is read was removed or replaced by another one.
    #[error("the file was removed or replaced; open it again")]
    Replaced,
    /// The file that is to be made is there already.
    #[error("{0} exists already")]
    Exists(Box<str>),
    /// The events asked for are below the floor: they were pruned.
    #[error("pruned: the log begins after seq {floor}")]
    Gone {
        /// The highest pruned seq.
        floor: Seq,
    },
    /// The question took longer than it may.
    #[error("the answer took too long; narrow the question")]
    TimedOut,
    /// Another question of the same costly kind is being answered.
    #[error("another question of this kind is being answered; try later")]
    Occupied,
    /// The event is redacted, but a reader of the file holds old pages in which its text still lies.
    #[error(
        "the event is redacted, but a reader of the file (often an open sqlite3 shell) holds old pages with its text; call again once it is gone"
    )]
    Pending,
    /// `SQLite` or the file system failed.
    #[error("storage: {0}")]
    Storage(Box<str>),
}

impl Error {
    /// Whether the same call may succeed later without anything being changed by the caller.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::Expired
                | Self::Busy
                | Self::DiskFull
                | Self::WalHeld
                | Self::Occupied
                | Self::Pending
        )
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error.to_string().into())
    }
}
