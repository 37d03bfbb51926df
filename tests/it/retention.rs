//! Retention: what is past its time goes, whole or not at all, and nobody waits for it.

mod live;
mod rules;

use std::collections::BTreeSet;

use hivelog::{Error, Log, Prune, Pruned, Range};
use serde_json::Value;

use crate::transfer::export as export_text;
use crate::{Place, append, approval, lines, note, refusal, seq};

/// Prunes what is before a seq.
fn prune(log: &Log, before: i64, kinds: &[&str]) -> Pruned {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let asked = Prune { before_seq: Some(before), kinds, ..Prune::default() };
    let dry = log.prune(&Prune { dry_run: true, ..asked.clone() }).unwrap();
    let done = log.prune(&asked).unwrap();
    assert_eq!(dry, done, "what a dry run says is what happens");
    assert_eq!(log.prune(&asked).unwrap(), Pruned { pruned: 0, ..done }, "and happens once");
    done
}

fn message(log: &Log, kind: &str, body: &str) -> i64 {
    append(log, &format!(r#"{{"kind":"{kind}","from":"alice","to":"bob","body":"{body}","at":1}}"#)).unwrap()
}

fn denied(id: i64, agent: &str) -> String {
    format!(
        r#"{{"kind":"approval_resolved","id":{id},"agent":"{agent}","approval_kind":"spawn","status":"denied","resolved_at":1}}"#
    )
}

fn seqs(log: &Log) -> Vec<i64> {
    let page = log.range(&Range { limit: 10_000, ..Range::default() }).unwrap();
    page.rows().map(|row| row.seq().get()).collect()
}

/// The file is whole, and its board is the fold of what is left.
fn check_whole(log: &Log) {
    assert_eq!(hivelog::check(log.path()).unwrap().problems, Vec::<String>::new());
    let now = log.snapshot().unwrap();
    assert_eq!(now.json(), log.snapshot_at(now.seq).unwrap().json());
}

#[test]
fn messages_go_and_what_else_is_there_stays_readable() {
    let place = Place::new();
    let log = place.open();
    for n in 0..20 {
        message(&log, "sent", "x");
        message(&log, "delivered", "x");
        note(&log, n);
    }
    let done = prune(&log, 31, &[]);
    assert_eq!(done, Pruned { floor: seq(29), pruned: 20 });
    // The highest that went is the floor, and from there on nothing is missing.
    let left: BTreeSet<i64> = seqs(&log).into_iter().collect();
    let due: BTreeSet<i64> = (1..=60).filter(|seq| *seq > 30 || seq % 3 == 0).collect();
    assert_eq!(left, due);
    assert_eq!(log.get(seq(28)), Err(Error::Gone { floor: seq(29) }));
    assert_eq!(log.get(seq(27)).unwrap().unwrap().kind(), "test.note");
    let page = log.range(&Range { before: Some(10), limit: 2, ..Range::default() }).unwrap();
    assert_eq!(page.rows().map(|row| row.seq().get()).collect::<Vec<_>>(), [6, 9]);
    assert_eq!((page.seq, page.floor), (seq(60), seq(29)));
    assert_eq!(log.snapshot().unwrap().floor, seq(29));
    assert_eq!(log.snapshot_at(seq(1)).unwrap().seq, seq(1), "no past of the board is gone");
    check_whole(&log);
    // Nothing of it is derived from rows that can go.
    log.close();
    let log = place.open();
    assert_eq!((log.tail(), log.snapshot().unwrap().floor), (seq(60), seq(29)));
    assert_eq!(note(&log, 0), 61);
}

#[test]
fn a_bound_and_a_kind_are_asked_for_or_refused() {
    let log = Log::temp().unwrap();
    note(&log, 1);
    assert!(refusal(log.prune(&Prune::default())).to_string().contains("before"));
    for kind in ["", "No", "a..b", "sent "] {
        let asked = Prune { before_seq: Some(2), kinds: vec![kind.into()], ..Prune::default() };
        assert!(refusal(log.prune(&asked)).to_string().contains("kind"), "{kind}");
    }
    for before in [i64::MIN, -1, 0, 1] {
        assert_eq!(prune(&log, before, &["*"]), Pruned { floor: seq(0), pruned: 0 });
    }
    assert_eq!(prune(&log, i64::MAX, &["*"]), Pruned { floor: seq(1), pruned: 1 });
    assert_eq!(Log::open_read_only(log.path()).unwrap().prune(&Prune::default()), Err(Error::ReadOnly));
}

#[test]
fn an_approval_goes_whole_and_never_while_it_is_open() {
    let place = Place::new();
    let log = place.open();
    append(&log, &approval(1, "alice")).unwrap();
    append(&log, &approval(2, "alice")).unwrap();
    append(&log, &approval(3, "alice")).unwrap();
    append(&log, &denied(2, "alice")).unwrap();
    note(&log, 1);
    append(&log, &denied(1, "alice")).unwrap();
    // Not asked for, they stay.
    assert_eq!(prune(&log, 99, &[]).pruned, 0);
    // The second one is closed before seq 5, the first is not, the third is open.
    assert_eq!(prune(&log, 5, &["approval_added"]), Pruned { floor: seq(4), pruned: 2 });
    assert_eq!(seqs(&log), [1, 3, 5, 6]);
    assert_eq!(log.snapshot_at(seq(3)), Err(Error::Gone { floor: seq(4) }));
    assert_eq!(log.snapshot_at(seq(4)).unwrap().decode::<Value>().unwrap()["approvals"][1]["id"], 3);
    check_whole(&log);
    assert_eq!(prune(&log, 99, &["approvals"]), Pruned { floor: seq(6), pruned: 2 });
    assert_eq!(seqs(&log), [3, 5]);
    let board = log.snapshot().unwrap().decode::<Value>().unwrap();
    assert_eq!((board["approvals"].as_array().unwrap().len(), &board["approvals"][0]["id"]), (1, &3.into()));
    assert_eq!(board["recent_approvals"], serde_json::json!([]));
    check_whole(&log);
    // Its id is never given again, also by a raw append, also in a copy.
    assert!(refusal(append(&log, &approval(1, "bob"))).to_string().contains("pruned"));
    assert!(refusal(append(&log, &denied(1, "alice"))).to_string().contains("not known"));
    let other = Place::new();
    let text = export_text(&log);
    hivelog::import(other.path(), &mut text.as_bytes(), &mut |_, _| {}).unwrap();
    let copy = other.open();
    assert_eq!(lines(&copy), lines(&log));
    check_whole(&copy);
    assert!(refusal(append(&copy, &approval(2, "bob"))).to_string().contains("pruned"));
    let desk = hivelog::Desk::of(&copy).unwrap();
    let request =
        hivelog::Request { agent: "bob".into(), approval_kind: "spawn".into(), ..Default::default() };
    assert_eq!(desk.request(request).wait().unwrap().id, 4);
    append(&log, &denied(3, "alice")).unwrap();
}

#[test]
fn a_transient_goes_with_all_that_it_was() {
    let log = Log::temp().unwrap();
    let set = |name: &str, kind: &str| {
        let text =
            format!(r#"{{"kind":"transient_set","name":"{name}","transient_kind":"{kind}","since_unix":1}}"#);
        append(&log, &text).unwrap()
    };
    let clear =
        |name: &str| append(&log, &format!(r#"{{"kind":"transient_cleared","name":"{name}"}}"#)).unwrap();
    set("alice", "spawning"); // 1
    set("bob", "starting"); // 2
    set("alice", "starting"); // 3
    clear("bob"); // 4
    set("bob", "stopping"); // 5
    clear("alice"); // 6
    set("alice", "stopping"); // 7
    clear("bob"); // 8
    // Alice's was replaced before 5, but lasted to 6.
    assert_eq!(prune(&log, 5, &["transients"]), Pruned { floor: seq(4), pruned: 2 });
    assert_eq!(seqs(&log), [1, 3, 5, 6, 7, 8]);
    check_whole(&log);
    assert_eq!(prune(&log, 99, &["transient_set"]), Pruned { floor: seq(8), pruned: 5 });
    assert_eq!(seqs(&log), [7]);
    check_whole(&log);
    // Many in one batch, each with its own events.
    for n in 0..300 {
        set(&format!("agent-{}", n % 7), "spawning");
        clear(&format!("agent-{}", n % 7));
    }
    assert_eq!(prune(&log, 9_999, &["transients"]).pruned, 600);
    check_whole(&log);
}

#[test]
fn keys_outlive_their_events() {
    let place = Place::new();
    let log = place.open();
    let text = r#"{"kind":"a.b","key":"k","n":1}"#;
    assert_eq!(append(&log, text).unwrap(), 1);
    assert_eq!(prune(&log, 9, &["a.b"]).pruned, 1);
    assert_eq!(append(&log, text).unwrap(), 1, "stored once is stored once");
    let other = Place::new();
    let export = export_text(&log);
    hivelog::import(other.path(), &mut export.as_bytes(), &mut |_, _| {}).unwrap();
    let copy = other.open();
    assert_eq!(append(&copy, text).unwrap(), 1);
    assert_eq!(note(&copy, 1), 2);
}

#[test]
fn time_does_not_go_back_when_the_newest_event_went() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    let place = Place::new();
    let now = Arc::new(AtomicI64::new(5_000));
    let open = || {
        let now = Arc::clone(&now);
        let options = hivelog::Options::default().clock(move || now.load(Ordering::SeqCst));
        Log::open(place.path(), options).unwrap()
    };
    let log = open();
    note(&log, 1);
    assert_eq!(prune(&log, 9, &["*"]), Pruned { floor: seq(1), pruned: 1 });
    log.close();
    now.store(1_000, Ordering::SeqCst);
    let log = open();
    assert_eq!(note(&log, 2), 2);
    assert_eq!(log.get(seq(2)).unwrap().unwrap().recorded_at_ms(), 5_000);
    check_whole(&log);
}

#[test]
fn space_is_given_back_in_steps() {
    let log = Log::temp().unwrap();
    let body = "x".repeat(2_000);
    for _ in 0..4_000 {
        drop(
            log.append(
                hivelog::Draft::from_json(&format!(
                    r#"{{"kind":"sent","from":"alice","to":"bob","body":"{body}","at":1}}"#
                ))
                .unwrap(),
            ),
        );
    }
    note(&log, 1);
    let pages = |name: &str| -> i64 {
        crate::foreign(log.path()).query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    };
    let full = pages("page_count");
    assert!(full > 2_000, "{full}");
    assert_eq!(prune(&log, 3_901, &[]).pruned, 3_900);
    assert!(pages("freelist_count") > full / 2);
    log.give_back().unwrap();
    assert_eq!(pages("freelist_count"), 0);
    assert!(pages("page_count") < full / 10, "{} of {full}", pages("page_count"));
    check_whole(&log);
    let path = log.path().to_owned();
    log.close();
    let bytes = i64::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
    assert!(bytes < full * 4_096 / 10, "{bytes} bytes of {full} pages");
}
