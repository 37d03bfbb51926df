//! Transients through the crate: set, renewed, replaced, cleared; leases that lapse; guards.

mod guard;
mod orphans;

use std::time::{Duration, Instant};

use hivelog::event::ClearReason::{Done, Failed, LeaseExpired, Restart};
use hivelog::event::{ClearReason, Event, TransientKind, TransientSet};
use hivelog::{Desk, Log, Refusal};
use serde_json::{Value, json};

use crate::swarm::{Hands, until, wrong_field};
use crate::{Place, lines, refusal, seq};

use TransientKind::{Rebuilding, Starting, Stopping};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// No lease that ends in time ends after this; the others end after hours.
const LATE: Duration = Duration::from_secs(20);
/// Lapsed by the next look of the keeper.
const SHORT: Duration = Duration::from_millis(1);

fn desk() -> Desk {
    Desk::of(&Log::temp().unwrap()).unwrap()
}

/// Name and kind of what is set.
fn set_now(log: &Log) -> Vec<(String, String)> {
    let state: Value = log.snapshot().unwrap().decode().unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = state["transients"].as_array().unwrap();
    rows.iter().map(|row| (text(row, "name"), text(row, "transient_kind"))).collect()
}

/// The events from this seq on, as JSON.
fn events(log: &Log, first: usize) -> Vec<Value> {
    lines(log)[first - 1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for the event that ends this name's transient, and gives the reason.
fn reason(log: &Log, name: &str, after: usize) -> String {
    until("it is cleared", || {
        let is_end = |event: &&Value| event["kind"] == "transient_cleared" && event["name"] == name;
        events(log, after + 1).iter().find(is_end).map(|event| event["reason"].as_str().unwrap().to_owned())
    })
}

fn raw(name: &str, kind: TransientKind, expires_at: Option<i64>) -> Event {
    Event::TransientSet(TransientSet { name: name.into(), transient_kind: kind, since_unix: 7, expires_at })
}

#[test]
fn set_renewed_replaced_and_cleared() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    assert_eq!(desk.set("w-1", Starting, LONG).wait().unwrap(), Some(seq(1)));
    hands.forward(3);
    // A renewal is no event, and leaves the begin where it was.
    for _ in 0..3 {
        assert_eq!(desk.set("w-1", Starting, LONG).wait().unwrap(), None);
    }
    assert_eq!(desk.log().tail(), seq(1));
    assert_eq!(desk.set("w-1", Stopping, Duration::from_millis(1_001)).wait().unwrap(), Some(seq(2)));
    assert_eq!(set_now(desk.log()), [("w-1".into(), "stopping".into())]);
    assert_eq!(desk.clear("w-1", Done).wait().unwrap(), seq(3));
    assert!(matches!(refusal(desk.clear("w-1", Done).wait()), Refusal::Unknown(_)));
    assert!(matches!(refusal(desk.clear("No Name", Done).wait()), Refusal::Unknown(_)));
    desk.set("w-1", Stopping, LONG).wait().unwrap();
    desk.clear("w-1", Failed).wait().unwrap();
    let due = [
        json!({"seq": 1, "recorded_at_ms": 1_000_000, "kind": "transient_set", "name": "w-1",
            "transient_kind": "starting", "since_unix": 1_000, "expires_at": 1_600}),
        json!({"seq": 2, "recorded_at_ms": 1_003_000, "kind": "transient_set", "name": "w-1",
            "transient_kind": "stopping", "since_unix": 1_003, "expires_at": 1_005}),
        json!({"seq": 3, "recorded_at_ms": 1_003_000, "kind": "transient_cleared", "name": "w-1",
            "reason": "done"}),
        json!({"seq": 4, "recorded_at_ms": 1_003_000, "kind": "transient_set", "name": "w-1",
            "transient_kind": "stopping", "since_unix": 1_003, "expires_at": 1_603}),
        json!({"seq": 5, "recorded_at_ms": 1_003_000, "kind": "transient_cleared", "name": "w-1",
            "reason": "failed"}),
    ];
    assert_eq!(events(desk.log(), 1), due);
}

#[test]
fn what_no_lease_can_be_is_refused() {
    let desk = desk();
    for name in ["", "No Name", "a\r\nb", &"a".repeat(65), "ü", "-a"] {
        assert_eq!(wrong_field(desk.set(name, Starting, LONG).wait()), "name", "{name:?}");
    }
    let day = Duration::from_hours(24);
    for lease in [Duration::ZERO, Duration::from_micros(999), day + SHORT, Duration::MAX] {
        assert_eq!(wrong_field(desk.set("w-1", Starting, lease).wait()), "lease_seconds", "{lease:?}");
    }
    desk.set(&"a".repeat(64), Starting, day).wait().unwrap();
    assert_eq!(desk.log().tail(), seq(1));
}

#[test]
fn a_lease_that_nobody_renews_lapses() {
    let desk = desk();
    let begin = Instant::now();
    desk.set("w-1", Starting, Duration::from_millis(700)).wait().unwrap();
    desk.set("w-2", Starting, LONG).wait().unwrap();
    assert_eq!(reason(desk.log(), "w-1", 0), "lease_expired");
    let late = begin.elapsed();
    assert!((Duration::from_millis(700)..LATE).contains(&late), "{late:?}");
    assert_eq!(set_now(desk.log()), [("w-2".into(), "starting".into())]);
    // It can be set anew, and a renewal puts the end off.
    let anew = [SHORT, LONG].map(|lease| desk.set("w-1", Starting, lease));
    let [set, renewed] = anew.map(|told| told.wait().unwrap());
    assert!(set.is_some() && renewed.is_none(), "{set:?}, {renewed:?}");
    // A renewal may also bring it near.
    assert_eq!(desk.set("w-2", Starting, SHORT).wait().unwrap(), None);
    assert_eq!(reason(desk.log(), "w-2", 0), "lease_expired");
    assert_eq!(set_now(desk.log()), [("w-1".into(), "starting".into())]);
}

#[test]
fn a_hundred_leases_lapse_each_once() {
    let desk = desk();
    let set: Vec<_> = (0..100).map(|number| desk.set(&format!("w-{number}"), Starting, SHORT)).collect();
    for set in set {
        set.wait().unwrap();
    }
    until("all are cleared", || (desk.log().tail() >= seq(200)).then_some(()));
    assert_eq!(set_now(desk.log()), []);
    let mut ended: Vec<String> = events(desk.log(), 1)
        .into_iter()
        .filter(|event| event["kind"] == "transient_cleared")
        .map(|event| {
            assert_eq!(event["reason"], "lease_expired");
            event["name"].as_str().unwrap().to_owned()
        })
        .collect();
    ended.sort();
    ended.dedup();
    assert_eq!((ended.len(), desk.log().tail()), (100, seq(200)));
}

#[test]
fn a_lease_does_not_mind_a_clock_that_is_set_back() {
    let place = Place::new();
    let hands = Hands::at(1_000_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    desk.set("w-1", Starting, Duration::from_millis(600)).wait().unwrap();
    hands.forward(-86_400);
    let begin = Instant::now();
    assert_eq!(reason(desk.log(), "w-1", 0), "lease_expired");
    assert!(begin.elapsed() < LATE, "{:?}", begin.elapsed());
    // Nor does one that is set while it is back.
    desk.set("w-2", Starting, Duration::from_millis(100)).wait().unwrap();
    assert_eq!(reason(desk.log(), "w-2", 0), "lease_expired");
    // And forward is not sooner.
    desk.set("w-3", Starting, LONG).wait().unwrap();
    hands.forward(2 * 86_400);
    desk.set("w-4", Starting, SHORT).wait().unwrap();
    assert_eq!(reason(desk.log(), "w-4", 0), "lease_expired");
    assert_eq!(set_now(desk.log()), [("w-3".into(), "starting".into())]);
}

#[test]
fn what_was_appended_as_it_is_lapses_by_its_own_word() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    let log = desk.log();
    log.append(raw("w-1", Starting, Some(1_010))).wait().unwrap();
    log.append(raw("w-2", Starting, None)).wait().unwrap();
    // It replaces what was leased, and the lease with it.
    desk.set("w-3", Starting, SHORT).wait().unwrap();
    log.append(raw("w-3", Rebuilding, Some(1_020))).wait().unwrap();
    desk.set("probe", Starting, SHORT).wait().unwrap();
    assert_eq!(reason(log, "probe", 0), "lease_expired");
    let kinds = |log: &Log| set_now(log).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(kinds(log), ["w-1", "w-2", "w-3"]);
    hands.forward(10);
    assert_eq!(reason(log, "w-1", 0), "lease_expired");
    assert_eq!(kinds(log), ["w-2", "w-3"]);
    // Renewed through the crate it has a lease of its own, whatever its event says.
    assert_eq!(desk.set("w-3", Rebuilding, LONG).wait().unwrap(), None);
    hands.forward(100);
    desk.set("probe", Starting, SHORT).wait().unwrap();
    assert_eq!(reason(log, "probe", usize::try_from(log.tail().get()).unwrap() - 1), "lease_expired");
    assert_eq!(kinds(log), ["w-2", "w-3"]);
}

#[test]
fn reasons_have_their_words() {
    let words = [(Done, "done"), (Failed, "failed"), (LeaseExpired, "lease_expired"), (Restart, "restart")];
    for (reason, word) in words {
        assert_eq!(serde_json::to_value::<ClearReason>(reason).unwrap(), word);
    }
}
