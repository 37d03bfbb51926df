//! Which errors of `SQLite` are fatal, which pass, which are one job's own.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::Error;
use crate::store::open::beside;

/// Why a job could not run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// `SQLite` said so.
    Sqlite(rusqlite::Error),
    /// The file cannot be trusted any more.
    Stop(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What follows from a failure, once the transaction was rolled back.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No further append is taken.
    Stop(String),
    /// Nothing was stored, or where the error is [`Error::Storage`] that is unknown; the same may succeed later.
    Later(Error),
    /// One job's own fault.
    Job(Error),
}

/// Judges a failure of a transaction on the file at `path` that was rolled back.
pub(crate) fn judge(failure: &Failure, path: &Path) -> Fault {
    let error = match failure {
        Failure::Stop(reason) => return Fault::Stop(reason.clone()),
        Failure::Sqlite(error) => error,
    };
    match error.sqlite_error_code() {
        // The -shm grows after the commit's frames were synced: until others are written over them a start after a
        // kill finds them.
        Some(ErrorCode::SystemIoFailure) if is_of_shm(error) && is_out_of_space(path) => {
            Fault::Later(Error::Storage(cause(error).into()))
        }
        Some(ErrorCode::DiskFull) => Fault::Later(Error::DiskFull),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Later(Error::Busy),
        Some(ErrorCode::SystemIoFailure) if !is_failed_sync(error) && is_out_of_space(path) => {
            Fault::Later(Error::DiskFull)
        }
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory,
        ) => Fault::Stop(cause(error)),
        _ => Fault::Job(Error::Storage(cause(error).into())),
    }
}

/// The error in words, with what `SQLite` was at where the system failed it: whoever looks after the disk has
/// to know.
pub(crate) fn cause(error: &rusqlite::Error) -> String {
    use rusqlite::ffi;
    let what = match error.sqlite_error().map_or(0, |error| error.extended_code) {
        ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ => "a read failed",
        ffi::SQLITE_IOERR_WRITE => "a write failed",
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => "a sync failed",
        ffi::SQLITE_IOERR_TRUNCATE => "a truncation failed",
        ffi::SQLITE_IOERR_DELETE => "a file could not be removed",
        ffi::SQLITE_IOERR_LOCK | ffi::SQLITE_IOERR_RDLOCK | ffi::SQLITE_IOERR_SHMLOCK => "a lock failed",
        ffi::SQLITE_IOERR_SHMOPEN | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP => {
            "the -shm could not be used"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {what}")
}

fn is_of_shm(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMOPEN, SQLITE_IOERR_SHMSIZE};
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    matches!(extended, SQLITE_IOERR_SHMSIZE | SQLITE_IOERR_SHMMAP | SQLITE_IOERR_SHMOPEN)
}

/// After a failed sync the kernel may have dropped what it could not write: nothing that was
/// written since the last good one can be trusted.
fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    matches!(
        extended,
        rusqlite::ffi::SQLITE_IOERR_FSYNC
            | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC
            | rusqlite::ffi::SQLITE_IOERR_CLOSE
    )
}

/// Whether a write beside the database meets a full disk, a quota or a limit on file size: `SQLite`
/// tells only ENOSPC of a write apart from other errors, and keeps the system's number to itself.
fn is_out_of_space(path: &Path) -> bool {
    use std::io::{ErrorKind, Seek as _, SeekFrom, Write as _};
    let wal_bytes = std::fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len());
    let probe = || -> std::io::Result<()> {
        let mut file = tempfile::tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
        // As far out as the WAL reaches, so that a limit on the size of a file shows too.
        file.seek(SeekFrom::Start(wal_bytes))?;
        file.write_all(&vec![0u8; 64 << 10])
    };
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    probe().is_err_and(|error| full.contains(&error.kind()))
}

/// The word under which a failed append is counted.
pub(crate) const fn word(error: &Error) -> &'static str {
    match error {
        Error::Refused(refusal) => refusal.word(),
        Error::QueueFull => "queue_full",
        Error::Expired => "expired",
        Error::Busy => "busy",
        Error::DiskFull => "disk_full",
        Error::WalHeld => "wal_held",
        Error::Poisoned(_) => "poisoned",
        Error::Closed => "closed",
        Error::ReadOnly
        | Error::Locked { .. }
        | Error::NotALog(_)
        | Error::Newer { .. }
        | Error::NotFound(_)
        | Error::Exists(_)
        | Error::Replaced
        | Error::Gone { .. }
        | Error::TimedOut
        | Error::Occupied
        | Error::Pending
        | Error::Storage(_) => "other",
    }
}
