//! The doctor: each finding with its word, its cause and its cure.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::{Place, READS, shell};

/// What the doctor finds, as JSON and in words.
fn findings(place: &Place) -> Vec<Value> {
    let ran = place.run(&["check", "--json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let found = report["findings"].as_array().expect("findings").clone();
    assert_eq!(ran.code, Some(i32::from(!found.is_empty())));
    let text = place.run(&["check"]).out;
    for finding in &found {
        for part in ["what", "cause", "cure"] {
            let words = finding[part].as_str().expect("words");
            assert!(!words.is_empty() && text.contains(words), "{part} {words}: {text}");
        }
    }
    found
}

#[track_caller]
fn check_one(place: &Place, word: &str) -> Value {
    let found = findings(place);
    assert_eq!(found.iter().map(|finding| finding["word"].clone()).collect::<Vec<_>>(), [word], "{found:?}");
    found[0].clone()
}

fn change(place: &Place, sql: &str) {
    let conn = hivelog::rusqlite::Connection::open(place.db()).expect("the file");
    conn.execute_batch(sql).expect("a change");
}

fn new() -> Place {
    let place = Place::new();
    for _ in 0..3 {
        place.run(&["append", r#"{"kind":"approval_added","id":1,"agent":"ada","approval_kind":"spawn"}"#]);
        place.run(&["append", "--key", "k", r#"{"kind":"a.b"}"#]).check(0, "2");
    }
    place
}

#[test]
fn what_is_wrong_in_the_file_is_named() {
    for (word, sql) in [
        (
            "holes",
            "INSERT INTO events (seq, recorded_at_ms, kind, agents, payload) VALUES (9, 9000000000000, 'a.b', '', '{}'); UPDATE meta SET value = 99 WHERE name = 'sums_after'",
        ),
        (
            "times",
            "INSERT INTO events (seq, recorded_at_ms, kind, agents, payload) VALUES (3, 1, 'a.b', '', '{}'); UPDATE meta SET value = 99 WHERE name = 'sums_after'",
        ),
        ("keys", "UPDATE keys SET last_seq = 7"),
        ("ids", "UPDATE meta SET value = 0 WHERE name = 'approval_id'"),
        (
            "sums",
            "UPDATE meta SET value = 0 WHERE name = 'sums_after'; REPLACE INTO events (seq, recorded_at_ms, kind, agents, payload) SELECT seq, recorded_at_ms, kind, agents, payload FROM events WHERE seq = 1",
        ),
        ("board", "UPDATE approvals SET status = 'approved'"),
        ("trigger", "CREATE TRIGGER spy AFTER INSERT ON keys BEGIN DELETE FROM keys; END"),
    ] {
        let place = new();
        assert_eq!(findings(&place), Vec::<Value>::new());
        change(&place, sql);
        check_one(&place, word);
    }
    let place = new();
    change(&place, "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'events'");
    assert!(findings(&place).iter().any(|finding| finding["word"] == "counter"));
}

#[test]
fn a_damaged_file_is_a_finding_with_a_cure() {
    let place = new();
    for _ in 0..50 {
        place.run(&["append", &format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(3_000))]);
    }
    let mut bytes = std::fs::read(place.db()).expect("the file");
    for page in 30..bytes.len() / 4_096 {
        bytes[page * 4_096] ^= 0x5a;
    }
    std::fs::write(place.db(), bytes).expect("the file");
    let found = findings(&place);
    assert!(found.iter().all(|finding| finding["word"] == "damaged"), "{found:?}");
    assert!(found[0]["cure"].as_str().is_some_and(|cure| cure.contains("hivelog restore")), "{found:?}");
}

#[test]
fn what_is_wrong_around_the_file_is_named() {
    let place = new();
    let mode = |mode| {
        for name in ["log.db", "log.db-wal", "log.db-shm"] {
            let _not_there =
                std::fs::set_permissions(place.path(name), std::fs::Permissions::from_mode(mode));
        }
    };
    mode(0o644);
    assert!(check_one(&place, "permissions")["cure"].as_str().is_some_and(|cure| cure.contains("chmod 600")));
    mode(0o640);
    assert_eq!(findings(&place), Vec::<Value>::new(), "a group that reads is somebody's choice");
    mode(0o600);

    let server = place.serve(&[]);
    let report = place.run(&["check", "--json"]).check(0, "").out;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["writer_pid"], server.child.0.id());
    assert_eq!(report["served_at"], format!("http://{}", server.address));
    assert!(report["free_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    place.run(&["check"]).check(0, "which serves it at");

    let Some(writing) = shell(&place.db(), false, "BEGIN IMMEDIATE;") else { return };
    let cause = check_one(&place, "write-held")["cause"].clone();
    let pid = writing.0.id().to_string();
    assert!(cause.as_str().is_some_and(|cause| cause.contains(&pid) && cause.contains("sqlite3")), "{cause}");
    drop(writing);

    let reading = shell(&place.db(), true, READS).expect("a shell");
    let large = crate::large();
    for _ in 0..200 {
        assert_eq!(server.append(&large), 201);
    }
    // Until the index has caught up the server itself reads now and then, and is named beside.
    let begin = std::time::Instant::now();
    while server.metric("hivelog_search_seq") < 20_002.0 {
        assert!(begin.elapsed() < std::time::Duration::from_mins(5), "{:?}", place.run(&["check"]));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let ran = place.run(&["check"]);
    assert!(ran.out.contains("up to seq 20002"), "{ran:?}");
    let cause = check_one(&place, "wal-held")["cause"].clone();
    let pid = reading.0.id().to_string();
    assert!(cause.as_str().is_some_and(|cause| cause.contains(&pid) && cause.contains("sqlite3")), "{cause}");
    drop(reading);
    server.stop();
    assert_eq!(findings(&place), Vec::<Value>::new());
}

/// The kernel gives its list of locks in parts, between which it changes.
#[test]
fn who_holds_the_write_lock_is_found_while_others_lock_and_let_go() {
    let place = new();
    let Some(writing) = shell(&place.db(), false, "BEGIN IMMEDIATE;") else { return };
    let pid = writing.0.id().to_string();
    let is_over = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        for name in ["x", "y"] {
            let file = std::fs::File::create(place.path(name)).expect("a file");
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    file.lock().expect("locked");
                    file.unlock().expect("let go");
                }
            });
        }
        let found: Vec<_> = (0..6).map(|_| place.run(&["check"])).collect();
        is_over.store(true, Ordering::SeqCst);
        found
    });
    for ran in found {
        ran.check(1, &format!("process {pid} (sqlite3) has a transaction open"));
    }
}

#[test]
fn the_search_index_is_looked_at() {
    let place = new();
    place.run(&["check"]).check(0, "none: the next server begins one");
    let server = place.serve(&[]);
    assert_eq!(server.ask("GET", "/api/history?q=ada", "").0, 200);
    let begin = std::time::Instant::now();
    while !place.run(&["check"]).out.contains("up to seq 2") {
        assert!(begin.elapsed() < crate::PATIENCE, "{:?}", place.run(&["check"]));
    }
    server.stop();
}
