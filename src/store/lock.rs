//! The lock that makes one process the writer of a file.
//!
//! It is `flock` on the database's own inode, so that a symbolic or a hard link to the file meets
//! the same lock, and it goes with the process. The descriptor stays open as long as SQLite has
//! the file open in this process: closing a second descriptor of a file drops SQLite's own locks.
//! For the same reason a second one is not even opened while this process has the lock, and while it reads the file
//! without the lock none is closed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::store::holders;
use crate::store::open::{beside, inode, inode_of, is_same_file, make_anew};
use crate::sync::{Condvar, Mutex, MutexGuard, lock, wait};

/// The files that this process has the lock of, or reads without it.
///
/// They belong to the process, not to a log: so do the POSIX locks of SQLite that are shielded by this.
static OURS: Mutex<Files> = Mutex::new(Files { locked: BTreeMap::new(), read: BTreeMap::new() });

/// Rings when one of them was closed.
static CLOSED: Condvar = Condvar::new();

/// By device and inode.
struct Files {
    /// Whether the lock is just being given up.
    locked: BTreeMap<(u64, u64), bool>,
    read: BTreeMap<(u64, u64), Read>,
}

/// A file that is read without its lock.
#[derive(Default)]
struct Read {
    readers: usize,
    /// What would have been closed meanwhile.
    kept: Option<Arc<File>>,
}

impl Files {
    /// The descriptor that was kept, or else a new one.
    fn descriptor(&mut self, path: &Path) -> Result<Arc<File>, Error> {
        let kept = inode(path).and_then(|inode| self.read.get_mut(&inode)?.kept.take());
        if let Some(file) = kept {
            return Ok(file);
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Arc::new).map_err(|error| Error::Storage(format!("{}: {error}", path.display()).into()))
    }

    /// Keeps a descriptor that is to be closed until nobody reads the file any more.
    fn keep(&mut self, inode: (u64, u64), file: &Arc<File>) {
        if let Some(read) = self.read.get_mut(&inode) {
            read.kept = Some(Arc::clone(file));
        }
    }
}

/// A place among those that read a file without its lock. It is taken before SQLite opens the file.
#[derive(Debug)]
pub(crate) struct Reading((u64, u64));

impl Reading {
    pub(crate) fn begin(path: &Path) -> std::io::Result<Self> {
        // Not while a descriptor is on its way to be closed.
        let (mut ours, _) = ours_at(path)?;
        let inode = inode_of(&std::fs::metadata(path)?);
        ours.read.entry(inode).or_default().readers += 1;
        Ok(Self(inode))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut ours = lock(&OURS);
        let Some(read) = ours.read.get_mut(&self.0) else { return };
        read.readers -= 1;
        if read.readers == 0 {
            ours.read.remove(&self.0);
        }
    }
}

/// The lock of a file, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    // The order matters: the descriptor is closed before another one may be opened.
    file: Arc<File>,
    entry: Entry,
}

/// A place in [`OURS`].
#[derive(Debug)]
struct Entry((u64, u64));

impl Held {
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Device and inode of the file.
    pub(crate) const fn inode(&self) -> (u64, u64) {
        self.entry.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut ours = lock(&OURS);
        ours.locked.insert(self.inode(), true);
        ours.keep(self.inode(), &self.file);
        drop(ours);
        // By hand, because a process that is just being forked off has the descriptor too until it
        // becomes another program; closing ours would then free nothing yet.
        let _freed_by_closing = self.file.unlock();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&OURS).locked.remove(&self.0);
        CLOSED.notify_all();
    }
}

/// Whether the file is ours, as soon as it is not just being closed: between the end of a descriptor and that of its
/// entry a new file may have its number already.
fn ours_at(path: &Path) -> std::io::Result<(MutexGuard<'static, Files>, bool)> {
    let mut ours = lock(&OURS);
    loop {
        match ours.locked.get(&inode_of(&std::fs::metadata(path)?)) {
            Some(true) => ours = wait(&CLOSED, ours),
            taken => {
                let is_taken = taken.is_some();
                return Ok((ours, is_taken));
            }
        }
    }
}

/// What `PATH.lock` says of the process that holds the lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) url: Option<Box<str>>,
}

impl Holder {
    /// Whether it is one of these processes, which the kernel calls so.
    fn is_among(&self, pids: &[u32]) -> bool {
        pids.iter().any(|pid| holders::own_number(*pid) == self.pid)
    }
}

