//! P3: a command that is repeated under its key is carried out once and answered as before.

use hivelog::Log;
use serde_json::{Value, json};

use crate::server::{JSON, Server, check_problem};
use crate::{Place, seq};

fn request() -> Value {
    json!({"agent": "alice", "approval_kind": "spawn", "description": "one"})
}

async fn serve(log: Log) -> Server {
    Server::serve(log, "127.0.0.1:0".parse().expect("an address")).await
}

#[tokio::test]
async fn every_command_is_carried_out_once_under_its_key() {
    let place = Place::new();
    let server = serve(place.open()).await;
    let mut commands = vec![
        ("POST", "/api/approvals", request(), 201, json!({"id": 1, "seq": 1})),
        (
            "POST",
            "/api/approvals/1/resolve",
            json!({"status": "denied", "note": "no"}),
            200,
            json!({"seq": 2}),
        ),
        (
            "POST",
            "/api/questions",
            json!({"asker": "alice", "question": "?", "ttl_seconds": 900}),
            201,
            json!({"id": 1, "seq": 3}),
        ),
        ("POST", "/api/questions/1/answer", json!({"answer": "yes"}), 200, json!({"seq": 4})),
        (
            "POST",
            "/api/questions",
            json!({"asker": "alice", "question": "!"}),
            201,
            json!({"id": 2, "seq": 5}),
        ),
        ("POST", "/api/questions/2/cancel", json!({"by": "alice"}), 200, json!({"seq": 6})),
        ("PUT", "/api/transients/w-1", json!({"transient_kind": "starting"}), 200, json!({"seq": 7})),
        (
            "PUT",
            "/api/transients/w-1",
            json!({"transient_kind": "starting", "lease_seconds": 60}),
            200,
            json!({"seq": null}),
        ),
        ("DELETE", "/api/transients/w-1", json!({"reason": "failed"}), 200, json!({"seq": 8})),
    ];
    for (index, (method, path, body, status, due)) in commands.iter().enumerate() {
        let reply = server.send_under(&format!("k{index}"), method, path, body).await;
        assert_eq!((reply.status, reply.json()), (*status, due.clone()), "{path}");
    }
    server.close().await;
    // Also by the next process, in any order, as often as it likes.
    let log = place.open();
    let server = serve(log).await;
    commands.reverse();
    for _ in 0..2 {
        for (index, (method, path, body, _, due)) in commands.iter().enumerate() {
            let key = format!("k{}", commands.len() - 1 - index);
            let reply = server.send_under(&key, method, path, body).await;
            assert_eq!((reply.status, reply.json()), (200, due.clone()), "{path}");
            // Other content, also by one word more that is the default.
            let mut other = body.clone();
            let field = ["agent", "note", "asker", "answerer", "by", "lease_seconds", "reason"]
                .into_iter()
                .find(|field| match path {
                    p if p.ends_with("resolve") => *field == "note",
                    p if p.ends_with("answer") => *field == "answerer",
                    p if p.ends_with("cancel") => *field == "by",
                    p if p.starts_with("/api/approvals") => *field == "agent",
                    p if p.starts_with("/api/questions") => *field == "asker",
                    _ => *field == if *method == "PUT" { "lease_seconds" } else { "reason" },
                })
                .expect("a field");
            other[field] = match field {
                "lease_seconds" => json!(61),
                "reason" => json!("done"),
                "by" => json!("operator"),
                _ => json!("carol"),
            };
            check_problem(&server.send_under(&key, method, path, &other).await, 422, "key-reused");
        }
    }
    assert_eq!(server.head().await, 8);
}

