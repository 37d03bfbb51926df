//! P9, P10: files that are no logs, programs that write beside us, and what is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hivelog::{Desk, Draft, Error, Log, Options, Range, Retention};

use crate::{Place, append, approval, foreign, lines, note, seq};

/// The file is refused, to a writer and to a reader, and not a byte of it changes.
fn check_not_opened(place: &Place, is_due: impl Fn(&Error) -> bool) {
    let before = std::fs::read(place.path()).unwrap();
    for _ in 0..2 {
        let error = Log::open(place.path(), Options::default()).unwrap_err();
        assert!(is_due(&error), "{error:?}");
        let error = Log::open_read_only(place.path()).unwrap_err();
        assert!(is_due(&error), "{error:?}");
        assert!(is_due(&hivelog::check(place.path()).unwrap_err()));
    }
    assert!(std::fs::read(place.path()).unwrap() == before, "the file was changed");
    let names: Vec<_> = std::fs::read_dir(place.path().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["log.db"], "files were left behind");
}

/// The log takes no more appends and says why; it still reads.
fn check_poisoned(log: &Log, told: &Error, words: &str) {
    assert!(matches!(told, Error::Poisoned(reason) if reason.contains(words)), "{told:?}");
    assert!(matches!(append(log, r#"{"kind":"a.b"}"#), Err(Error::Poisoned(_))));
    assert!(matches!(log.failure(), Some(Error::Poisoned(_))));
    assert!(matches!(futures_executor::block_on(log.failed()), Error::Poisoned(_)));
    log.range(&hivelog::Range::default()).unwrap();
    log.snapshot().unwrap();
}

#[test]
fn a_text_file_is_refused() {
    for text in ["hello, world\n".repeat(100), "x".into(), "SQLite format 3\0".into()] {
        let place = Place::new();
        std::fs::write(place.path(), text).unwrap();
        check_not_opened(&place, |error| matches!(error, Error::NotALog(_)));
    }
}

#[test]
fn a_database_of_another_application_is_refused() {
    let place = Place::new();
    let conn = foreign(&place.path());
    conn.execute_batch("CREATE TABLE events (seq INTEGER PRIMARY KEY); PRAGMA application_id = 42;").unwrap();
    conn.close().unwrap();
    check_not_opened(&place, |error| matches!(error, Error::NotALog(_)));
}

#[test]
fn a_newer_schema_is_refused() {
    let place = Place::new();
    drop(place.open());
    let conn = foreign(&place.path());
    conn.execute_batch("PRAGMA user_version = 999; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    conn.close().unwrap();
    for ending in ["-wal", "-shm"] {
        let _gone = std::fs::remove_file(place.beside(&format!("log.db{ending}")));
    }
    let before = std::fs::read(place.path()).unwrap();
    for error in [
        Log::open(place.path(), Options::default()).unwrap_err(),
        Log::open_read_only(place.path()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Newer { found: 999, .. }), "{error:?}");
    }
    assert!(std::fs::read(place.path()).unwrap() == before);
}

#[test]
fn a_log_with_a_foreign_trigger_is_refused() {
    let place = Place::new();
    drop(place.open());
    let conn = foreign(&place.path());
    conn.execute_batch("CREATE TRIGGER spy AFTER INSERT ON events BEGIN DELETE FROM keys; END;").unwrap();
    conn.close().unwrap();
    let error = Log::open(place.path(), Options::default()).unwrap_err();
    assert!(matches!(&error, Error::NotALog(why) if why.contains("spy")), "{error:?}");
}

#[test]
fn a_foreign_trigger_does_not_run_while_an_older_log_is_brought_up() {
    let place = Place::new();
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schema-2.db"), place.path()).unwrap();
    let conn = foreign(&place.path());
    let spy = "CREATE TABLE seen (x); CREATE TRIGGER spy AFTER INSERT ON meta BEGIN INSERT INTO seen VALUES (1); END;";
    conn.execute_batch(spy).unwrap();
    let error = Log::open(place.path(), Options::default()).unwrap_err();
    assert!(matches!(&error, Error::NotALog(why) if why.contains("spy")), "{error:?}");
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((number("SELECT count(*) FROM seen"), number("PRAGMA user_version")), (0, 2));
}

/// What is said to be on disk is written no more after a kill: only who syncs each commit may say so.
#[test]
fn only_who_syncs_says_what_is_on_disk() {
    for durability in [hivelog::Durability::Full, hivelog::Durability::Normal] {
        let place = Place::new();
        let log = Log::open(place.path(), Options::default().durability(durability)).unwrap();
        for n in 1..=100 {
            assert_eq!(note(&log, n), n);
        }
        assert_eq!(place.beside("log.db.synced").exists(), durability == hivelog::Durability::Full);
    }
}

#[test]
fn an_empty_file_is_a_new_log() {
    let place = Place::new();
    std::fs::write(place.path(), "").unwrap();
    let log = place.open();
    assert_eq!(note(&log, 1), 1);
    drop(log);
    assert_eq!(lines(&place.open()).len(), 1);
}

#[test]
fn a_folder_is_refused_and_nothing_is_made_unasked() {
    let place = Place::new();
    let folder = place.beside("folder");
    std::fs::create_dir(&folder).unwrap();
    assert!(matches!(Log::open(&folder, Options::default()), Err(Error::NotALog(_))));
    assert!(matches!(Log::open_read_only(&folder), Err(Error::NotALog(_))));
    let unmade = Options::default().create(false);
    assert!(matches!(Log::open(place.path(), unmade), Err(Error::NotFound(_))));
    assert!(matches!(Log::open_read_only(place.path()), Err(Error::NotFound(_))));
    assert!(matches!(hivelog::check(place.path()), Err(Error::NotFound(_))));
    assert!(Log::open(place.beside("no/such/folder.db"), Options::default()).is_err());
    assert!(matches!(Log::open("file:x.db", Options::default()), Err(Error::NotALog(_))));
    assert!(!place.path().exists());
}

#[test]
fn a_damaged_file_is_told() {
    let place = Place::new();
    let log = place.open();
    for n in 0..400 {
        note(&log, n);
    }
    drop(log);
    assert_eq!(hivelog::check(place.path()).unwrap().problems, Vec::<String>::new());
    let mut bytes = std::fs::read(place.path()).unwrap();
    for page in 3..bytes.len() / 4_096 {
        bytes[page * 4_096] ^= 0x5a;
    }
    std::fs::write(place.path(), bytes).unwrap();
    assert!(hivelog::check(place.path()).map_or(true, |report| !report.problems.is_empty()));
}

/// Another text in the place of an event's, past what the log itself does.
pub fn damage(place: &Place, seq: i64, from: &str, to: &str) {
    let sql = format!(
        "UPDATE meta SET value = {seq} WHERE name = 'redacting_seq';
         UPDATE events SET payload = replace(payload, '{from}', '{to}') WHERE seq = {seq};
         UPDATE meta SET value = 0 WHERE name = 'redacting_seq';"
    );
    foreign(&place.path()).execute_batch(&sql).unwrap();
}

#[test]
fn a_damaged_event_is_shown_by_no_view_of_the_board() {
    for (seq, from, to) in [(1, "alice", "malice"), (2, "denied", "approved")] {
        let place = Place::new();
        let log = place.open();
        append(&log, &approval(1, "alice")).unwrap();
        append(&log, r#"{"kind":"approval_resolved","id":1,"agent":"alice","approval_kind":"spawn","status":"denied","resolved_at":5}"#).unwrap();
        assert_eq!(Desk::of(&log).unwrap().approval(1).unwrap().status, "denied");
        log.close();
        damage(&place, seq, from, to);
        let log = place.open();
        let told = [Desk::of(&log).unwrap().approval(1).map(drop), log.snapshot().map(drop)];
        for told in told {
            assert!(
                matches!(&told, Err(Error::Storage(why)) if why.to_string().contains("is damaged")),
                "{told:?}"
            );
        }
    }
}

/// What falls due and cannot be closed keeps nothing else from what is due.
#[test]
fn a_damaged_question_that_is_due_does_not_stop_the_keeper() {
    let place = Place::new();
    let now = Arc::new(AtomicI64::new(1_000_000_000));
    let open = || {
        let clock = Arc::clone(&now);
        let retention = Retention::forever().keep("sent", "1h".parse().unwrap()).unwrap();
        let options = Options::default().clock(move || clock.load(Ordering::SeqCst)).retention(retention);
        Log::open(place.path(), options).unwrap()
    };
    let log = open();
    append(&log, r#"{"kind":"question_added","id":1,"asker":"bob","question":"why?","options":[],"multi":false,"asked_at":1000000,"deadline_at":1000060}"#).unwrap();
    for _ in 0..10 {
        append(&log, r#"{"kind":"sent","from":"alice","to":"bob","body":"x","at":1}"#).unwrap();
    }
    log.close();
    damage(&place, 1, "why", "who");
    now.fetch_add(7_200_000, Ordering::SeqCst);
    let log = open();
    let _desk = Desk::of(&log).unwrap();
    let begin = Instant::now();
    let head = Range { after: Some(11), ..Range::default() };
    while log.range(&head).unwrap().floor < seq(11) {
        assert!(begin.elapsed() < Duration::from_secs(30), "nothing is pruned");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_foreign_event_stops_the_log() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let other = foreign(&place.path());
    let sql = "INSERT INTO events (recorded_at_ms, kind, agents, payload) VALUES (1, 'a.b', '', '{}')";
    other.execute(sql, []).unwrap();
    let told = append(&log, r#"{"kind":"a.b"}"#).unwrap_err();
    check_poisoned(&log, &told, "another program wrote");
    // Whoever is not writing learns it too.
    assert_eq!(lines(&log).len(), 2);
}

#[test]
fn an_idle_log_notices_a_foreign_event_by_itself() {
    let place = Place::new();
    let log = place.open();
    let other = foreign(&place.path());
    let sql =
        "INSERT INTO events (seq, recorded_at_ms, kind, agents, payload) VALUES (9, 1, 'a.b', '', '{}')";
    other.execute(sql, []).unwrap();
    let told = futures_executor::block_on(log.failed());
    check_poisoned(&log, &told, "another program wrote");
}

#[test]
fn events_are_append_only_to_other_programs_too() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let other = foreign(&place.path());
    for sql in ["UPDATE events SET payload = '{}'", "UPDATE events SET seq = 7", "DELETE FROM events"] {
        assert!(other.execute(sql, []).unwrap_err().to_string().contains("append-only"), "{sql}");
    }
    assert_eq!(note(&log, 2), 2);
}

#[test]
fn a_scratch_table_disturbs_nobody() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let other = foreign(&place.path());
    other.execute_batch("CREATE TABLE scratch (x); INSERT INTO scratch VALUES (1);").unwrap();
    assert_eq!(note(&log, 2), 2);
    other.execute_batch("DROP TABLE scratch;").unwrap();
    assert_eq!(note(&log, 3), 3);
    assert_eq!(log.failure(), None);
}

#[test]
fn a_held_write_lock_is_waited_for_then_told_and_a_full_queue_refuses_at_once() {
    let place = Place::new();
    let log = place.open();
    let other = foreign(&place.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begin = Instant::now();
    let draft = || Draft::from_json(r#"{"kind":"a.b"}"#).unwrap();
    let first = log.append(draft());
    let mut waiting = Vec::new();
    let (full, took) = loop {
        let asked = Instant::now();
        // An answer that is there already is the refusal.
        match futures_util::FutureExt::now_or_never(log.append(draft())) {
            None => waiting.push(()),
            Some(told) => break (told, asked.elapsed()),
        }
        assert!(waiting.len() <= 40_000, "the queue has no bound");
    };
    assert_eq!(full, Err(Error::QueueFull));
    #[cfg(feature = "server")]
    assert!(!metrics(&log).contains("hivelog_refused_appends_total{reason=\"queue_full\"} 0\n"));
    assert!(waiting.len() >= 16_000);
    assert!(took < Duration::from_secs(4), "{took:?}: refused at once, and not after the lock");
    assert_eq!(first.wait(), Err(Error::Busy));
    let waited = begin.elapsed();
    assert!((4..30).contains(&waited.as_secs()), "{waited:?}");
    assert!(Error::Busy.is_transient() && Error::QueueFull.is_transient());
    other.execute_batch("ROLLBACK").unwrap();
    // It goes on by itself, and takes what was not told to have failed.
    let head = loop {
        // The queue has room as soon as the writer took the next batch out of it.
        match append(&log, r#"{"kind":"a.b"}"#) {
            Err(Error::QueueFull) => std::thread::yield_now(),
            told => break told.unwrap(),
        }
    };
    assert_eq!(usize::try_from(head).unwrap(), lines_in(&log));
    assert_eq!(log.failure(), None);
}

#[cfg(feature = "server")]
fn metrics(log: &Log) -> String {
    use tower::ServiceExt as _;
    let router = hivelog::http::router(log.clone(), hivelog::http::Access::no_auth());
    let request = axum::http::Request::get("/metrics").header("Host", "localhost");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let response = runtime.block_on(router.oneshot(request)).unwrap();
    let body = runtime.block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn lines_in(log: &Log) -> usize {
    let conn = foreign(log.path());
    let count: i64 = conn.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    usize::try_from(count).unwrap()
}

#[test]
fn a_panic_in_the_writer_stops_the_log_and_nothing_else() {
    let place = Place::new();
    let broken = Arc::new(AtomicBool::new(false));
    let clock = {
        let broken = Arc::clone(&broken);
        move || if broken.load(Ordering::SeqCst) { panic!("a broken clock") } else { 5 }
    };
    let log = Log::open(place.path(), Options::default().clock(clock)).unwrap();
    note(&log, 1);
    broken.store(true, Ordering::SeqCst);
    let told = append(&log, r#"{"kind":"a.b"}"#).unwrap_err();
    check_poisoned(&log, &told, "panicked");
    log.close();
    assert_eq!(note(&place.open(), 2), 2);
}

#[test]
fn a_removed_file_stops_the_log() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    std::fs::remove_file(place.path()).unwrap();
    let begin = Instant::now();
    let told = futures_executor::block_on(log.failed());
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(matches!(&told, Error::Poisoned(why) if why.contains("removed or replaced")), "{told:?}");
}

#[test]
fn a_removed_wal_stops_the_log() {
    for is_replaced in [false, true] {
        let place = Place::new();
        let log = place.open();
        note(&log, 1);
        let wal = place.beside("log.db-wal");
        std::fs::remove_file(&wal).unwrap();
        if is_replaced {
            std::fs::write(&wal, "").unwrap();
        }
        let begin = Instant::now();
        let told = futures_executor::block_on(log.failed());
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(matches!(&told, Error::Poisoned(why) if why.contains("-wal was removed")), "{told:?}");
    }
}

#[test]
fn the_last_seq_is_two_to_the_53_minus_one() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    log.close();
    let other = foreign(&place.path());
    other.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'events'", [(1i64 << 53) - 3]).unwrap();
    drop(other);
    let log = place.open();
    assert_eq!(note(&log, 2), (1 << 53) - 2);
    assert_eq!(note(&log, 3), (1 << 53) - 1);
    assert!(lines(&log)[2].starts_with("{\"seq\":9007199254740991,"));
    let told = append(&log, r#"{"kind":"a.b"}"#).unwrap_err();
    check_poisoned(&log, &told, "last seq");
    assert_eq!(log.tail(), seq((1 << 53) - 1));
}

#[test]
fn a_reader_that_stays_does_not_hold_up_appends() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let shell = foreign(&place.path());
    shell.execute_batch("BEGIN").unwrap();
    let count = || shell.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 1);
    // Enough for some checkpoints, which the reader holds back.
    let large = format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(500_000));
    for due in 2..=80 {
        assert_eq!(append(&log, &large).unwrap(), due);
    }
    assert_eq!(count(), 1, "its own moment");
    shell.execute_batch("COMMIT").unwrap();
    assert_eq!(count(), 80);
    assert_eq!(note(&log, 81), 81);
}

#[test]
fn a_wal_without_its_file_is_never_read_into_a_new_log() {
    for is_empty_there in [false, true] {
        let place = Place::new();
        let log = place.open();
        note(&log, 1);
        let wal = std::fs::read(place.beside("log.db-wal")).unwrap();
        log.close();
        std::fs::write(place.beside("log.db-wal"), &wal).unwrap();
        std::fs::remove_file(place.path()).unwrap();
        if is_empty_there {
            std::fs::write(place.path(), "").unwrap();
        }
        let told = Log::open(place.path(), Options::default()).unwrap_err();
        assert!(matches!(&told, Error::NotALog(why) if why.contains("log.db-wal")), "{told:?}");
        // It may hold what was acknowledged: it is left as it is.
        assert!(std::fs::read(place.beside("log.db-wal")).unwrap() == wal);
        std::fs::remove_file(place.beside("log.db-wal")).unwrap();
        assert_eq!(note(&place.open(), 1), 1);
    }
}
