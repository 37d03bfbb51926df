//! What must hold at one named point of the code, where a race would meet it once in a million runs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use fail::FailScenario;
use hivelog::event::{CustomEvent, Event};
use hivelog::{BlockingFollower, Desk, Filter, Followed, Log, Options, Range, Receive, Redact, Seq};
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
