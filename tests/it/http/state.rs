//! `GET /api/state`: a snapshot is the fold of the events up to its seq.

use serde_json::{Value, json};

use crate::client::Reply;
use crate::server::{Server, check_problem};

/// The board as this test folds it, from nothing but events on the wire.
#[derive(Clone, Debug, Default)]
struct Board {
    approvals: Vec<Value>,
    questions: Vec<Value>,
    transients: Vec<Value>,
    recent_approvals: Vec<Value>,
    recent_questions: Vec<Value>,
}

const APPROVAL_END: [&str; 4] = ["status", "resolved_at", "note", "by"];
const QUESTION_END: [&str; 6] = ["answer", "answerer", "answered_at", "cancelled", "outcome", "selected"];

impl Board {
    /// The board of a snapshot.
    fn of(state: &Value) -> Self {
        let list = |name: &str| state[name].as_array().expect("a list").clone();
        Self {
            approvals: list("approvals"),
            questions: list("questions"),
            transients: list("transients"),
            recent_approvals: list("recent_approvals"),
            recent_questions: list("recent_questions"),
        }
    }

    fn json(&self) -> Value {
        json!({"approvals": self.approvals, "questions": self.questions, "transients": self.transients,
            "recent_approvals": self.recent_approvals, "recent_questions": self.recent_questions})
    }

    fn apply(&mut self, event: &Value) {
        let open = |extra: Value| {
            let mut row = event.clone();
            row.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            row
        };
        let close = |open: &mut Vec<Value>, recent: &mut Vec<Value>, fields: &[&str]| {
            let index = open.iter().position(|row| row["id"] == event["id"]).expect("it is open");
            let mut row = open.remove(index);
            row["resolved_seq"] = event["seq"].clone();
            for field in fields {
                row[field] = event[field].clone();
            }
            recent.insert(0, row);
            recent.truncate(50);
        };
        match event["kind"].as_str().expect("a kind") {
            "approval_added" => self.approvals.push(open(json!({"status": "pending", "resolved_seq": null,
                "resolved_at": null, "note": null, "by": null}))),
            "approval_resolved" => close(&mut self.approvals, &mut self.recent_approvals, &APPROVAL_END),
            "question_added" => self.questions.push(open(json!({"outcome": "open", "resolved_seq": null,
                "answer": null, "answerer": null, "answered_at": null, "cancelled": false, "selected": null}))),
            "question_resolved" => close(&mut self.questions, &mut self.recent_questions, &QUESTION_END),
            kind @ ("transient_set" | "transient_cleared") => {
                self.transients.retain(|row| row["name"] != event["name"]);
                if kind == "transient_set" {
                    self.transients.push(event.clone());
                }
            }
            _ => {}
        }
    }
}

/// A swarm's afternoon: everything is opened, most of it closed, some names again and again.
fn afternoon(rounds: i64) -> Vec<Value> {
    let mut events = Vec::new();
    for id in 1..=rounds {
        let agent = ["alice", "bob", "carol"][usize::try_from(id % 3).expect("small")];
        events.push(
            json!({"kind": "approval_added", "id": id, "agent": agent, "approval_kind": "apply_commit",
            "sha_short": "abc1234", "diff": "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n", "description": null}),
        );
        events.push(json!({"kind": "question_added", "id": id, "asker": agent, "question": "which?",
            "options": ["left", "right"], "multi": id % 2 == 0, "asked_at": id, "deadline_at": null}));
        events.push(
            json!({"kind": "transient_set", "name": agent, "transient_kind": "rebuilding", "since_unix": id}),
        );
        events.push(json!({"kind": "sent", "from": agent, "to": "operator", "body": "hm", "at": id}));
        if id % 4 != 0 {
            let status = ["approved", "denied", "failed"][usize::try_from(id % 3).expect("small")];
            events.push(json!({"kind": "approval_resolved", "id": id, "agent": agent,
                "approval_kind": "apply_commit", "status": status, "resolved_at": id, "note": "n", "by": "operator"}));
        }
        match id % 5 {
            0 => {}
            1 => events.push(json!({"kind": "question_resolved", "id": id, "answer": "[cancelled]",
                "answerer": agent, "answered_at": id, "cancelled": true})),
            2 => events.push(json!({"kind": "question_resolved", "id": id, "answer": "[expired]",
                "answerer": "ttl-watchdog", "answered_at": id, "cancelled": false})),
            _ => events.push(json!({"kind": "question_resolved", "id": id, "answer": "left",
                "answerer": "operator", "answered_at": id, "cancelled": false, "selected": ["left"]})),
        }
        if id % 2 == 0 {
            events.push(json!({"kind": "transient_cleared", "name": agent, "reason": "failed"}));
        }
    }
    events
}

