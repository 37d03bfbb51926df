//! What is done and old goes; what nobody acknowledged stays.

use std::time::{Duration, Instant};

use hivelog::{Answer, Ask};

use super::{Hands, LONG, count, desk, is_unknown, send, take, told};
use crate::Place;

const DAY: i64 = 24 * 3_600 * 1_000;

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_acknowledged_a_month_ago_goes() {
    let place = Place::new();
    let hands = Hands::at(100 * DAY);
    let log = hands.open(&place);
    let first = desk(&log);
    // More than one look passes, with what stays in between.
    let sent: Vec<_> = (0..1_200).map(|_| first.send("alice", "bob", "x")).collect();
    for receipt in sent {
        receipt.wait().unwrap();
    }
    let mut acks = Vec::new();
    for _ in 0..11 {
        for delivery in take(&first, "bob", 100, LONG) {
            if delivery.id % 100 != 0 {
                acks.push(first.ack("bob", delivery.id));
            }
        }
    }
    for ack in acks {
        ack.wait().unwrap();
    }
    let asked =
        first.ask_peer(Ask { asker: "alice".into(), question: "?".into(), ..Ask::default() }, "carol");
    let asked = asked.wait().unwrap().id;
    let open = first.ask_peer(Ask { asker: "alice".into(), question: "?".into(), ..Ask::default() }, "carol");
    let open = open.wait().unwrap().id;
    let answer =
        Answer { id: asked, answer: Some("!".into()), answerer: "carol".into(), ..Answer::default() };
    first.answer_peer(answer).wait().unwrap();
    drop(first);
    drop(log);
    hands.set(129 * DAY);
    let log = hands.open(&place);
    let second = desk(&log);
    send(&second, "dave", "young");
    let young = take(&second, "dave", 1, LONG)[0].id;
    second.ack("dave", young).wait().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(count(&place, "SELECT count(*) FROM messages"), 1_203, "not yet");
    drop(second);
    drop(log);
    hands.set(131 * DAY);
    let log = hands.open(&place);
    let third = desk(&log);
    until("old messages go", || {
        count(&place, "SELECT count(*) FROM messages WHERE acked_at IS NOT NULL") == 1
    });
    assert_eq!(count(&place, "SELECT min(id) FROM messages WHERE acked_at IS NOT NULL"), young);
    assert_eq!(count(&place, "SELECT count(*) FROM messages WHERE recipient = 'bob'"), 111);
    until("old questions go", || is_unknown(third.peer_question(asked)));
    assert_eq!(third.peer_question(open).unwrap().outcome, "open");
    assert!(is_unknown(third.ack("bob", 1).wait()), "it is no longer known");
    assert_eq!(told(&take(&third, "bob", 1, LONG)), [(100, true)]);
}
