//! A log copied while it is written, and a copy put in a log's place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::error::{Error, Refusal};
use crate::limits::LOCK_WAIT;
use crate::log::Log;
use crate::log::check;
use crate::log::transfer::Progress;
use crate::seq::{LogId, Seq};
use crate::store::lock::{self, Held};
use crate::store::open::{self, SIDE_FILES, beside, sync_folder};
use crate::store::readers::Readers;
use crate::store::{checkpoint, copy};

/// What a backup wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The log that the copy is of.
    pub log_id: LogId,
    /// The head of the copy.
    pub head: Seq,
    /// The size of the file, in bytes.
    pub bytes: u64,
}

/// What a restore put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The name of the new log.
    pub log_id: LogId,
    /// Its head: it goes on after this seq.
    pub head: Seq,
    /// Where the file is that was there before.
    pub kept: Option<PathBuf>,
}

impl Log {
    /// Copies the log into a new file at `out`, as it stands at one moment, and checks the copy. Blocks for
    /// as long as that takes; appends go on meanwhile and wait in the WAL, which is cut back afterwards.
    /// `progress` is told pages of the file: those done, and all.
    ///
    /// The copy is one file, for its owner only, on disk when this returns, and under its name whole or not
    /// at all. It holds everything: messages, tokens (as hashes) and keys too. The first time it is opened
    /// for writing it becomes a log with a name of its own, so that cursors of this one are told `reset`.
    ///
    /// # Errors
    /// [`Error::Exists`] where something is at `out`, [`Error::Storage`] where the copy is not whole or the
    /// disk fails, [`Error::DiskFull`].
    pub fn backup(&self, out: impl AsRef<Path>, progress: Progress<'_>) -> Result<Backup, Error> {
        let out = out.as_ref();
        let exists = || Error::Exists(out.display().to_string().into());
        if out.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let unfinished = unfinished(out)?;
        self.readers()
            .alone(|conn| copy::pages(conn, (unfinished.path(), unfinished.as_file()), progress))?;
        let log_id = copy::mark(unfinished.path())?;
        let head = checked(unfinished.path())?;
        unfinished.as_file().sync_all()?;
        let bytes = unfinished.as_file().metadata()?.len();
        fail::fail_point!("backup.before-name");
        unfinished.persist_noclobber(out).map_err(|error| {
            let is_taken = error.error.kind() == std::io::ErrorKind::AlreadyExists;
            if is_taken { exists() } else { error.error.into() }
        })?;
        sync_folder(out)?;
        Ok(Backup { log_id, head, bytes })
    }
}

/// Makes the copy at `from` the log at `path`, under a name of its own: every cursor of the log that it is
/// of is told `reset`, and it goes on from the copy's own counter. Any whole log can be restored from, also
/// one that is being written. Blocks for as long as copying and checking take.
///
/// A file that is at `path` is replaced if `replace` says so, and then kept beside it. Whatever ends this
/// in the middle leaves the one or the other at `path`. Where there is none, a file without a byte holds the place
/// meanwhile, so that nobody makes a log there; a kill leaves it, and it counts as nothing. The new file is for its
/// owner only; called by root, that is the owner of the file that it replaces, or else of the folder.
///
/// # Errors
/// [`Error::Exists`] where there is a file and `replace` is false, [`Error::Locked`] where a process has it
/// open, [`Error::Busy`] where a reader holds an old moment of it, [`Error::NotALog`], [`Error::Newer`] and
/// [`Error::Storage`] where the copy is not what it should be.
pub fn restore(
    from: impl AsRef<Path>,
    path: impl AsRef<Path>,
    replace: bool,
    progress: Progress<'_>,
) -> Result<Restored, Error> {
    let from = open::readable(from.as_ref())?;
    let path = open::resolve(path.as_ref(), true)?;
    if open::inode(&from) == open::inode(&path) {
        return Err(Refusal::shape("the copy and the log are the same file").into());
    }
    let claimed = claim(&path, replace)?;
    let unfinished = unfinished(&path)?;
    open::inherit(unfinished.as_file(), &path);
    Readers::open(&from, None)?
        .alone(|conn| copy::pages(conn, (unfinished.path(), unfinished.as_file()), progress))?;
    let log_id = copy::settle(unfinished.path())?;
    let head = checked(unfinished.path())?;
    unfinished.as_file().sync_all()?;
    fail::fail_point!("restore.copied");
    let kept = make_way(&path, claimed.log(), &beside(&path, &format!(".before-{log_id}")))?;
    fail::fail_point!("restore.before-name");
    unfinished.persist(&path).map_err(|error| error.error)?;
    sync_folder(&path)?;
    fail::fail_point!("restore.named");
    Ok(Restored { log_id, head, kept })
}

