//! `POST /api/events`: forms, idempotency, conflicts, all or nothing, bounds.

use serde_json::{Value, json};

use crate::client::{Conn, Reply, once, soon};
use crate::server::{JSON, NDJSON, Server, check_problem};

fn note(number: i64) -> Value {
    json!({"kind": "test.note", "number": number})
}

fn approval(id: i64) -> Value {
    json!({"kind": "approval_added", "id": id, "agent": "alice", "approval_kind": "apply_commit"})
}

fn resolved(id: i64, status: &str) -> Value {
    json!({"kind": "approval_resolved", "id": id, "agent": "alice", "approval_kind": "apply_commit",
        "status": status, "resolved_at": 1_763_829_000})
}

/// Appends and compares status and answer.
#[track_caller]
fn check_reply(reply: &Reply, status: u16, answer: Value) {
    assert_eq!((reply.status, reply.json()), (status, answer));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

fn many(seqs: std::ops::RangeInclusive<i64>) -> Value {
    json!({"first_seq": seqs.start(), "last_seq": seqs.end(), "seqs": seqs.collect::<Vec<_>>()})
}

#[tokio::test]
async fn one_an_array_and_lines() {
    let server = Server::start().await;
    check_reply(&server.append(note(1).to_string()).await, 201, json!({"seq": 1}));
    check_reply(&server.append(json!([note(2), note(3)]).to_string()).await, 201, many(2..=3));
    check_reply(&server.append(json!([note(4)]).to_string()).await, 201, many(4..=4));
    let lines = format!("{}\r\n\n{}\n", note(5), note(6));
    check_reply(&server.post(&[NDJSON], lines).await, 201, many(5..=6));
    check_reply(&server.post(&[NDJSON], note(7).to_string()).await, 201, many(7..=7));
    let charset = ("Content-Type", "Application/JSON; charset=utf-8");
    check_reply(&server.post(&[charset], format!(" \t\r\n{}\n", note(8))).await, 201, json!({"seq": 8}));
    let numbers: Vec<i64> = server.read("/api/history?after=0").await["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["number"].as_i64().expect("a number"))
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn a_header_key_stands_for_the_whole_body() {
    let server = Server::start().await;
    let keyed = [JSON, ("Idempotency-Key", "deploy-17")];
    check_reply(&server.post(&keyed, note(1).to_string()).await, 201, json!({"seq": 1}));
    check_reply(&server.post(&keyed, note(1).to_string()).await, 200, json!({"seq": 1}));
    check_problem(&server.post(&keyed, note(2).to_string()).await, 422, "key-reused");

    let keyed = [JSON, ("Idempotency-Key", "batch")];
    let batch = json!([note(3), note(4)]).to_string();
    check_reply(&server.post(&keyed, &batch).await, 201, many(2..=3));
    check_reply(&server.post(&keyed, &batch).await, 200, many(2..=3));
    check_problem(&server.post(&keyed, json!([note(3)]).to_string()).await, 422, "key-reused");
    check_problem(&server.post(&keyed, json!([note(4), note(3)]).to_string()).await, 422, "key-reused");
    assert_eq!(server.head().await, 3);
}

#[tokio::test]
async fn a_key_in_an_event_stands_for_that_event() {
    let server = Server::start().await;
    let event = |key: &str, number: i64| json!({"kind": "test.note", "key": key, "number": number});
    check_reply(&server.append(event("a", 1).to_string()).await, 201, json!({"seq": 1}));
    check_reply(&server.append(event("a", 1).to_string()).await, 200, json!({"seq": 1}));
    check_problem(&server.append(event("a", 2).to_string()).await, 422, "key-reused");

    // What is known keeps its seq, only what is new is appended, in order.
    let batch = json!([event("b", 2), event("a", 1), note(9), event("c", 3)]).to_string();
    let answer = json!({"first_seq": 2, "last_seq": 4, "seqs": [2, 1, 3, 4]});
    check_reply(&server.append(&batch).await, 201, answer);
    let batch = json!([event("c", 3), event("a", 1), event("b", 2)]).to_string();
    let answer = json!({"first_seq": 4, "last_seq": 2, "seqs": [4, 1, 2]});
    check_reply(&server.append(&batch).await, 200, answer);
    let batch = json!([note(5), event("a", 7)]).to_string();
    check_problem(&server.append(batch).await, 422, "key-reused");

    // A key is no part of the event.
    assert_eq!(server.head().await, 4);
    assert!(server.lines().await.iter().all(|line| !line.contains("\"key\"")));
}

#[tokio::test]
async fn a_key_is_given_once_and_is_a_key() {
    let server = Server::start().await;
    let keyed = json!({"kind": "test.note", "key": "inner"}).to_string();
    let header = ("Idempotency-Key", "outer");
    check_problem(&server.post(&[JSON, header], &keyed).await, 400, "header");
    check_problem(&server.post(&[JSON, header], format!("[{keyed}]")).await, 400, "header");
    check_problem(&server.post(&[NDJSON, header], &keyed).await, 400, "header");
    check_problem(&server.post(&[JSON, header, header], note(1).to_string()).await, 400, "header");
    let long = "k".repeat(257);
    for key in ["", "a b", "\u{e9}", "tab\tinside", long.as_str()] {
        let headers = [JSON, ("Idempotency-Key", key)];
        check_problem(&server.post(&headers, note(1).to_string()).await, 400, "header");
        let event = json!({"kind": "test.note", "key": key}).to_string();
        check_problem(&server.append(event).await, 422, "invalid");
    }
    assert_eq!(server.head().await, 0);
    let headers = [JSON, ("Idempotency-Key", &*"k".repeat(256))];
    check_reply(&server.post(&headers, note(1).to_string()).await, 201, json!({"seq": 1}));
    // An absent option may be written as null.
    let event = json!({"kind": "test.note", "key": null}).to_string();
    check_reply(&server.append(event).await, 201, json!({"seq": 2}));
}

#[tokio::test]
async fn concurrent_repeats_of_one_key_store_one_event() {
    let server = Server::start().await;
    let keyed = [JSON, ("Idempotency-Key", "once")];
    let body = note(1).to_string();
    let replies = futures_util::future::join_all((0..32).map(|_| server.post(&keyed, &body))).await;
    assert!(replies.iter().all(|reply| reply.json() == json!({"seq": 1})));
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert_eq!(server.head().await, 1);
}

#[tokio::test]
async fn the_loser_is_told_the_event_that_won() {
    let server = Server::start().await;
    server.append_all(&[approval(7), resolved(7, "approved")]).await;
    let reply = server.append(resolved(7, "denied").to_string()).await;
    check_problem(&reply, 409, "conflict");
    assert_eq!(reply.json()["winner"], server.read("/api/history/2").await);
    let line = server.get("/api/history/2").await;
    assert!(reply.text().contains(line.text()), "the winner has other bytes than the event on the wire");

    let reply = server.append(approval(7).to_string()).await;
    check_problem(&reply, 409, "conflict");
    assert_eq!(reply.json()["winner"], server.read("/api/history/1").await);
    check_problem(&server.append(resolved(8, "denied").to_string()).await, 404, "not-found");
    assert_eq!(server.head().await, 2);
}

#[tokio::test]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let server = Server::start().await;
    let bad = json!({"kind": "sent", "from": "alice"});
    let batches = [
        (json!([note(1), note(2), bad]), 422, "invalid"),
        (json!([note(1), resolved(1, "denied")]), 404, "not-found"),
        (json!([approval(1), approval(1)]), 422, "invalid"),
        (json!([note(1), {"kind": "typo"}]), 422, "unknown-kind"),
    ];
    for (batch, status, kind) in batches {
        check_problem(&server.append(batch.to_string()).await, status, kind);
    }
    let lines = format!("{}\n{{\"kind\":\n{}\n", note(1), note(2));
    check_problem(&server.post(&[NDJSON], lines).await, 400, "malformed");
    assert_eq!(server.head().await, 0);
    // The place of the bad one is named.
    let reply = server.append(json!([note(1), {"kind": "sent", "from": 5}]).to_string()).await;
    assert_eq!(reply.json()["field"], "[1].from");
    // One batch may open and close.
    check_reply(
        &server.append(json!([approval(1), resolved(1, "denied")]).to_string()).await,
        201,
        many(1..=2),
    );
}

#[tokio::test]
async fn a_batch_has_one_to_a_thousand_events() {
    let server = Server::start().await;
    check_problem(&server.append("[]").await, 422, "invalid");
    check_problem(&server.post(&[NDJSON], "").await, 422, "invalid");
    check_problem(&server.post(&[NDJSON], "\n\n \n").await, 422, "invalid");
    let batch = |count: i64| Value::from((0..count).map(note).collect::<Vec<_>>()).to_string();
    check_problem(&server.append(batch(1_001)).await, 413, "too-large");
    let lines: String = (0..1_001).map(|number| format!("{}\n", note(number))).collect();
    check_problem(&server.post(&[NDJSON], lines).await, 413, "too-large");
    assert_eq!(server.head().await, 0);
    check_reply(&server.append(batch(1_000)).await, 201, many(1..=1_000));
}

#[tokio::test]
async fn a_body_has_at_most_one_mebibyte() {
    let server = Server::start().await;
    let sized = |bytes: usize| {
        let frame = r#"{"kind":"test.note","text":""}"#.len();
        format!(r#"{{"kind":"test.note","text":"{}"}}"#, "x".repeat(bytes - frame))
    };
    check_reply(&server.append(sized(1 << 20)).await, 201, json!({"seq": 1}));
    for bytes in [(1 << 20) + 1, 3 << 20, 12 << 20] {
        check_problem(&server.append(sized(bytes)).await, 413, "too-large");
        let body = sized(bytes);
        let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let headers = [JSON, ("Transfer-Encoding", "chunked")];
        check_problem(&server.post(&headers, chunked).await, 413, "too-large");
    }
    // A length alone is refused before the body is sent.
    let bytes = server.bytes("POST", "/api/events", &[JSON, ("Content-Length", "99999999999")], b"");
    check_problem(&once(server.addr, &bytes).await, 413, "too-large");
    assert_eq!(server.head().await, 1);
    assert_eq!(server.append(note(1).to_string()).await.status, 201);
}

#[tokio::test]
async fn only_json_is_read_and_only_where_nothing_else_is_asked() {
    let server = Server::start().await;
    let body = note(1).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", ""] {
        check_problem(&server.post(&[("Content-Type", kind)], &body).await, 415, "media-type");
    }
    check_problem(&server.post(&[], &body).await, 415, "media-type");
    for query in ["?dry_run=1", "?a", "?=", "?key=x"] {
        let path = format!("/api/events{query}");
        check_problem(&server.call("POST", &path, &[JSON], body.as_bytes()).await, 400, "query");
    }
    assert_eq!(server.head().await, 0);
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let server = Server::start().await;
    let mut conn = Conn::open(server.addr).await;
    let bad = server.bytes("POST", "/api/events", &[JSON], b"{\"kind\":\"typo\"}");
    let good = server.bytes("POST", "/api/events", &[JSON], note(1).to_string().as_bytes());
    // Written at once, answered in order.
    let both = [bad.as_slice(), &good, &bad, &good].concat();
    soon("writing", conn.send(&both)).await.expect("written");
    for status in [422, 201, 422, 201] {
        assert_eq!(soon("an answer", conn.reply()).await.expect("an answer").status, status);
    }
    assert_eq!(server.head().await, 2);
}
