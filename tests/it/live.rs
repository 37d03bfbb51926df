//! P4, P5, P6: followers get every event once and in order, or are told why not.

use std::future::Future as _;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::{FutureExt as _, StreamExt as _};
use hivelog::{
    BlockingFollower, Cursor, Error, Filter, Followed, Follower, Log, ResetReason, Seq, Start, Woken,
};

use crate::{Place, append, note, seq};

/// The follower gives these seqs next.
fn check_events(follower: &mut BlockingFollower, due: impl IntoIterator<Item = i64>) {
    for due in due {
        let passed = |given: &Option<_>| matches!(given, Some(Ok(Followed::Passed(at))) if *at < seq(due));
        let mut given = follower.next();
        while passed(&given) {
            given = follower.next();
        }
        match given {
            Some(Ok(Followed::Event(row))) => assert_eq!(row.seq(), seq(due)),
            other => panic!("{due} was due: {other:?}"),
        }
    }
}

fn check_caught_up(follower: &mut BlockingFollower, at: i64) {
    assert_eq!(follower.next(), Some(Ok(Followed::CaughtUp(seq(at)))));
}

fn check_reset(log: &Log, start: impl Into<Start>, reason: ResetReason, at: i64) {
    let mut follower = log.follow_blocking(start, Filter::default()).unwrap();
    assert_eq!(follower.next(), Some(Ok(Followed::Reset { reason, seq: seq(at) })));
    check_caught_up(&mut follower, at);
    let next = note(log, 0);
    check_events(&mut follower, [next]);
}

fn of_notes(count: i64) -> Log {
    let log = Log::temp().unwrap();
    (1..=count).for_each(|n| {
        note(&log, n);
    });
    log
}

#[test]
fn a_follower_gets_what_is_there_then_what_comes() {
    let log = of_notes(3);
    let mut follower = log.follow_blocking(seq(1), Filter::default()).unwrap();
    check_events(&mut follower, [2, 3]);
    check_caught_up(&mut follower, 3);
    (4..=5).for_each(|n| {
        note(&log, n);
    });
    check_events(&mut follower, [4, 5]);
    let mut from_now = log.follow_blocking(Start::Now, Filter::default()).unwrap();
    check_caught_up(&mut from_now, 5);
    note(&log, 6);
    check_events(&mut from_now, [6]);
}

/// What is committed while nobody reads is not kept in memory; it is no hole for who comes next.
#[test]
fn what_came_while_nobody_read_is_given_to_who_comes_next() {
    let log = of_notes(0);
    let mut first = log.follow_blocking(Seq::ZERO, Filter::default()).unwrap();
    check_caught_up(&mut first, 0);
    note(&log, 1);
    check_events(&mut first, [1]);
    drop(first);
    note(&log, 2);
    let mut next = log.follow_blocking(seq(1), Filter::default()).unwrap();
    note(&log, 3);
    check_events(&mut next, [2, 3]);
    check_caught_up(&mut next, 2);
}

#[test]
fn an_empty_log_is_caught_up_with_at_once() {
    let log = Log::temp().unwrap();
    let mut follower = log.follow_blocking(Seq::ZERO, Filter::default()).unwrap();
    check_caught_up(&mut follower, 0);
    note(&log, 1);
    check_events(&mut follower, [1]);
}