/// What is at the path while a copy is made for it: locked, so that nobody begins to write it meanwhile.
enum Claimed<'a> {
    There(Held),
    /// Nothing was: a file without a byte holds the place, and goes with this where no log has come of it.
    Nothing(&'a Path, Held),
}

impl Claimed<'_> {
    const fn log(&self) -> Option<&Held> {
        match self {
            Self::There(held) => Some(held),
            Self::Nothing(..) => None,
        }
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if let Self::Nothing(path, held) = self
            && open::inode(path) == Some(held.inode())
        {
            let _gone = fs::remove_file(path);
        }
    }
}

fn claim(path: &Path, replace: bool) -> Result<Claimed<'_>, Error> {
    let nothing = || {
        let held = lock::take(path)?;
        let is_empty = held.file().metadata()?.len() == 0 && open::inode(path) == Some(held.inode());
        if is_empty {
            Ok(Claimed::Nothing(path, held))
        } else {
            Err(Error::Exists(path.display().to_string().into()))
        }
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            open::hold_place(path)?;
            nothing()
        }
        Err(error) => Err(error.into()),
        Ok(meta) if !meta.is_file() => Err(Error::NotALog("the path is not a file".into())),
        // As an attempt that was killed leaves it.
        Ok(meta) if meta.len() == 0 => nothing(),
        Ok(_) if !replace => Err(Error::Exists(path.display().to_string().into())),
        Ok(_) => lock::take(path).map(Claimed::There),
    }
}

/// A file for its owner only, in the folder of the path, that goes with an error.
fn unfinished(path: &Path) -> Result<NamedTempFile, Error> {
    let name = path.file_name().ok_or_else(|| Error::NotALog("the path names no file".into()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = name.to_owned();
    prefix.push(".");
    Ok(tempfile::Builder::new().prefix(&prefix).suffix(".unfinished").tempfile_in(folder)?)
}

/// Checks a copy; gives its head.
fn checked(path: &Path) -> Result<Seq, Error> {
    let report = check::check(path)?;
    match report.problems.first() {
        None => Ok(Seq::clamped(report.head)),
        Some(problem) => Err(Error::Storage(format!("the copy is not whole: {problem}").into())),
    }
}

/// Puts what is at the path aside, and takes away what SQLite would read together with the new file.
///
/// Until the new file has the name, the old one keeps it: what is in its WAL goes into it first, so that it
/// is whole without. Where it is too damaged for that, it and its WAL are put aside as they are.
fn make_way(path: &Path, held: Option<&Held>, aside: &Path) -> Result<Option<PathBuf>, Error> {
    let is_whole = held.is_some() && take_in_wal(path)?;
    if held.is_some() {
        fs::hard_link(path, aside)?;
    }
    let sides = SIDE_FILES.map(|ending| (beside(path, ending), beside(aside, ending)));
    for (side, kept) in &sides {
        if !is_whole && side.exists() && !side.as_os_str().as_encoded_bytes().ends_with(b"-shm") {
            fs::hard_link(side, kept)?;
        }
    }
    sync_folder(path)?;
    fail::fail_point!("restore.aside");
    for (side, _) in &sides {
        if side.exists() {
            fs::remove_file(side)?;
        }
    }
    // Were the new name on disk before this, an old WAL could be read into the new file.
    sync_folder(path)?;
    Ok(held.map(|_| aside.to_owned()))
}

/// Moves the WAL of the old file into it. False: it is too damaged for that.
fn take_in_wal(path: &Path) -> Result<bool, Error> {
    let begin = Instant::now();
    loop {
        match checkpoint::all(path) {
            Ok(true) => return Ok(true),
            Ok(false) if begin.elapsed() < LOCK_WAIT => std::thread::sleep(Duration::from_millis(20)),
            Ok(false) => return Err(Error::Busy),
            Err(Error::Storage(_) | Error::NotALog(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
