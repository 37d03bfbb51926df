//! P7, P9, P11: the board, its bounds, and decisions that are made once.

use std::sync::{Arc, Barrier};

use hivelog::{Error, Log, Refusal};
use serde_json::{Value, json};

use crate::{append, approval, batch, refusal, seq};

/// The members of the snapshot, by name.
fn check_board(log: &Log, pointer: &str, due: Value) {
    let board: Value = log.snapshot().unwrap().decode().unwrap();
    assert_eq!(board.pointer(pointer), Some(&due), "{board:#}");
}

fn resolve(log: &Log, id: i64, agent: &str, status: &str) -> Result<i64, Error> {
    append(
        log,
        &format!(
            r#"{{"kind":"approval_resolved","id":{id},"agent":"{agent}","approval_kind":"spawn","status":"{status}","resolved_at":5,"by":"operator"}}"#
        ),
    )
}

fn question(id: i64, multi: bool) -> String {
    format!(
        r#"{{"kind":"question_added","id":{id},"asker":"alice","question":"?","options":["x","y"],"multi":{multi},"asked_at":1}}"#
    )
}

fn answer(log: &Log, id: i64, rest: &str) -> Result<i64, Error> {
    append(log, &format!(r#"{{"kind":"question_resolved","id":{id},"answered_at":9,{rest}}}"#))
}

#[test]
fn an_empty_board() {
    let log = Log::temp().unwrap();
    let due = json!({"log_id": log.id().to_string(), "seq": 0, "floor": 0, "approvals": [], "questions": [],
        "transients": [], "recent_approvals": [], "recent_questions": []});
    check_board(&log, "", due);
}

#[test]
fn an_approval_from_open_to_closed() {
    let log = Log::temp().unwrap();
    append(&log, &approval(7, "alice")).unwrap();
    check_board(&log, "/approvals/0/status", json!("pending"));
    check_board(&log, "/approvals/0/seq", json!(1));
    assert_eq!(refusal(resolve(&log, 8, "alice", "denied")), Refusal::Unknown("approval 8".into()));
    let other = refusal(resolve(&log, 7, "bob", "denied"));
    assert!(matches!(other, Refusal::Invalid { field: Some(field), .. } if &*field == "agent"));
    assert_eq!(resolve(&log, 7, "alice", "failed").unwrap(), 2);
    check_board(&log, "/approvals", json!([]));
    check_board(&log, "/recent_approvals/0/status", json!("failed"));
    check_board(&log, "/recent_approvals/0/resolved_seq", json!(2));
    check_board(&log, "/recent_approvals/0/by", json!("operator"));
    // The loser gets the whole event that won; the id is never free again.
    match refusal(resolve(&log, 7, "alice", "approved")) {
        Refusal::Conflict { winner, .. } => assert_eq!(Some(*winner), log.get(seq(2)).unwrap()),
        other => panic!("{other:?}"),
    }
    match refusal(append(&log, &approval(7, "carol"))) {
        Refusal::Conflict { winner, .. } => assert_eq!(winner.seq(), seq(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(log.tail(), seq(2));
}

#[test]
fn a_question_is_closed_once_and_in_its_own_terms() {
    let log = Log::temp().unwrap();
    append(&log, &question(1, false)).unwrap();
    append(&log, &question(2, true)).unwrap();
    for unfit in [
        r#""answer":"z","answerer":"operator","cancelled":false,"selected":["z"]"#,
        r#""answer":"x\ny","answerer":"operator","cancelled":false,"selected":["x","y"]"#,
        r#""answer":"no","answerer":"operator","cancelled":true"#,
        r#""answer":"[cancelled]","answerer":"operator","cancelled":true,"outcome":"answered""#,
        r#""answer":"late","answerer":"ttl-watchdog","cancelled":false"#,
        r#""answer":"[expired]","answerer":"operator","cancelled":false,"outcome":"expired""#,
    ] {
        assert!(matches!(refusal(answer(&log, 1, unfit)), Refusal::Invalid { .. }), "{unfit}");
    }
    answer(&log, 1, r#""answer":"[expired]","answerer":"ttl-watchdog","cancelled":false"#).unwrap();
    check_board(&log, "/recent_questions/0/outcome", json!("expired"));
    let late = answer(&log, 1, r#""answer":"x","answerer":"operator","cancelled":false"#);
    assert!(matches!(refusal(late), Refusal::Conflict { winner, .. } if winner.seq() == seq(3)));
    answer(&log, 2, r#""answer":"x\ny","answerer":"bob","cancelled":false,"selected":["y","x"]"#).unwrap();
    check_board(&log, "/recent_questions/0/selected", json!(["y", "x"]));
    check_board(&log, "/recent_questions/1/outcome", json!("expired"));
    // The asker is concerned by the answer too.
    assert_eq!(log.get(seq(4)).unwrap().unwrap().agents().collect::<Vec<_>>(), ["bob", "alice"]);
}

#[test]
fn a_transient_is_replaced_and_cleared() {
    let log = Log::temp().unwrap();
    let set = |kind: &str| {
        append(
            &log,
            &format!(r#"{{"kind":"transient_set","name":"w-1","transient_kind":"{kind}","since_unix":3}}"#),
        )
    };
    let clear = || append(&log, r#"{"kind":"transient_cleared","name":"w-1"}"#);
    assert!(matches!(refusal(clear()), Refusal::Unknown(_)));
    set("starting").unwrap();
    set("stopping").unwrap();
    check_board(&log, "/transients/0/transient_kind", json!("stopping"));
    clear().unwrap();
    check_board(&log, "/transients", json!([]));
}

#[test]
fn closed_items_beyond_fifty_leave_the_board() {
    let log = Log::temp().unwrap();
    for id in 1..=60 {
        append(&log, &approval(id, "alice")).unwrap();
        resolve(&log, id, "alice", "approved").unwrap();
    }
    let board: Value = log.snapshot().unwrap().decode().unwrap();
    let ids: Vec<i64> =
        board["recent_approvals"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (11..=60).rev().collect::<Vec<_>>());
}

/// Adds open approvals from `first` on, as many as are left until `last`.
fn open_many(log: &Log, agent: &str, first: i64, last: i64) -> Result<(), Error> {
    let texts: Vec<String> = (first..=last).map(|id| approval(id, agent)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    batch(log, None, &texts).map(drop)
}

#[test]
fn one_agent_has_a_thousand_open_items_at_most() {
    let log = Log::temp().unwrap();
    open_many(&log, "alice", 1, 1_000).unwrap();
    assert!(matches!(refusal(append(&log, &approval(1_001, "alice"))), Refusal::TooManyOpen(_)));
    append(&log, &approval(1_001, "bob")).unwrap();
    resolve(&log, 5, "alice", "denied").unwrap();
    append(&log, &approval(1_002, "alice")).unwrap();
    assert!(matches!(refusal(append(&log, &approval(1_003, "alice"))), Refusal::TooManyOpen(_)));
}

#[test]
fn all_agents_have_ten_thousand_open_items_at_most() {
    let log = Log::temp().unwrap();
    for agent in 0..10 {
        open_many(&log, &format!("a{agent}"), agent * 1_000 + 1, (agent + 1) * 1_000).unwrap();
    }
    assert!(matches!(refusal(append(&log, &approval(10_001, "late"))), Refusal::TooManyOpen(_)));
    resolve(&log, 1, "a0", "denied").unwrap();
    append(&log, &approval(10_001, "late")).unwrap();
    log.close();
    assert_eq!(hivelog::check(log.path()).unwrap().problems, Vec::<String>::new());
}

#[test]
fn the_text_of_one_agents_open_items_is_bounded() {
    let log = Log::temp().unwrap();
    let large = |id: i64| {
        let diff = "+".repeat((1 << 20) - 200);
        format!(
            r#"{{"kind":"approval_added","id":{id},"agent":"alice","approval_kind":"spawn","diff":"{diff}"}}"#
        )
    };
    for id in 1..=8 {
        append(&log, &large(id)).unwrap();
    }
    assert!(matches!(refusal(append(&log, &large(9))), Refusal::TooManyOpen(_)));
    resolve(&log, 1, "alice", "denied").unwrap();
    append(&log, &large(9)).unwrap();
}

#[test]
fn a_race_of_deciders_has_one_winner_and_all_others_learn_who() {
    let log = Log::temp().unwrap();
    for id in 1..=20 {
        append(&log, &approval(id, "alice")).unwrap();
        let start = Arc::new(Barrier::new(8));
        let deciders: Vec<_> = (0..8)
            .map(|_| {
                let (log, start) = (log.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    resolve(&log, id, "alice", "approved")
                })
            })
            .collect();
        let told: Vec<_> = deciders.into_iter().map(|decider| decider.join().unwrap()).collect();
        let won: Vec<i64> = told.iter().filter_map(|told| told.as_ref().ok().copied()).collect();
        assert_eq!(won, [id * 2]);
        for lost in told.into_iter().filter(Result::is_err) {
            assert!(matches!(refusal(lost), Refusal::Conflict { winner, .. } if winner.seq() == seq(id * 2)));
        }
    }
}

#[test]
fn the_past_board_is_the_fold_up_to_there() {
    let log = Log::temp().unwrap();
    append(&log, &approval(1, "alice")).unwrap();
    let then = log.snapshot().unwrap();
    resolve(&log, 1, "alice", "denied").unwrap();
    assert_eq!(log.snapshot_at(seq(1)).unwrap().json(), then.json());
    assert_eq!(log.snapshot_at(seq(2)).unwrap().json(), log.snapshot().unwrap().json());
    let empty: Value = log.snapshot_at(seq(0)).unwrap().decode().unwrap();
    assert_eq!(empty["approvals"], json!([]));
    let above = refusal(log.snapshot_at(seq(3)));
    assert!(matches!(above, Refusal::Invalid { field: Some(field), .. } if &*field == "at"));
    // Looking at the past leaves the present alone.
    check_board(&log, "/approvals", json!([]));
}
