//! Copies of a log: taken while it is written, marked, put in its place.

mod crash;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hivelog::{Cursor, Draft, Error, Filter, Followed, Log, LogId, Options, ResetReason, Start};

use crate::other::Other;
use crate::{Place, append, approval, foreign, lines, note, seq};

/// The copy is whole; gives its head.
fn check_whole(path: &Path) -> i64 {
    let report = hivelog::check(path).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    report.head
}

fn backup(log: &Log, out: &Path) -> hivelog::Backup {
    let (mut told, begin) = (Vec::new(), Instant::now());
    let progress = &mut |done, total| {
        told.push((done, total));
        assert!(begin.elapsed() < Duration::from_secs(60), "it begins anew and anew");
    };
    let done = log.backup(out, progress).unwrap();
    assert!(told.windows(2).all(|two| two[0].0 <= two[1].0), "{told:?}");
    assert!(told.last().is_some_and(|(done, total)| done == total && *total > 0), "{told:?}");
    assert_eq!(done.bytes, std::fs::metadata(out).unwrap().len());
    done
}

fn restore(from: &Path, to: &Path, replace: bool) -> Result<hivelog::Restored, Error> {
    hivelog::restore(from, to, replace, &mut |_, _| ())
}

fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path().parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a reader is told that comes with a position of another log.
fn check_reset(log: &Log, old: LogId, at: i64) {
    let start = Start::After(Cursor::new(old, seq(at)));
    let mut follower = log.follow_blocking(start, Filter::default()).unwrap();
    let due = Followed::Reset { reason: ResetReason::OtherLog, seq: log.tail() };
    assert_eq!(follower.next(), Some(Ok(due)));
    let told = note(log, 0);
    loop {
        match follower.next().unwrap().unwrap() {
            Followed::Event(row) => break assert_eq!(row.seq(), seq(told), "it goes on from there"),
            Followed::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Ends who waits for it, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Appends 500 times a second; gives how long each took.
fn write_steadily(log: &Log, goes_on: impl Fn(usize) -> bool) -> Vec<Duration> {
    let (mut times, begin) = (Vec::new(), Instant::now());
    while goes_on(times.len()) {
        let asked = Instant::now();
        note(log, 1);
        times.push(asked.elapsed());
        let due = begin + Duration::from_millis(2) * u32::try_from(times.len()).unwrap();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    times
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn nobody_makes_a_log_where_one_is_being_restored() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let (saved, to) = (place.beside("saved.db"), place.beside("new.db"));
    backup(&log, &saved);
    let mut told = None;
    let restored = hivelog::restore(&saved, &to, false, &mut |_, _| {
        told.get_or_insert_with(|| Log::open(&to, hivelog::Options::default()).map(drop));
    });
    assert_eq!(restored.unwrap().kept, None);
    assert!(matches!(told, Some(Err(Error::Locked { .. }))), "{told:?}");
    // A file without a byte is no log, as one that was killed leaves it; what goes wrong leaves none.
    let empty = place.beside("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(restore(&saved, &empty, false).unwrap().kept, None);
    let (bad, other) = (place.beside("bad.db"), place.beside("other.db"));
    let mut bytes = std::fs::read(&saved).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    std::fs::write(&bad, bytes).unwrap();
    restore(&bad, &other, false).unwrap_err();
    assert!(!other.exists());
}

#[test]
fn a_copy_is_one_moment_of_a_log_that_is_written() {
    let place = Place::new();
    let log = place.open();
    let large = format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(8_000));
    for _ in 0..40 {
        let drafts: Vec<_> = (0..100).map(|_| Draft::from_json(&large).unwrap()).collect();
        log.submit(hivelog::Command::new(drafts)).wait().unwrap();
    }
    append(&log, &approval(1, "ada")).unwrap();
    let alone = p99(write_steadily(&log, |done| done < 500));
    let is_over = AtomicBool::new(false);
    let (out, before) = (place.beside("copy.db"), log.tail());
    let (done, times) = std::thread::scope(|scope| {
        let writing =
            scope.spawn(|| write_steadily(&log, |done| done < 200 || !is_over.load(Ordering::SeqCst)));
        let over = Over(&is_over);
        // As another process sees the file.
        let reader = Log::open_read_only(log.path()).unwrap();
        while log.tail() < seq(before.get() + 20) {
            std::thread::yield_now();
        }
        let done = backup(&reader, &out);
        drop(over);
        (done, writing.join().unwrap())
    });
    println!("{} appends, p99 beside the backup {:?}, before it {alone:?}", times.len(), p99(times.clone()));
    assert_eq!(done.log_id, log.id());
    assert!(done.head > before && done.head < log.tail(), "it was taken under way: {}", done.head);
    assert_eq!(check_whole(&out), done.head.get());
    // The same rows as the log's own, in a file that nothing belongs to.
    let copy = Log::open_read_only(&out).unwrap();
    assert_eq!(copy.id(), log.id(), "until it is written it is a moment of that log");
    for at in [1, before.get(), done.head.get()] {
        assert_eq!(copy.get(seq(at)).unwrap().unwrap().line(), log.get(seq(at)).unwrap().unwrap().line());
    }
    assert_eq!(copy.get(done.head.next()).unwrap(), None);
    drop(copy);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let strays: Vec<_> = names(&place).into_iter().filter(|name| !name.starts_with("log.db")).collect();
    assert_eq!(strays, ["copy.db"]);
    // Its moment held the WAL no longer than it took.
    let begin = Instant::now();
    while std::fs::metadata(place.beside("log.db-wal")).unwrap().len() > 64 << 20 {
        note(&log, 2);
        assert!(begin.elapsed() < Duration::from_secs(20), "the WAL stays");
    }
    check_whole(log.path());
}

#[test]
fn nothing_is_overwritten() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let (file, link) = (place.beside("file"), place.beside("link"));
    std::fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink(place.beside("nowhere"), &link).unwrap();
    for out in [&file, &link, &log.path().to_owned()] {
        assert!(matches!(log.backup(out, &mut |_, _| ()), Err(Error::Exists(_))), "{}", out.display());
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert!(!place.beside("nowhere").exists());
    assert!(log.backup(place.beside("no/folder"), &mut |_, _| ()).is_err());
    // One that comes while the copy is made is not overwritten either.
    let late = place.beside("late");
    let told = log.backup(&late, &mut |_, _| std::fs::write(&late, "mine").unwrap());
    assert!(matches!(told, Err(Error::Exists(_))), "{told:?}");
    assert_eq!(std::fs::read_to_string(&late).unwrap(), "mine");
    assert!(names(&place).iter().all(|name| !name.ends_with("unfinished")), "{:?}", names(&place));
}

#[test]
fn a_log_that_is_not_whole_gives_no_copy() {
    let place = Place::new();
    drop(place.open());
    let other = foreign(&place.path());
    other
        .execute_batch(
            "INSERT INTO events (seq, recorded_at_ms, kind, agents, payload) VALUES (2, 1, 'a.b', '', '{}')",
        )
        .unwrap();
    drop(other);
    let log = Log::open_read_only(place.path()).unwrap();
    let told = log.backup(place.beside("copy.db"), &mut |_, _| ());
    assert!(matches!(&told, Err(Error::Storage(why)) if why.contains("not whole")), "{told:?}");
    assert!(!place.beside("copy.db").exists());
}

#[test]
fn a_copy_that_is_opened_is_a_log_of_its_own() {
    let place = Place::new();
    let log = place.open();
    for n in 1..=5 {
        note(&log, n);
    }
    append(&log, &approval(7, "ada")).unwrap();
    // The counter stands above the last row: what was pruned is not given again.
    log.close();
    let other = foreign(&place.path());
    other
        .execute_batch(
            "UPDATE meta SET value = 9 WHERE name = 'floor'; DELETE FROM meta WHERE name = 'sum.floor';",
        )
        .unwrap();
    other.execute_batch("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'events'").unwrap();
    drop(other);
    let log = place.open();
    let out = place.beside("copy.db");
    assert_eq!(backup(&log, &out).head, seq(9));
    // Whoever only reads does not change it.
    let before = std::fs::read(&out).unwrap();
    drop(Log::open_read_only(&out).unwrap());
    check_whole(&out);
    assert!(std::fs::read(&out).unwrap() == before);

    let copy = Log::open(&out, Options::default()).unwrap();
    let id = copy.id();
    assert_ne!(id, log.id());
    assert_eq!((note(&copy, 1), note(&log, 1)), (10, 10), "the same seq, of another log");
    check_reset(&copy, log.id(), 9);
    copy.close();
    assert_eq!(Log::open(&out, Options::default()).unwrap().id(), id, "once");
    assert_eq!(Log::open_read_only(log.path()).unwrap().id(), log.id(), "the source keeps its own");
    // The next id of an item comes after those that the copy knew.
    let copy = Log::open(&out, Options::default()).unwrap();
    assert_eq!(copy.snapshot().unwrap().seq, copy.tail());
    assert!(append(&copy, &approval(7, "ada")).is_err(), "it is open there");
}

#[test]
fn a_restored_log_goes_on_under_a_new_name() {
    let place = Place::new();
    let log = place.open();
    for n in 1..=3 {
        note(&log, n);
    }
    let (old, saved) = (log.id(), place.beside("saved.db"));
    backup(&log, &saved);
    note(&log, 4);
    note(&log, 5);
    let all = lines(&log);

    // Not over a log that is served, nor over one that is there unless that is said.
    assert!(matches!(restore(&saved, &place.path(), true), Err(Error::Locked { .. })));
    log.close();
    assert!(matches!(restore(&saved, &place.path(), false), Err(Error::Exists(_))));
    assert!(restore(&place.path(), &place.path(), true).is_err(), "onto itself");
    let mut other = Other::open(&place.path());
    assert_eq!(other.note(6), 6);
    assert!(
        matches!(restore(&saved, &place.path(), true), Err(Error::Locked { pid, .. }) if pid == Some(other.pid()))
    );
    // What a killed server left is in the WAL only, and is kept with the rest.
    other.kill();
    let restored = restore(&saved, &place.path(), true).unwrap();
    assert_eq!(restored.head, seq(3));
    assert_eq!(std::fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let log = place.open();
    assert_eq!(log.id(), restored.log_id);
    assert_ne!(log.id(), old);
    assert_eq!(lines(&log), all[..3]);
    // Every position of the old log is void: those above the copy's head, and those below.
    check_reset(&log, old, 5);
    check_reset(&log, old, 2);
    assert_eq!(check_whole(&place.path()), 5);

    let kept = restored.kept.unwrap();
    assert_eq!(check_whole(&kept), 6);
    let kept = Log::open_read_only(&kept).unwrap();
    assert_eq!((kept.id(), &lines(&kept)[..5]), (old, &all[..]));
    // A second restore of the same copy is another log.
    log.close();
    assert_ne!(restore(&saved, &place.path(), true).unwrap().log_id, restored.log_id);
    // And a file that is no backup can be restored from: one that another program copied.
    let fresh = place.beside("fresh.db");
    let again = restore(&place.path(), &fresh, false).unwrap();
    assert_eq!((again.kept, check_whole(&fresh)), (None, 3));
}

#[test]
fn what_is_no_whole_log_is_not_restored_from() {
    let place = Place::new();
    let log = place.open();
    for n in 0..200 {
        note(&log, n);
    }
    let saved = place.beside("saved.db");
    backup(&log, &saved);
    log.close();
    let before = std::fs::read(place.path()).unwrap();
    let bad = place.beside("bad.db");
    let mut bytes = std::fs::read(&saved).unwrap();
    let last = bytes.len() - 3_000;
    bytes[last..].fill(0x5a);
    for content in [&bytes[..], b"no log", &bytes[..40_960]] {
        std::fs::write(&bad, content).unwrap();
        restore(&bad, &place.path(), true).unwrap_err();
    }
    assert!(matches!(restore(&place.beside("none"), &place.path(), true), Err(Error::NotFound(_))));
    let other = foreign(&saved);
    other.execute_batch("CREATE TRIGGER spy AFTER UPDATE ON meta BEGIN DELETE FROM keys; END;").unwrap();
    drop(other);
    assert!(matches!(restore(&saved, &place.path(), true), Err(Error::NotALog(why)) if why.contains("spy")));
    assert!(std::fs::read(place.path()).unwrap() == before, "the log was touched");
    assert!(names(&place).iter().all(|name| !name.contains("before") && !name.ends_with("unfinished")));
}

#[test]
fn a_log_is_restored_over_one_that_is_damaged() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let saved = place.beside("saved.db");
    backup(&log, &saved);
    log.close();
    let mut other = Other::open(&place.path());
    other.note(2);
    other.kill();
    let wal = std::fs::read(place.beside("log.db-wal")).unwrap();
    assert!(!wal.is_empty());
    let rest = std::fs::read(place.path()).unwrap();
    std::fs::write(place.path(), [&[0u8; 100][..], &rest[100..]].concat()).unwrap();
    let restored = restore(&saved, &place.path(), true).unwrap();
    let kept = restored.kept.unwrap();
    assert_eq!(std::fs::read(&kept).unwrap().len(), rest.len());
    // The damaged file may be mended by somebody who knows how: with its WAL.
    let kept_wal = std::path::PathBuf::from(format!("{}-wal", kept.display()));
    assert!(std::fs::read(kept_wal).unwrap() == wal);
    assert!(!place.beside("log.db-wal").exists(), "it would be read into the new file");
    assert_eq!(lines(&place.open()).len(), 1);
    check_whole(&place.path());
}

#[test]
fn a_reader_of_the_old_file_is_waited_for_and_told_of() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let saved = place.beside("saved.db");
    backup(&log, &saved);
    let shell = foreign(&place.path());
    shell.execute_batch("BEGIN; SELECT count(*) FROM events;").unwrap();
    shell.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    note(&log, 2);
    log.close();
    let begin = Instant::now();
    assert_eq!(restore(&saved, &place.path(), true), Err(Error::Busy));
    assert!(begin.elapsed() >= Duration::from_secs(4));
    shell.execute_batch("COMMIT").unwrap();
    drop(shell);
    let kept = restore(&saved, &place.path(), true).unwrap().kept.unwrap();
    assert_eq!(check_whole(&kept), 2);
}

#[cfg(feature = "server")]
#[test]
fn tokens_come_back_and_sessions_do_not() {
    use hivelog::{Desk, Role};
    let place = Place::new();
    let log = place.open();
    let desk = Desk::of(&log).unwrap();
    let expires = None;
    futures_executor::block_on(desk.credentials().add("alice", &[Role::Agent], expires)).unwrap();
    log.close();
    let other = foreign(&place.path());
    other
        .execute_batch(
            "INSERT INTO sessions VALUES (x'01', x'02', 'alice', 1, 1);
             INSERT INTO login_codes VALUES (x'03', 'alice', 9000000000);",
        )
        .unwrap();
    drop(other);
    let (saved, log) = (place.beside("saved.db"), Log::open_read_only(place.path()).unwrap());
    backup(&log, &saved);
    let fresh = place.beside("fresh.db");
    restore(&saved, &fresh, false).unwrap();
    drop(Log::open(&saved, Options::default()).unwrap());
    for path in [&fresh, &saved] {
        let conn = foreign(path);
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((count("tokens"), count("sessions"), count("login_codes")), (1, 0, 0));
    }
}

/// A log that is opened while it is restored over waits for neither and is one of the two.
#[test]
fn an_open_that_races_with_a_restore_finds_one_of_the_two() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let (saved, old) = (place.beside("saved.db"), log.id());
    backup(&log, &saved);
    note(&log, 2);
    log.close();
    let (path, stop) = (place.path(), mpsc::channel::<()>());
    let opening = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while stop.1.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            if let Ok(log) = Log::open(&path, Options::default().create(false)) {
                seen.push((log.id(), log.tail()));
            }
        }
        seen
    });
    let restored = loop {
        match restore(&saved, &place.path(), true) {
            Ok(restored) => break restored,
            Err(Error::Locked { .. } | Error::Busy) => {}
            other => panic!("{other:?}"),
        }
    };
    std::thread::sleep(Duration::from_millis(50));
    drop(stop.0);
    for (id, head) in opening.join().unwrap() {
        assert_eq!(head, if id == old { seq(2) } else { seq(1) });
        assert!(id == old || id == restored.log_id);
    }
    assert_eq!(seq(check_whole(&place.path())), restored.head);
}

