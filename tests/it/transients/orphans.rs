//! What a process leaves that is gone: cleared at the next desk, where it was set through the crate.

use std::time::Duration;

use hivelog::event::TransientKind::{Spawning, Starting};
use hivelog::{Desk, Seq};

use super::{LONG, reason, set_now};
use crate::other::Other;
use crate::swarm::Hands;
use crate::{Place, note, seq};

#[test]
fn what_was_set_by_an_opening_that_is_over_is_cleared_as_restart() {
    let place = Place::new();
    let desk = Desk::of(&place.open()).unwrap();
    let guard = desk.hold("w-1", Starting, LONG).wait().unwrap();
    desk.set("w-2", Spawning, LONG).wait().unwrap();
    desk.log().append(super::raw("w-3", Starting, None)).wait().unwrap();
    std::mem::forget(guard);
    desk.log().close();
    let log = place.open();
    note(&log, 4);
    assert_eq!(set_now(&log).len(), 3, "a log without a desk clears nothing");
    let desk = Desk::of(&log).unwrap();
    // By the time the desk is there.
    assert_eq!(set_now(&log), [("w-3".into(), "starting".into())]);
    assert_eq!((reason(&log, "w-1", 4), reason(&log, "w-2", 4)), ("restart".into(), "restart".into()));
    assert_eq!(log.tail(), seq(6));
    // A second desk of the same opening is the same one.
    desk.set("w-1", Starting, LONG).wait().unwrap();
    drop(desk);
    let desk = Desk::of(&log).unwrap();
    assert_eq!(set_now(desk.log()).len(), 2);
}

#[test]
fn a_clock_set_back_between_two_openings_does_not_lengthen_a_lease() {
    let place = Place::new();
    let hands = Hands::at(1_000_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    // As over HTTP: what nobody's process holds keeps its lease.
    desk.set("w-1", Starting, Duration::from_secs(6)).wait().unwrap();
    desk.log().close();
    let conn = crate::foreign(&place.path());
    assert_eq!(conn.execute("UPDATE leases SET owner = NULL", []).unwrap(), 1);
    drop(conn);
    hands.forward(-86_400);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    assert_eq!(set_now(desk.log()), [("w-1".into(), "starting".into())]);
    let begin = std::time::Instant::now();
    assert_eq!(reason(desk.log(), "w-1", 1), "lease_expired");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn what_a_killed_process_held_is_cleared() {
    let place = Place::new();
    let mut other = Other::open(&place.path());
    other.hold("w-1");
    other.kill();
    let desk = Desk::of(&place.open()).unwrap();
    assert_eq!(set_now(desk.log()), []);
    assert_eq!(reason(desk.log(), "w-1", 1), "restart");
    assert_eq!(desk.log().tail(), Seq::new(2).unwrap());
}
