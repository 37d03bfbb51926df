//! `POST /api/prune` and `POST /api/events/{seq}/redact`, and what other calls say afterwards.

use std::time::Duration;

use hivelog::{Durability, Log, Options};
use serde_json::{Value, json};

use crate::client::{Conn, Reply, within};
use crate::server::{JSON, Server, check_problem};
use crate::sse::Stream;
use crate::{Place, foreign, note};

const SECRET: &str = "hunter2";

async fn prune(server: &Server, asked: Value) -> Reply {
    server.send("POST", "/api/prune", &asked).await
}

async fn redact_once(server: &Server, seq: i64) -> Reply {
    server.call("POST", &format!("/api/events/{seq}/redact"), &[], b"").await
}

/// Redacts, and again as long as somebody still reads what was: on a busy machine the search index may.
async fn redact(server: &Server, seq: i64) -> Reply {
    for _ in 0..10 {
        let reply = redact_once(server, seq).await;
        if reply.status != 503 {
            return reply;
        }
    }
    redact_once(server, seq).await
}

/// A server with a message and a note in turn.
async fn filled(pairs: i64) -> Server {
    let server = Server::start().await;
    let message = json!({"kind": "sent", "from": "alice", "to": "bob", "body": SECRET, "at": 1});
    let events: Vec<Value> =
        (0..pairs).flat_map(|n| [message.clone(), json!({"kind": "app.note", "n": n})]).collect();
    server.append_all(&events).await;
    server
}