/// Made by root, as an operator of a service has to, the new file belongs to the service and not to root.
#[test]
fn what_root_puts_in_a_service_s_place_belongs_to_the_service() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    if std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() != 0) {
        writeln!(std::io::stderr(), "skipped: whose a restored file is: this is not root").unwrap();
        return;
    }
    let whose = |path: &Path| {
        std::fs::metadata(path).map(|meta| (meta.uid(), meta.gid(), meta.mode() & 0o777)).unwrap()
    };
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let saved = place.beside("saved.db");
    backup(&log, &saved);
    let exported = crate::transfer::export(&log);
    let home = place.beside("service");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(7), Some(8)).unwrap();
    let (restored, imported) = (home.join("restored.db"), home.join("imported.db"));
    restore(&saved, &restored, false).unwrap();
    assert_eq!(whose(&restored), (7, 8, 0o600));
    // Of the one that it takes the place of, whatever the folder.
    chown(&restored, Some(9), Some(9)).unwrap();
    let kept = restore(&saved, &restored, true).unwrap().kept.unwrap();
    assert_eq!((whose(&restored), whose(&kept)), ((9, 9, 0o600), (9, 9, 0o600)));
    hivelog::import(&imported, &mut exported.as_bytes(), &mut |_, _| {}).unwrap();
    assert_eq!(whose(&imported), (7, 8, 0o600));
    for ending in ["-wal", "-shm"] {
        let side = home.join(format!("imported.db{ending}"));
        assert!(!side.exists() || whose(&side) == (7, 8, 0o600), "{}", side.display());
    }
    assert_eq!(whose(&saved), (0, 0, 0o600), "a backup is whose who made it is");
}
