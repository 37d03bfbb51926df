//! Opening the file: lock, identity, pragmas, what has to be on disk before anything is served.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::limits::{LOCK_WAIT, WAL_BYTES_KEPT};
use crate::seq::{LogId, Seq};
use crate::store::identity::{self, Identity};
use crate::store::lock::Held;
use crate::store::{checkpoint, inspect, lock, meta, migrate, readers, reading, rows};

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk (`synchronous=FULL`): it survives a power loss.
    #[default]
    Full,
    /// When the operating system has it (`synchronous=NORMAL`): it survives a killed process, but a
    /// power loss may take back the last commits.
    Normal,
}

impl Durability {
    /// The word of the command line and of every report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Normal => "normal",
        }
    }
}

/// The oldest `SQLite` that is trusted: below it, a WAL can be reset under a commit.
const SQLITE_MIN: i32 = 3_051_003;

const OUR_TRIGGERS: [&str; 2] = ["events_are_never_changed", "events_are_never_deleted"];

/// A file, opened by its one writer.
pub(crate) struct Opened {
    pub(crate) conn: Connection,
    pub(crate) lock: Arc<Held>,
    pub(crate) path: PathBuf,
    pub(crate) head: Seq,
    pub(crate) last_ms: i64,
}

/// Opens the file at `path` for writing and makes it first where it is not there, if `create` says so.
pub(crate) fn writable(path: &Path, create: bool, durability: Durability) -> Result<Opened, Error> {
    check_sqlite()?;
    let path = resolve(path, create)?;
    let lock = take_lock(&path, create)?;
    // A killed process may have left rows there that were never synced: whoever reads them now
    // must not see them go at a power loss.
    let wal = beside(&path, "-wal");
    if wal.exists() {
        File::open(&wal)?.sync_all()?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(&path, flags).map_err(|error| reading(&error))?;
    let head = prepare(&mut conn, durability)?;
    let last_ms = rows::last_time(&conn).map_err(|error| reading(&error))?.unwrap_or(0);
    Ok(Opened { conn, lock: Arc::new(lock), path, head, last_ms })
}

fn prepare(conn: &mut Connection, durability: Durability) -> Result<Seq, Error> {
    let failed = |error: rusqlite::Error| reading(&error);
    conn.busy_timeout(LOCK_WAIT).map_err(failed)?;
    readers::harden(conn).map_err(failed)?;
    identity::check_schema(inspect::schema(conn).map_err(failed)?)?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(failed)?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {WAL_BYTES_KEPT};
         PRAGMA secure_delete = ON;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;"
    ))
    .map_err(failed)?;
    checkpoint::watch(conn);
    migrate::up(conn)?;
    check_triggers(conn)?;
    let before = rows::last(conn).map_err(failed)?;
    let head = rows::head(conn).map_err(failed)?;
    if before > head {
        return Err(Error::NotALog(format!(
            "the file was changed by another program: it holds seq {before}, but its counter stands at {head}"
        ).into()));
    }
    checkpoint::passive(conn).map_err(failed)?;
    Ok(head)
}

/// Refuses triggers on our tables that are not ours: they would run with our rights.
fn check_triggers(conn: &Connection) -> Result<(), Error> {
    let mut statement = conn
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN
             ('events', 'meta', 'keys', 'approvals', 'questions', 'transients', 'open_load', 'leases',
              'messages', 'journal', 'peer_questions', 'tokens', 'sessions', 'login_codes')",
        )
        .map_err(|error| reading(&error))?;
    let names: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(|error| reading(&error))?;
    match names.iter().find(|name| !OUR_TRIGGERS.contains(&name.as_str())) {
        Some(name) => Err(Error::NotALog(format!("the file has a foreign trigger: {name}").into())),
        None => Ok(()),
    }
}

fn check_sqlite() -> Result<(), Error> {
    if rusqlite::version_number() < SQLITE_MIN {
        return Err(Error::Storage(format!("SQLite {} is too old", rusqlite::version()).into()));
    }
    Ok(())
}

