//! A copy of a log's file: its pages out of a live one, the mark that it is one, a name of its own.

use std::fs::File;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::limits::BACKUP_STEP_PAGES;
use crate::seq::LogId;
use crate::store::inspect::Bracket;
use crate::store::{meta, migrate, open, readers, reading};

/// The name in `meta` under which a copy says which log it is of, until it is a log of its own.
const MARK: &str = "copy_of";

/// Writes the file behind `from`, as it stands at one moment, into the empty file at `to`. `descriptor` is
/// the file's own: what was written is synced step by step, so that no commit of the log waits for all of
/// it at the end.
///
/// One read transaction lasts as long as the copying: a source that is written to can neither stop it nor
/// have it begin anew, and what is committed meanwhile waits in the WAL.
pub(crate) fn pages(
    from: &Connection,
    (to, descriptor): (&Path, &File),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Error> {
    readers::during_one_moment(from, |from| {
        // A transaction begins with its first read; without one each step would have a moment of its own.
        meta::floor(from).map_err(|error| reading(&error))?;
        // Until its name is given nobody reads it, so it needs no journal.
        let mut target = Connection::open(to).map_err(|error| reading(&error))?;
        target
            .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
            .map_err(|error| reading(&error))?;
        let backup = Backup::new(from, &mut target).map_err(|error| reading(&error))?;
        loop {
            let step = backup.step(BACKUP_STEP_PAGES).map_err(|error| reading(&error))?;
            let at = backup.progress();
            let number = |pages: i32| u64::try_from(pages).unwrap_or(0);
            progress(number(at.pagecount - at.remaining), number(at.pagecount));
            if step == StepResult::Done {
                return Ok(());
            }
            if step != StepResult::More {
                // The new file is nobody else's, and in WAL mode nobody locks a reader out.
                return Err(Error::Busy);
            }
            descriptor.sync_data()?;
        }
    })
}

/// Says in the copy at `path` that it is one, and makes it a file that needs no other beside it.
pub(crate) fn mark(path: &Path) -> Result<LogId, Error> {
    let conn = plain(path)?;
    let log_id = meta::log_id(&conn)?;
    meta::set_text(&conn, MARK, log_id.as_str()).map_err(|error| reading(&error))?;
    close(conn)?;
    Ok(log_id)
}

/// Which log the file is a copy of, until it is a log of its own.
pub(crate) fn copy_of(conn: &Connection) -> rusqlite::Result<Option<String>> {
    meta::text(conn, MARK)
}

/// Makes the copy at `path` a log of its own, of this build's schema.
pub(crate) fn settle(path: &Path) -> Result<LogId, Error> {
    let mut conn = plain(path)?;
    // Before the first write: a trigger of somebody else would run with it.
    open::check_triggers(&conn)?;
    migrate::up(&mut conn)?;
    meta::log_id(&conn)?;
    let log_id = name_anew(&conn)?;
    close(conn)?;
    Ok(log_id)
}

/// Gives a marked copy a name of its own before anything is written to it: from here on it and the log that
/// it is of give the same seqs to different events.
pub(crate) fn name_if_copy(conn: &Connection) -> Result<(), Error> {
    if meta::text(conn, MARK).map_err(|error| reading(&error))?.is_some() {
        name_anew(conn)?;
    }
    Ok(())
}

fn name_anew(conn: &Connection) -> Result<LogId, Error> {
    let log_id = LogId::mint().map_err(|error| Error::Storage(error.to_string().into()))?;
    let write = || -> rusqlite::Result<()> {
        Bracket::Begin.run(conn)?;
        meta::set_text(conn, "log_id", log_id.as_str())?;
        meta::remove(conn, MARK)?;
        // A session has the log's name in its cookie, and a login link that was used since would work again.
        conn.execute_batch("DELETE FROM sessions; DELETE FROM login_codes;")?;
        Bracket::Commit.run(conn)
    };
    write().map_err(|error| reading(&error))?;
    Ok(log_id)
}

/// Opens a file that nobody else knows of. It came as the source was, in WAL mode; a file that is to be
/// carried about is better off without.
fn plain(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| reading(&error))?;
    readers::harden(&conn).map_err(|error| reading(&error))?;
    conn.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0))
        .and_then(|_| conn.execute_batch("PRAGMA secure_delete = ON;"))
        .map_err(|error| reading(&error))?;
    Ok(conn)
}

fn close(conn: Connection) -> Result<(), Error> {
    conn.close().map_err(|(_, error)| reading(&error))
}
