//! The rules that a log is opened with, and who carries them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hivelog::{Desk, Keep, Log, Options, Retention};

use super::{check_whole, denied, message, seqs};
use crate::swarm::until;
use crate::{Place, append, approval, note, refusal, seq};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A log whose clock a test sets, and that is opened with rules.
struct Kept {
    place: Place,
    now: Arc<AtomicI64>,
}

impl Kept {
    fn new() -> Self {
        Self { place: Place::new(), now: Arc::new(AtomicI64::new(1_000 * DAY)) }
    }

    fn open(&self, retention: Retention) -> Log {
        let now = Arc::clone(&self.now);
        let options = Options::default().retention(retention).clock(move || now.load(Ordering::SeqCst));
        Log::open(self.place.path(), options).unwrap()
    }

    fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }
}

fn keep(rules: &[(&str, &str)]) -> Retention {
    let none = Retention::forever();
    rules.iter().fold(none, |all, (kind, keep)| all.keep(kind, keep.parse().unwrap()).unwrap())
}

#[test]
fn messages_go_after_thirty_days_and_nothing_else_does() {
    let kept = Kept::new();
    let log = kept.open(Retention::default());
    message(&log, "sent", "x"); // 1
    message(&log, "delivered", "x"); // 2
    note(&log, 1); // 3
    append(&log, &approval(1, "alice")).unwrap(); // 4
    append(&log, &denied(1, "alice")).unwrap(); // 5
    kept.pass(DAY);
    message(&log, "sent", "y"); // 6
    kept.pass(29 * DAY - 1);
    let desk = Desk::of(&log).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(seqs(&log), [1, 2, 3, 4, 5, 6]);
    drop(desk);
    log.close();
    kept.pass(2);
    let log = kept.open(Retention::default());
    let _desk = Desk::of(&log).unwrap();
    until("what is thirty days old is gone", || (seqs(&log) == [3, 4, 5, 6]).then_some(()));
    assert_eq!(log.snapshot().unwrap().floor, seq(2));
    check_whole(&log);
    log.close();
    // Asked for, all of it stays.
    kept.pass(900 * DAY);
    let log = kept.open(Retention::forever());
    let _desk = Desk::of(&log).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(seqs(&log), [3, 4, 5, 6]);
}

#[test]
fn a_number_and_a_size_are_kept_of_each_kind() {
    let kept = Kept::new();
    let log = kept.open(Retention::forever());
    for n in 0..700 {
        message(&log, "sent", &"x".repeat(1_000)); // 1, 4, 7, …
        append(&log, r#"{"kind":"beat.tick"}"#).unwrap();
        note(&log, n);
    }
    kept.pass(HOUR);
    for _ in 0..3 {
        append(&log, r#"{"kind":"beat.tick"}"#).unwrap(); // 2101, 2102, 2103
    }
    log.close();
    let log = kept.open(keep(&[("sent", "100KB"), ("beat.tick", "10"), ("*", "30d,650")]));
    let _desk = Desk::of(&log).unwrap();
    let count = |log: &Log, kind: &str| {
        let range = hivelog::Range {
            limit: 10_000,
            filter: hivelog::Filter::default().kind(kind).unwrap(),
            ..hivelog::Range::default()
        };
        log.range(&range).unwrap().len()
    };
    let due = || (count(&log, "sent"), count(&log, "beat.tick"), count(&log, "test.note"));
    // A message is 1,053 bytes of text: 94 fit.
    until("each kind is within its bound", || (due() == (94, 10, 650)).then_some(()));
    assert_eq!(log.snapshot().unwrap().floor, seq(3 * (700 - 7) - 1), "the last tick that went");
    assert!(seqs(&log).ends_with(&[2_101, 2_102, 2_103]));
    check_whole(&log);
    // What somebody else takes out is not counted any more.
    log.close();
    let log = kept.open(keep(&[("beat.tick", "5")]));
    let _desk = Desk::of(&log).unwrap();
    until("fewer are kept", || (count(&log, "beat.tick") == 5).then_some(()));
}

#[test]
fn what_is_young_stays_however_much_it_is() {
    let kept = Kept::new();
    let log = kept.open(Retention::forever());
    for n in 0..20 {
        note(&log, n);
    }
    log.close();
    let log = kept.open(keep(&[("*", "1")]));
    let _desk = Desk::of(&log).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(seqs(&log).len(), 20);
    log.close();
    kept.pass(600_001);
    let log = kept.open(keep(&[("*", "1")]));
    let _desk = Desk::of(&log).unwrap();
    until("only one is left", || (seqs(&log) == [20]).then_some(()));
}

#[test]
fn entities_have_rules_too() {
    let kept = Kept::new();
    let log = kept.open(Retention::forever());
    for id in 1..=10 {
        append(&log, &approval(id, "alice")).unwrap();
    }
    for id in [10, 9, 8, 7, 6, 5, 4] {
        append(&log, &denied(id, "alice")).unwrap(); // 11 to 17
    }
    kept.pass(HOUR);
    log.close();
    let log = kept.open(keep(&[("approvals", "2")]));
    let _desk = Desk::of(&log).unwrap();
    // The three open ones, and the two that were closed last.
    until("two closed ones are left", || (seqs(&log) == [1, 2, 3, 4, 5, 16, 17]).then_some(()));
    check_whole(&log);
}

#[test]
fn bounds_are_read_strictly() {
    let keep = |text: &str| text.parse::<Keep>();
    let days = |days: u64| Keep::ALL.age(std::time::Duration::from_secs(days * 86_400));
    assert_eq!(keep("30d"), Ok(days(30)));
    assert_eq!(keep("2w"), Ok(days(14)));
    assert_eq!(keep("48h"), Ok(days(2)));
    assert_eq!(keep("all"), Ok(Keep::ALL));
    assert_eq!(keep("30"), Ok(Keep::ALL.events(30)));
    assert_eq!(keep("0"), Ok(Keep::ALL.events(0)));
    assert_eq!(keep("30d,1000,2GiB"), Ok(days(30).events(1_000).bytes(2 << 30)));
    assert_eq!(keep("600s"), keep("10m"));
    for wrong in [
        "",
        "d",
        "30 d",
        "-1d",
        "1.5d",
        "30D",
        "1TB",
        "all,1",
        "1,all",
        "1d,2d",
        "1,2",
        "1KB,1MB",
        "9m",
        "599s",
        "99999999999999999999",
        "30d,",
        ",",
        "１d",
        "18446744073709551615GiB",
    ] {
        let told = keep(wrong);
        assert!(told.is_err(), "{wrong}: {told:?}");
    }
    refusal(Retention::default().keep("No", Keep::ALL).map_err(hivelog::Error::from));
}
