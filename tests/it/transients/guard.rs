//! Guards: what they end, what they leave alone, and that dropping one does not wait.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use hivelog::event::ClearReason::Done;
use hivelog::{Desk, Draft, Error, Filter, Followed, Log};
use serde_json::Value;

use super::{LONG, SHORT, Starting, Stopping, desk, events, raw, reason, set_now};
use crate::{Place, note, seq};

/// Far less than the lock of another is waited for.
const LESS_THAN_THE_LOCK: Duration = Duration::from_secs(2);

#[test]
fn a_guard_ends_its_action_when_it_goes() {
    let desk = desk();
    let guard = desk.hold("w-1", Starting, LONG).wait().unwrap();
    assert_eq!(guard.name(), "w-1");
    assert_eq!(guard.renew().wait().unwrap(), None);
    assert_eq!(set_now(desk.log()), [("w-1".into(), "starting".into())]);
    drop(guard);
    assert_eq!(reason(desk.log(), "w-1", 0), "done");
    desk.hold("w-1", Starting, LONG).wait().unwrap().fail();
    assert_eq!(reason(desk.log(), "w-1", 2), "failed");
    let guard = desk.hold("w-1", Starting, LONG).wait().unwrap();
    guard.finish().unwrap();
    assert_eq!((set_now(desk.log()), desk.log().tail()), (vec![], seq(6)));
    // In the middle of an unwinding too.
    let panicking = {
        let desk = desk.clone();
        std::thread::spawn(move || {
            let _guard = desk.hold("w-1", Starting, LONG).wait().unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        })
    };
    panicking.join().unwrap_err();
    assert_eq!(reason(desk.log(), "w-1", 6), "done");
}

#[test]
fn a_guard_leaves_alone_what_another_has_set_since() {
    let desk = desk();
    let log = desk.log();
    let guard = desk.hold("w-1", Starting, LONG).wait().unwrap();
    desk.set("w-1", Stopping, LONG).wait().unwrap();
    drop(guard);
    let guard = desk.hold("w-2", Starting, LONG).wait().unwrap();
    log.append(raw("w-2", Starting, None)).wait().unwrap();
    drop(guard);
    // Cleared by another in between: the guard has nothing left to end.
    let guard = desk.hold("w-3", Starting, LONG).wait().unwrap();
    desk.clear("w-3", Done).wait().unwrap();
    let head = log.tail();
    drop(guard);
    let told = note(log, 1);
    assert_eq!(told, head.get() + 1, "nothing came between");
    let due = [("w-1".into(), "stopping".into()), ("w-2".into(), "starting".into())];
    assert_eq!(set_now(log), due);
}

#[test]
fn a_leaked_guard_ends_with_its_lease() {
    let desk = desk();
    let guard = desk.hold("w-1", Starting, Duration::from_millis(100)).wait().unwrap();
    std::mem::forget(guard);
    assert_eq!(reason(desk.log(), "w-1", 0), "lease_expired");
}

#[test]
fn a_receipt_that_is_dropped_unread_takes_nothing_back() {
    let desk = desk();
    drop(desk.hold("w-1", Starting, LONG));
    note(desk.log(), 1);
    note(desk.log(), 2);
    assert_eq!(set_now(desk.log()), [("w-1".into(), "starting".into())]);
    assert_eq!(desk.log().tail(), seq(3));
}

#[test]
fn a_hold_that_is_refused_ends_nothing() {
    let desk = desk();
    let first = desk.hold("w-1", Starting, LONG).wait().unwrap();
    desk.hold("w-1", Starting, Duration::MAX).wait().unwrap_err();
    desk.hold("w-1", Starting, Duration::ZERO).wait().unwrap_err();
    note(desk.log(), 1);
    assert_eq!(set_now(desk.log()), [("w-1".into(), "starting".into())]);
    drop(first);
    assert_eq!(reason(desk.log(), "w-1", 0), "done");
}

#[test]
fn a_drop_does_not_wait_and_a_full_queue_leaves_it_to_the_lease() {
    let place = Place::new();
    let desk = Desk::of(&place.open()).unwrap();
    let guard = desk.hold("w-1", Starting, Duration::from_millis(1_500)).wait().unwrap();
    let quick = desk.hold("w-2", Starting, LONG).wait().unwrap();
    // Another program holds the write lock: nothing that is queued can be written meanwhile.
    let draft = || Draft::from_json(r#"{"kind":"test.note"}"#).unwrap();
    let conn = crate::foreign(&place.path());
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    let log = desk.log();
    let begin = Instant::now();
    drop(quick);
    assert!(begin.elapsed() < LESS_THAN_THE_LOCK, "{:?}", begin.elapsed());
    let mut queued = 0;
    loop {
        match log.append(draft()).now_or_never() {
            None => queued += 1,
            Some(told) => {
                assert_eq!(told, Err(Error::QueueFull));
                break;
            }
        }
    }
    let begin = Instant::now();
    drop(guard);
    assert!(begin.elapsed() < LESS_THAN_THE_LOCK, "{:?}", begin.elapsed());
    conn.execute_batch("ROLLBACK").unwrap();
    let is_end = |name: &str| {
        let filter = Filter::default().kind("transient_cleared").unwrap().agent(name).unwrap();
        log.follow_blocking(seq(0), filter).unwrap().find_map(|followed| match followed.unwrap() {
            Followed::Event(row) => Some(row.decode::<Value>().unwrap()["reason"].clone()),
            _ => None,
        })
    };
    assert_eq!(is_end("w-2").unwrap(), "done");
    assert_eq!(is_end("w-1").unwrap(), "lease_expired");
    // The two set, the two ended, and every note whose receipt was dropped.
    assert_eq!(log.tail(), seq(4 + queued));
}

#[test]
fn a_guard_outlives_its_log() {
    let desk = desk();
    let guard = desk.hold("w-1", Starting, LONG).wait().unwrap();
    let count = |log: &Log| events(log, 1).len();
    assert_eq!(count(desk.log()), 1);
    desk.log().close();
    drop(guard);
    let desk = self::desk();
    let guard = desk.hold("w-1", Starting, SHORT).wait().unwrap();
    let log = desk.log().clone();
    drop(desk);
    assert_eq!(reason(&log, "w-1", 0), "lease_expired");
    guard.finish().unwrap();
    assert_eq!(count(&log), 2);
}