#[tokio::test]
async fn the_floor_is_seen_everywhere() {
    let server = filled(10).await;
    let etag = |reply: &Reply| reply.header("etag").expect("a tag").to_owned();
    let before = etag(&server.get("/api/state").await);
    let due = json!({"floor": 9, "pruned": 5});
    let asked = json!({"before_seq": 11});
    assert_eq!(prune(&server, json!({"before_seq": 11, "dry_run": true})).await.json(), due);
    assert_eq!(server.read("/api/state").await["floor"], 0);
    let done = prune(&server, asked.clone()).await;
    assert_eq!((done.status, done.json()), (200, due));
    assert_eq!(prune(&server, asked).await.json(), json!({"floor": 9, "pruned": 0}));
    let state = server.get("/api/state").await;
    assert_eq!(state.json()["floor"], 9);
    assert_ne!(etag(&state), before);
    assert_eq!(server.read("/api/history").await["floor"], 9);
    assert_eq!(server.read("/readyz").await["floor"], 9);
    assert!((server.metric("hivelog_floor_seq").await - 9.0).abs() < 0.1);
    assert!((server.metric("hivelog_pruned_events_total").await - 5.0).abs() < 0.1);
    check_problem(&server.get("/api/history/9").await, 410, "gone");
    assert_eq!(server.read("/api/history/8").await["kind"], "app.note");
    let report = hivelog::check(server.log.path()).expect("checked");
    assert_eq!((report.floor, report.rows, report.problems.len()), (9, 11, 0));
    // What is left below the floor is a part of history, page by page.
    let page = server.read("/api/history?before=10&limit=3").await;
    let seqs: Vec<i64> =
        page["events"].as_array().expect("a list").iter().filter_map(|e| e["seq"].as_i64()).collect();
    assert_eq!(seqs, [4, 6, 8]);
    assert_eq!(server.read("/api/history?before=4").await["events"][0]["seq"], 2);
    // A stream is told by its position.
    for (after, reason) in [(8, Some("pruned")), (9, None), (20, None)] {
        let mut stream = Stream::open(&server, &format!("?after={after}"), &[]).await;
        let hello = stream.until("hello").await;
        assert_eq!(hello.json()["floor"], 9);
        let next = stream.next().await;
        match reason {
            Some(reason) => assert_eq!(
                next.json(),
                json!({"reason": reason, "log_id": server.log.id().to_string(), "seq": 20, "floor": 9})
            ),
            None => assert!(!next.is("reset"), "{next:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_that_falls_behind_the_floor_is_told_the_floor() {
    let place = Place::new();
    // The disk is not what is asked about, and a reader that takes nothing is cut after half a minute.
    let options = Options::default().durability(Durability::Normal);
    let log = Log::open(place.path(), options).expect("a log");
    let server = Server::serve(log, "127.0.0.1:0".parse().expect("an address")).await;
    let body = "x".repeat(900);
    let message = json!({"kind": "sent", "from": "alice", "to": "bob", "body": body, "at": 1});
    server.append_all(&vec![message; 25_000]).await;
    let mut stream = Stream::open(&server, "?after=0", &[]).await;
    stream.until("hello").await;
    let mut last = stream.next().await.seq();
    let asked = json!({"before_seq": 24_990}).to_string();
    let mut conn = Conn::open(server.addr).await;
    conn.send(&server.bytes("POST", "/api/prune", &[JSON], asked.as_bytes())).await.expect("sent");
    let pruned = within(Duration::from_mins(5), "a prune of so many", conn.reply()).await.expect("an answer");
    assert_eq!(pruned.json()["floor"], 24_989);
    // More than all buffers on the way hold: what is read on now comes to where there is nothing any more.
    let reset = loop {
        let frame = stream.next().await;
        if frame.is("reset") {
            break frame.json();
        }
        last = frame.seq();
    };
    // Whose buffers had room in the middle of the prune is told the floor of then, which was past its position too.
    let floor = reset["floor"].as_i64().expect("a floor");
    assert!(last < floor && floor <= 24_989, "{floor}, at {last}");
    let due =
        json!({"reason": "pruned", "log_id": server.log.id().to_string(), "seq": 25_000, "floor": floor});
    assert_eq!(reset, due);
}

#[tokio::test]
async fn what_is_asked_is_read_strictly() {
    let server = filled(2).await;
    for (body, field) in [
        (json!({}), None),
        (json!({"kinds": ["sent"]}), None),
        (json!({"before_seq": -1}), Some("before_seq")),
        (json!({"before_seq": "7"}), Some("before_seq")),
        (json!({"before": "yesterday"}), Some("before")),
        (json!({"before": -5}), Some("before")),
        (json!({"before_seq": 3, "kinds": ["No"]}), Some("kind")),
        (json!({"before_seq": 3, "kinds": "sent"}), Some("kinds")),
        (json!({"before_seq": 3, "dry_run": "yes"}), Some("dry_run")),
        (json!({"before_seq": 3, "floor": 3}), Some("floor")),
    ] {
        let reply = prune(&server, body.clone()).await;
        check_problem(&reply, 422, "invalid");
        assert_eq!(reply.json().get("field").and_then(Value::as_str), field, "{body}");
    }
    check_problem(&server.send("POST", "/api/prune?x=1", &json!({"before_seq": 1})).await, 400, "query");
    assert_eq!(prune(&server, json!({"before": "1970-01-02T00:00:00Z"})).await.json()["pruned"], 0);
    assert_eq!(
        prune(&server, json!({"before": 4_102_444_800_i64, "dry_run": true})).await.json()["pruned"],
        2
    );
    let both = json!({"before": "2100-01-01T00:00:00Z", "before_seq": 3, "kinds": ["sent", "*"]});
    assert_eq!(prune(&server, both).await.json(), json!({"floor": 2, "pruned": 2}));
}

#[tokio::test]
async fn a_prune_under_a_key_answers_the_same() {
    let server = filled(4).await;
    let asked = json!({"before_seq": 5});
    for _ in 0..2 {
        let reply = server.send_under("k", "POST", "/api/prune", &asked).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"floor": 3, "pruned": 2})));
    }
    check_problem(
        &server.send_under("k", "POST", "/api/prune", &json!({"before_seq": 6})).await,
        422,
        "key-reused",
    );
    assert_eq!(server.read("/api/state").await["floor"], 3);
}

#[tokio::test]
async fn no_answer_has_a_redacted_text_any_more() {
    let server = filled(3).await;
    let asked = json!({"agent": "alice", "approval_kind": "spawn", "diff": format!("+{SECRET}"), "description": SECRET});
    assert_eq!(server.send_under("k", "POST", "/api/approvals", &asked).await.status, 201);
    let tag = server.get("/api/state").await.header("etag").expect("a tag").to_owned();
    for (seq, told) in [(1, 8), (3, 9), (5, 10), (7, 11)] {
        let reply = redact(&server, seq).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"seq": told})));
        assert_eq!(redact(&server, seq).await.json(), json!({"seq": told}), "again");
    }
    let fresh = server.call("GET", "/api/state", &[("If-None-Match", &tag)], b"").await;
    assert_eq!(fresh.status, 200);
    assert_ne!(fresh.header("etag"), Some(tag.as_str()));
    for path in [
        "/api/state",
        "/api/state?at=7",
        "/api/history",
        "/api/history?q=hunter2",
        "/api/history/1",
        "/api/history/7",
        "/api/approvals",
        "/api/approvals/1",
        "/api/agents",
        "/api/activity?buckets=3",
        "/metrics",
    ] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        // The page says again which words were asked for nowhere, so a hit is one of an event.
        assert!(!reply.text().contains(SECRET), "{path}: {}", reply.text());
    }
    let mut stream = Stream::open(&server, "?after=0", &[]).await;
    for line in stream.lines(11).await {
        assert!(!line.contains(SECRET), "{line}");
    }
    assert_eq!(server.read("/api/approvals/1").await["description"], "[redacted]");
    let told = server.read("/api/history/8").await;
    assert_eq!(
        (&told["kind"], &told["redacted_seq"], &told["by"]),
        (&json!("hivelog.redacted"), &json!(1), &json!(null))
    );
    // What was asked under a key stays asked.
    let again = server.send_under("k", "POST", "/api/approvals", &asked).await;
    assert_eq!((again.status, again.json()), (200, json!({"id": 1, "seq": 7})));
    assert!((server.metric("hivelog_redacted_events_total").await - 4.0).abs() < 0.1);
}

