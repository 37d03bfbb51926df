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
use crate::store::{checkpoint, copy, inspect, lock, meta, migrate, readers, reading, rows, settled, wipe};

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
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(&path, flags).map_err(|error| reading(&error))?;
    let head = prepare(&mut conn, &path, durability)?;
    let last_ms = last_ms(&conn).map_err(|error| reading(&error))?;
    Ok(Opened { conn, lock: Arc::new(lock), path, head, last_ms })
}

/// When the newest event was recorded, also where it was pruned since.
fn last_ms(conn: &Connection) -> rusqlite::Result<i64> {
    let pruned_ms = meta::integer(conn, "pruned_ms")?;
    Ok(rows::last_time(conn)?.map_or(pruned_ms, |last_ms| last_ms.max(pruned_ms)))
}

fn prepare(conn: &mut Connection, path: &Path, durability: Durability) -> Result<Seq, Error> {
    let failed = |error: rusqlite::Error| reading(&error);
    conn.busy_timeout(LOCK_WAIT).map_err(failed)?;
    readers::harden(conn).map_err(failed)?;
    identity::check_schema(inspect::schema(conn).map_err(failed)?)?;
    settle_wal(conn, path)?;
    inspect::use_wal(conn).map_err(failed)?;
    let mode = inspect::journal_mode(conn).map_err(failed)?;
    if mode != "wal" {
        return Err(Error::Storage(format!("the file cannot leave journal mode {mode}").into()));
    }
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
    // Before anything is written, which a foreign trigger would run at.
    check_triggers(conn)?;
    migrate::up(conn)?;
    copy::name_if_copy(conn)?;
    let before = rows::last(conn).map_err(failed)?;
    let head = rows::head(conn).map_err(failed)?;
    if before > head {
        return Err(Error::NotALog(format!(
            "the file was changed by another program: it holds seq {before}, but its counter stands at {head}"
        ).into()));
    }
    checkpoint::at_start(conn).map_err(failed)?;
    if wipe::unwiped(conn).map_err(failed)? > 0 {
        // A redaction was cut off behind its commit. A reader in the way leaves it to the keeper.
        checkpoint::empty(conn, wipe::EMPTY_WAIT).map_err(failed)?;
    }
    // The name of the WAL has to be on disk too. SQLite syncs the folder once, and overlooks it where that
    // fails.
    sync_folder(path)?;
    Ok(head)
}

/// Puts the WAL that another process left on disk, before anybody is shown what is in it. Nobody else writes
/// meanwhile: the transaction has the write lock.
fn settle_wal(conn: &Connection, path: &Path) -> Result<(), Error> {
    if std::fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len()) == 0 {
        return Ok(());
    }
    inspect::Bracket::Begin.run(conn).map_err(|error| reading(&error))?;
    let settled = settled::settle(path);
    inspect::Bracket::RollBack.run(conn).map_err(|error| reading(&error))?;
    Ok(settled?)
}

/// Refuses triggers on our tables that are not ours: they would run with our rights.
pub(crate) fn check_triggers(conn: &Connection) -> Result<(), Error> {
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
    let (name, flags) = readers::to_read(&path);
    let conn = Connection::open_with_flags(name, flags).map_err(|error| reading(&error))?;
    readers::harden(&conn).map_err(|error| reading(&error))?;
    if inspect::application_id(&conn).map_err(|error| reading(&error))? != identity::APPLICATION_ID {
        return Err(Error::NotALog("the file is not a log".into()));
    }
    identity::check_schema(inspect::schema(&conn).map_err(|error| reading(&error))?)?;
    sync_wal(&path)?;
    Ok(path)
}