#[test]
fn lines_are_the_same_from_store_ring_and_history() {
    let place = Place::new();
    let log = place.open();
    append(&log, r#"{"kind":"a.b","text":"é \u001b[0m\n"}"#).unwrap();
    let take = |log: &Log| match log.follow_blocking(Seq::ZERO, Filter::default()).unwrap().next() {
        Some(Ok(Followed::Event(row))) => row,
        other => panic!("{other:?}"),
    };
    let from_ring = take(&log);
    log.close();
    let log = place.open();
    let from_store = take(&log);
    assert_eq!(from_ring.line(), from_store.line());
    assert_eq!(from_ring.line(), log.get(seq(1)).unwrap().unwrap().line());
    assert_eq!(from_ring.recorded_at_ms(), from_store.recorded_at_ms());
}

#[test]
fn filters_skip_and_the_rest_comes_in_order() {
    let log = Log::temp().unwrap();
    let filter = Filter::default().kind("a.b").unwrap().agent("alice").unwrap();
    let mut follower = log.follow_blocking(Seq::ZERO, filter).unwrap();
    check_caught_up(&mut follower, 0);
    for (kind, agent) in
        [("a.b", "bob"), ("a.c", "alice"), ("a.b", "alice"), ("a.c", "bob"), ("a.b", "alice")]
    {
        append(&log, &format!(r#"{{"kind":"{kind}","agent":"{agent}"}}"#)).unwrap();
    }
    check_events(&mut follower, [3, 5]);
}

#[test]
fn a_position_in_the_future_is_reset() {
    let log = of_notes(2);
    check_reset(&log, seq(3), ResetReason::Future, 2);
    for text in ["9007199254740992", "9223372036854775807"] {
        check_reset(&log, text.parse::<Cursor>().unwrap(), ResetReason::Future, log.tail().get());
    }
    let own: Cursor = format!("{}-99", log.id()).parse().unwrap();
    check_reset(&log, own, ResetReason::Future, log.tail().get());
}

#[test]
fn a_position_of_another_log_is_reset() {
    let log = of_notes(2);
    let other = of_notes(1);
    check_reset(&log, Cursor::new(other.id(), seq(1)), ResetReason::OtherLog, 2);
    let mut own = log.follow_blocking(Cursor::new(log.id(), seq(1)), Filter::default()).unwrap();
    check_events(&mut own, [2]);
}

#[test]
fn what_is_no_position_is_no_cursor() {
    let id = "0123456789abcdef";
    for text in [
        "",
        "-",
        "-1",
        "+1",
        "1.5",
        " 1",
        "1 ",
        "0x1",
        "9223372036854775808",
        "a",
        "\0",
        "1\0",
        "١",
        "0123456789abcdef",
        "0123456789abcdef-",
        "0123456789abcdef--1",
        "0123456789ABCDEF-1",
        "0123-1",
        "0123456789abcdef-1-1",
        "0123456789abcdef_1",
    ] {
        assert!(text.parse::<Cursor>().is_err(), "{text:?}");
    }
    assert!("1".repeat(10_000).parse::<Cursor>().is_err());
    let cursor: Cursor = format!("{id}-7").parse().unwrap();
    assert_eq!(cursor.to_string(), format!("{id}-7"));
}

#[test]
fn a_slow_follower_loses_nothing_when_the_ring_has_moved_on() {
    let log = Log::temp().unwrap();
    let mut idle = log.follow_blocking(Seq::ZERO, Filter::default()).unwrap();
    check_caught_up(&mut idle, 0);
    note(&log, 1);
    check_events(&mut idle, [1]);
    // More than the ring holds, while this follower sleeps.
    let large = format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(900_000));
    for _ in 0..12 {
        append(&log, &large).unwrap();
    }
    note(&log, 14);
    check_events(&mut idle, 2..=14);
    note(&log, 15);
    check_events(&mut idle, [15]);
}

#[test]
fn followers_that_come_while_others_append_have_no_hole() {
    const EVENTS: i64 = 600;
    let log = Log::temp().unwrap();
    let start = Arc::new(Barrier::new(7));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (log, start) = (log.clone(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                (0..EVENTS / 2).for_each(|n| {
                    note(&log, n);
                });
            })
        })
        .collect();
    let followers: Vec<_> = (0..5)
        .map(|index| {
            let (log, start) = (log.clone(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                let mut cursor = Seq::ZERO;
                // Each connects anew after some events, as a page with a bad line does.
                while cursor < seq(EVENTS) {
                    let follower = log.follow_blocking(cursor, Filter::default()).unwrap();
                    let events = follower.filter_map(|followed| match followed.unwrap() {
                        Followed::Event(row) => Some(row.seq()),
                        Followed::CaughtUp(_) => None,
                        other => panic!("{other:?}"),
                    });
                    for next in events.take(7 + index * 13) {
                        assert_eq!(next, cursor.next());
                        cursor = next;
                        if cursor == seq(EVENTS) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for thread in writers.into_iter().chain(followers) {
        thread.join().unwrap();
    }
}

#[test]
fn nobody_holds_an_answer_that_a_follower_does_not_have() {
    let log = Log::temp().unwrap();
    for n in 1..200 {
        let told = note(&log, n);
        assert!(log.tail() >= seq(told));
        let mut follower = log.follow(seq(told - 1), Filter::default()).unwrap();
        let first = futures_executor::block_on(follower.next());
        assert!(matches!(first, Some(Ok(Followed::Event(row))) if row.seq() == seq(told)));
    }
}

/// Looks at the log in the very moment of the wake-up, on the writer's own thread.
struct Probe {
    log: Log,
    follower: Mutex<Follower>,
    seen: Mutex<Vec<String>>,
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        let stored = self.log.get(seq(1)).unwrap().is_some();
        let from_ring = self.follower.lock().unwrap().next().now_or_never().flatten();
        let is_here = matches!(from_ring, Some(Ok(Followed::Event(row))) if row.seq() == seq(1));
        self.seen.lock().unwrap().push(format!("stored {stored}, in the ring {is_here}"));
    }
}

#[test]
fn the_wake_comes_after_the_commit_and_after_the_ring_is_filled() {
    let log = Log::temp().unwrap();
    let mut follower = log.follow(Seq::ZERO, Filter::default()).unwrap();
    assert!(matches!(follower.next().now_or_never(), Some(Some(Ok(Followed::CaughtUp(_))))));
    let probe = Arc::new(Probe { log: log.clone(), follower: Mutex::new(follower), seen: Mutex::default() });
    let waker = Waker::from(Arc::clone(&probe));
    let mut waiting = Box::pin(log.wait_past(Seq::ZERO));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    note(&log, 1);
    assert_eq!(*probe.seen.lock().unwrap(), ["stored true, in the ring true"]);
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    let log = Log::temp().unwrap();
    let mut follower = log.follow(Seq::ZERO, Filter::default()).unwrap();
    assert!(matches!(follower.next().now_or_never(), Some(Some(Ok(Followed::CaughtUp(_))))));
    for n in 1..50 {
        assert!(follower.next().now_or_never().is_none());
        note(&log, n);
        let got = futures_executor::block_on(follower.next());
        assert!(matches!(got, Some(Ok(Followed::Event(row))) if row.seq() == seq(n)));
    }
}

#[test]
fn a_stream_ends_with_the_log() {
    let log = of_notes(2);
    let stream = log.follow(Seq::ZERO, Filter::default()).unwrap().into_stream();
    let reader = std::thread::spawn(move || futures_executor::block_on(stream.collect::<Vec<_>>()));
    note(&log, 3);
    log.close();
    let seen: Vec<_> = reader.join().unwrap();
    let events = seen.iter().filter(|followed| matches!(followed, Ok(Followed::Event(_)))).count();
    let cut_off = seen.iter().any(|followed| followed == &Err(Error::Closed));
    assert!(events == 3 || cut_off, "{seen:?}");
}

#[test]
fn closing_ends_followers_that_wait_and_gives_them_what_was_committed() {
    let log = Log::temp().unwrap();
    let waiting = Arc::new(Barrier::new(5));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (log, waiting) = (log.clone(), Arc::clone(&waiting));
            std::thread::spawn(move || {
                let mut follower = log.follow_blocking(Seq::ZERO, Filter::default()).unwrap();
                check_caught_up(&mut follower, 0);
                waiting.wait();
                let rest: Vec<_> = follower.collect();
                rest.len()
            })
        })
        .collect();
    waiting.wait();
    (1..=3).for_each(|n| {
        note(&log, n);
    });
    log.close();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 3);
    }
    assert_eq!(futures_executor::block_on(log.wait_past(seq(3))), Woken::Closed);
    assert!(matches!(log.follow(Seq::ZERO, Filter::default()), Err(Error::Closed)));
    log.close();
}

#[test]
fn dropping_the_last_handle_ends_followers() {
    let log = of_notes(1);
    let mut follower = log.follow_blocking(seq(1), Filter::default()).unwrap();
    check_caught_up(&mut follower, 1);
    drop(log);
    assert_eq!(follower.next(), None);
    assert_eq!(follower.next(), None);
}

#[test]
fn a_thousand_followers_hold_no_queue_and_miss_nothing() {
    let log = Log::temp().unwrap();
    let mut followers: Vec<_> =
        (0..1_000).map(|_| log.follow(Seq::ZERO, Filter::default()).unwrap()).collect();
    (1..=20).for_each(|n| {
        note(&log, n);
    });
    for follower in &mut followers {
        assert!(matches!(follower.next().now_or_never(), Some(Some(Ok(Followed::CaughtUp(_))))));
        for n in 1..=20 {
            let got = follower.next().now_or_never();
            assert!(matches!(got, Some(Some(Ok(Followed::Event(row)))) if row.seq() == seq(n)));
        }
    }
}

#[test]
fn the_tail_can_be_waited_for() {
    let log = of_notes(1);
    assert_eq!(log.wait_past(seq(0)).now_or_never(), Some(Woken::More));
    assert_eq!(log.wait_past(seq(1)).now_or_never(), None);
    let waiter = {
        let log = log.clone();
        std::thread::spawn(move || futures_executor::block_on(log.wait_past(seq(1))))
    };
    note(&log, 2);
    assert_eq!(waiter.join().unwrap(), Woken::More);
}
