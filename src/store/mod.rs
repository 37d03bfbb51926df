//! One `SQLite` file, without meaning: opening it, writing it by one thread, reading it by a pool.

pub(crate) mod checkpoint;
pub(crate) mod copy;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod gather;
pub(crate) mod holders;
pub(crate) mod identity;
pub(crate) mod inspect;
pub(crate) mod intact;
pub(crate) mod keys;
pub(crate) mod lock;
pub(crate) mod meta;
pub(crate) mod migrate;
pub(crate) mod open;
pub(crate) mod prune;
pub(crate) mod pulse;
pub(crate) mod queue;
pub(crate) mod readers;
pub(crate) mod rows;
pub(crate) mod scrub;
pub(crate) mod settled;
#[cfg(feature = "cli")]
pub(crate) mod sql;
pub(crate) mod sum;
pub(crate) mod task;
pub(crate) mod turn;
pub(crate) mod wipe;
pub(crate) mod writer;

use rusqlite::ErrorCode;

use crate::error::Error;

/// What an error of `SQLite` means for the one who asked for a read, or for the start of a log.
pub(crate) fn reading(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy,
        Some(ErrorCode::DiskFull) => Error::DiskFull,
        Some(ErrorCode::OperationInterrupted) => Error::TimedOut,
        Some(ErrorCode::ReadOnly) => Error::Storage(
            format!("{error}: reading a log needs a folder that may be written, for the index of its WAL")
                .into(),
        ),
        Some(ErrorCode::NotADatabase) => Error::NotALog("the file is not an SQLite database".into()),
        _ => Error::Storage(fault::cause(error).into()),
    }
}
