//! P1, P5: the wall clock of the server goes a day back and forth; and the last seq.

use std::time::{Duration, Instant};

use crate::client::{append, call, get};
use crate::rig::{Orders, Rig};
use crate::story::{Story, Told};

const DAY_MS: i64 = 24 * 3_600 * 1_000;
const TRIES: usize = 10;

#[test]
fn a_clock_that_jumps_a_day_keeps_order_and_resume_and_leases() {
    let rig = Rig::new();
    let mut server = rig.serve(&[]).unwrap();
    let address = server.address();
    let mut story = Story::new();
    let follower = story.subscriber.follow(&address, None, None);
    let mut clock_before_ms = 0;
    for (index, clock_ms) in [0, -DAY_MS, DAY_MS, -2 * DAY_MS].into_iter().enumerate() {
        // Where the machine was not quick enough for the lease, nothing was seen: one quiet try in some is enough.
        let was_seen = (0..TRIES).any(|again| {
            rig.order(Orders { clock_ms: clock_before_ms, ..Orders::default() });
            lease_over_a_jump(&rig, &address, &mut story, &format!("t{index}.{again}"), clock_ms)
        });
        assert!(was_seen, "no lease was looked at in time in {TRIES} tries");
        clock_before_ms = clock_ms;
    }
    let history = get(&address, "/api/history?after=0&limit=1000").unwrap().json();
    let times: Vec<i64> = history["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["recorded_at_ms"].as_i64())
        .collect();
    assert!(times.len() > 15 && times.is_sorted(), "{times:?}");
    assert!(times.last().unwrap() - times[0] > DAY_MS / 2, "the clock of the server did not move");
    assert_eq!(server.stop().status.code(), Some(0));
    follower.join().unwrap();
    // It goes on under a clock that is two days behind the last time on the log.
    let mut server = rig.serve(&[]).unwrap();
    assert!(matches!(story.make_next(&server.address(), None), Told::Acked | Told::Refused));
    server.stop();
    let last = story.subscriber.position();
    assert!(last > 15, "{last}");
    check_events_of_leases(&rig, story);
}

/// A lease is a length of time: the clock's jump neither ends nor lengthens it. False where it was looked at too
/// late to say.
fn lease_over_a_jump(rig: &Rig, address: &str, story: &mut Story, name: &str, clock_ms: i64) -> bool {
    let json = "Content-Type: application/json\r\n";
    let body = br#"{"transient_kind":"spawning","lease_seconds":1}"#;
    let begin = Instant::now();
    let told = call(address, "PUT", &format!("/api/transients/{name}"), json, body).unwrap();
    assert_eq!(told.status, 200, "{}", String::from_utf8_lossy(&told.body));
    rig.order(Orders { clock_ms, ..Orders::default() });
    for _ in 0..5 {
        assert!(matches!(story.make_next(address, None), Told::Acked | Told::Refused));
    }
    let is_open = || {
        let state = get(address, "/api/state").unwrap().json();
        state["transients"].as_array().unwrap().iter().any(|row| row["name"] == name)
    };
    let was_open = is_open();
    let is_in_time = begin.elapsed() < Duration::from_millis(900);
    assert!(was_open || !is_in_time, "the jump ended {name}");
    while is_open() {
        assert!(begin.elapsed() < Duration::from_mins(1), "the lease of {name} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let lasted = begin.elapsed();
    assert!(lasted > Duration::from_millis(700), "{name} ended after {lasted:?}");
    is_in_time
}

/// The story knows its own calls; what became of leases is the server's.
fn check_events_of_leases(rig: &Rig, story: Story) {
    let report = hivelog::check(rig.db()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let run = story.subscriber.run.lock().unwrap();
    let file = crate::checker::File::read(&rig.db()).unwrap();
    for (received, due) in run.received.iter().zip(&file.rows) {
        assert_eq!((received.seq, received.line), (due.seq, due.line));
    }
}

#[test]
fn the_writer_stops_at_the_last_seq() {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let event = r#"{"kind":"test.note","n":1}"#;
    assert_eq!(append(&server.address(), None, event).unwrap().status, 201);
    server.stop();
    let conn = hivelog::rusqlite::Connection::open(rig.db()).unwrap();
    conn.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'events'", [(1i64 << 53) - 2]).unwrap();
    drop(conn);
    let mut server = rig.serve_plainly();
    let address = server.address();
    let told = append(&address, None, event).unwrap();
    assert_eq!(String::from_utf8_lossy(&told.body).trim(), r#"{"seq":9007199254740991}"#);
    let history = get(&address, "/api/history?limit=1").unwrap();
    assert!(String::from_utf8_lossy(&history.body).contains(r#"{"seq":9007199254740991,"#));
    let told = append(&address, None, event);
    assert!(told.is_none_or(|told| told.status == 500 && told.problem() == "poisoned"));
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.last_line().contains("last seq"), "{ended:?}");
}
