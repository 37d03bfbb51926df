//! Sending, handing out, acknowledging, renewing, taking back.

use std::time::{Duration, Instant};

use hivelog::{Error, Log, Receive, Refusal};

use super::{Hands, LONG, SHORT, count, desk, is_unknown, send, take, told};
use crate::{Place, refusal};

#[test]
fn messages_come_in_the_order_in_which_they_were_sent() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let ids: Vec<i64> = (0..10).map(|number| send(&desk, "bob", &format!("{number}"))).collect();
    send(&desk, "carol", "for another");
    assert_eq!(ids, (1..=10).collect::<Vec<_>>());
    let first = take(&desk, "bob", 3, LONG);
    let rest = take(&desk, "bob", 100, LONG);
    let all: Vec<_> = first.iter().chain(&rest).collect();
    assert_eq!((first.len(), rest.len()), (3, 7));
    for (number, delivery) in all.iter().enumerate() {
        assert_eq!(delivery.id, ids[number]);
        assert_eq!(delivery.body, format!("{number}"));
        assert_eq!((delivery.from.as_str(), delivery.to.as_str()), ("alice", "bob"));
        assert_eq!((delivery.redelivered, delivery.question_id), (false, None));
        assert!(delivery.at > 1_700_000_000);
    }
    assert_eq!(take(&desk, "bob", 100, LONG), []);
    assert_eq!(take(&desk, "carol", 100, LONG).len(), 1);
    assert_eq!(take(&desk, "nobody", 100, LONG), []);
}

#[test]
fn any_text_comes_back_as_it_was_sent() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    for body in ["", "a\0b", "\u{1b}[2J\r\n\u{202e}", "🐝 \"quoted\" \\", &"x".repeat(300_000)] {
        send(&desk, "bob", body);
        assert_eq!(take(&desk, "bob", 1, LONG)[0].body, body);
    }
    // To oneself, and to the operator.
    desk.send("bob", "bob", "a note").wait().unwrap();
    desk.send("bob", "operator", "a word").wait().unwrap();
    assert_eq!(take(&desk, "bob", 1, LONG)[0].from, "bob");
    assert_eq!(take(&desk, "operator", 1, LONG)[0].body, "a word");
}

#[test]
fn what_cannot_be_sent_or_asked_is_refused() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let named = |refused: Refusal| match refused {
        Refusal::Invalid { field, .. } => field.unwrap().into_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(named(refusal(desk.send("A B", "bob", "").wait())), "from");
    assert_eq!(named(refusal(desk.send("a", "", "").wait())), "to");
    assert_eq!(named(refusal(desk.send("a", "ttl-watchdog", "").wait())), "to");
    let recv = |receive| named(refusal(desk.recv("bob", receive).wait()));
    assert_eq!(recv(Receive::default().max(0)), "max");
    assert_eq!(recv(Receive::default().max(101)), "max");
    assert_eq!(recv(Receive::default().lease(Duration::ZERO)), "lease_seconds");
    assert_eq!(recv(Receive::default().lease(Duration::from_secs(86_401))), "lease_seconds");
    assert_eq!(named(refusal(desk.recv("B", Receive::default()).wait())), "name");
    assert_eq!(desk.recv("bob", Receive::default().lease(Duration::from_secs(86_400))).wait(), Ok(vec![]));
}

#[test]
fn a_message_is_as_large_as_its_event_may_be() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    // What stands around a body, with the largest numbers.
    let around =
        r#"{"from":"alice","to":"bob","body":"","at":9007199254740991,"message_id":9007199254740991}"#;
    let most = (1 << 20) - around.len();
    send(&desk, "bob", &"x".repeat(most));
    let told = refusal(desk.send("alice", "bob", &"x".repeat(most + 1)).wait());
    assert!(matches!(told, Refusal::TooLarge(_)), "{told:?}");
    // An escape takes six bytes for one.
    send(&desk, "bob", &"\u{1}".repeat(most / 6));
    let told = refusal(desk.send("alice", "bob", &"\u{1}".repeat(most / 6 + 1)).wait());
    assert!(matches!(told, Refusal::TooLarge(_)), "{told:?}");
    // One call hands out 4 MiB, and at least one message.
    for _ in 0..6 {
        send(&desk, "zoe", &"y".repeat(most));
    }
    assert_eq!(take(&desk, "zoe", 100, LONG).len(), 4);
    assert_eq!(take(&desk, "zoe", 100, LONG).len(), 2);
}