/// Takes the lock of `path`, or says who holds it.
pub(crate) fn take(path: &Path) -> Result<Held, Error> {
    let (mut ours, is_taken) = ours_at(path)?;
    if is_taken {
        let pid = std::process::id();
        let url = read_holder(path).filter(|said| said.pid == pid).and_then(|said| said.url);
        return Err(Error::Locked { pid: Some(pid), url });
    }
    let file = ours.descriptor(path)?;
    let inode = inode_of(&file.metadata()?);
    match file.try_lock() {
        Ok(()) => {
            if is_same_file(path, &file) {
                // A killed process left it. Until this one says where it serves, nobody is to look there.
                let _gone = std::fs::remove_file(holder_path(path));
            }
            ours.locked.insert(inode, false);
            Ok(Held { file, entry: Entry(inode) })
        }
        Err(TryLockError::WouldBlock) => {
            ours.keep(inode, &file);
            let pids = holders::of_whole(inode.1);
            // Where the kernel tells nothing, as of a process of another container, the word has to do.
            let said = read_holder(path).filter(|said| pids.is_empty() || said.is_among(&pids));
            let pid = teller(said.as_ref(), &pids).or(said.as_ref().map(|said| said.pid));
            Err(Error::Locked { pid, url: said.and_then(|said| said.url) })
        }
        Err(TryLockError::Error(error)) => {
            ours.keep(inode, &file);
            Err(error.into())
        }
    }
}

/// Which of these processes it is who holds the lock: files of other devices may have the same number.
fn teller(said: Option<&Holder>, pids: &[u32]) -> Option<u32> {
    let said = said.and_then(|said| pids.iter().find(|pid| said.is_among(&[**pid])));
    said.or(pids.first()).copied()
}

/// Who holds the lock of the file at the path, learnt without a descriptor of it.
pub(crate) fn holder(path: &Path) -> Option<Holder> {
    let pids = holders::of_whole(std::fs::metadata(path).ok()?.ino());
    let said = read_holder(path).filter(|said| said.is_among(&pids));
    Some(Holder { pid: teller(said.as_ref(), &pids)?, url: said.and_then(|said| said.url) })
}

/// The same, also where the kernel tells nothing of who it is, as of a process of another container: by trying to take
/// the lock, so not where this process has the file open.
pub(crate) fn holder_by_trying(path: &Path) -> Option<Holder> {
    holder(path).or_else(|| {
        let file = File::open(path).ok()?;
        matches!(file.try_lock(), Err(TryLockError::WouldBlock)).then(|| read_holder(path)).flatten()
    })
}

/// The file beside the database that names its server.
pub(crate) fn holder_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// Who last said to hold the lock. A killed process leaves its word behind: it is true of who has the lock.
fn read_holder(path: &Path) -> Option<Holder> {
    let text = std::fs::read(holder_path(path)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Says who holds the lock, for those that are refused. Replaced whole, so nobody reads half.
pub(crate) fn write_holder(path: &Path, url: Option<&str>) -> Result<(), Error> {
    let holder = Holder { pid: std::process::id(), url: url.map(Into::into) };
    let text = serde_json::to_vec(&holder).map_err(|error| Error::Storage(error.to_string().into()))?;
    let place = holder_path(path);
    let fresh = beside(&place, &format!(".{}", std::process::id()));
    make_anew(&fresh, 0o600)?.write_all(&text)?;
    std::fs::rename(&fresh, &place)?;
    Ok(())
}

/// Takes the word back, where it is still this process's.
pub(crate) fn remove_holder(path: &Path) {
    if read_holder(path).is_some_and(|holder| holder.pid == std::process::id()) {
        // It is only a word for people: a leftover says a process that is no more.
        let _gone = std::fs::remove_file(holder_path(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_not_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("log.db"), folder.path().join("target"));
        std::fs::write(&target, "mine").unwrap();
        let planted = beside(&holder_path(&path), &format!(".{}", std::process::id()));
        for link in [&planted, &holder_path(&path)] {
            std::os::unix::fs::symlink(&target, link).unwrap();
        }
        write_holder(&path, None).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine");
        assert!(!planted.is_symlink() && !holder_path(&path).is_symlink() && read_holder(&path).is_some());
    }

    #[test]
    fn what_a_killed_holder_said_goes_with_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        File::create(&path).unwrap();
        let word = format!("{{\"pid\":{},\"url\":\"http://127.0.0.1:9\"}}", std::process::id());
        std::fs::write(holder_path(&path), word).unwrap();
        let _held = take(&path).unwrap();
        assert!(matches!(take(&path), Err(Error::Locked { url: None, .. })), "nothing was said yet");
    }

    #[test]
    fn a_new_file_with_the_number_of_one_that_is_being_closed_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let work = |thread: usize| {
            for round in 0..2_000 {
                let path = folder.path().join(format!("{thread}-{round}"));
                File::create(&path).unwrap();
                let held = take(&path).unwrap();
                // From here on its number is free as soon as it is closed.
                std::fs::remove_file(&path).unwrap();
                drop(held);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|thread| drop(scope.spawn(move || work(thread)))));
    }
}