fn check_state(state: &Value, seq: i64, board: &Board) {
    assert_eq!(state["seq"], seq);
    assert_eq!(state["floor"], 0);
    assert_eq!(Board::of(state).json(), board.json(), "at {seq}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_events_after_it_are_a_later_snapshot() {
    let server = Server::start().await;
    let events = afternoon(80);
    let mut snapshots = vec![server.read("/api/state").await];
    for part in events.chunks(97) {
        server.append_all(part).await;
        snapshots.push(server.read("/api/state").await);
    }
    let lines = server.lines().await;
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // From nothing, and from each snapshot on to the next one.
    let mut board = Board::default();
    for event in &events {
        board.apply(event);
    }
    check_state(snapshots.last().expect("one"), i64::try_from(events.len()).expect("few"), &board);
    for pair in snapshots.windows(2) {
        let mut board = Board::of(&pair[0]);
        let (from, to) = (pair[0]["seq"].as_i64().expect("a seq"), pair[1]["seq"].as_i64().expect("a seq"));
        let between = |event: &&Value| (from + 1..=to).contains(&event["seq"].as_i64().unwrap_or(0));
        events.iter().filter(between).for_each(|event| board.apply(event));
        check_state(&pair[1], to, &board);
        // The past is the same when it is asked for later.
        assert_eq!(server.read(&format!("/api/state?at={from}")).await, pair[0]);
    }
    // Any seq, not only those between two batches.
    let mut board = Board::default();
    for (event, seq) in events.iter().zip(1..) {
        board.apply(event);
        if seq % 53 == 0 {
            check_state(&server.read(&format!("/api/state?at={seq}")).await, seq, &board);
        }
    }
}

#[tokio::test]
async fn a_tag_stands_for_one_snapshot() {
    let server = Server::start().await;
    let asked =
        async |tag: &str| -> Reply { server.call("GET", "/api/state", &[("If-None-Match", tag)], b"").await };
    let first = server.get("/api/state").await;
    let tag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
        let reply = asked(&known).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
        assert_eq!(reply.header("etag"), Some(&*tag));
    }
    for unknown in ["\"other\"", "", "no tag", tag.trim_matches('"')] {
        assert_eq!(asked(unknown).await.status, 200, "{unknown:?}");
    }
    server.append_all(&afternoon(1)).await;
    let later = asked(&tag).await;
    assert_eq!(later.status, 200);
    assert_ne!(later.header("etag"), Some(&*tag));
}

#[tokio::test]
async fn a_past_that_is_none_is_refused() {
    let server = Server::start().await;
    server.append_all(&afternoon(1)).await;
    let head = server.head().await;
    assert_eq!(server.read("/api/state?at=0").await["approvals"], json!([]));
    assert_eq!(server.read(&format!("/api/state?at={head}")).await, server.read("/api/state").await);
    let above = (head + 1).to_string();
    for at in
        [&*above, "9007199254740992", "9223372036854775807", "9223372036854775808", "-1", "1.5", "", "x"]
    {
        check_problem(&server.get(&format!("/api/state?at={at}")).await, 400, "query");
    }
    for query in ["?at=1&at=1", "?after=1", "?at=1&x="] {
        check_problem(&server.get(&format!("/api/state{query}")).await, 400, "query");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pasts_are_folded_one_at_a_time() {
    let server = Server::start().await;
    server.append_all(&afternoon(80)).await;
    let expected = server.read("/api/state?at=300").await;
    let replies = futures_util::future::join_all((0..16).map(|_| server.get("/api/state?at=300"))).await;
    assert!(replies.iter().any(|reply| reply.status == 200));
    for reply in replies {
        if reply.status == 200 {
            assert_eq!(reply.json(), expected);
        } else {
            check_problem(&reply, 503, "occupied");
            assert!(reply.header("retry-after").is_some());
        }
    }
}