/// Syncs what a killed writer may have left in the WAL without a sync: whoever reads it now must not see it
/// go at a power loss. After the first read, which is what takes it for committed.
fn sync_wal(path: &Path) -> Result<(), Error> {
    use std::io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    match File::open(beside(path, "-wal")).and_then(|wal| wal.sync_all()) {
        // On a medium that nobody writes nothing can be lost.
        Err(error) if !matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem) => {
            Err(error.into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The path without links, so that every name of the file finds the same WAL and the same lock.
pub(crate) fn resolve(path: &Path, create: bool) -> Result<PathBuf, Error> {
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

/// What SQLite keeps beside a database: it belongs to that one only.
pub(crate) const SIDE_FILES: [&str; 3] = ["-wal", "-journal", "-shm"];

pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Device and inode of the file that the path names now.
///
/// Asks for nothing else: after a look at a file's times Linux (6.13 on) notes the next write's time exactly, and
/// the sync of that write has the file system's journal to write as well (measured: 45 µs more than 95).
#[cfg(target_os = "linux")]
pub(crate) fn inode(path: &Path) -> Option<(u64, u64)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::INO).ok()?;
    Some((rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

/// Device and inode of the file that the path names now.
#[cfg(not(target_os = "linux"))]
pub(crate) fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).map(|meta| inode_of(&meta)).ok()
}

/// Device and inode of a file.
pub(crate) fn inode_of(meta: &std::fs::Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Opens a file to read, and tells which one it is.
pub(crate) fn identified(path: &Path) -> Option<(File, (u64, u64))> {
    let file = File::open(path).ok()?;
    let inode = inode_of(&file.metadata().ok()?);
    Some((file, inode))
}

/// Whether the path still names the file behind the descriptor.
pub(crate) fn is_same_file(path: &Path, file: &File) -> bool {
    file.metadata().is_ok_and(|meta| inode(path) == Some(inode_of(&meta)))
}

/// Holds a name with a file without a byte, for its owner only. Made by root it belongs to whom its folder belongs:
/// who puts a log in the place of a service's is root, and the service is not.
pub(crate) fn hold_place(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    inherit(&file, folder);
    Ok(())
}

/// Makes a file anew, for whom the mode says: what was left under the name goes first, and a link that somebody
/// planted there leads nowhere.
pub(crate) fn make_anew(path: &Path, mode: u32) -> std::io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Gives a file that this process has just made the owner of what is at the path, if there is something. Only root can.
pub(crate) fn inherit(file: &File, path: &Path) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    if rustix::process::geteuid().is_root()
        && let Err(error) = std::os::unix::fs::fchown(file, Some(meta.uid()), Some(meta.gid()))
    {
        tracing::warn!(%error, "the new file belongs to root");
    }
}

fn take_lock(path: &Path, create: bool) -> Result<Held, Error> {
    // Each round either ends or finds that another process put a file in place meanwhile.
    for _ in 0..5 {
        if !path.exists() {
            if !create {
                return Err(Error::NotFound(path.display().to_string().into()));
            }
            check_alone(path)?;
            let fresh = build_fresh(path)?;
            let placed = std::fs::hard_link(&fresh, path);
            std::fs::remove_file(&fresh)?;
            match placed {
                Ok(()) => sync_folder(path)?,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !std::fs::metadata(path)?.is_file() {
            return Err(Error::NotALog("the path is not a file".into()));
        }
        let lock = lock::take(path)?;
        match identity::of(lock.file())? {
            Identity::Log if is_same_file(path, lock.file()) => return Ok(lock),
            Identity::Log => {}
            Identity::Empty => {
                check_alone(path)?;
                let fresh = build_fresh(path)?;
                std::fs::rename(&fresh, path)?;
                sync_folder(path)?;
            }
        }
    }
    Err(Error::Storage("the file keeps being replaced".into()))
}

/// Refuses to make a file beside what SQLite kept for one that is gone: it would be read into the new one,
/// and it may hold what was acknowledged.
fn check_alone(path: &Path) -> Result<(), Error> {
    let sides = ["-wal", "-journal"].map(|ending| beside(path, ending));
    match sides.iter().find(|side| std::fs::metadata(side).is_ok_and(|meta| meta.len() > 0)) {
        None => Ok(()),
        Some(side) => Err(Error::NotALog(
            format!("{} is here without its database: bring that back, or move this away", side.display())
                .into(),
        )),
    }
}

/// Makes a whole new log under another name, so that a file under the real name is never half one.
fn build_fresh(path: &Path) -> Result<PathBuf, Error> {
    let log_id = LogId::mint().map_err(|error| Error::Storage(error.to_string().into()))?;
    let fresh = beside(path, &format!(".{log_id}.new"));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    inherit(&file, path);
    // Closed before SQLite has locks on it, which would go with this descriptor.
    drop(file);
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
    meta::seal_all(&conn).map_err(|error| reading(&error))?;
    conn.close().map_err(|(_, error)| reading(&error))?;
    File::open(fresh)?.sync_all()?;
    Ok(())
}

/// Makes sure that a name given or taken in the folder of the path survives a power loss.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(())
}
