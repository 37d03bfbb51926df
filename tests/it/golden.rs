//! The golden list: events in the order of a log, and the board after some of them. The page's own fold is held
//! against the same two files.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hivelog::{Log, Options};
use serde_json::Value;

use crate::{Place, append, seq};

const EVENTS: &str = include_str!("../golden/board.events.ndjson");
const STATES: &str = include_str!("../golden/board.states.ndjson");
/// The files have this and the seq for the time of each event.
const TIME_MS: i64 = 1_763_829_000_000;
const LOG_ID: &str = "0000000000000000";

#[test]
fn the_board_is_the_golden_one_after_each_event() {
    let place = Place::new();
    let now = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&now);
    let options = Options::default().clock(move || clock.load(Ordering::SeqCst));
    let log = Log::open(place.path(), options).unwrap();
    for (number, line) in (1..).zip(EVENTS.lines()) {
        now.store(TIME_MS + number, Ordering::SeqCst);
        // As a client sends it: without what the log adds in front.
        let (_, rest) = line.split_once("\"kind\":").unwrap();
        assert_eq!(append(&log, &format!("{{\"kind\":{rest}")).unwrap(), number, "{line}");
        let row = log.get(seq(number)).unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&row.line()), line);
    }
    let mut looked_at = 0;
    for line in STATES.lines() {
        let golden: Value = serde_json::from_str(line).unwrap();
        let at = golden["seq"].as_i64().unwrap();
        let state = log.snapshot_at(seq(at)).unwrap().json();
        let state = String::from_utf8(state.to_vec()).unwrap().replacen(log.id().as_str(), LOG_ID, 1);
        assert_eq!(state, line, "at {at}");
        looked_at += 1;
    }
    assert!(looked_at > 20, "the list is not there");
    let head: Value = serde_json::from_str(STATES.lines().last().unwrap()).unwrap();
    assert_eq!(head["seq"], log.tail().get(), "the last board is that of the last event");
}
