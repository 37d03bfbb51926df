//! P8 mirror: each message sent, and its first delivery, is on the log exactly once and in order.

use std::time::{Duration, Instant};

use hivelog::{Desk, Log, Receive};
use serde_json::Value;

use crate::{Place, append, lines};

/// The events of messages: kind, id of the message, body.
fn mirrored(log: &Log) -> Vec<(String, i64, String)> {
    let rows = lines(log).into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    rows.filter(|row| row["message_id"].is_i64())
        .map(|row| {
            let text = |field: &str| row[field].as_str().unwrap().to_owned();
            (text("kind"), row["message_id"].as_i64().unwrap(), text("body"))
        })
        .collect()
}

/// Waits until so many events are mirrored.
fn until(log: &Log, count: usize) -> Vec<(String, i64, String)> {
    let begin = Instant::now();
    loop {
        let events = mirrored(log);
        if events.len() >= count || begin.elapsed() > Duration::from_secs(20) {
            assert_eq!(events.len(), count);
            return events;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn journal(place: &Place) -> i64 {
    crate::foreign(&place.path()).query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_message_is_told_when_it_is_sent_and_when_it_is_first_handed_out() {
    let place = Place::new();
    let log = place.open();
    let desk = Desk::of(&log).unwrap();
    desk.send("alice", "bob", "hello").wait().unwrap();
    until(&log, 1);
    let receive = Receive::default().lease(Duration::from_millis(1));
    for _ in 0..3 {
        assert_eq!(desk.recv_blocking("bob", receive, Duration::from_secs(9)).unwrap().len(), 1);
        std::thread::sleep(Duration::from_millis(3));
    }
    desk.ack("bob", 1).wait().unwrap();
    let events = until(&log, 2);
    assert_eq!(events[0], ("sent".into(), 1, "hello".into()));
    assert_eq!(events[1], ("delivered".into(), 1, "hello".into()));
    let first: Value = serde_json::from_str(&lines(&log)[0]).unwrap();
    assert_eq!((&first["from"], &first["to"]), (&"alice".into(), &"bob".into()));
    assert!(first["at"].as_i64().unwrap() > 1_700_000_000);
    log.close();
    assert_eq!(journal(&place), 0);
    assert_eq!(mirrored(&place.open()).len(), 2, "nothing again at the next opening");
}

#[test]
fn a_log_that_closes_has_told_it_all() {
    let place = Place::new();
    for round in 1..=3_usize {
        let log = place.open();
        let desk = Desk::of(&log).unwrap();
        for number in 0..200 {
            drop(desk.send("alice", "bob", &format!("{round}/{number}")));
        }
        if round == 2 {
            // The last handle goes: that closes it too.
            drop(desk);
            drop(log);
        } else {
            log.close();
        }
        let log = place.open();
        let events = mirrored(&log);
        assert_eq!(events.len(), round * 200);
        assert!(events.iter().map(|(_, id, _)| *id).eq(1..=i64::try_from(round).unwrap() * 200));
        assert_eq!(journal(&place), 0);
    }
}

#[test]
fn the_mirror_takes_its_turn_among_other_appends() {
    let log = Log::temp().unwrap();
    let desk = Desk::of(&log).unwrap();
    // A client's own key can never be one of the mirror's.
    for number in 1..=50 {
        append(&log, &format!(r#"{{"kind":"a.b","key":"broker:{number}"}}"#)).unwrap();
        desk.send("alice", "bob", "x").wait().unwrap();
    }
    let events = until(&log, 50);
    assert!(events.iter().map(|(_, id, _)| *id).eq(1..=50));
    assert_eq!(lines(&log).len(), 100);
}

#[test]
fn a_backlog_is_told_in_order_after_the_next_opening() {
    let place = Place::new();
    let log = place.open();
    drop(Desk::of(&log).unwrap());
    log.close();
    // As a process leaves it that was killed before the mirror's turn.
    let file = crate::foreign(&place.path());
    file.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO messages (sender, recipient, at, body) SELECT 'alice', 'bob', i, 'body ' || i FROM n;
         INSERT INTO journal (what, message_id, at) SELECT 'sent', id, at FROM messages ORDER BY id;
         INSERT INTO journal (what, message_id, at) VALUES ('delivered', 3, 9), ('sent', 99999, 9);",
    )
    .unwrap();
    drop(file);
    let log = place.open();
    let desk = Desk::of(&log).unwrap();
    desk.send("alice", "bob", "new").wait().unwrap();
    let events = until(&log, 3_002);
    assert!(events[..3_000].iter().map(|(_, id, _)| *id).eq(1..=3_000));
    assert_eq!(events[3_000], ("delivered".into(), 3, "body 3".into()));
    assert_eq!(events[3_001].2, "new", "a row without a message is passed over");
    assert_eq!(journal(&place), 0);
}

#[test]
fn dropping_the_last_handle_frees_the_file_there_and_then() {
    let place = Place::new();
    for _ in 0..60 {
        let log = place.open();
        let desk = Desk::of(&log).unwrap();
        drop(desk.send("alice", "bob", "x"));
        drop(log);
        drop(desk);
    }
    assert_eq!(mirrored(&place.open()).len(), 60);
}
