//! P11: approvals through the crate: requested, decided once, waited for across restarts.

mod race;

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use futures_util::FutureExt as _;
use hivelog::event::ApprovalStatus::{Approved, Denied, Failed};
use hivelog::{Desk, Error, Log, Refusal, Request, Resolve};
use serde_json::{Value, json};

use crate::swarm::{Hands, request, resolve, winner, wrong_field};
use crate::{Place, append, approval, lines, note, refusal, seq};

/// Who was woken is told within this; who looks by itself is not.
const SOON: Duration = Duration::from_millis(50);
const LOOKS: usize = 4;

fn desk() -> Desk {
    Desk::of(&Log::temp().unwrap()).unwrap()
}

fn open_ids(desk: &Desk, agent: Option<&str>) -> Vec<i64> {
    desk.open_approvals(agent).unwrap().iter().map(|row| row.id).collect()
}

#[test]
fn a_request_is_decided_in_the_terms_it_was_made_in() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    let asked = Request {
        agent: "alice".into(),
        approval_kind: "apply_commit".into(),
        sha_short: Some("0badcafe".into()),
        diff: Some("-a\r\n+b\u{0}\n\\ No newline at end of file".into()),
        description: Some("why".into()),
    };
    let opened = desk.request(asked.clone()).wait().unwrap();
    assert_eq!((opened.id, opened.seq), (1, Some(seq(1))));
    let row = desk.approval(1).unwrap();
    assert_eq!((row.id, &*row.status, row.resolved_at, row.by.as_deref()), (1, "pending", None, None));
    let told = Request {
        agent: row.agent,
        approval_kind: row.approval_kind,
        sha_short: row.sha_short,
        diff: row.diff,
        description: row.description,
    };
    assert_eq!(told, asked);
    hands.forward(5);
    let failed = Resolve { id: 1, status: Failed, note: Some("no such branch".into()), by: None };
    assert_eq!(desk.resolve(failed).wait().unwrap(), seq(2));
    let event: Value = serde_json::from_str(&lines(desk.log())[1]).unwrap();
    let due = json!({"seq": 2, "recorded_at_ms": 1_005_000, "kind": "approval_resolved", "id": 1,
        "agent": "alice", "approval_kind": "apply_commit", "sha_short": "0badcafe", "status": "failed",
        "resolved_at": 1_005, "note": "no such branch", "description": "why", "by": null});
    assert_eq!(event, due);
    let row = block_on(desk.decision(1)).unwrap();
    assert_eq!(
        (&*row.status, row.resolved_at, row.note.as_deref()),
        ("failed", Some(1_005), Some("no such branch"))
    );
}

#[test]
fn ids_are_dense_also_when_many_ask_at_once() {
    let place = Place::new();
    let desk = Desk::of(&place.open()).unwrap();
    let asking: Vec<_> = (0..8)
        .map(|number| {
            let desk = desk.clone();
            std::thread::spawn(move || -> Vec<i64> {
                let agent = format!("agent-{number}");
                let under_way: Vec<_> = (0..25).map(|_| desk.request(request(&agent))).collect();
                under_way.into_iter().map(|asked| asked.wait().unwrap().id).collect()
            })
        })
        .collect();
    let mut ids = Vec::new();
    for asked in asking {
        let mine = asked.join().unwrap();
        assert!(mine.is_sorted(), "in the order of asking");
        ids.extend(mine);
    }
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), (1..=200).collect());
    assert_eq!(ids.len(), 200);
    // An id of a caller's own lets the counter jump; a lower one that is free does not move it.
    append(desk.log(), &approval(1_000, "alice")).unwrap();
    append(desk.log(), &approval(500, "alice")).unwrap();
    assert_eq!(desk.request(request("alice")).wait().unwrap().id, 1_001);
    let taken = winner(append(desk.log(), &approval(1_001, "bob")));
    assert_eq!(taken.seq(), desk.log().tail());
    desk.log().close();
    let desk = Desk::of(&place.open()).unwrap();
    assert_eq!(desk.request(request("alice")).wait().unwrap().id, 1_002);
    // The oldest first, whatever their ids.
    assert_eq!(open_ids(&desk, Some("alice")), [1_000, 500, 1_001, 1_002]);
    assert_eq!(open_ids(&desk, None).len(), 204);
    assert_eq!(open_ids(&desk, Some("nobody")), Vec::<i64>::new());
}

#[test]
fn ids_end_where_javascript_no_longer_counts() {
    let desk = desk();
    append(desk.log(), &approval(hivelog::limits::INTEGER_MAX, "alice")).unwrap();
    assert_eq!(wrong_field(desk.request(request("alice")).wait()), "id");
    desk.resolve(resolve(hivelog::limits::INTEGER_MAX, Denied)).wait().unwrap();
    assert_eq!(desk.log().tail(), seq(2));
}

