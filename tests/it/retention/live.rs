//! Pruning while the log is at work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hivelog::{Command, Draft, Filter, Followed, Log, Prune, ResetReason};

use super::{check_whole, prune};
use crate::{note, seq};

fn fill(log: &Log, count: usize, bytes: usize) {
    let body = "x".repeat(bytes);
    let text = format!(r#"{{"kind":"sent","from":"alice","to":"bob","body":"{body}","at":1}}"#);
    let draft = Draft::from_json(&text).unwrap();
    for first in (0..count).step_by(1_000) {
        log.submit(Command::new(vec![draft.clone(); 1_000.min(count - first)])).wait().unwrap();
    }
}

#[test]
fn who_is_behind_is_told_and_who_is_not_goes_on() {
    let log = Log::temp().unwrap();
    // More than the ring holds, so that who is behind has to go to the store.
    fill(&log, 12_000, 2_000);
    let mut begun = log.follow_blocking(seq(0), Filter::default()).unwrap();
    assert!(matches!(begun.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(1)));
    let mut live = log.follow_blocking(log.tail(), Filter::default()).unwrap();
    assert_eq!(live.next(), Some(Ok(Followed::CaughtUp(seq(12_000)))));
    assert_eq!(prune(&log, 8_001, &[]).floor, seq(8_000));
    let told = begun.find(|told| matches!(told, Ok(Followed::Reset { .. })));
    assert_eq!(told, Some(Ok(Followed::Reset { reason: ResetReason::Pruned, seq: seq(12_000) })));
    for (cursor, goes_on) in [(0, false), (7_999, false), (8_000, true), (12_000, true)] {
        let mut follower = log.follow_blocking(seq(cursor), Filter::default()).unwrap();
        match follower.next().unwrap().unwrap() {
            Followed::Reset { reason: ResetReason::Pruned, seq: at } => {
                assert!(!goes_on && at == seq(12_000), "{cursor}");
            }
            Followed::Event(row) => assert!(goes_on && row.seq() == seq(cursor + 1), "{cursor}"),
            Followed::CaughtUp(at) => assert!(goes_on && at == seq(cursor), "{cursor}"),
            other => panic!("{cursor}: {other:?}"),
        }
    }
    note(&log, 1);
    assert!(matches!(live.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(12_001)));
}

/// A position that is kept would be below the floor some day, though nothing that is wanted was pruned.
#[test]
fn who_wants_little_is_told_how_far_it_has_come() {
    let log = Log::temp().unwrap();
    let filter = Filter::default().kind("test.note").unwrap();
    let mut follower = log.follow_blocking(seq(0), filter.clone()).unwrap();
    assert_eq!(follower.next(), Some(Ok(Followed::CaughtUp(seq(0)))));
    fill(&log, 1_500, 10);
    let mut passed = seq(0);
    while passed < seq(1_500) {
        let Some(Ok(Followed::Passed(upto))) = follower.next() else { panic!("behind {passed}") };
        assert!(upto > passed, "{upto} after {passed}");
        passed = upto;
    }
    // What was given needs no word more.
    note(&log, 1);
    assert!(matches!(follower.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(1_501)));
    note(&log, 2);
    assert!(matches!(follower.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(1_502)));
    assert_eq!(prune(&log, 1_501, &[]).floor, seq(1_500));
    let mut again = log.follow_blocking(passed, filter).unwrap();
    assert!(matches!(again.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(1_501)));
}

/// How long appends take that come one every few milliseconds, until it is over.
fn latencies(log: &Log, is_over: impl Fn() -> bool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !is_over() {
        let begin = Instant::now();
        note(log, 1);
        took.push(begin.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    took.sort_unstable();
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Whether appends go on while messages are pruned and space is given back: 99 of 100 within 20 ms, and none for
/// much longer, unless those of another log, where nothing is pruned, take as long in the same moments.
fn go_on_while_pruning() -> bool {
    let (log, other) = (Log::temp().unwrap(), Log::temp().unwrap());
    // Rows of a few hundred bytes, and of more than a page.
    fill(&log, 40_000, 300);
    fill(&log, 4_000, 6_000);
    let is_over = AtomicBool::new(false);
    let until_over = || is_over.load(Ordering::SeqCst);
    let (took, beside, pruned) = std::thread::scope(|scope| {
        let pruner = scope.spawn(|| {
            let done = log.prune(&Prune { before_seq: Some(44_001), ..Prune::default() });
            let done = done.and_then(|done| log.give_back().map(|_| done));
            is_over.store(true, Ordering::SeqCst);
            done
        });
        let beside = scope.spawn(|| latencies(&other, until_over));
        (latencies(&log, until_over), beside.join().unwrap(), pruner.join().unwrap())
    });
    assert_eq!(pruned.unwrap().pruned, 44_000);
    println!(
        "{} appends while 44,000 events went, p50, p99, most: {:?}; {} of another log: {:?}",
        took.len(),
        [50, 99, 100].map(|percent| percentile(&took, percent)),
        beside.len(),
        [50, 99, 100].map(|percent| percentile(&beside, percent)),
    );
    check_whole(&log);
    let holds = |percent, ms| {
        percentile(&took, percent) <= (percentile(&beside, percent) * 3).max(Duration::from_millis(ms))
    };
    took.len() > 50 && holds(99, 20) && holds(100, 200)
}

#[test]
fn appends_do_not_wait_for_it() {
    // The other things may begin in the middle.
    assert!((0..4).any(|_| go_on_while_pruning()), "appends waited for the pruning");
}
