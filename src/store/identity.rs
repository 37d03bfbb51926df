//! Whether a file is a log that this build can open, learnt without changing a byte of it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use crate::error::Error;
use crate::store::migrate::SCHEMA;

/// The mark of a log in the header of its file: "HVLG".
pub(crate) const APPLICATION_ID: i64 = 0x4856_4c47;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It has no byte yet: a new log.
    Empty,
    /// A log.
    Log,
}

/// Reads the header through the descriptor that already holds the lock.
///
/// The mark is in the first page of the main file since the log was made (it is made whole
/// under another name and then put in place), so what is still in the WAL cannot hide it.
pub(crate) fn of(mut file: &File) -> Result<Identity, Error> {
    if !file.metadata()?.is_file() {
        return Err(Error::NotALog("the path is not a file".into()));
    }
    let mut header = Vec::with_capacity(100);
    file.seek(SeekFrom::Start(0))?;
    file.take(100).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(Identity::Empty);
    }
    let word = |at: usize| -> i64 {
        let bytes = header.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes.map_or(0, |bytes| i64::from(i32::from_be_bytes(bytes)))
    };
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::NotALog("the file is not an SQLite database".into()));
    }
    if word(68) != APPLICATION_ID {
        return Err(Error::NotALog("the file is an SQLite database of another application".into()));
    }
    check_schema(word(60))?;
    Ok(Identity::Log)
}

/// Refuses a schema that this build does not know.
pub(crate) fn check_schema(found: i64) -> Result<(), Error> {
    if found > *SCHEMA {
        return Err(Error::Newer { found, known: *SCHEMA });
    }
    Ok(())
}