#[test]
fn what_is_refused_leaves_nothing() {
    let desk = desk();
    desk.request(request("alice")).wait().unwrap();
    desk.resolve(resolve(1, Approved)).wait().unwrap();
    let before = lines(desk.log());
    for id in [2, 0, -1, i64::MAX, i64::MIN] {
        assert!(matches!(refusal(desk.resolve(resolve(id, Denied)).wait()), Refusal::Unknown(_)), "{id}");
        assert!(matches!(refusal(desk.approval(id)), Refusal::Unknown(_)), "{id}");
        assert!(matches!(refusal(block_on(desk.decision(id))), Refusal::Unknown(_)), "{id}");
    }
    assert_eq!(winner(desk.resolve(resolve(1, Denied)).wait()).line(), before[1].as_bytes());
    for name in ["", "No Name", "a\nb", &"a".repeat(65)] {
        assert_eq!(wrong_field(desk.request(request(name)).wait()), "agent", "{name:?}");
    }
    let odd = Request { approval_kind: "two words".into(), ..request("alice") };
    assert_eq!(wrong_field(desk.request(odd).wait()), "approval_kind");
    desk.request(request("bob")).wait().unwrap();
    let stranger = Resolve { by: Some("No Name".into()), ..resolve(2, Approved) };
    assert_eq!(wrong_field(desk.resolve(stranger).wait()), "by");
    let huge = Request { diff: Some("x".repeat(1 << 20)), ..request("alice") };
    assert!(matches!(refusal(desk.request(huge).wait()), Refusal::TooLarge(_)));
    assert_eq!(lines(desk.log())[..2], before);
    assert_eq!(desk.log().tail(), seq(3));
    // An id is spent by nothing that was refused.
    assert_eq!(desk.request(request("alice")).wait().unwrap().id, 3);
}

#[test]
fn a_diff_comes_back_byte_for_byte() {
    let place = Place::new();
    let desk = Desk::of(&place.open()).unwrap();
    let diffs = [
        String::new(),
        "\n".into(),
        "--- a/x\r\n+++ b/x\r\n@@ -1 +1 @@\r\n-one\r\n+uno\r\n\\ No newline at end of file".into(),
        "a\u{0}b\u{1}\u{7f}\u{85}\u{2028}\u{feff}".into(),
        "\u{1b}]52;c;cm0gLXJm\u{7}\t\u{8}".into(),
        "+\\u0000 \\ \" / \\\\\n".into(),
        "+grün 🐝\n".repeat(40_000),
    ];
    assert!(diffs[6].len() > 400 << 10);
    for (index, diff) in (1..).zip(&diffs) {
        let asked = Request { diff: Some(diff.clone()), ..request("alice") };
        assert_eq!(desk.request(asked).wait().unwrap().id, index);
    }
    desk.resolve(resolve(3, Denied)).wait().unwrap();
    desk.log().close();
    let desk = Desk::of(&place.open()).unwrap();
    for (index, diff) in (1..).zip(&diffs) {
        assert_eq!(desk.approval(index).unwrap().diff.as_ref(), Some(diff));
        let row = desk.log().get(seq(index)).unwrap().unwrap();
        assert_eq!(row.decode::<Value>().unwrap()["diff"], *diff);
    }
}

/// A waiter on a thread of its own, and where it says what it was told.
fn waiting(desk: &Desk, id: i64) -> mpsc::Receiver<(Instant, Result<hivelog::ApprovalRow, Error>)> {
    let (send, told) = mpsc::channel();
    let desk = desk.clone();
    std::thread::spawn(move || {
        let decided = block_on(desk.decision(id));
        send.send((Instant::now(), decided)).unwrap();
    });
    told
}

#[test]
fn a_decision_wakes_whoever_waits_for_it() {
    let desk = desk();
    // What is asked is whether they are woken, not what else this machine does: one quiet look in some is enough.
    let late: Vec<_> = (0..LOOKS).map(|_| median_late(&desk)).take_while(|late| *late >= SOON).collect();
    assert!(late.len() < LOOKS, "{late:?}");
}

/// How long after decisions those who wait for them are told, in the middle.
fn median_late(desk: &Desk) -> Duration {
    let mut late = Vec::new();
    for _ in 0..20 {
        let id = desk.request(request("alice")).wait().unwrap().id;
        let other = desk.request(request("alice")).wait().unwrap().id;
        let told: Vec<_> = (0..3).map(|_| waiting(desk, id)).collect();
        // Some commits pass by, one of them a decision, while the waiters come to wait.
        for number in 0..5 {
            note(desk.log(), number);
        }
        desk.resolve(resolve(other, Denied)).wait().unwrap();
        assert!(told.iter().all(|told| told.try_recv().is_err()), "nothing was decided yet");
        desk.resolve(resolve(id, Approved)).wait().unwrap();
        let decided = Instant::now();
        for told in told {
            let (at, row) = told.recv_timeout(crate::swarm::PATIENCE).unwrap();
            assert_eq!(row.unwrap().status, "approved");
            late.push(at.saturating_duration_since(decided));
        }
    }
    late.sort();
    late[late.len() / 2]
}

