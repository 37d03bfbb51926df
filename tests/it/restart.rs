//! P1, P2, P3 over the end of a process, and who may open a file at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hivelog::{Error, Filter, Followed, Log, Options, Seq};

use crate::other::Other;
use crate::{Place, append, approval, lines, note, seq};

/// Who holds the lock, as told by the refusal.
fn check_locked(path: &std::path::Path, by: u32) {
    match Log::open(path, Options::default()) {
        Err(Error::Locked { pid, url: None }) => assert_eq!(pid, Some(by), "{}", path.display()),
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn a_log_goes_on_where_it_stopped() {
    let place = Place::new();
    let log = place.open();
    let id = log.id();
    append(&log, &approval(1, "alice")).unwrap();
    note(&log, 2);
    let (before, board) = (lines(&log), log.snapshot().unwrap());
    drop(log);
    let log = place.open();
    assert_eq!((log.id(), log.tail()), (id, seq(2)));
    assert_eq!(lines(&log), before);
    assert_eq!(log.snapshot().unwrap(), board);
    assert_eq!(note(&log, 3), 3);
}

#[test]
fn recorded_times_never_go_back() {
    let place = Place::new();
    let clock = Arc::new(AtomicI64::new(5_000));
    let open = || {
        let clock = Arc::clone(&clock);
        Log::open(place.path(), Options::default().clock(move || clock.load(Ordering::SeqCst))).unwrap()
    };
    let time = |log: &Log| {
        let told = note(log, 0);
        log.get(seq(told)).unwrap().unwrap().recorded_at_ms()
    };
    let log = open();
    assert_eq!(time(&log), 5_000);
    clock.store(4_000, Ordering::SeqCst);
    assert_eq!(time(&log), 5_000);
    log.close();
    clock.store(1, Ordering::SeqCst);
    let log = open();
    assert_eq!(time(&log), 5_000);
    clock.store(5_001, Ordering::SeqCst);
    assert_eq!(time(&log), 5_001);
}

#[test]
fn a_second_open_is_refused_by_any_name() {
    let place = Place::new();
    let log = place.open();
    let (soft, hard) = (place.beside("soft.db"), place.beside("hard.db"));
    std::os::unix::fs::symlink(place.path(), &soft).unwrap();
    std::fs::hard_link(place.path(), &hard).unwrap();
    for path in [place.path(), soft, hard] {
        check_locked(&path, std::process::id());
        let other = Other::open(&path);
        assert_eq!(other.opened, format!("locked by Some({})", std::process::id()));
    }
    note(&log, 1);
    log.close();
    assert_eq!(place.open().tail(), seq(1));
}

/// Whether SQLite holds a lock on the file in this process, as the kernel tells: closing any descriptor of it would
/// drop all of them.
fn has_locks(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let inode = format!(":{}", std::fs::metadata(path).unwrap().ino());
    let pid = std::process::id().to_string();
    let held = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        words.get(1) == Some(&"POSIX") && words.get(4) == Some(&pid.as_str()) && words[5].ends_with(&inode)
    };
    // The list is read in parts, between which it moves: a look may miss a lock.
    (0..1_000).any(|_| std::fs::read_to_string("/proc/locks").unwrap().lines().any(held))
}

#[test]
fn a_refused_second_open_leaves_the_first_its_locks() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    assert!(has_locks(&place.path()));
    for _ in 0..3 {
        check_locked(&place.path(), std::process::id());
    }
    assert!(has_locks(&place.path()), "closing another descriptor dropped them");
    // A program that believes itself the last one removes the WAL when it leaves. (Not the SQLite
    // in this binary, but the older shells that people have.)
    let mut shell = std::process::Command::new("sqlite3");
    let visit = shell.arg(place.path()).arg("SELECT count(*) FROM events").output();
    match visit {
        Ok(visit) => assert_eq!(String::from_utf8_lossy(&visit.stdout), "1\n", "{visit:?}"),
        Err(error) => println!("no sqlite3 shell here: {error}"),
    }
    assert!(place.beside("log.db-wal").exists());
    assert_eq!(note(&log, 2), 2);
    drop(log);
    assert_eq!(lines(&place.open()).len(), 2);
}

