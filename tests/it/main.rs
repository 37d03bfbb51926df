//! The promises, one module for each area: first those of the crate, then those of the HTTP door.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::large_futures,
    clippy::needless_pass_by_value,
    clippy::wildcard_enum_match_arm,
    reason = "a test says best where it fails by failing there, and is not in a hurry"
)]

mod append;
mod approvals;
mod backup;
mod broker;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../dice/mod.rs"]
mod dice;
mod forward;
mod golden;
mod history;
mod live;
mod other;
mod questions;
mod redaction;
mod restart;
mod retention;
mod schema;
mod search;
mod second;
#[path = "../shell/mod.rs"]
mod shell;
mod snapshot;
mod store;
mod swarm;
mod transfer;
mod transients;
mod wal;

#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod client;
#[cfg(feature = "server")]
mod embed;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
#[path = "../nasty/mod.rs"]
mod nasty;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod sse;
#[cfg(feature = "server")]
mod stream;

use std::path::{Path, PathBuf};

use hivelog::{Command, Draft, Error, Log, Options, Refusal, Seq};

/// A folder with a log in it that can be closed and opened again.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.beside("log.db")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Log {
        Log::open(self.path(), Options::default()).unwrap()
    }
}

fn seq(number: i64) -> Seq {
    Seq::new(number).unwrap()
}

/// Appends the JSON text of an event as a client sends it.
fn append(log: &Log, text: &str) -> Result<i64, Error> {
    let draft = Draft::from_json(text)?;
    log.append(draft).wait().map(Seq::get)
}

/// Appends a note of an application's own kind.
fn note(log: &Log, number: i64) -> i64 {
    append(log, &format!(r#"{{"kind":"test.note","n":{number}}}"#)).unwrap()
}

/// Appends events all or none; gives their seqs and how many are new.
fn batch(log: &Log, key: Option<&str>, texts: &[&str]) -> Result<(Vec<i64>, usize), Error> {
    let drafts = texts.iter().map(|text| Draft::from_json(text)).collect::<Result<_, _>>()?;
    let command = Command::new(drafts);
    let command = match key {
        Some(key) => command.key(key),
        None => command,
    };
    let appended = log.submit(command).wait()?;
    Ok((appended.seqs.into_iter().map(Seq::get).collect(), appended.new))
}

fn approval(id: i64, agent: &str) -> String {
    format!(r#"{{"kind":"approval_added","id":{id},"agent":"{agent}","approval_kind":"spawn"}}"#)
}

fn refusal<T: std::fmt::Debug>(told: Result<T, Error>) -> Refusal {
    match told {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The whole log as lines.
fn lines(log: &Log) -> Vec<String> {
    let range = hivelog::Range { limit: 10_000, ..hivelog::Range::default() };
    let page = log.range(&range).unwrap();
    page.rows().map(|row| String::from_utf8(row.line().to_vec()).unwrap()).collect()
}

/// A plain connection to the file, as any other program has it.
fn foreign(path: &Path) -> hivelog::rusqlite::Connection {
    hivelog::rusqlite::Connection::open(path).unwrap()
}