#[tokio::test]
async fn a_key_stands_for_one_command_alone() {
    let server = Server::start().await;
    let put = json!({"transient_kind": "starting"});
    assert_eq!(server.send_under("k", "POST", "/api/approvals", &request()).await.status, 201);
    let question = json!({"asker": "alice", "question": "?"});
    check_problem(&server.send_under("k", "POST", "/api/questions", &question).await, 422, "key-reused");
    check_problem(&server.send_under("k", "PUT", "/api/transients/w-1", &put).await, 422, "key-reused");
    let resolve = json!({"status": "approved"});
    check_problem(
        &server.send_under("k", "POST", "/api/approvals/1/resolve", &resolve).await,
        422,
        "key-reused",
    );
    // A raw append of the very event that the command made is another call.
    let line = server.lines().await.remove(0);
    let mut event: Value = serde_json::from_str(&line).expect("JSON");
    event.as_object_mut().expect("an object").retain(|name, _| name != "seq" && name != "recorded_at_ms");
    let raw = server.post(&[JSON, ("Idempotency-Key", "k")], event.to_string()).await;
    check_problem(&raw, 422, "key-reused");
    event["id"] = json!(2);
    assert_eq!(server.post(&[JSON, ("Idempotency-Key", "r")], event.to_string()).await.status, 201);
    let asked = json!({"agent": "alice", "approval_kind": "spawn", "description": "one"});
    check_problem(&server.send_under("r", "POST", "/api/approvals", &asked).await, 422, "key-reused");
    // The same for what makes no event.
    assert_eq!(server.send_under("t", "PUT", "/api/transients/w-1", &put).await.json()["seq"], 3);
    assert_eq!(server.send_under("u", "PUT", "/api/transients/w-1", &put).await.json()["seq"], json!(null));
    check_problem(
        &server.post(&[JSON, ("Idempotency-Key", "u")], r#"{"kind":"test.a"}"#).await,
        422,
        "key-reused",
    );
    check_problem(&server.send_under("u", "PUT", "/api/transients/w-2", &put).await, 422, "key-reused");
    assert_eq!(server.head().await, 3);
}

#[tokio::test]
async fn what_is_refused_keeps_no_key() {
    let server = Server::start().await;
    let resolve = |status: &str| json!({"status": status});
    let path = "/api/approvals/1/resolve";
    check_problem(&server.send_under("k", "POST", path, &resolve("approved")).await, 404, "not-found");
    let unfit = json!({"agent": "No Name", "approval_kind": "spawn"});
    check_problem(&server.send_under("k", "POST", "/api/approvals", &unfit).await, 422, "invalid");
    server.done("POST", "/api/approvals", &request()).await;
    server.done("POST", path, &resolve("denied")).await;
    check_problem(&server.send_under("k", "POST", path, &resolve("approved")).await, 409, "conflict");
    // The key is as free as before.
    assert_eq!(server.send_under("k", "POST", "/api/approvals", &request()).await.status, 201);
    // The winner of its own race is told that it won, as often as it asks.
    let path = "/api/approvals/2/resolve";
    let first = server.send_under("w", "POST", path, &resolve("approved")).await;
    check_problem(&server.send_under("v", "POST", path, &resolve("approved")).await, 409, "conflict");
    let again = server.send_under("w", "POST", path, &resolve("approved")).await;
    assert_eq!((first.status, first.json()), (again.status, again.json()));
    assert_eq!(server.log.tail(), seq(4));
}

#[tokio::test]
async fn the_same_request_at_once_is_made_once() {
    let server = Server::start().await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let bytes = server.bytes(
                "POST",
                "/api/approvals",
                &[JSON, ("Idempotency-Key", "k")],
                request().to_string().as_bytes(),
            );
            let addr = server.addr;
            tokio::spawn(async move { crate::client::once(addr, &bytes).await })
        })
        .collect();
    let mut created = 0;
    for call in calls {
        let reply = call.await.expect("an answer");
        assert_eq!(reply.json(), json!({"id": 1, "seq": 1}));
        created += i32::from(reply.status == 201);
    }
    assert_eq!((created, server.head().await), (1, 1));
}

#[tokio::test]
async fn keys_of_commands_go_with_an_export() {
    let place = Place::new();
    let server = serve(place.open()).await;
    let first = server.send_under("k", "POST", "/api/approvals", &request()).await;
    assert_eq!(first.status, 201);
    let mut export = Vec::new();
    server.log.export(&mut export, &mut |_, _| {}).expect("exported");
    let copy = place.beside("copy.db");
    hivelog::import(&copy, &mut export.as_slice(), &mut |_, _| {}).expect("imported");
    let server = serve(Log::open(copy, hivelog::Options::default()).expect("a log")).await;
    let again = server.send_under("k", "POST", "/api/approvals", &request()).await;
    assert_eq!((again.status, again.json()), (200, first.json()));
}
