//! What must hold at one named point of the code, where a race would meet it once in a million runs.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use fail::FailScenario;
use hivelog::event::{ApprovalStatus, CustomEvent, Event};
use hivelog::{
    BlockingFollower, Desk, Error, Filter, Followed, Log, Options, Prune, Range, Receive, Redact, Request,
    Resolve, Seq,
};
use serde_json::value::RawValue;

fn note(log: &Log) -> Seq {
    let payload = RawValue::from_string("{}".into()).unwrap();
    log.append(Event::Custom(CustomEvent { kind: "a.note".into(), payload })).wait().unwrap()
}

/// The seq of the next event; none when the log was closed.
fn next_seq(follower: &mut BlockingFollower) -> Option<i64> {
    loop {
        match follower.next()?.unwrap() {
            Followed::Event(row) => return Some(row.seq().get()),
            Followed::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// P5: what is committed after a reader looked at the store and before it goes live.
#[test]
fn what_is_committed_while_history_is_read_comes_next() {
    // First of all: until it is torn down no other test's points are hit.
    let scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let log = Log::open(&path, Options::default()).unwrap();
    for _ in 0..10 {
        note(&log);
    }
    log.close();
    // Opened anew, nothing is in memory: the first read is one of the store.
    let log = Log::open(&path, Options::default()).unwrap();
    let reads = Arc::new(AtomicU32::new(0));
    fail::cfg_callback("feed.after-scan", {
        let (log, reads) = (log.clone(), Arc::clone(&reads));
        move || {
            if reads.fetch_add(1, Ordering::SeqCst) < 3 {
                note(&log);
            }
        }
    })
    .unwrap();
    let mut follower = log.follow_blocking(Seq::ZERO, Filter::default()).unwrap();
    let (got, received) = mpsc::channel();
    std::thread::spawn(move || {
        while let seq @ Some(_) = next_seq(&mut follower) {
            if got.send(seq).is_err() {
                return;
            }
        }
    });
    for seq in 1..=11 {
        assert_eq!(received.recv_timeout(Duration::from_secs(10)), Ok(Some(seq)));
    }
    assert!(reads.load(Ordering::SeqCst) > 0, "the store was not read");
    scenario.teardown();
}

/// P5: who is woken finds in memory what woke it.
#[test]
fn what_wakes_a_reader_is_there_for_it() {
    let scenario = FailScenario::setup();
    let log = Log::temp().unwrap();
    let mut follower = log.follow_blocking(log.tail(), Filter::default()).unwrap();
    let (got, received) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for _ in 0..2 {
            got.send(next_seq(&mut follower)).unwrap();
        }
    });
    // Something is in memory already, since somebody reads: else the reader would go to the store.
    assert_eq!(note(&log).get(), 1);
    assert_eq!(received.recv_timeout(Duration::from_secs(10)), Ok(Some(1)));
    let received = Mutex::new(received);
    let (tell, told) = mpsc::channel();
    // The writer stands between the wake and the answer until the reader has the event.
    fail::cfg_callback("writer.before-answer", move || {
        tell.send(received.lock().unwrap().recv_timeout(Duration::from_secs(5))).unwrap();
    })
    .unwrap();
    assert_eq!(note(&log).get(), 2);
    assert_eq!(told.recv().unwrap(), Ok(Some(2)));
    reader.join().unwrap();
    scenario.teardown();
}

/// A message that is handed out while its text is being redacted, both before the mirror has it and after.
#[test]
fn a_delivery_beside_a_redaction_of_both_events_keeps_no_text() {
    for point in ["redact.looked", "forward.before-submit"] {
        let scenario = FailScenario::setup();
        let log = Log::temp().unwrap();
        let desk = Desk::of(&log).unwrap();
        let until = |head: i64| {
            let begin = Instant::now();
            while log.tail().get() < head && begin.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        desk.send("alice", "bob", "a secret").wait().unwrap();
        until(1);
        let redact = || log.redact(&Redact { seq: Seq::new(1).unwrap(), by: None, both: true }).map(drop);
        let hand_out = || desk.recv("bob", Receive::default()).wait().map(drop);
        let hits = Arc::new(AtomicU32::new(0));
        fail::cfg_callback(point, {
            let (log, desk, hits) = (log.clone(), desk.clone(), Arc::clone(&hits));
            move || {
                if hits.fetch_add(1, Ordering::SeqCst) > 0 {
                    return;
                }
                if point == "redact.looked" {
                    desk.recv("bob", Receive::default()).wait().unwrap();
                    while log.tail().get() < 2 {}
                } else {
                    log.redact(&Redact { seq: Seq::new(1).unwrap(), by: None, both: true }).unwrap();
                }
            }
        })
        .unwrap();
        if point == "redact.looked" {
            redact().unwrap()
        } else {
            hand_out().unwrap()
        }
        until(3);
        let page = log.range(&Range::default()).unwrap();
        let lines: Vec<_> = page.rows().map(|row| String::from_utf8(row.line().to_vec()).unwrap()).collect();
        // Before anything can fail: what is called at the point holds the log, whose threads come by it as it closes.
        log.close();
        scenario.teardown();
        assert!(hits.load(Ordering::SeqCst) > 0, "{point}");
        assert!(lines.iter().any(|line| line.contains("delivered")), "{point}: {lines:?}");
        assert!(lines.iter().all(|line| !line.contains("a secret")), "{point}: {lines:?}");
    }
}

/// Serves a log and gives what a client is sent, until it has this in it or nothing more comes.
fn ask(log: &Log, (path, header): (&str, &str), release: impl FnOnce(&str), upto: [&str; 2]) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = hivelog::http::serve(log.clone(), listener, hivelog::http::Access::no_auth(), stop.clone());
    let serving = runtime.spawn(serving);
    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n").as_bytes()).unwrap();
    let (mut said, mut release, mut piece) = (String::new(), Some(release), [0; 4096]);
    let mut until = |said: &mut String, word: &str| {
        while !said.contains(word) {
            match client.read(&mut piece) {
                Ok(read) if read > 0 => said.push_str(&String::from_utf8_lossy(&piece[..read])),
                _ => break,
            }
        }
    };
    until(&mut said, upto[0]);
    if let Some(release) = release.take() {
        release(&said);
    }
    until(&mut said, upto[1]);
    stop.cancel();
    runtime.block_on(serving).unwrap();
    said
}

/// A stream that begins between a commit and its showing hears of it, though the commit is not for it.
#[test]
fn a_filtered_stream_catches_up_with_what_is_not_for_it() {
    let scenario = FailScenario::setup();
    let log = Log::temp().unwrap();
    note(&log);
    // While nobody reads nothing is kept in memory, and whoever sleeps is woken to look into the store.
    let _somebody = log.follow_blocking(log.tail(), Filter::default()).unwrap();
    // Before the writer stands still: the server's desk writes as it begins.
    let _desk = Desk::of(&log).unwrap();
    let (entered, has_entered) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let (entered, may_go) = (Mutex::new(entered), Mutex::new(may_go));
    fail::cfg_callback("writer.before-publish", move || {
        let _heard = entered.lock().unwrap().send(());
        let _released = may_go.lock().unwrap().recv_timeout(Duration::from_secs(20));
    })
    .unwrap();
    let appending = std::thread::spawn({
        let log = log.clone();
        move || note(&log)
    });
    has_entered.recv_timeout(Duration::from_secs(20)).unwrap();
    let path = "/api/stream?after=1&kind=a.other";
    let said = ask(&log, (path, ""), |_| go.send(()).unwrap(), ["\"seq\":2,", "event: caught_up"]);
    drop(go);
    appending.join().unwrap();
    log.close();
    scenario.teardown();
    assert!(said.contains("event: hello") && said.contains("\"seq\":2,"), "{said}");
    assert!(said.contains("event: caught_up"), "{said}");
}

/// A range of lines whose reading dies does not look whole.
#[test]
fn lines_that_are_not_read_to_their_end_do_not_end_in_good_order() {
    let scenario = FailScenario::setup();
    let log = Log::temp().unwrap();
    note(&log);
    fail::cfg("range.lines", "panic").unwrap();
    let lines = "Accept: application/x-ndjson\r\n";
    let said = ask(&log, ("/api/history", lines), |_| (), ["\r\n\r\n", "\0"]);
    log.close();
    scenario.teardown();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(!body.contains("0\r\n\r\n"), "{said}");
}

/// Takes an approval and its decision out while somebody reads, which is the first time that the point is met.
fn prune_at(point: &str, log: &Log) {
    let (log, hits) = (log.clone(), AtomicU32::new(0));
    fail::cfg_callback(point, move || {
        if hits.fetch_add(1, Ordering::SeqCst) == 0 {
            let kinds = vec!["approvals".into()];
            let asked = Prune { before_seq: Some(4), before_ms: None, kinds, dry_run: false };
            assert_eq!(log.prune(&asked).unwrap().pruned, 2);
        }
    })
    .unwrap();
}

fn decided(log: &Log) {
    let desk = Desk::of(log).unwrap();
    let request = Request { agent: "alice".into(), approval_kind: "spawn".into(), ..Request::default() };
    let id = desk.request(request).wait().unwrap().id;
    desk.resolve(Resolve { id, status: ApprovalStatus::Denied, note: None, by: None }).wait().unwrap();
    note(log);
}

/// P1: above the floor that a page states it has no hole.
#[test]
fn a_page_states_a_floor_that_its_rows_stand_above() {
    let scenario = FailScenario::setup();
    let log = Log::temp().unwrap();
    decided(&log);
    prune_at("range.planned", &log);
    let page = log.range(&Range { after: Some(0), ..Range::default() }).unwrap();
    fail::remove("range.planned");
    log.close();
    scenario.teardown();
    let seqs: Vec<i64> = page.rows().map(|row| row.seq().get()).collect();
    assert_eq!((page.floor.get(), seqs), (2, vec![3]));
}

/// P7: a past board is of one moment with the floor that it was judged by.
#[test]
fn a_past_board_beside_pruning_is_whole_or_gone() {
    let scenario = FailScenario::setup();
    let log = Log::temp().unwrap();
    decided(&log);
    prune_at("snapshot.past", &log);
    let past = log.snapshot_at(Seq::new(1).unwrap());
    fail::remove("snapshot.past");
    let again = log.snapshot_at(Seq::new(1).unwrap());
    log.close();
    scenario.teardown();
    let json = String::from_utf8(past.unwrap().json().to_vec()).unwrap();
    assert!(json.contains("\"agent\":\"alice\""), "{json}");
    assert!(matches!(again, Err(Error::Gone { .. })), "{again:?}");
}

/// Who looks through the file for a redacted text has no page moved behind it by what was found to be empty before.
#[test]
fn no_page_is_given_back_beside_a_redaction_that_came_since_the_look() {
    let scenario = FailScenario::setup();
    let log = Log::temp().unwrap();
    let text = format!("{{\"text\":\"{}\"}}", "x".repeat(3_000));
    for _ in 0..200 {
        let payload = RawValue::from_string(text.clone()).unwrap();
        log.append(Event::Custom(CustomEvent { kind: "a.note".into(), payload })).wait().unwrap();
    }
    let asked =
        Prune { before_seq: Some(150), before_ms: None, kinds: vec!["a.note".into()], dry_run: false };
    assert_eq!(log.prune(&asked).unwrap().pruned, 149);
    let shell = hivelog::rusqlite::Connection::open(log.path()).unwrap();
    let pages = || shell.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap();
    let before = pages();
    // A reader is in the way, so that the text is not gone yet.
    let reader = hivelog::rusqlite::Connection::open(log.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    reader.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap();
    let told = Arc::new(Mutex::new(None));
    fail::cfg_callback("prune.looked", {
        let (log, told) = (log.clone(), Arc::clone(&told));
        move || {
            let redact = Redact { seq: Seq::new(160).unwrap(), by: None, both: false };
            *told.lock().unwrap() = Some(log.redact(&redact).map(drop));
        }
    })
    .unwrap();
    let given = log.give_back();
    fail::remove("prune.looked");
    let after = pages();
    drop(reader);
    log.close();
    scenario.teardown();
    assert_eq!((given, told.lock().unwrap().take()), (Ok(()), Some(Err(Error::Pending))));
    assert_eq!(after, before);
}
