//! Brings a file's schema up to this build's.

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use rusqlite::Connection;
use rusqlite_migration::Migrations;

use crate::error::Error;
use crate::store::reading;

static FOLDER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// The schema that this build writes: the number of its last migration.
pub(crate) static SCHEMA: LazyLock<i64> =
    LazyLock::new(|| i64::try_from(FOLDER.dirs().count()).unwrap_or(i64::MAX));

/// Applies what the file does not have yet, each migration in a transaction of its own.
pub(crate) fn up(conn: &mut Connection) -> Result<(), Error> {
    let done = Migrations::from_directory(&FOLDER).and_then(|migrations| migrations.to_latest(conn));
    match done {
        Ok(()) => Ok(()),
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(reading(&err)),
        Err(error) => Err(Error::Storage(error.to_string().into())),
    }
}
