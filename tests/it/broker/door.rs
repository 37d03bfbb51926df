//! The HTTP door of the broker: who may do what to whose messages, and how a wait ends.

use std::time::{Duration, Instant};

use hivelog::http::Access;
use hivelog::{Desk, Log, Role};
use serde_json::{Value, json};

use crate::client::{Conn, Reply, soon};
use crate::server::{JSON, Server, check_problem};

async fn send(server: &Server, body: Value) -> Reply {
    server.call("POST", "/api/messages", &[JSON], body.to_string().as_bytes()).await
}

async fn post(server: &Server, path: &str) -> Reply {
    server.call("POST", path, &[], b"").await
}

/// The messages that a call hands out.
async fn recv(server: &Server, path: &str) -> Vec<Value> {
    let reply = post(server, path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()["messages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_message_goes_from_hand_to_hand() {
    let server = Server::start().await;
    let reply = send(&server, json!({"from": "alice", "to": "bob", "body": "hello"})).await;
    assert_eq!((reply.status, reply.json()), (201, json!({"id": 1})));
    let messages = recv(&server, "/api/agents/bob/recv").await;
    let at = messages[0]["at"].clone();
    assert!(at.as_i64().unwrap() > 1_700_000_000);
    let first =
        json!({"id": 1, "from": "alice", "to": "bob", "body": "hello", "at": at, "redelivered": false});
    assert_eq!(messages, [first]);
    assert_eq!(recv(&server, "/api/agents/bob/recv").await, Vec::<Value>::new());
    let requeued = post(&server, "/api/agents/bob/requeue").await;
    assert_eq!((requeued.status, requeued.json()), (200, json!({"requeued": 1})));
    let again = recv(&server, "/api/agents/bob/recv?max=100&lease_seconds=1").await;
    assert_eq!(again[0]["redelivered"], true);
    let renew = server.call("POST", "/api/messages/1/renew", &[JSON], b"{\"lease_seconds\":60}").await;
    assert_eq!((renew.status, renew.text()), (204, ""));
    assert_eq!(post(&server, "/api/messages/1/renew").await.status, 204);
    for _ in 0..2 {
        assert_eq!(post(&server, "/api/messages/1/ack").await.status, 204);
    }
    check_problem(&post(&server, "/api/messages/1/renew").await, 404, "not-found");
    for path in ["/api/messages/2/ack", "/api/messages/0/ack", "/api/messages/x/ack", "/api/messages/9/renew"]
    {
        check_problem(&post(&server, path).await, 404, "not-found");
    }
    assert!((server.metric("hivelog_messages_sent_total").await - 1.0).abs() < 0.1);
    assert!((server.metric("hivelog_messages_handed_out_total").await - 2.0).abs() < 0.1);
    assert!((server.metric("hivelog_messages_redelivered_total").await - 1.0).abs() < 0.1);
    assert!((server.metric("hivelog_messages_acked_total").await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn what_has_not_its_shape_is_refused() {
    let server = Server::start().await;
    let reply = send(&server, json!({"from": "alice", "to": "bob", "body": "x", "extra": 1})).await;
    check_problem(&reply, 422, "invalid");
    assert_eq!(reply.json()["field"], "extra");
    for (field, body) in [
        ("to", json!({"from": "alice", "body": "x"})),
        ("from", json!({"to": "bob", "body": "x"})),
        ("from", json!({"from": "A", "to": "bob", "body": "x"})),
        ("to", json!({"from": "alice", "to": "b b", "body": "x"})),
        ("body", json!({"from": "alice", "to": "bob", "body": 7})),
    ] {
        let reply = send(&server, body).await;
        check_problem(&reply, 422, "invalid");
        assert_eq!(reply.json()["field"], field);
    }
    check_problem(&server.call("POST", "/api/messages", &[], b"{}").await, 415, "media-type");
    check_problem(&server.call("POST", "/api/messages", &[JSON], b"{").await, 400, "malformed");
    let surrogate = br#"{"from":"a","to":"b","body":"\ud800"}"#;
    let status = server.call("POST", "/api/messages", &[JSON], surrogate).await.status;
    assert!(matches!(status, 400 | 422), "{status}");
    let large = json!({"from": "alice", "to": "bob", "body": "\u{1}".repeat(174_750)});
    check_problem(&send(&server, large).await, 413, "too-large");
    for query in
        ["max=0", "max=101", "lease_seconds=0", "lease_seconds=86401", "wait=61", "wait=x", "other=1", "max="]
    {
        let reply = post(&server, &format!("/api/agents/bob/recv?{query}")).await;
        check_problem(&reply, 400, "query");
    }
    let keyed = server.call("POST", "/api/agents/bob/recv", &[("Idempotency-Key", "k")], b"").await;
    check_problem(&keyed, 400, "header");
    let body = server.call("POST", "/api/agents/bob/recv", &[JSON], b"{\"max\":1}").await;
    check_problem(&body, 422, "invalid");
    for path in ["/api/agents/B/recv", "/api/agents/B/requeue"] {
        check_problem(&post(&server, path).await, 404, "not-found");
    }
    let renew = server.call("POST", "/api/messages/1/renew", &[JSON], b"{\"lease_seconds\":0}").await;
    check_problem(&renew, 422, "invalid");
    check_problem(&server.get("/api/messages").await, 405, "method");
    assert_eq!(server.log.tail().get(), 0);
}

#[tokio::test]
async fn a_key_sends_once() {
    let server = Server::start().await;
    let keyed = async |body: &str| {
        server.call("POST", "/api/messages", &[JSON, ("Idempotency-Key", "k")], body.as_bytes()).await
    };
    let one = r#"{"from":"alice","to":"bob","body":"x"}"#;
    assert_eq!(keyed(one).await.status, 201);
    let again = keyed(one).await;
    assert_eq!((again.status, again.json()), (200, json!({"id": 1})));
    check_problem(&keyed(&one.replace('x', "y")).await, 422, "key-reused");
    assert_eq!(recv(&server, "/api/agents/bob/recv?max=9").await.len(), 1);
    // The other calls know their own keys.
    let ack = server.call("POST", "/api/messages/1/ack", &[("Idempotency-Key", "a")], b"").await;
    assert_eq!(ack.status, 204);
    let other = server.call("POST", "/api/messages/1/renew", &[("Idempotency-Key", "a")], b"").await;
    check_problem(&other, 422, "key-reused");
}

#[tokio::test]
async fn a_wait_ends_with_a_message_or_its_time_or_the_server() {
    let server = Server::start().await;
    let begin = Instant::now();
    assert_eq!(recv(&server, "/api/agents/bob/recv?wait=1").await.len(), 0);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let desk = Desk::of(&server.log).unwrap();
    let (messages, ()) = tokio::join!(recv(&server, "/api/agents/bob/recv?wait=20s"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        desk.send("alice", "bob", "x").await.unwrap();
    });
    assert_eq!(messages[0]["id"], 1);
    assert!(begin.elapsed() < Duration::from_secs(10));
    // One whose client goes away takes nothing.
    let gone = tokio::time::timeout(Duration::from_millis(50), post(&server, "/api/agents/zoe/recv?wait=20"));
    assert!(gone.await.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    desk.send("alice", "zoe", "x").await.unwrap();
    assert_eq!(recv(&server, "/api/agents/zoe/recv").await.len(), 1);
    // The end of the log ends the wait, as does that of the server.
    let log = server.log.clone();
    let (reply, ()) = tokio::join!(post(&server, "/api/agents/bob/recv?wait=20"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        tokio::task::spawn_blocking(move || log.close()).await.unwrap();
    });
    check_problem(&reply, 503, "closed");
    let server = Server::start().await;
    let mut waiting = Conn::open(server.addr).await;
    let bytes = server.bytes("POST", "/api/agents/bob/recv?wait=20", &[], b"");
    waiting.send(&bytes).await.unwrap();
    // It came before this one, which is answered: it waits by now.
    assert_eq!(server.get("/livez").await.status, 200);
    assert!(server.stop().await < Duration::from_secs(4));
    assert_eq!(soon("an answer", waiting.reply()).await.unwrap().json(), json!({"messages": []}));
}

#[tokio::test]
async fn a_credential_has_its_own_inbox_and_no_other() {
    let log = Log::temp().unwrap();
    let credentials = Desk::of(&log).unwrap().credentials().clone();
    let mut tokens = Vec::new();
    for (name, role) in [
        ("alice", Role::Agent),
        ("bob", Role::Agent),
        ("op", Role::Operator),
        ("eve", Role::Read),
        ("root", Role::Admin),
    ] {
        let secret = credentials.add(name, &[role], None).await.unwrap();
        tokens.push(format!("Bearer {secret}"));
    }
    let [alice, bob, op, eve, root] = tokens.try_into().unwrap();
    let server = Server::with(log, "127.0.0.1:0".parse().expect("an address"), Access::credentials()).await;
    let call = async |token: &str, path: &str, body: &str| {
        let headers = [("Authorization", token), JSON];
        server.call("POST", path, &headers[..if body.is_empty() { 1 } else { 2 }], body.as_bytes()).await
    };
    // The sender is who shows the credential, whatever the body says.
    assert_eq!(call(&alice, "/api/messages", r#"{"to":"bob","body":"x"}"#).await.status, 201);
    check_problem(
        &call(&alice, "/api/messages", r#"{"from":"bob","to":"bob","body":"x"}"#).await,
        403,
        "forbidden",
    );
    assert_eq!(call(&op, "/api/messages", r#"{"to":"bob","body":"y"}"#).await.status, 201);
    assert_eq!(call(&bob, "/api/messages", r#"{"to":"operator","body":"z"}"#).await.status, 201);
    for token in [&eve, &root] {
        check_problem(&call(token, "/api/messages", r#"{"to":"bob","body":"x"}"#).await, 403, "forbidden");
        check_problem(&call(token, "/api/agents/bob/recv", "").await, 403, "forbidden");
        check_problem(&call(token, "/api/messages/1/ack", "").await, 403, "forbidden");
        check_problem(&call(token, "/api/messages/99/renew", "").await, 403, "forbidden");
    }
    check_problem(&post(&server, "/api/agents/bob/recv").await, 401, "unauthorized");
    for (token, name) in [(&alice, "bob"), (&alice, "operator"), (&op, "bob"), (&op, "op")] {
        check_problem(&call(token, &format!("/api/agents/{name}/recv"), "").await, 403, "forbidden");
        check_problem(&call(token, &format!("/api/agents/{name}/requeue"), "").await, 403, "forbidden");
    }
    let got = call(&bob, "/api/agents/bob/recv?max=9", "").await.json();
    assert_eq!(
        (&got["messages"][0]["from"], &got["messages"][1]["from"]),
        (&json!("alice"), &json!("operator"))
    );
    let got = call(&op, "/api/agents/operator/recv", "").await.json();
    assert_eq!(got["messages"][0]["from"], "bob");
    // Another's message is not there.
    for (token, id) in [(&alice, 1), (&op, 1), (&bob, 3)] {
        check_problem(&call(token, &format!("/api/messages/{id}/ack"), "").await, 404, "not-found");
        check_problem(&call(token, &format!("/api/messages/{id}/renew"), "").await, 404, "not-found");
    }
    assert_eq!(call(&bob, "/api/messages/1/renew", "").await.status, 204);
    assert_eq!(call(&bob, "/api/messages/1/ack", "").await.status, 204);
    assert_eq!(call(&op, "/api/messages/3/ack", "").await.status, 204);
    assert_eq!(call(&bob, "/api/agents/bob/requeue", "").await.json()["requeued"], 1);
}

#[tokio::test]
async fn a_log_that_is_only_read_takes_no_messages() {
    let place = crate::Place::new();
    drop(place.open());
    let log = Log::open_read_only(place.path()).unwrap();
    let server = Server::serve(log, "127.0.0.1:0".parse().unwrap()).await;
    check_problem(&send(&server, json!({"from": "a", "to": "b", "body": ""})).await, 403, "read-only");
    check_problem(&post(&server, "/api/agents/b/recv").await, 403, "read-only");
}

#[tokio::test]
async fn a_question_to_a_peer_comes_as_a_message() {
    let server = Server::start().await;
    let post_json =
        async |path: &str, body: Value| server.call("POST", path, &[JSON], body.to_string().as_bytes()).await;
    let asked = json!({"asker": "alice", "to": "bob", "question": "left?", "options": ["yes", "no"]});
    let reply = post_json("/api/questions", asked).await;
    assert_eq!((reply.status, reply.json()), (201, json!({"id": 1, "seq": null})));
    let message = recv(&server, "/api/agents/bob/recv").await.remove(0);
    assert_eq!((&message["question_id"], &message["body"]), (&json!(1), &json!("left?")));
    let (row, reply) = tokio::join!(server.read("/api/questions/1?wait=20"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        post_json("/api/questions/1/answer", json!({"selected": ["yes"]})).await
    });
    assert_eq!((reply.status, reply.json()), (200, json!({"seq": null})));
    assert_eq!(
        (&row["outcome"], &row["answer"], &row["to"]),
        (&json!("answered"), &json!("yes"), &json!("bob"))
    );
    assert_eq!((&row["answerer"], &row["cancelled"]), (&json!("bob"), &json!(false)));
    let late = post_json("/api/questions/1/cancel", json!({})).await;
    check_problem(&late, 409, "conflict");
    assert_eq!(late.json()["winner"]["answer"], "yes");
    assert_eq!(post(&server, "/api/agents/bob/requeue").await.json()["requeued"], 0);
    assert_eq!(server.log.tail().get(), 0, "never on the log");
}
