//! What others have waiting slows nobody, and the mirror keeps up.

use std::time::{Duration, Instant};

use hivelog::{Desk, Receive};

use super::{LONG, count, desk, take};
use crate::Place;

const ROUNDS: usize = 6;

/// A round in which bob gets and acknowledges messages.
fn round(desk: &Desk) -> Duration {
    const MESSAGES: usize = 100;
    let sent: Vec<_> = (0..MESSAGES).map(|_| desk.send("alice", "bob", "x")).collect();
    sent.into_iter().for_each(|sent| assert!(sent.wait().unwrap() > 0));
    let begin = Instant::now();
    for _ in 0..MESSAGES {
        let got = take(desk, "bob", 1, LONG);
        desk.ack("bob", got[0].id).wait().unwrap();
    }
    begin.elapsed()
}

fn pile_up(place: &Place, messages: u64) {
    drop(place.open());
    crate::foreign(&place.path())
        .execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {messages})
             INSERT INTO messages (sender, recipient, at, body) SELECT 'alice', 'zoe', 1, 'waiting' FROM n;"
        ))
        .unwrap();
}

/// How much longer bob's messages take beside an inbox with so many.
fn slowdown(messages: u64) -> f64 {
    let (few, many) = (Place::new(), Place::new());
    pile_up(&many, messages);
    let (few, many) = (few.open(), many.open());
    let (lonely, desk) = (desk(&few), desk(&many));
    // The fastest of each, in turn: what it takes, not what else this machine had to do.
    let (mut alone, mut beside) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        alone = alone.min(round(&lonely));
        beside = beside.min(round(&desk));
    }
    // The full inbox itself gives its oldest as fast as any other.
    let begin = Instant::now();
    for _ in 0..100 {
        assert_eq!(take(&desk, "zoe", 1, LONG).len(), 1);
    }
    println!("alone {alone:?}, beside {messages} {beside:?}, 100 of the full inbox {:?}", begin.elapsed());
    assert_eq!(desk.recv("nobody", Receive::default()).wait(), Ok(vec![]));
    beside.as_secs_f64() / alone.as_secs_f64()
}

#[test]
fn a_full_inbox_slows_no_other() {
    let slowdown = slowdown(100_000);
    // A scan would take a hundred times as long; a busy machine may well make it thrice.
    assert!(slowdown < 10.0, "{slowdown:.2} times as long");
}

#[test]
#[ignore = "the figure of the contract: it wants a machine of its own"]
fn a_million_waiting_slow_no_other() {
    let slowdown = slowdown(1_000_000);
    assert!(slowdown <= 1.2, "{slowdown:.2} times as long");
}

#[test]
fn the_mirror_keeps_up_with_the_senders() {
    const MESSAGES: i64 = 5_000;
    let place = Place::new();
    let log = place.open();
    let desk = desk(&log);
    let begin = Instant::now();
    let sent: Vec<_> = (0..MESSAGES).map(|_| desk.send("alice", "bob", "a message of some length")).collect();
    sent.into_iter().for_each(|sent| assert!(sent.wait().unwrap() > 0));
    let sending = begin.elapsed();
    while log.tail().get() < MESSAGES {
        assert!(begin.elapsed() < Duration::from_secs(20), "{} are mirrored", log.tail());
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{MESSAGES} messages sent in {sending:?}, mirrored by {:?}", begin.elapsed());
    drop(desk);
    log.close();
    assert_eq!(count(&place, "SELECT count(*) FROM journal"), 0);
}
