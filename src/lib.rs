//! hivelog is a persistent event log in one `SQLite` file, for the dashboards of AI-agent swarms.
//!
//! One table is written; everything else is a range of it (history), a fold of it (board, snapshot)
//! or a wait for its tail (live). Every event is a row whose AUTOINCREMENT id is its [`Seq`].
//!
//! ```
//! use hivelog::event::{Event, Message};
//! use hivelog::{Filter, Followed, Log, Range, Seq};
//!
//! let log = Log::temp()?;
//! let seq = log
//!     .append(Event::Sent(Message {
//!         from: "alice".into(),
//!         to: "bob".into(),
//!         body: "the tests are green".into(),
//!         at: 1_763_829_000,
//!         message_id: None,
//!     }))
//!     .wait()?;
//! assert_eq!(seq.get(), 1);
//!
//! let page = log.range(&Range::default())?;
//! assert_eq!(page.rows().count(), 1);
//!
//! let mut live = log.follow_blocking(Seq::ZERO, Filter::default())?;
//! assert!(matches!(live.next(), Some(Ok(Followed::Event(row))) if row.kind() == "sent"));
//! # Ok::<(), hivelog::Error>(())
//! ```
//!
//! # What it is not
//!
//! It is not a message broker between machines, not a database for the agents' own data, and not a
//! place for terminal output by the megabyte. One process writes a file; any number may read it.
//!
//! # Blocking
//!
//! Appending never blocks: the receipt is awaited, or waited for. Reading (`range`, `snapshot`, `get`)
//! blocks for as long as `SQLite` takes; in async code call it from a thread for blocking work.
//! Following waits without blocking. Once the log is closed every call ends with [`Error::Closed`].
//!
//! # Features
//!
//! `server` adds `http`, an axum router; `cli` (the default) adds the `hivelog` command. Without both
//! the crate is the log alone.

#![cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "what only the HTTP door reads stands with what it belongs to")
)]

pub mod clock;
pub mod error;
pub mod event;
#[cfg(feature = "server")]
pub mod http;
pub mod limits;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;

mod access;
mod board;
mod broker;
mod desk;
mod doctor;
mod draft;
mod forward;
mod keeper;
mod log;
mod metrics;
mod query;
mod record;
mod redact;
mod row;
mod search;
mod seq;
mod store;
mod sync;
mod tail;
mod wire;
mod words;

pub use crate::access::Role;
pub use crate::access::credentials::{Credentials, TokenRow};
pub use crate::board::approval::{Request, Resolve};
pub use crate::board::question::{Answer, Ask, Cancel};
pub use crate::broker::Delivery;
pub use crate::desk::{ApprovalRow, Desk, Opened, QuestionRow, Receive, TransientGuard};
pub use crate::doctor::{Diagnosis, examine};
pub use crate::draft::{Custom, Draft};
pub use crate::error::{Error, Refusal};
pub use crate::event::Event;
pub use crate::log::Log;
pub use crate::log::activity::{Activity, Bucket};
pub use crate::log::authority::{Appended, Command, Receipt};
pub use crate::log::backup::{Backup, Restored, restore};
pub use crate::log::check::{Finding, Report, check};
pub use crate::log::feed::{ResetReason, Start};
pub use crate::log::follower::{BlockingFollower, Followed, Follower};
pub use crate::log::options::Options;
pub use crate::log::prune::{Prune, Pruned};
pub use crate::log::range::Page;
pub use crate::log::retention::{Keep, Retention};
pub use crate::log::snapshot::Snapshot;
pub use crate::log::transfer::{ImportReport, Progress, import};
pub use crate::query::{Filter, Order, Range};
pub use crate::redact::Redact;
pub use crate::row::Row;
pub use crate::search::{AgentRow, Agents, Search};
pub use crate::seq::{BadCursor, Cursor, LogId, Seq};
pub use crate::store::checkpoint::Checkpoints;
pub use crate::store::open::Durability;
pub use crate::tail::Woken;
pub use crate::words::Words;

/// The `SQLite` bindings that this crate is built with: a second copy in one program cannot be linked.
pub use rusqlite;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