#[test]
fn a_wait_ends_with_the_log_and_is_repeated_on_the_next_one() {
    let place = Place::new();
    let desk = Desk::of(&place.open()).unwrap();
    let id = desk.request(request("alice")).wait().unwrap().id;
    let told = waiting(&desk, id);
    desk.log().close();
    assert_eq!(told.recv_timeout(crate::swarm::PATIENCE).unwrap().1, Err(Error::Closed));
    let desk = Desk::of(&place.open()).unwrap();
    let told = waiting(&desk, id);
    desk.resolve(resolve(id, Denied)).wait().unwrap();
    assert_eq!(told.recv_timeout(crate::swarm::PATIENCE).unwrap().1.unwrap().status, "denied");
    desk.log().close();
    // Decided before: nothing is waited for.
    let desk = Desk::of(&place.open()).unwrap();
    assert_eq!(block_on(desk.decision(id)).unwrap().status, "denied");
    assert_eq!(open_ids(&desk, None), Vec::<i64>::new());
}

#[test]
fn commands_find_the_open_bounds_too() {
    let desk = desk();
    let asked: Vec<_> = (0..=1_000).map(|_| desk.request(request("alice"))).collect();
    let told: Vec<_> = asked.into_iter().map(hivelog::Receipt::wait).collect();
    assert!(told[..1_000].iter().all(Result::is_ok));
    assert!(matches!(refusal(told.into_iter().next_back().unwrap()), Refusal::TooManyOpen(_)));
    // Questions count too, and others are free.
    let asked = desk.ask(crate::swarm::ask("alice", "?")).wait();
    assert!(matches!(refusal(asked), Refusal::TooManyOpen(_)));
    desk.request(request("bob")).wait().unwrap();
    desk.resolve(resolve(1, Denied)).wait().unwrap();
    assert_eq!(desk.ask(crate::swarm::ask("alice", "?")).wait().unwrap().id, 1);
}

#[test]
fn the_queue_counts_all_the_text_that_it_holds() {
    let long = || "x".repeat(1 << 20);
    let wishes: [&dyn Fn(&Desk) -> hivelog::Receipt<hivelog::Opened>; 3] = [
        &|desk| desk.request(Request { sha_short: Some(long()), ..request("alice") }),
        &|desk| desk.request(Request { approval_kind: long(), ..request("alice") }),
        &|desk| desk.ask(crate::swarm::ask(&long(), "?")),
    ];
    for wish in wishes {
        let place = Place::new();
        let desk = Desk::of(&place.open()).unwrap();
        // Nothing that is queued can be written meanwhile.
        let conn = crate::foreign(&place.path());
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        // 64 MiB may wait, and 8 MiB are under way.
        let full = (0..80).find_map(|_| wish(&desk).now_or_never());
        assert_eq!(full, Some(Err(Error::QueueFull)));
        conn.execute_batch("ROLLBACK").unwrap();
    }
}

#[test]
fn a_dropped_handle_frees_the_file_at_once() {
    // What runs for a desk must not keep the log open a moment longer than its last handle.
    let place = Place::new();
    for round in 0..300 {
        let log = Log::open(place.path(), hivelog::Options::default());
        let log = log.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let desk = Desk::of(&log).unwrap();
        drop(log);
        drop(desk);
    }
}

/// What is copied from a request does not keep anybody from deciding it, however long it is.
#[test]
fn a_request_as_large_as_may_be_can_be_decided() {
    let desk = desk();
    // As much as leaves no room for what a decision has besides.
    let description = "x".repeat((1 << 20) - 100);
    let asked = Request { description: Some(description.clone()), ..request("alice") };
    desk.request(Request { approval_kind: "a".into(), ..asked.clone() }).wait().unwrap();
    let short = Request { description: None, sha_short: Some(description), ..asked };
    desk.request(Request { approval_kind: "a".into(), ..short }).wait().unwrap();
    for id in [1, 2] {
        let denied = Resolve { id, status: Denied, note: Some("too long".repeat(100)), by: None };
        desk.resolve(denied).wait().unwrap();
        let row = desk.approval(id).unwrap();
        assert_eq!((&*row.status, row.note.unwrap().len()), ("denied", 800));
        // It is still there, in the request.
        assert!(row.description.or(row.sha_short).unwrap().len() > 1_000_000);
    }
}