#[test]
fn neither_a_refused_open_nor_a_close_takes_a_readers_locks() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let reader = Log::open_read_only(place.path()).unwrap();
    drop(log);
    assert!(has_locks(&place.path()), "the end of a log in this process dropped them");
    let other = Other::open(&place.path());
    for _ in 0..3 {
        check_locked(&place.path(), other.pid());
    }
    assert!(has_locks(&place.path()), "an open that was refused dropped them");
    drop(other);
    // What was kept for the reader does as well for the next writer.
    let log = place.open();
    assert_eq!(note(&log, 2), 2);
    assert_eq!(lines(&reader).len(), 2);
}

#[test]
fn the_lock_goes_with_its_process() {
    let place = Place::new();
    let mut other = Other::open(&place.path());
    assert_eq!(other.opened, "open");
    check_locked(&place.path(), other.pid());
    assert_eq!(other.note(1), 1);
    other.kill();
    let log = place.open();
    assert_eq!(log.tail(), seq(1));
    assert_eq!(note(&log, 2), 2);
}

#[test]
fn where_a_killed_server_listened_is_not_said_of_the_next_holder() {
    let place = Place::new();
    let other = Other::open(&place.path());
    std::fs::write(place.beside("log.db.lock"), r#"{"pid":1,"url":"http://127.0.0.1:9"}"#).unwrap();
    check_locked(&place.path(), other.pid());
}

#[test]
fn closing_refuses_appends_and_frees_the_file() {
    let place = Place::new();
    let log = place.open();
    let waiting = log.append(hivelog::Draft::from_json(r#"{"kind":"a.b"}"#).unwrap());
    log.close();
    assert_eq!(waiting.wait(), Ok(seq(1)), "what was queued is committed");
    assert_eq!(append(&log, r#"{"kind":"a.b"}"#), Err(Error::Closed));
    assert_eq!(log.failure(), None);
    assert!(matches!(log.range(&hivelog::Range::default()), Err(Error::Closed)));
    log.close();
    // Open again while the closed handle is still there.
    let again = place.open();
    assert_eq!(note(&again, 2), 2);
    drop(log);
    assert!(place.beside("log.db.lock").exists(), "the word of the second one is taken back");
    check_locked(&place.path(), std::process::id());
}

#[test]
fn a_clean_end_leaves_one_file() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    drop(log);
    let wal = std::fs::metadata(place.beside("log.db-wal")).map_or(0, |meta| meta.len());
    assert_eq!(wal, 0, "the WAL is in the database");
    std::fs::copy(place.path(), place.beside("copy.db")).unwrap();
    let copy = Log::open(place.beside("copy.db"), Options::default()).unwrap();
    assert_eq!(lines(&copy).len(), 1);
}

#[test]
fn a_reader_follows_a_writer_of_the_same_process() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let reader = Log::open_read_only(place.path()).unwrap();
    check_follows(&reader, |n| note(&log, n));
    assert_eq!(reader.id(), log.id());
    assert_eq!(append(&reader, r#"{"kind":"a.b"}"#), Err(Error::ReadOnly));
    assert_eq!(reader.snapshot().unwrap(), log.snapshot().unwrap());
    reader.close();
    assert_eq!(note(&log, 5), 4, "a reader's end is nothing to the writer");
}

#[test]
fn a_reader_follows_a_writer_of_another_process() {
    let place = Place::new();
    let mut other = Other::open(&place.path());
    other.note(1);
    let reader = Log::open_read_only(place.path()).unwrap();
    check_follows(&reader, |n| other.note(n));
    other.kill();
    // What was committed stays readable, and a new writer is followed as the old one was.
    let log = place.open();
    let mut follower = reader.follow_blocking(seq(3), Filter::default()).unwrap();
    assert_eq!(follower.next(), Some(Ok(Followed::CaughtUp(seq(3)))));
    note(&log, 4);
    assert!(matches!(follower.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(4)));
}

fn check_follows(reader: &Log, mut write: impl FnMut(i64) -> i64) {
    let mut follower = reader.follow_blocking(Seq::ZERO, Filter::default()).unwrap();
    assert!(matches!(follower.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(1)));
    assert_eq!(follower.next(), Some(Ok(Followed::CaughtUp(seq(1)))));
    for n in [2, 3] {
        assert_eq!(write(n), n);
        assert!(matches!(follower.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(n)));
    }
    assert_eq!(lines(reader).len(), 3);
}
