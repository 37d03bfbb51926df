//! What is wrong with a log's file and with what is around it, why that may be, and what helps.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::access::first::token_path;
use crate::error::Error;
use crate::limits::{FREE_BYTES_MIN, WAL_BYTES_KEPT};
use crate::log::check::{self, Finding, Report};
use crate::search;
use crate::store::holders::{self, Process};
use crate::store::open::{beside, check_triggers, readable};
use crate::store::readers::{Readers, at_one_moment};
use crate::store::{copy, lock, meta, reading};

/// What a look at a file and around it found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What the file says; `None` where it is too damaged to be read.
    #[serde(flatten)]
    pub report: Option<Report>,
    /// The log that it is a copy of, until somebody writes it: then it gets a name of its own.
    pub copy_of: Option<String>,
    /// The process that has it open for writing.
    pub writer_pid: Option<u32>,
    /// Where that process serves it.
    pub served_at: Option<Box<str>>,
    /// The size of the file, in bytes.
    pub file_bytes: u64,
    /// The size of the WAL, in bytes.
    pub wal_bytes: u64,
    /// Free space where the file is, in bytes, for who does not run as root.
    pub free_bytes: Option<u64>,
    /// How far the search index goes; `None` where there is none, and the next server begins one.
    pub indexed_upto: Option<i64>,
    /// What is not as it should be; empty where all is well.
    pub findings: Vec<Finding>,
}

/// Looks at the file at `path` and around it, with or without a server that writes it. Reads all of it, and
/// blocks that long.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotALog`] and [`Error::Newer`]: it is no log that this build can read.
pub fn examine(path: impl AsRef<Path>) -> Result<Diagnosis, Error> {
    let path = readable(path.as_ref())?;
    let bytes = |path: PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
    let holder = lock::holder(&path);
    let mut findings = Vec::new();
    // Before the reading, which is a reader too.
    findings.extend(held_wal(&path, bytes(beside(&path, "-wal")), holder.is_some()));
    findings.extend(held_lock(&path, holder.as_ref().map(|holder| holder.pid)));
    findings.extend(permissions(&path));
    let free_bytes = rustix::fs::statvfs(&path).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    findings.extend(free_bytes.filter(|free| *free < FREE_BYTES_MIN).map(scarce));
    let readers = Readers::open(&path, None)?;
    let read = readers.with(|conn| {
        findings.extend(triggers(conn));
        let log_id = meta::log_id(conn)?;
        let copy_of = copy::copy_of(conn).map_err(|error| reading(&error))?;
        Ok((copy_of, at_one_moment(conn, |conn| check::examine(conn, log_id))?))
    });
    let (copy_of, report) = match read {
        Ok((copy_of, (report, found))) => {
            findings.extend(found);
            (copy_of, Some(report))
        }
        Err(Error::Storage(why)) => {
            findings.push(check::damaged(&why));
            (None, None)
        }
        Err(error) => return Err(error),
    };
    let indexed = report.as_ref().and_then(|report| search::indexed_upto(&path, report.log_id));
    Ok(Diagnosis {
        report,
        copy_of,
        writer_pid: holder.as_ref().map(|holder| holder.pid),
        served_at: holder.and_then(|holder| holder.url),
        file_bytes: bytes(path.clone()),
        wal_bytes: bytes(beside(&path, "-wal")),
        free_bytes,
        indexed_upto: indexed.map(crate::seq::Seq::get),
        findings,
    })
}

fn triggers(conn: &rusqlite::Connection) -> Option<Finding> {
    let Err(Error::NotALog(why)) = check_triggers(conn) else { return None };
    let cause = "another program made it; it would run with each write, so the log is not opened for writing";
    Some(Finding::new("trigger", why, cause, "look at it in sqlite3 (.schema), then DROP TRIGGER it"))
}

/// A WAL that is larger than it should be, and who keeps it so.
fn held_wal(path: &Path, bytes: u64, is_written: bool) -> Option<Finding> {
    if bytes <= WAL_BYTES_KEPT.unsigned_abs() {
        return None;
    }
    let what = format!("the WAL has {} MiB", bytes >> 20);
    let is_other = |process: &Process| process.pid != std::process::id();
    let by: Vec<_> = holders::readers(path).into_iter().filter(is_other).collect();
    Some(match (holders::told(&by), is_written) {
        (Some(by), _) => {
            Finding::new("wal-held", what, format!("{by} reads an old moment of the file"), "end that read")
        }
        (None, true) => {
            let cause = "checkpoints are left to a program that makes none (--checkpoint external), or a reader has just gone";
            Finding::new(
                "wal-held",
                what,
                cause,
                "look again in some seconds; start that program, or serve without the flag",
            )
        }
        (None, false) => {
            let cause = "a killed server, or one that left checkpoints to another program, left it";
            Finding::new("wal-held", what, cause, "start the server: it takes it in")
        }
    })
}

/// Somebody else than the log's writer who holds the write lock: appends wait for it, then fail.
fn held_lock(path: &Path, writer: Option<u32>) -> Option<Finding> {
    let others =
        || holders::writers(path).into_iter().filter(|process| Some(process.pid) != writer).collect();
    let first: Vec<Process> = others();
    if first.is_empty() {
        return None;
    }
    // Who only passes by is none.
    std::thread::sleep(Duration::from_millis(500));
    let second: Vec<Process> = others();
    let stayed: Vec<Process> = first.into_iter().filter(|process| second.contains(process)).collect();
    let by = holders::told(&stayed)?;
    let what = "the write lock is held: appends wait 5 s, then fail";
    Some(Finding::new("write-held", what, format!("{by} has a transaction open that writes"), "end it"))
}

/// Files that others than their owner can write, or that everybody can read; the token is its owner's alone.
fn permissions(path: &Path) -> Option<Finding> {
    let beside = |ending| (beside(path, ending), 0o027);
    let files = [
        (path.to_owned(), 0o027),
        beside("-wal"),
        beside("-shm"),
        beside(".search"),
        (token_path(path), 0o077),
    ];
    let (mut open, mut names) = (Vec::new(), Vec::new());
    for (file, wrong) in files {
        let Ok(meta) = std::fs::metadata(&file) else { continue };
        let mode = meta.permissions().mode() & 0o777;
        if mode & wrong != 0 {
            open.push(format!("{} ({mode:04o})", file.display()));
            names.push(file.display().to_string());
        }
    }
    let cause = "made, copied or changed by another program: who can read it reads every event, and who can write \
                 it, or read the token, is admin";
    let what = format!("open to other users: {}", open.join(", "));
    (!open.is_empty())
        .then(|| Finding::new("permissions", what, cause, format!("chmod 600 {}", names.join(" "))))
}

fn scarce(free: u64) -> Finding {
    let what = format!("the disk has {} MiB left", free >> 20);
    let cause = "the log grew, or something else did: without space appends are refused (507) and resume by themselves";
    Finding::new(
        "space",
        what,
        cause,
        "make room, or move the log to a larger disk (hivelog backup, restore)",
    )
}
