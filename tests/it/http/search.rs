//! `GET /api/history?q=` and `GET /api/agents` over HTTP.

use serde_json::json;

use crate::server::{Server, check_problem};

#[tokio::test]
async fn words_are_found_on_pages_and_in_lines() {
    let server = Server::start().await;
    for text in ["the deploy is done", "a deployment", "done"] {
        server.append_all(&[json!({"kind": "test.note", "agent": "alice", "text": text})]).await;
    }
    let found = async |query: &str| {
        let page = server.read(&format!("/api/history?{query}")).await;
        assert_eq!(page["seq"], 3, "{page}");
        let events = page["events"].as_array().expect("events").clone();
        events.iter().map(|event| event["seq"].as_i64().expect("a seq")).collect::<Vec<_>>()
    };
    assert_eq!(found("q=done").await, [1, 3]);
    assert_eq!(found("q=DONE%20deploy").await, [1]);
    assert_eq!(found("q=deploy*&order=desc").await, [2, 1]);
    assert_eq!(found("q=done&agent=bob").await, [0_i64; 0]);
    assert_eq!(found("q=done&after=1").await, [3]);
    let accept = [("Accept", "application/x-ndjson")];
    let lines = server.call("GET", "/api/history?q=deploy*", &accept, b"").await;
    let lines = lines.text();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let long = format!("q={}", "a+".repeat(501));
    for bad in ["q=", "q=%2A", "q=a&q=b", &long] {
        check_problem(&server.get(&format!("/api/history?{bad}")).await, 400, "query");
    }
    check_problem(&server.get("/api/stream?q=a").await, 400, "query");
}

#[tokio::test]
async fn everyone_is_listed() {
    let server = Server::start().await;
    assert_eq!(server.read("/api/agents").await["agents"], json!([]));
    server.append_all(&[json!({"kind": "test.note", "agent": "alice"})]).await;
    let agents = server.read("/api/agents").await;
    assert_eq!((&agents["seq"], &agents["agents"][0]["name"]), (&json!(1), &json!("alice")));
    assert_eq!(agents["log_id"], server.log.id().to_string());
    check_problem(&server.get("/api/agents?limit=1").await, 400, "query");
}