#[test]
fn a_lapsed_message_comes_back_in_its_old_place() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    for body in ["one", "two", "three", "four"] {
        send(&desk, "bob", body);
    }
    for id in 1..=3 {
        assert_eq!(told(&take(&desk, "bob", 1, LONG)), [(id, false)]);
    }
    let receive = Receive::default().max(100).lease(LONG);
    // The fourth is there at once; the first and the third come back before anything newer.
    assert_eq!(told(&desk.recv_blocking("bob", receive, LONG).unwrap()), [(4, false)]);
    send(&desk, "bob", "five");
    for id in [1, 3] {
        desk.renew("bob", id, SHORT).wait().unwrap();
    }
    std::thread::sleep(SHORT * 2);
    assert_eq!(told(&take(&desk, "bob", 100, LONG)), [(1, true), (3, true), (5, false)]);
}

#[test]
fn an_ack_counts_once_and_also_late() {
    let place = Place::new();
    let log = place.open();
    let desk = desk(&log);
    let id = send(&desk, "bob", "one");
    assert!(is_unknown(desk.ack("bob", id).wait()), "it was never handed out");
    take(&desk, "bob", 1, Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(3));
    assert!(is_unknown(desk.ack("carol", id).wait()), "another's");
    assert!(is_unknown(desk.ack("bob", 99).wait()));
    assert_eq!(desk.ack("bob", id).wait(), Ok(()), "after its lease");
    assert_eq!(desk.ack("bob", id).wait(), Ok(()), "a second time");
    assert_eq!(take(&desk, "bob", 1, LONG), []);
    // Handed out twice, acknowledged by the first of the two.
    let id = send(&desk, "bob", "two");
    take(&desk, "bob", 1, Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!(told(&take(&desk, "bob", 1, LONG)), [(id, true)]);
    assert_eq!(desk.ack("bob", id).wait(), Ok(()));
    assert_eq!(count(&place, "SELECT count(*) FROM messages WHERE acked_at IS NULL"), 0);
    assert!(is_unknown(desk.renew("bob", id, LONG).wait()), "it is done with");
}

#[test]
fn a_renewal_keeps_a_message_out() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let id = send(&desk, "bob", "one");
    assert!(is_unknown(desk.renew("bob", id, LONG).wait()), "it is in the inbox");
    take(&desk, "bob", 1, SHORT);
    assert_eq!(desk.renew("bob", id, LONG).wait(), Ok(()));
    assert!(is_unknown(desk.renew("carol", id, LONG).wait()));
    std::thread::sleep(SHORT * 2);
    assert_eq!(take(&desk, "bob", 1, LONG), []);
    // Lapsed but in nobody's hands: it is still the one's who had it.
    assert_eq!(desk.renew("bob", id, Duration::from_millis(1)).wait(), Ok(()));
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!(desk.renew("bob", id, LONG).wait(), Ok(()));
    assert_eq!(take(&desk, "bob", 1, LONG), []);
    assert_eq!(desk.requeue("bob").wait(), Ok(1));
    assert!(is_unknown(desk.renew("bob", id, LONG).wait()), "it was taken back");
    let wrong = refusal(desk.renew("bob", id, Duration::ZERO).wait());
    assert!(matches!(wrong, Refusal::Invalid { .. }), "{wrong:?}");
}

#[test]
fn what_is_out_comes_back_at_once_when_it_is_taken_back() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    for _ in 0..5 {
        send(&desk, "bob", "x");
        send(&desk, "carol", "x");
    }
    let out = take(&desk, "bob", 3, LONG);
    take(&desk, "carol", 5, LONG);
    desk.ack("bob", out[1].id).wait().unwrap();
    assert_eq!(desk.requeue("bob").wait(), Ok(2));
    assert_eq!(desk.requeue("bob").wait(), Ok(0));
    assert_eq!(told(&take(&desk, "bob", 9, LONG)), [(1, true), (5, true), (7, false), (9, false)]);
    assert_eq!(take(&desk, "carol", 9, LONG), []);
}

