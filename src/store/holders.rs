//! Which processes read or write a file right now, as the kernel tells.
//!
//! `SQLite` locks bytes of `-shm`: one for whoever writes, one of five for each moment that is read. They are
//! looked up, not tried: opening and closing that file would drop the locks that this process has in it.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::store::open::beside;

/// The byte that is locked by who writes.
const WRITES: u64 = 120;
/// A page: what the kernel tells of one moment.
const PART: usize = 4 << 10;
/// How often a list that may be longer than that is read.
const LOOKS: usize = 4;
/// Those that are locked by who reads.
const READS: std::ops::RangeInclusive<u64> = 123..=127;

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// What the kernel calls it; empty where that cannot be learnt.
    name: String,
}

impl Process {
    fn of(pid: u32) -> Self {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // A process names itself as it likes.
        let name = name.chars().filter(char::is_ascii_graphic).collect();
        Self { pid, name }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            pid if pid == std::process::id() => write!(f, "this process itself (a backup or a long read)"),
            // Behind the wall of a container.
            0 => f.write_str("a process that cannot be seen from here"),
            pid if self.name.is_empty() => write!(f, "process {pid}"),
            pid => write!(f, "process {pid} ({})", self.name),
        }
    }
}

/// Who has a moment of the file at the path open.
pub(crate) fn readers(path: &Path) -> Vec<Process> {
    holders(path, |first, last| READS.contains(&first) && READS.contains(&last))
}

/// Who is writing to it.
pub(crate) fn writers(path: &Path) -> Vec<Process> {
    holders(path, |first, last| (first..=last).contains(&WRITES))
}

/// Whether nobody but this process is among them.
pub(crate) fn are_own(processes: &[Process]) -> bool {
    processes.iter().all(|process| process.pid == std::process::id())
}

/// Their names in one line; `None` where there is nobody.
pub(crate) fn told(processes: &[Process]) -> Option<String> {
    let names: Vec<String> = processes.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Who has the file with this inode locked as a whole: one process, and those of other devices' files with the same
/// number.
pub(super) fn of_whole(inode: u64) -> Vec<u32> {
    pids(inode, |sort, _| sort == "FLOCK")
}

/// What a process calls itself: in a container that is another number than out here.
pub(super) fn own_number(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.and_then(|all| all.split_ascii_whitespace().last()?.parse().ok()).unwrap_or(pid)
}

fn holders(path: &Path, wanted: impl Fn(u64, u64) -> bool) -> Vec<Process> {
    let Ok(meta) = std::fs::metadata(beside(path, "-shm")) else { return Vec::new() };
    let is_wanted = |sort: &str, bytes: Option<(u64, u64)>| {
        sort == "POSIX" && bytes.is_some_and(|(first, last)| wanted(first, last))
    };
    pids(meta.ino(), is_wanted).into_iter().map(Process::of).collect()
}

/// The kernel's list of locks, in which one that is held all the while stands at least once.
///
/// It is made anew for each read, from the line on that the last one came to: what others let go of in between
/// moves the rest up, past where the next one begins. A read gives a page at most, and less where less is asked for.
fn all() -> String {
    let mut text = String::new();
    for _ in 0..LOOKS {
        let before = text.len();
        if append_all(&mut text).is_err() || text.len() - before < PART / 2 {
            break;
        }
    }
    text
}

fn append_all(text: &mut String) -> std::io::Result<()> {
    let (mut list, mut part) = (File::open("/proc/locks")?, vec![0; PART]);
    loop {
        let length = list.read(&mut part)?;
        let Some(lines) = part.get(..length).filter(|lines| !lines.is_empty()) else { return Ok(()) };
        text.push_str(&String::from_utf8_lossy(lines));
    }
}

/// The processes that hold wanted locks on the file with this inode; each lock by its sort and its bytes, which a
/// lock to the end of the file has none of.
fn pids(inode: u64, wanted: impl Fn(&str, Option<(u64, u64)>) -> bool) -> Vec<u32> {
    let locks = all();
    let inode = format!(":{inode}");
    let mut pids: Vec<u32> = locks.lines().filter_map(|line| holder(line, &inode, &wanted)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The process of a line such as `7: POSIX  ADVISORY  READ 4711 08:01:1234 124 124`.
fn holder(line: &str, inode: &str, wanted: impl Fn(&str, Option<(u64, u64)>) -> bool) -> Option<u32> {
    let mut words = line.split_ascii_whitespace();
    let sort = words.nth(1)?;
    let pid = words.nth(2)?.parse().ok()?;
    let is_ours = words.next()?.ends_with(inode);
    let mut byte = || words.next()?.parse().ok();
    let bytes = byte().zip(byte());
    (is_ours && wanted(sort, bytes)).then_some(pid)
}