/// Checks a file that is only to be read, and gives its path without links.
pub(crate) fn readable(path: &Path) -> Result<PathBuf, Error> {
    check_sqlite()?;
    let path = resolve(path, false)?;
    if !std::fs::metadata(&path)?.is_file() {
        return Err(Error::NotALog("the path is not a file".into()));
    }
    // By SQLite, not by a descriptor of ours: closing that one would drop the locks of a log that
    // this same process may have open.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&path, flags).map_err(|error| reading(&error))?;
    readers::harden(&conn).map_err(|error| reading(&error))?;
    if inspect::application_id(&conn).map_err(|error| reading(&error))? != identity::APPLICATION_ID {
        return Err(Error::NotALog("the file is not a log".into()));
    }
    identity::check_schema(inspect::schema(&conn).map_err(|error| reading(&error))?)?;
    Ok(path)
}

/// The path without links, so that every name of the file finds the same WAL and the same lock.
fn resolve(path: &Path, create: bool) -> Result<PathBuf, Error> {
    if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        return Err(Error::NotALog("the path begins with `file:`, which SQLite would read as a URI".into()));
    }
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            let name = path.file_name().ok_or_else(|| Error::NotALog("the path names no file".into()))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Ok(folder.unwrap_or(Path::new(".")).canonicalize()?.join(name))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NotFound(path.display().to_string().into()))
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Device and inode of the file that the path names now.
pub(crate) fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok()
}

/// Whether the path still names the file behind the descriptor.
pub(crate) fn is_same_file(path: &Path, file: &File) -> bool {
    let named = inode(path);
    let held = file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    named.is_some() && named == held
}

fn take_lock(path: &Path, create: bool) -> Result<Held, Error> {
    // Each round either ends or finds that another process put a file in place meanwhile.
    for _ in 0..5 {
        if !path.exists() {
            if !create {
                return Err(Error::NotFound(path.display().to_string().into()));
            }
            let fresh = build_fresh(path)?;
            let placed = std::fs::hard_link(&fresh, path);
            std::fs::remove_file(&fresh)?;
            match placed {
                Ok(()) => sync_folder(path)?,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        if std::fs::metadata(path)?.is_dir() {
            return Err(Error::NotALog("the path is a folder".into()));
        }
        let lock = lock::take(path)?;
        match identity::of(lock.file())? {
            Identity::Log if is_same_file(path, lock.file()) => return Ok(lock),
            Identity::Log => {}
            Identity::Empty => {
                let fresh = build_fresh(path)?;
                std::fs::rename(&fresh, path)?;
                sync_folder(path)?;
            }
        }
    }
    Err(Error::Storage("the file keeps being replaced".into()))
}

/// Makes a whole new log under another name, so that a file under the real name is never half one.
fn build_fresh(path: &Path) -> Result<PathBuf, Error> {
    let log_id = LogId::mint().map_err(|error| Error::Storage(error.to_string().into()))?;
    let fresh = beside(path, &format!(".{log_id}.new"));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    let built = build(&fresh, log_id);
    if built.is_err() {
        // The reason why it could not be built is what matters.
        let _gone = std::fs::remove_file(&fresh);
    }
    built.map(|()| fresh)
}

fn build(fresh: &Path, log_id: LogId) -> Result<(), Error> {
    let mut conn = Connection::open(fresh).map_err(|error| reading(&error))?;
    // Nobody sees this file before it is synced, so no journal is needed.
    conn.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;",
    )
    .map_err(|error| reading(&error))?;
    migrate::up(&mut conn)?;
    meta::set_text(&conn, "log_id", log_id.as_str()).map_err(|error| reading(&error))?;
    conn.close().map_err(|(_, error)| reading(&error))?;
    File::open(fresh)?.sync_all()?;
    Ok(())
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
