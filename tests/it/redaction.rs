//! Redaction: the text of an event is nowhere any more, and everything else is as it was.

mod kinds;
mod left;

use std::path::Path;
use std::time::{Duration, Instant};

use hivelog::{Desk, Draft, Error, Log, Redact, Search, Seq};

use crate::{append, seq};

/// A word that a test looks for afterwards, in the forms in which a file may hold it.
const SECRET: &str = "hunter2-opensesame";

/// Redacts, and again as long as somebody still reads what was: on a busy machine the search index may.
fn redact(log: &Log, number: i64) -> Result<i64, Error> {
    let begin = Instant::now();
    loop {
        match redact_once(log, number) {
            Err(Error::Pending) if begin.elapsed() < Duration::from_mins(1) => {}
            other => return other,
        }
    }
}

fn redact_once(log: &Log, number: i64) -> Result<i64, Error> {
    log.redact(&Redact { seq: seq(number), by: Some("root".into()), both: false }).map(Seq::get)
}

/// Where beside the log the bytes of a word are.
fn places_of(log: &Path, word: &str) -> Vec<String> {
    let finder = memchr::memmem::Finder::new(word);
    let mut found = Vec::new();
    let name = log.file_name().unwrap().to_str().unwrap();
    for entry in std::fs::read_dir(log.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let beside = path.file_name().unwrap().to_str().unwrap().to_owned();
        if beside.starts_with(name) && finder.find(&std::fs::read(&path).unwrap()).is_some() {
            found.push(beside);
        }
    }
    found
}

#[track_caller]
fn check_gone(log: &Log) {
    for word in [SECRET, "unter2", "pensesame"] {
        assert_eq!(places_of(log.path(), word), Vec::<String>::new(), "{word}");
    }
    let range = hivelog::Range { limit: 10_000, ..hivelog::Range::default() };
    for row in log.range(&range).unwrap().rows() {
        assert!(!String::from_utf8_lossy(&row.line()).contains("hunter2"), "{row:?}");
    }
    let words = hivelog::Range { words: Some("hunter2".parse().unwrap()), ..range };
    assert!(log.range(&words).unwrap().is_empty());
    assert!(!String::from_utf8_lossy(&log.snapshot().unwrap().json()).contains("hunter2"));
    assert_eq!(hivelog::check(log.path()).unwrap().problems, Vec::<String>::new());
}

/// Sleeps between two looks: a thread of the lowest priority would not come to its turn beside one that yields.
#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_mins(2), "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn says(log: &Log, number: i64) -> String {
    let row = log.get(seq(number)).unwrap().unwrap();
    format!("{} {}", row.kind(), row.payload())
}