#[test]
fn so_many_may_be_out_and_no_more() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let sent: Vec<_> = (0..1_005).map(|_| desk.send("alice", "bob", "x")).collect();
    for receipt in sent {
        receipt.wait().unwrap();
    }
    for _ in 0..10 {
        assert_eq!(take(&desk, "bob", 100, LONG).len(), 100);
    }
    let told = refusal(desk.recv("bob", Receive::default()).wait());
    assert!(matches!(told, Refusal::TooManyOpen(_)), "{told:?}");
    assert_eq!(take(&desk, "carol", 1, LONG), [], "others are as free as before");
    desk.ack("bob", 500).wait().unwrap();
    assert_eq!(take(&desk, "bob", 100, LONG)[0].id, 1_001);
    assert_eq!(desk.requeue("bob").wait(), Ok(1_000));
    assert_eq!(take(&desk, "bob", 1, LONG)[0].id, 1);
}

#[test]
fn a_key_sends_once_over_the_end_of_a_process() {
    let place = Place::new();
    let log = place.open();
    let first = desk(&log).send_once("k", "alice", "bob", "one").wait();
    assert_eq!(first, Ok(1));
    log.close();
    let log = place.open();
    let desk = desk(&log);
    assert_eq!(desk.send_once("k", "alice", "bob", "one").wait(), Ok(1));
    assert!(matches!(refusal(desk.send_once("k", "alice", "bob", "two").wait()), Refusal::KeyReused(_)));
    assert_eq!(desk.send_once("k", "carol", "bob", "one").wait(), Ok(2), "a key is its sender's");
    assert!(matches!(refusal(desk.send_once("", "carol", "bob", "one").wait()), Refusal::Invalid { .. }));
    assert_eq!(take(&desk, "bob", 9, LONG).len(), 2);
}

#[test]
fn inboxes_outlive_the_process() {
    let place = Place::new();
    let log = place.open();
    let at_first = desk(&log);
    for body in ["one", "two", "three"] {
        send(&at_first, "bob", body);
    }
    take(&at_first, "bob", 1, LONG);
    take(&at_first, "bob", 1, SHORT);
    log.close();
    assert_eq!(at_first.send("alice", "bob", "late").wait(), Err(Error::Closed));
    std::thread::sleep(SHORT * 2);
    let log = place.open();
    let desk = desk(&log);
    assert_eq!(told(&take(&desk, "bob", 9, LONG)), [(2, true), (3, false)], "the first is still out");
    assert_eq!(desk.requeue("bob").wait(), Ok(3));
    assert_eq!(told(&take(&desk, "bob", 9, LONG)), [(1, true), (2, true), (3, true)]);
    assert_eq!(send(&desk, "bob", "four"), 4, "an id never means another message");
}

#[test]
fn a_clock_set_back_a_day_makes_no_lease_longer() {
    let place = Place::new();
    let day = 24 * 3_600 * 1_000;
    let hands = Hands::at(100 * day);
    let log = hands.open(&place);
    let at_first = desk(&log);
    send(&at_first, "bob", "one");
    assert_eq!(told(&take(&at_first, "bob", 1, LONG)), [(1, false)]);
    send(&at_first, "bob", "two");
    assert_eq!(told(&take(&at_first, "bob", 1, SHORT)), [(2, false)]);
    // Within a process leases do not hear of it at all.
    hands.set(99 * day);
    std::thread::sleep(SHORT * 2);
    assert_eq!(told(&take(&at_first, "bob", 1, SHORT)), [(2, true)]);
    drop((log, at_first));
    hands.set(98 * day);
    let begin = Instant::now();
    let log = hands.open(&place);
    let again = desk(&log);
    // As long as it was given for, and not longer.
    let got = told(&again.recv_blocking("bob", Receive::default().max(9).lease(LONG), LONG).unwrap());
    assert_eq!(got, [(2, true)]);
    assert!(begin.elapsed() >= SHORT, "{:?}", begin.elapsed());
    drop((log, again));
    // Set forward, all leases have lapsed.
    hands.set(101 * day);
    let log = hands.open(&place);
    assert_eq!(told(&take(&desk(&log), "bob", 9, LONG)), [(1, true), (2, true)]);
}
