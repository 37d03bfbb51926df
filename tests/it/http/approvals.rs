//! The routes of approvals: request, decide, wait, list.

use std::time::{Duration, Instant};

use hivelog::event::ApprovalStatus::{Approved, Denied};
use hivelog::{Desk, Resolve};
use serde_json::{Value, json};

use crate::client::{Conn, PATIENCE, soon};
use crate::server::{JSON, Server, check_problem};
use crate::swarm::request;
use crate::{Place, seq};

const LOOKS: usize = 4;

async fn serve(place: &Place) -> Server {
    Server::serve(place.open(), "127.0.0.1:0".parse().expect("an address")).await
}

fn ids(list: &Value, name: &str) -> Vec<i64> {
    list[name].as_array().expect("a list").iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

#[tokio::test]
async fn from_the_request_to_the_decision() {
    let server = Server::start().await;
    let asked = json!({"agent": "alice", "approval_kind": "apply_commit", "sha_short": "0badcafe",
        "diff": "-a\r\n+b", "description": "why"});
    let reply = server.send("POST", "/api/approvals", &asked).await;
    assert_eq!((reply.status, reply.json()), (201, json!({"id": 1, "seq": 1})));
    let row = server.read("/api/approvals/1").await;
    let event: Value = serde_json::from_str(&server.lines().await[0]).expect("JSON");
    let mut due = event;
    for (name, value) in [
        ("status", json!("pending")),
        ("resolved_seq", json!(null)),
        ("resolved_at", json!(null)),
        ("note", json!(null)),
        ("by", json!(null)),
    ] {
        due[name] = value;
    }
    assert_eq!(row, due);
    assert_eq!(row["diff"], "-a\r\n+b");
    assert_eq!(
        server.done("POST", "/api/approvals/1/resolve", &json!({"status": "denied", "note": "no"})).await,
        json!({"seq": 2})
    );
    // The loser gets the whole event that won.
    let late =
        server.send("POST", "/api/approvals/1/resolve", &json!({"status": "approved", "by": "bob"})).await;
    check_problem(&late, 409, "conflict");
    let winner: Value = serde_json::from_str(&server.lines().await[1]).expect("JSON");
    assert_eq!(late.json()["winner"], winner);
    assert_eq!((&winner["by"], &winner["description"]), (&json!("operator"), &json!("why")));
    let row = server.read("/api/approvals/1?wait=60").await;
    assert_eq!(
        (&row["status"], &row["resolved_seq"], &row["note"]),
        (&json!("denied"), &json!(2), &json!("no"))
    );
    assert_eq!(row["resolved_at"], winner["resolved_at"]);
    let state = server.read("/api/state").await;
    assert_eq!((&state["approvals"], &state["recent_approvals"][0]), (&json!([]), &row));
}

#[tokio::test]
async fn who_decides_is_said_by_the_body_where_nobody_is_asked() {
    let server = Server::start().await;
    for (id, body, by) in [
        (1, json!({"status": "failed", "by": "carol"}), "carol"),
        (2, json!({"status": "approved"}), "operator"),
    ] {
        server.done("POST", "/api/approvals", &json!({"agent": "alice", "approval_kind": "spawn"})).await;
        server.done("POST", &format!("/api/approvals/{id}/resolve"), &body).await;
        let row = server.read(&format!("/api/approvals/{id}")).await;
        assert_eq!((&row["by"], &row["status"]), (&json!(by), &body["status"]));
    }
}

#[tokio::test]
async fn a_long_diff_comes_back_byte_for_byte() {
    let server = Server::start().await;
    let diff =
        "--- a/x\r\n+++ b/x\r\n+\u{0}grün \u{2028}🐝\\\n".repeat(15_000) + "\\ No newline at end of file";
    assert!(diff.len() > 500 << 10, "{}", diff.len());
    server
        .done("POST", "/api/approvals", &json!({"agent": "a", "approval_kind": "apply_commit", "diff": diff}))
        .await;
    assert_eq!(server.read("/api/approvals/1").await["diff"], *diff);
    assert_eq!(server.read("/api/state").await["approvals"][0]["diff"], *diff);
    assert_eq!(server.read("/api/history/1").await["diff"], *diff);
    // Escapes that the client chose may be others; the text is the same.
    let text =
        format!(r#"{{"approval_kind":"spawn","agent":"\u0061","diff":"{}"}}"#, "\\u002b\\u0000".repeat(10));
    assert_eq!(server.call("POST", "/api/approvals", &[JSON], text.as_bytes()).await.status, 201);
    assert_eq!(server.read("/api/approvals/2").await["diff"], "+\0".repeat(10));
}

#[tokio::test]
async fn lists_are_open_closed_or_both() {
    let server = Server::start().await;
    for list in ["/api/approvals", "/api/approvals?open=true", "/api/approvals?open=0&mine=false"] {
        assert_eq!(server.read(list).await, json!({"approvals": []}), "{list}");
    }
    let desk = Desk::of(&server.log).expect("a desk");
    for _ in 0..60 {
        desk.request(request("alice")).await.expect("requested");
    }
    assert_eq!(ids(&server.read("/api/approvals?open=false").await, "approvals"), Vec::<i64>::new());
    for id in (3..=58).rev() {
        desk.resolve(Resolve { id, status: Denied, note: None, by: None }).await.expect("decided");
    }
    let (open, closed) = (vec![1, 2, 59, 60], (3..=52).collect::<Vec<_>>());
    assert_eq!(ids(&server.read("/api/approvals?open=true").await, "approvals"), open);
    assert_eq!(ids(&server.read("/api/approvals?open=false").await, "approvals"), closed);
    let both = server.read("/api/approvals").await;
    assert_eq!(ids(&both, "approvals"), [open, closed].concat());
    assert_eq!(both["approvals"][4]["status"], "denied");
}

#[tokio::test]
async fn too_much_that_is_open_is_429() {
    let server = Server::start().await;
    let desk = Desk::of(&server.log).expect("a desk");
    let asked: Vec<_> = (0..1_000).map(|_| desk.request(request("alice"))).collect();
    for asked in asked {
        asked.await.expect("requested");
    }
    let (approval, question) =
        (json!({"agent": "alice", "approval_kind": "spawn"}), json!({"asker": "alice", "question": "?"}));
    for _ in 0..2 {
        let reply = server.send_under("k", "POST", "/api/approvals", &approval).await;
        check_problem(&reply, 429, "too-many-open");
        check_problem(&server.send("POST", "/api/questions", &question).await, 429, "too-many-open");
        check_problem(
            &server.send("PUT", "/api/transients/alice", &json!({"transient_kind": "starting"})).await,
            429,
            "too-many-open",
        );
    }
    server.done("POST", "/api/approvals/7/resolve", &json!({"status": "denied"})).await;
    let reply = server.send_under("k", "POST", "/api/approvals", &approval).await;
    assert_eq!((reply.status, reply.json()), (201, json!({"id": 1_001, "seq": 1_002})));
    assert_eq!(server.log.tail(), seq(1_002));
}

/// A wait that has been sent.
async fn waiting(server: &Server, path: &str) -> Conn {
    let mut conn = Conn::open(server.addr).await;
    conn.send(&server.bytes("GET", path, &[], b"")).await.expect("sent");
    conn
}

#[tokio::test]
async fn a_wait_ends_with_the_decision() {
    let server = Server::start().await;
    // What is asked is whether they are woken, not what else this machine does: one quiet look in some is enough.
    for _ in 0..LOOKS {
        if median_late(&server).await < Duration::from_millis(50) {
            return;
        }
    }
    panic!("the decision came late in each of {LOOKS} looks");
}

/// How long after decisions those who wait for them are told, in the middle.
async fn median_late(server: &Server) -> Duration {
    let asked = json!({"agent": "alice", "approval_kind": "spawn"});
    let mut late = Vec::new();
    for _ in 0..15 {
        let id = server.done("POST", "/api/approvals", &asked).await["id"].clone();
        let mut waits = Vec::new();
        for _ in 0..3 {
            waits.push(waiting(server, &format!("/api/approvals/{id}?wait=60s")).await);
        }
        // Other calls and commits pass by while they come to wait.
        for _ in 0..4 {
            server.append(r#"{"kind":"test.note"}"#).await;
        }
        server.done("POST", &format!("/api/approvals/{id}/resolve"), &json!({"status": "approved"})).await;
        let begin = Instant::now();
        for conn in &mut waits {
            let reply = soon("the decision", conn.reply()).await.expect("an answer");
            assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("approved")));
        }
        late.push(begin.elapsed());
    }
    late.sort();
    println!("the decision came after {late:?}");
    late[late.len() / 2]
}

#[tokio::test]
async fn a_wait_that_nobody_ends_says_how_it_stands() {
    let server = Server::start().await;
    server.done("POST", "/api/approvals", &json!({"agent": "alice", "approval_kind": "spawn"})).await;
    for (wait, least) in [("0", 0), ("0s", 0), ("1", 1)] {
        let begin = Instant::now();
        assert_eq!(server.read(&format!("/api/approvals/1?wait={wait}")).await["status"], "pending");
        let took = begin.elapsed();
        assert!((Duration::from_secs(least)..PATIENCE).contains(&took), "{wait}: {took:?}");
    }
}

#[tokio::test]
async fn a_wait_is_repeated_over_a_restart_of_the_server() {
    let place = Place::new();
    let server = serve(&place).await;
    server.done("POST", "/api/approvals", &json!({"agent": "alice", "approval_kind": "spawn"})).await;
    server.close().await;
    let mut is_soon = false;
    for _ in 0..LOOKS {
        let server = serve(&place).await;
        let mut wait = waiting(&server, "/api/approvals/1?wait=60").await;
        server.append(r#"{"kind":"test.note"}"#).await;
        is_soon |= server.close().await < Duration::from_secs(3);
        // The server was there until the wait was answered with what is known, or it never took the request.
        if let Ok(reply) = soon("an answer", wait.reply()).await {
            assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("pending")));
        }
        if is_soon {
            break;
        }
    }
    assert!(is_soon, "a wait held up each of {LOOKS} stops");
    let server = serve(&place).await;
    let mut wait = waiting(&server, "/api/approvals/1?wait=60").await;
    let desk = Desk::of(&server.log).expect("a desk");
    desk.resolve(Resolve { id: 1, status: Approved, note: None, by: None }).await.expect("decided");
    let reply = soon("the decision", wait.reply()).await.expect("an answer");
    assert_eq!(reply.json()["status"], "approved");
    server.close().await;
    let server = serve(&place).await;
    assert_eq!(server.read("/api/approvals/1?wait=60").await["status"], "approved");
}
