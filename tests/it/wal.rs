//! The WAL: who moves it into the database, what a reader does to it, what happens at its bound.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hivelog::{Checkpoints, Error, Log, Options};

use crate::{Place, append, foreign, lines, note};

/// Half a megabyte of WAL.
fn large() -> String {
    format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(500_000))
}

fn wal_bytes(place: &Place) -> u64 {
    std::fs::metadata(place.beside("log.db-wal")).map_or(0, |meta| meta.len())
}

/// Another process that looks at the file, as an operator's shell.
struct Shell(Child);

impl Shell {
    fn reads(place: &Place) -> Self {
        use std::io::{BufRead as _, BufReader, Write as _};
        let mut child = Command::new("sqlite3")
            .args(["-readonly".as_ref(), place.path().as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "BEGIN; SELECT count(*) FROM events;").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.trim().parse::<i64>().is_ok(), "{line}");
        Self(child)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn has_shell() -> bool {
    let is_there = Command::new("sqlite3").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        use std::io::Write as _;
        writeln!(std::io::stderr(), "skipped: there is no sqlite3").unwrap();
    }
    is_there
}

#[test]
fn a_shell_that_reads_stops_appends_at_the_bound_only() {
    if !has_shell() {
        return;
    }
    let place = Place::new();
    let bound = 20 << 20;
    let log = Log::open(place.path(), Options::default().wal_bytes_max(bound)).unwrap();
    note(&log, 1);
    let shell = Shell::reads(&place);
    let large = large();
    let mut stored = 1;
    let told = loop {
        match append(&log, &large) {
            Ok(told) => stored = told,
            Err(error) => break error,
        }
        assert!(stored < 100, "there is no bound");
    };
    assert_eq!(told, Error::WalHeld);
    assert!(told.is_transient());
    assert!((bound..bound + (2 << 20)).contains(&wal_bytes(&place)), "{}", wal_bytes(&place));
    // Refused is not stored, reads go on, and it stays so as long as the shell reads.
    for _ in 0..3 {
        assert_eq!(append(&log, r#"{"kind":"a.b"}"#), Err(Error::WalHeld));
    }
    assert_eq!(log.tail().get(), stored);
    assert_eq!(hivelog::check(log.path()).unwrap().rows, stored);
    drop(shell);
    // The first append after that is taken, and the file is small again.
    assert_eq!(note(&log, 2), stored + 1);
    assert!(wal_bytes(&place) < 1 << 20, "{}", wal_bytes(&place));
    assert_eq!(hivelog::check(log.path()).unwrap().problems, Vec::<String>::new());
}

#[test]
fn an_idle_log_gives_back_what_a_reader_let_grow() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let reader = foreign(&place.path());
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    let large = large();
    for _ in 0..150 {
        append(&log, &large).unwrap();
    }
    assert!(wal_bytes(&place) > 70 << 20);
    reader.execute_batch("COMMIT").unwrap();
    // Nothing is appended: it is looked after every second.
    let begin = Instant::now();
    while wal_bytes(&place) > 0 {
        assert!(begin.elapsed() < Duration::from_mins(1), "the WAL stays at {}", wal_bytes(&place));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_reader_does_not_hold_up_the_end_of_a_log() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let reader = foreign(&place.path());
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    note(&log, 2);
    let begin = Instant::now();
    log.close();
    // Less than a lock is waited for.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(lines(&place.open()).len(), 2);
}

#[test]
fn checkpoints_that_are_left_to_another_program_are_not_made() {
    let place = Place::new();
    let bound = 24 << 20;
    let options = Options::default().checkpoints(Checkpoints::External).wal_bytes_max(bound);
    let log = Log::open(place.path(), options.clone()).unwrap();
    let other = foreign(&place.path());
    // What Litestream keeps in a file that it follows.
    other
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
             CREATE TABLE IF NOT EXISTS _litestream_lock (id INTEGER);
             INSERT INTO _litestream_seq (id, seq) VALUES (1, 1)
             ON CONFLICT (id) DO UPDATE SET seq = seq + 1;",
        )
        .unwrap();
    let before = std::fs::metadata(place.path()).unwrap().len();
    let large = large();
    for _ in 0..30 {
        append(&log, &large).unwrap();
    }
    assert!(wal_bytes(&place) > 12 << 20);
    // Longer than a look at an idle file is away.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(std::fs::metadata(place.path()).unwrap().len(), before, "pages were moved");
    log.close();
    assert_eq!(std::fs::metadata(place.path()).unwrap().len(), before, "pages were moved at the end");
    assert!(wal_bytes(&place) > 12 << 20);

    // That program moves them when it has copied them.
    let log = Log::open(place.path(), options).unwrap();
    other.execute_batch("UPDATE _litestream_seq SET seq = seq + 1").unwrap();
    other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    append(&log, &large).unwrap();
    // It died: past the bound the log looks after itself, and appends go on.
    for _ in 0..80 {
        append(&log, &large).unwrap();
        assert!(wal_bytes(&place) < bound + (2 << 20), "{}", wal_bytes(&place));
    }
    // Only a reader can stop them there.
    let reader = foreign(&place.path());
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    let told = (0..100).find_map(|_| append(&log, &large).err());
    assert_eq!(told, Some(Error::WalHeld));
    drop(reader);
    note(&log, 1);
    assert_eq!(hivelog::check(log.path()).unwrap().problems, Vec::<String>::new());
}