#[test]
fn a_text_is_gone_from_the_file_and_all_that_is_made_of_it() {
    let place = crate::Place::new();
    let log = place.open();
    let (desk, search) = (Desk::of(&log).unwrap(), Search::of(&log).unwrap());
    // In the log, in the broker, under a key, in the index, in memory, and behind a board row.
    let text = format!("the password is {SECRET}");
    desk.send("alice", "bob", &text).wait().unwrap();
    let keyed = format!(r#"{{"kind":"app.note","key":"k","agent":"alice","{SECRET}":["{SECRET}",7]}}"#);
    until(|| log.tail() >= seq(1));
    assert_eq!(append(&log, &keyed).unwrap(), 2);
    let asked = format!(
        r#"{{"kind":"approval_added","id":1,"agent":"alice","approval_kind":"spawn","diff":"{SECRET}\n{}"}}"#,
        SECRET.repeat(2_000)
    );
    assert_eq!(append(&log, &asked).unwrap(), 3);
    until(|| search.upto() >= seq(3));
    // An index keeps of a word what the word before it does not begin with.
    let before = places_of(log.path(), "unter2");
    assert!(before.iter().any(|name| name == "log.db-wal"), "{before:?}");
    assert!(before.iter().any(|name| name.starts_with("log.db.search")), "{before:?}");
    assert_eq!(redact(&log, 1), Ok(4));
    assert_eq!(redact(&log, 2), Ok(5));
    assert_eq!(redact(&log, 3), Ok(6));
    check_gone(&log);
    let body = says(&log, 1);
    assert!(body.starts_with(r#"sent {"from":"alice","to":"bob","body":"[redacted]","at":"#), "{body}");
    assert_eq!(says(&log, 2), r#"app.note {"agent":"alice","redacted":true}"#);
    assert_eq!(says(&log, 4), r#"hivelog.redacted {"redacted_seq":1,"by":"root"}"#);
    assert_eq!(log.get(seq(4)).unwrap().unwrap().agents().collect::<Vec<_>>(), ["root"]);
    // The same again is the same.
    assert_eq!(redact(&log, 2), Ok(5));
    assert_eq!(log.tail(), seq(6));
    // Who repeats the append under its key is told what he was told then.
    assert_eq!(append(&log, &keyed).unwrap(), 2);
    check_gone(&log);
    // The recipient gets what is left.
    let handed = desk.recv("bob", hivelog::Receive::default()).wait().unwrap();
    assert_eq!(handed[0].body, "[redacted]");
    let board: serde_json::Value = log.snapshot().unwrap().decode().unwrap();
    assert_eq!(board["approvals"][0]["diff"], "[redacted]");
    log.close();
    let log = place.open();
    check_gone(&log);
    assert_eq!(redact(&log, 3), Ok(6));
}

/// What one reader replayed is kept for the next one for a while.
#[tokio::test]
async fn what_was_replayed_before_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let log = Log::open(&path, hivelog::Options::default()).unwrap();
    append(&log, &format!(r#"{{"kind":"test.note","text":"{SECRET}"}}"#)).unwrap();
    append(&log, r#"{"kind":"test.note","text":"other"}"#).unwrap();
    drop(log);
    // Nothing is in memory by now.
    let log = Log::open(&path, hivelog::Options::default()).unwrap();
    let replayed = async || {
        let mut follower = log.follow(Seq::ZERO, hivelog::Filter::default()).unwrap();
        let mut text = String::new();
        loop {
            match follower.next().await.unwrap().unwrap() {
                hivelog::Followed::Event(row) => text.push_str(&String::from_utf8_lossy(&row.line())),
                _ => return text,
            }
        }
    };
    for _ in 0..2 {
        assert!(replayed().await.contains(SECRET));
    }
    let log_again = log.clone();
    tokio::task::spawn_blocking(move || redact(&log_again, 1)).await.unwrap().unwrap();
    let left = replayed().await;
    assert!(!left.contains(SECRET) && left.contains("other"), "{left}");
}

#[test]
fn followers_get_what_is_left_and_the_event_that_says_so() {
    let log = Log::temp().unwrap();
    append(&log, &format!(r#"{{"kind":"app.note","text":"{SECRET}"}}"#)).unwrap();
    crate::note(&log, 1);
    assert_eq!(redact(&log, 1), Ok(3));
    crate::note(&log, 2);
    let mut follower = log.follow_blocking(seq(0), hivelog::Filter::default()).unwrap();
    let kinds: Vec<String> = (0..4)
        .map(|_| match follower.next().unwrap().unwrap() {
            hivelog::Followed::Event(row) => format!("{} {}", row.kind(), row.payload()),
            other => panic!("{other:?}"),
        })
        .collect();
    let due = [
        r#"app.note {"redacted":true}"#,
        r#"test.note {"n":1}"#,
        r#"hivelog.redacted {"redacted_seq":1,"by":"root"}"#,
        r#"test.note {"n":2}"#,
    ];
    assert_eq!(kinds, due);
}

#[test]
fn a_reader_of_old_pages_is_told_of_and_waited_for() {
    let place = crate::Place::new();
    let log = place.open();
    append(&log, &format!(r#"{{"kind":"app.note","text":"{SECRET}"}}"#)).unwrap();
    let shell = crate::foreign(log.path());
    shell.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    shell.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap();
    let begin = std::time::Instant::now();
    assert_eq!(redact_once(&log, 1), Err(Error::Pending));
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    // It is redacted for everybody who reads through us, and appends go on.
    assert_eq!(says(&log, 1), r#"app.note {"redacted":true}"#);
    assert_eq!(log.tail(), seq(2));
    assert_eq!(crate::note(&log, 1), 3);
    assert_eq!(places_of(log.path(), SECRET), ["log.db-wal"]);
    assert_eq!(redact_once(&log, 1), Err(Error::Pending));
    drop(shell);
    assert_eq!(redact(&log, 1), Ok(2));
    assert_eq!(log.tail(), seq(3));
    check_gone(&log);
}

#[test]
fn what_was_cut_off_is_ended_by_whoever_opens_the_file_next() {
    let place = crate::Place::new();
    let log = place.open();
    append(&log, &format!(r#"{{"kind":"app.note","text":"{SECRET}"}}"#)).unwrap();
    // A reader is in the way until after the end.
    let shell = crate::foreign(log.path());
    shell.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    shell.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(redact_once(&log, 1), Err(Error::Pending));
    log.close();
    assert_eq!(places_of(&place.path(), SECRET), ["log.db-wal"]);
    drop(shell);
    let log = place.open();
    let _desk = Desk::of(&log).unwrap();
    crate::swarm::until("the keeper ends it", || {
        let left: i64 = crate::foreign(log.path())
            .query_row("SELECT value FROM meta WHERE name = 'unwiped'", [], |row| row.get(0))
            .unwrap();
        (left == 0).then_some(())
    });
    check_gone(&log);
}

#[test]
fn the_version_of_a_snapshot_changes() {
    let log = Log::temp().unwrap();
    append(&log, &crate::approval(1, "alice")).unwrap();
    let meta = |name: &str| -> i64 {
        crate::foreign(log.path())
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(meta("redactions"), 0);
    assert_eq!(redact(&log, 1), Ok(2));
    assert_eq!((meta("redactions"), meta("unwiped"), meta("redacting_seq")), (1, 0, 0));
    // And nobody else may change a text.
    let told = crate::foreign(log.path()).execute("UPDATE events SET payload = '{}' WHERE seq = 1", []);
    assert!(told.unwrap_err().to_string().contains("append-only"));
}

#[test]
fn there_has_to_be_something_to_redact() {
    let log = Log::temp().unwrap();
    append(&log, r#"{"kind":"transient_set","name":"alice","transient_kind":"starting","since_unix":1}"#)
        .unwrap();
    append(&log, r#"{"kind":"app.note","key":"k"}"#).unwrap();
    assert!(crate::refusal(redact(&log, 1)).to_string().contains("no text"));
    assert_eq!(redact(&log, 2), Ok(3));
    assert!(crate::refusal(redact(&log, 3)).to_string().contains("no text"));
    for missing in [0, 4, 99] {
        assert!(crate::refusal(redact(&log, missing)).to_string().contains("not known"), "{missing}");
    }
    let asked = hivelog::Prune { before_seq: Some(3), kinds: vec!["*".into()], ..hivelog::Prune::default() };
    log.prune(&asked).unwrap();
    assert_eq!(redact(&log, 2), Err(Error::Gone { floor: seq(2) }));
    let reader = Log::open_read_only(log.path()).unwrap();
    assert_eq!(redact(&reader, 1), Err(Error::ReadOnly));
    // Nobody but the log says so.
    let forged = Draft::from_json(r#"{"kind":"hivelog.redacted","redacted_seq":1,"by":null}"#);
    assert!(forged.unwrap_err().to_string().contains("only the log"));
}

#[test]
fn both_events_of_a_message_go_where_that_is_asked() {
    for both in [false, true] {
        let log = Log::temp().unwrap();
        let desk = Desk::of(&log).unwrap();
        for text in ["first", SECRET, "third"] {
            desk.send("alice", "bob", text).wait().unwrap();
        }
        desk.recv("bob", hivelog::Receive::default().max(3)).wait().unwrap();
        until(|| log.tail() >= seq(6));
        let told = log.redact(&Redact { seq: seq(2), by: None, both }).unwrap();
        assert_eq!(told, seq(7));
        assert_eq!(says(&log, 5).contains(SECRET), !both);
        assert!(says(&log, 4).contains("first") && says(&log, 6).contains("third"));
        assert_eq!(log.tail(), seq(if both { 8 } else { 7 }));
        if both {
            assert!(says(&log, 8).contains(r#""redacted_seq":5"#));
            check_gone(&log);
        }
    }
}

/// Each redaction is a row of the table that has the log's name, which stands on another page of it in the end.
#[test]
fn a_log_with_many_redactions_is_still_known_by_its_name() {
    const MANY: i64 = 300;
    let place = crate::Place::new();
    let log = place.open();
    for _ in 0..MANY {
        append(&log, r#"{"kind":"a.b","text":"x"}"#).unwrap();
    }
    for number in 1..=MANY {
        redact(&log, number).unwrap();
    }
    append(&log, r#"{"kind":"a.b","text":"y"}"#).unwrap();

    // The same pages, of a log of another name.
    let bytes = std::fs::read(log.path()).unwrap();
    let name = log.id().to_string();
    let other: String = name.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    let mut theirs = bytes.clone();
    for at in memchr::memmem::find_iter(&bytes, name.as_bytes()) {
        theirs[at..at + name.len()].copy_from_slice(other.as_bytes());
    }
    assert_ne!(bytes, theirs);
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::OpenOptions::new().write(true).open(log.path()).unwrap(),
        &theirs,
        0,
    )
    .unwrap();
    let begin = std::time::Instant::now();
    let why = loop {
        if let Some(why) = log.failure() {
            break why.to_string();
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "another log's pages are taken for ours");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(why.contains("overwritten"), "{why}");
}