/// A short text could be guessed from its hash.
#[tokio::test]
async fn no_hash_of_a_redacted_text_is_kept() {
    let server = Server::start().await;
    let batch = format!(r#"[{{"kind":"app.note","pin":"1234"}},{{"kind":"app.note","text":"{SECRET}"}}]"#);
    let headers = [JSON, ("Idempotency-Key", "batch")];
    assert_eq!(server.post(&headers, &batch).await.json()["seqs"], json!([1, 2]));
    let question = json!({"asker": "alice", "question": SECRET});
    assert_eq!(server.send_under("question", "POST", "/api/questions", &question).await.json()["seq"], 3);
    let message = json!({"from": "alice", "to": "bob", "body": SECRET});
    assert_eq!(server.send_under("message", "POST", "/api/messages", &message).await.json()["id"], 1);
    let other = json!({"from": "alice", "to": "bob", "body": "other"});
    assert_eq!(server.send_under("other", "POST", "/api/messages", &other).await.json()["id"], 2);
    while server.head().await < 5 {}
    let kept = || -> Vec<(String, Vec<u8>)> {
        let shell = foreign(server.log.path());
        let mut statement =
            shell.prepare("SELECT key, content_hash FROM keys ORDER BY key").expect("prepared");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
        rows.map(|row| row.expect("a row")).collect()
    };
    // The mirror has keys of its own, one for each message.
    let names = ["batch", "broker:1", "broker:2", "message", "other", "question"];
    let before = kept();
    assert_eq!(before.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    for seq in [2, 3, 4] {
        assert_eq!(redact(&server, seq).await.status, 200);
    }
    for ((name, was), (_, is)) in before.iter().zip(kept()) {
        assert_eq!(*was == is, ["other", "broker:2"].contains(&name.as_str()), "{name}");
    }
    // The keys stand for what they stood for, and for nothing else.
    assert_eq!(server.post(&headers, &batch).await.json()["seqs"], json!([1, 2]));
    check_problem(&server.post(&headers, r#"{"kind":"app.note"}"#).await, 422, "key-reused");
    assert_eq!(server.send_under("message", "POST", "/api/messages", &message).await.json()["id"], 1);
    check_problem(&server.send_under("other", "POST", "/api/messages", &message).await, 422, "key-reused");
    assert_eq!(server.head().await, 8);
}

/// A key whose content was forgotten stands for the call that it was given to, and for no other.
#[tokio::test]
async fn a_key_of_what_was_redacted_stands_for_no_other_call() {
    let server = Server::start().await;
    let note = json!({"kind": "app.note", "text": SECRET});
    let request = json!({"agent": "alice", "approval_kind": "spawn", "description": SECRET});
    let question = json!({"asker": "alice", "question": SECRET});
    let message = json!({"from": "alice", "to": "bob", "body": SECRET});
    let given = [
        ("note", "/api/events", &note),
        ("request", "/api/approvals", &request),
        ("question", "/api/questions", &question),
        ("message", "/api/messages", &message),
    ];
    let mut answers = Vec::new();
    for (key, path, body) in given {
        answers.push(server.send_under(key, "POST", path, body).await.json());
    }
    while server.head().await < 4 {}
    for seq in 1..=4 {
        assert_eq!(redact(&server, seq).await.status, 200);
    }
    let head = server.head().await;
    let other = json!({"kind": "app.note", "text": "another"});
    let resolve = json!({"status": "denied"});
    let calls = [
        ("POST", "/api/events", &other),
        ("POST", "/api/approvals", &request),
        ("POST", "/api/approvals/1/resolve", &resolve),
        ("POST", "/api/questions", &question),
        ("POST", "/api/messages", &message),
        ("POST", "/api/messages/1/ack", &Value::Null),
        ("POST", "/api/agents/bob/requeue", &Value::Null),
    ];
    for ((key, own, _), answer) in given.iter().zip(&answers) {
        for (method, path, body) in calls {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let reply = server.call(method, path, &[JSON, ("Idempotency-Key", key)], body.as_bytes()).await;
            if path == *own {
                assert_eq!((reply.status, &reply.json()), (200, answer), "{key} {path}");
            } else {
                check_problem(&reply, 422, "key-reused");
            }
        }
    }
    assert_eq!(server.head().await, head, "nothing came of it, and the log takes appends");
    server.append(r#"{"kind":"app.note"}"#).await;
}

/// What is refused for its key has taken nothing away.
#[tokio::test]
async fn a_key_that_stands_for_something_else_redacts_neither_of_two() {
    let server = Server::start().await;
    let message = json!({"from": "alice", "to": "bob", "body": SECRET});
    assert_eq!(server.send_under("message", "POST", "/api/messages", &message).await.json()["id"], 1);
    assert_eq!(server.send("POST", "/api/agents/bob/recv", &json!({})).await.status, 200);
    while server.head().await < 2 {}
    server.append(r#"{"kind":"app.note","text":"x"}"#).await;
    let redact = async |seq: i64, both: bool| {
        server
            .send_under("redact", "POST", &format!("/api/events/{seq}/redact"), &json!({"both": both}))
            .await
    };
    assert_eq!(redact(3, false).await.json(), json!({"seq": 4}));
    check_problem(&redact(2, true).await, 422, "key-reused");
    check_problem(&redact(3, true).await, 422, "key-reused");
    for seq in [1, 2] {
        assert_eq!(server.read(&format!("/api/history/{seq}")).await["body"], SECRET);
    }
    assert_eq!(redact(3, false).await.json(), json!({"seq": 4}));
    assert_eq!(server.head().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_says_to_come_again() {
    let place = Place::new();
    let server = Server::serve(place.open(), "127.0.0.1:0".parse().expect("an address")).await;
    server.append(format!(r#"{{"kind":"app.note","text":"{SECRET}"}}"#)).await;
    let shell = foreign(server.log.path());
    shell.execute_batch("BEGIN").expect("begun");
    shell.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).expect("read");
    let reply = redact_once(&server, 1).await;
    check_problem(&reply, 503, "pending");
    assert!(reply.header("retry-after").is_some());
    assert_eq!(note(&server.log, 1), 3, "appends go on");
    assert_eq!(server.read("/api/history/1").await["redacted"], true);
    drop(shell);
    let reply = redact(&server, 1).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"seq": 2})));
    let file = std::fs::read(server.log.path()).expect("the file");
    assert!(memchr::memmem::find(&file, SECRET.as_bytes()).is_none());
}

#[tokio::test]
async fn a_redaction_is_refused_where_there_is_none() {
    let server = filled(2).await;
    server
        .send("PUT", "/api/transients/alice", &json!({"transient_kind": "starting", "agent": "alice"}))
        .await;
    for path in ["0", "-1", "99", "x", "9007199254740993", "1.0"] {
        let reply = server.call("POST", &format!("/api/events/{path}/redact"), &[], b"").await;
        check_problem(&reply, 404, "not-found");
    }
    assert_eq!(redact(&server, 1).await.status, 200);
    let told = server.head().await;
    check_problem(&redact(&server, told).await, 422, "invalid");
    let body = |text: &str| text.as_bytes().to_vec();
    for wrong in [r#"{"both":1}"#, r#"{"x":true}"#, "[true]", "{"] {
        let reply = server.call("POST", "/api/events/2/redact", &[JSON], &body(wrong)).await;
        assert!(matches!(reply.status, 400 | 422), "{wrong}");
    }
    assert_eq!(prune(&server, json!({"before_seq": 4, "kinds": ["sent"]})).await.json()["floor"], 3);
    check_problem(&redact(&server, 3).await, 410, "gone");
    // Under a key the second event is another call.
    let reply = server.send_under("k", "POST", "/api/events/2/redact", &json!({})).await;
    assert_eq!(reply.status, 200);
    check_problem(
        &server.send_under("k", "POST", "/api/events/4/redact", &json!({})).await,
        422,
        "key-reused",
    );
}
