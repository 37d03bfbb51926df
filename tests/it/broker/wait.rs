//! Waiting for a message: woken by what is sent, what comes back, and the end.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hivelog::{Delivery, Desk, Error, Log, Receive};

use super::{LONG, desk, send, take, told};

/// Waits on a thread of its own; odd ones async without any runtime, even ones blocking.
fn waiting(
    desk: &Desk,
    name: &'static str,
    number: usize,
) -> mpsc::Receiver<(usize, Result<Vec<Delivery>, Error>)> {
    let (send, got) = mpsc::channel();
    wait_into(desk, name, number, send);
    got
}

fn wait_into(
    desk: &Desk,
    name: &'static str,
    number: usize,
    send: mpsc::Sender<(usize, Result<Vec<Delivery>, Error>)>,
) {
    let desk = desk.clone();
    thread::spawn(move || {
        let receive = Receive::default().lease(LONG);
        let got = if number.is_multiple_of(2) {
            desk.recv_blocking(name, receive, Duration::from_secs(20))
        } else {
            futures_executor::block_on(desk.recv_wait(name, receive))
        };
        send.send((number, got)).unwrap();
    });
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_sending_wakes_who_waits() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    for number in 0..40 {
        let got = waiting(&desk, "bob", number);
        if number % 4 < 2 {
            // Some are asleep by now, the others still on their way: no wake-up may be lost.
            thread::sleep(Duration::from_millis(2));
        }
        send(&desk, "carol", "not for bob");
        let id = send(&desk, "bob", "for bob");
        let (_, deliveries) = got.recv_timeout(PATIENCE).unwrap();
        assert_eq!(told(&deliveries.unwrap()), [(id, false)]);
    }
}

#[test]
fn two_receivers_share_an_inbox_and_nothing_twice() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    const MESSAGES: usize = 400;
    let takers: Vec<_> = (0..2)
        .map(|number: usize| {
            let desk = desk.clone();
            thread::spawn(move || {
                let mut ids = Vec::new();
                loop {
                    let receive = Receive::default().max(1 + number * 2).lease(LONG);
                    let got = desk.recv_blocking("bob", receive, PATIENCE).unwrap();
                    assert!(!got.is_empty());
                    for delivery in got {
                        if delivery.body == "end" {
                            return ids;
                        }
                        assert!(!delivery.redelivered);
                        ids.push(delivery.id);
                    }
                }
            })
        })
        .collect();
    for _ in 0..MESSAGES {
        drop(desk.send("alice", "bob", "work"));
    }
    // A taker that has taken three at once may hold both.
    for _ in 0..8 {
        send(&desk, "bob", "end");
    }
    let lists: Vec<Vec<i64>> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
    assert!(lists.iter().all(|ids| ids.is_sorted()), "each sees the order of the inbox");
    let mut all = lists.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=i64::try_from(MESSAGES).unwrap()).collect::<Vec<_>>());
}

#[test]
fn each_of_many_waiting_gets_its_own() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let (to, got) = mpsc::channel();
    for number in 0..8 {
        wait_into(&desk, "bob", number, to.clone());
    }
    for _ in 0..8 {
        drop(desk.send("alice", "bob", "x"));
    }
    let mut ids: Vec<i64> = (0..8).map(|_| got.recv_timeout(PATIENCE).unwrap().1.unwrap()[0].id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=8).collect::<Vec<_>>());
}

#[test]
fn what_comes_back_wakes_who_waits() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let id = send(&desk, "bob", "one");
    let mut lapsed = Vec::new();
    for number in 0..4 {
        take(&desk, "bob", 1, Duration::from_millis(100));
        let begin = Instant::now();
        let got = waiting(&desk, "bob", number);
        let (_, deliveries) = got.recv_timeout(PATIENCE).unwrap();
        lapsed.push(begin.elapsed());
        assert_eq!(told(&deliveries.unwrap()), [(id, true)], "its lease lapsed");
        // It is out again: a renewal may also let it come back sooner.
        let got = waiting(&desk, "bob", number);
        desk.renew("bob", id, Duration::from_millis(20)).wait().unwrap();
        got.recv_timeout(PATIENCE).unwrap().1.unwrap();
        let got = waiting(&desk, "bob", number);
        thread::sleep(Duration::from_millis(5));
        assert_eq!(desk.requeue("bob").wait(), Ok(1));
        assert_eq!(told(&got.recv_timeout(PATIENCE).unwrap().1.unwrap()), [(id, true)]);
        assert_eq!(desk.requeue("bob").wait(), Ok(1));
    }
    // By the keeper's next look; one quiet round in some is enough.
    assert!(lapsed.iter().min().unwrap() < &Duration::from_millis(1_500), "{lapsed:?}");
}

#[test]
fn a_wait_ends_at_its_time_and_with_the_log() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let begin = Instant::now();
    let wait = Duration::from_millis(60);
    assert_eq!(desk.recv_blocking("bob", Receive::default(), wait), Ok(vec![]));
    assert!(begin.elapsed() >= wait);
    assert_eq!(desk.recv_blocking("bob", Receive::default(), Duration::ZERO), Ok(vec![]));
    let waits: Vec<_> = (0..4).map(|number| waiting(&desk, "bob", number)).collect();
    thread::sleep(Duration::from_millis(5));
    log.close();
    for wait in waits {
        assert_eq!(wait.recv_timeout(PATIENCE).unwrap().1, Err(Error::Closed));
    }
    let wrong = desk.recv_blocking("bob", Receive::default(), PATIENCE);
    assert_eq!(wrong, Err(Error::Closed));
}

#[test]
fn a_call_that_is_dropped_takes_nothing() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let mut wait = Box::pin(desk.recv_wait("bob", Receive::default()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while wait.as_mut().poll(&mut cx).is_pending() {
        // The first look is over once another call was answered after it.
        if take(&desk, "carol", 1, LONG).is_empty() {
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            break;
        }
    }
    drop(wait);
    let id = send(&desk, "bob", "one");
    assert_eq!(told(&take(&desk, "bob", 1, LONG)), [(id, false)]);
}

#[test]
fn what_was_handed_out_to_nobody_is_put_back() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let mut put_back = 0;
    for number in 0..100 {
        let id = send(&desk, "bob", "x");
        let asked = desk.recv("bob", Receive::default().lease(LONG));
        // Its place in the order is taken; whether its turn comes before it is dropped is the writer's affair.
        if number % 2 == 0 {
            thread::yield_now();
        }
        drop(asked);
        let got =
            desk.recv_blocking("bob", Receive::default().lease(LONG), Duration::from_millis(100)).unwrap();
        if let [delivery] = got.as_slice() {
            assert_eq!(delivery.id, id);
            put_back += usize::from(delivery.redelivered);
            desk.ack("bob", id).wait().unwrap();
        } else {
            // The answer was in the receipt when that was dropped: it comes back when its lease ends. Or this call
            // too was given up before its turn, and what it took was put back.
            assert!(desk.requeue("bob").wait().unwrap() <= 1);
            let got = desk.recv_blocking("bob", Receive::default().lease(LONG), PATIENCE).unwrap();
            assert_eq!(got.first().map(|delivery| delivery.id), Some(id));
            desk.ack("bob", id).wait().unwrap();
        }
    }
    println!("{put_back} of 100 were put back");
}
