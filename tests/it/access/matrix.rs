//! Every route times every kind of caller: one table, and the router says what belongs into it.

use std::collections::BTreeSet;

use hivelog::{Ask, Desk, Receive, Request, Role, Seq};
use serde_json::Value;

use super::House;
use crate::server::check_problem;

/// Who calls, in the order of the columns.
pub const CALLERS: [&str; 8] = ["none", "expired", "read", "metrics", "alice", "bob", "ops", "root"];

/// A route, a call of it that goes well, and what it answers to whom. In path and body `{caller}` is the
/// caller's name and `{token}` the reader's token; `{n}` is an approval, a question to the operator and a
/// message of alice's, `{m}` another such question, `{p}` and `{q}` are questions of alice's to bob: each caller
/// has some of its own.
pub type Row = (&'static str, &'static str, &'static str, [u16; 8]);

const OPEN: [u16; 8] = [200; 8];
const ANY: [u16; 8] = [401, 401, 200, 200, 200, 200, 200, 200];
const READ: [u16; 8] = [401, 401, 200, 403, 403, 403, 200, 200];

const fn admin(good: u16) -> [u16; 8] {
    [401, 401, 403, 403, 403, 403, 403, good]
}

/// A new route needs a line here: its template, a call, and its answers in the order of `CALLERS`.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("GET /", "/", "", OPEN),
    ("GET /livez", "/livez", "", OPEN),
    ("GET /readyz", "/readyz", "", OPEN),
    ("GET /openapi.json", "/openapi.json", "", ANY),
    ("GET /version", "/version", "", ANY),
    ("GET /metrics", "/metrics", "", [401, 401, 403, 200, 403, 403, 403, 200]),
    ("GET /api/state", "/api/state", "", READ),
    ("GET /api/history", "/api/history", "", READ),
    ("GET /api/history/{seq}", "/api/history/1", "", READ),
    ("GET /api/agents", "/api/agents", "", READ),
    ("GET /api/activity", "/api/activity", "", READ),
    ("GET /api/stream", "/api/stream", "", READ),
    ("POST /api/events", "/api/events", r#"{"kind":"test.note","agent":"alice"}"#, [401, 401, 403, 403, 201, 403, 403, 201]),
    ("POST /api/tokens", "/api/tokens", r#"{"roles":["read"],"name":"new-{caller}"}"#, admin(201)),
    ("GET /api/tokens", "/api/tokens", "", admin(200)),
    ("DELETE /api/tokens/{name}", "/api/tokens/victim-{caller}", "", admin(204)),
    ("POST /api/prune", "/api/prune", r#"{"before_seq":1}"#, admin(200)),
    ("POST /api/events/{seq}/redact", "/api/events/1/redact", "", admin(200)),
    ("POST /api/login", "/api/login", "", [401, 401, 201, 403, 403, 403, 201, 201]),
    ("POST /session", "/session", r#"{"token":"{token}"}"#, OPEN),
    ("GET /api/approvals", "/api/approvals", "", [401, 401, 200, 403, 200, 200, 200, 200]),
    ("GET /api/approvals/{id}", "/api/approvals/{n}", "", [401, 401, 200, 403, 200, 404, 200, 200]),
    ("POST /api/approvals", "/api/approvals", r#"{"approval_kind":"spawn"}"#, [401, 401, 403, 403, 201, 201, 403, 403]),
    ("POST /api/approvals", "/api/approvals", r#"{"approval_kind":"spawn","agent":"alice"}"#, [401, 401, 403, 403, 201, 403, 403, 403]),
    ("POST /api/approvals/{id}/resolve", "/api/approvals/{n}/resolve", r#"{"status":"approved"}"#, [401, 401, 403, 403, 403, 403, 200, 403]),
    ("POST /api/approvals/{id}/resolve", "/api/approvals/999/resolve", r#"{"status":"approved"}"#, [401, 401, 403, 403, 403, 403, 404, 403]),
    ("GET /api/questions", "/api/questions", "", [401, 401, 200, 403, 200, 200, 200, 200]),
    ("GET /api/questions/{id}", "/api/questions/{n}", "", [401, 401, 200, 403, 200, 404, 200, 200]),
    ("GET /api/questions/{id}", "/api/questions/{p}", "", [401, 401, 404, 403, 200, 200, 404, 404]),
    ("POST /api/questions", "/api/questions", r#"{"question":"?"}"#, [401, 401, 403, 403, 201, 201, 403, 403]),
    ("POST /api/questions", "/api/questions", r#"{"question":"?","to":"carol"}"#, [401, 401, 403, 403, 201, 201, 403, 403]),
    ("POST /api/questions/{id}/answer", "/api/questions/{n}/answer", r#"{"answer":"yes"}"#, [401, 401, 403, 403, 403, 404, 200, 403]),
    ("POST /api/questions/{id}/answer", "/api/questions/{p}/answer", r#"{"answer":"yes"}"#, [401, 401, 403, 403, 403, 200, 404, 403]),
    ("POST /api/questions/{id}/cancel", "/api/questions/{m}/cancel", "", [401, 401, 403, 403, 200, 404, 200, 403]),
    ("POST /api/questions/{id}/cancel", "/api/questions/{q}/cancel", "", [401, 401, 403, 403, 200, 404, 404, 403]),
    ("PUT /api/transients/{name}", "/api/transients/{caller}", r#"{"transient_kind":"starting"}"#, [401, 401, 403, 403, 200, 200, 200, 403]),
    ("PUT /api/transients/{name}", "/api/transients/alice", r#"{"transient_kind":"stopping"}"#, [401, 401, 403, 403, 200, 403, 200, 403]),
    ("DELETE /api/transients/{name}", "/api/transients/{caller}", "", [401, 401, 403, 403, 200, 200, 200, 403]),
    ("DELETE /api/transients/{name}", "/api/transients/alice", "", [401, 401, 403, 403, 404, 403, 404, 403]),
    ("POST /api/messages", "/api/messages", r#"{"to":"bob","body":"hello"}"#, [401, 401, 403, 403, 201, 201, 201, 403]),
    ("POST /api/messages", "/api/messages", r#"{"to":"bob","body":"hello","from":"alice"}"#, [401, 401, 403, 403, 201, 403, 403, 403]),
    ("POST /api/agents/{name}/recv", "/api/agents/alice/recv", "", [401, 401, 403, 403, 200, 403, 403, 403]),
    ("POST /api/agents/{name}/recv", "/api/agents/operator/recv", "", [401, 401, 403, 403, 403, 403, 200, 403]),
    ("POST /api/messages/{id}/renew", "/api/messages/{n}/renew", "", [401, 401, 403, 403, 204, 404, 404, 403]),
    ("POST /api/messages/{id}/ack", "/api/messages/{n}/ack", "", [401, 401, 403, 403, 204, 404, 404, 403]),
    ("POST /api/agents/{name}/requeue", "/api/agents/bob/requeue", "", [401, 401, 403, 403, 403, 200, 403, 403]),
    ("POST /api/agents/{name}/requeue", "/api/agents/operator/requeue", "", [401, 401, 403, 403, 403, 403, 200, 403]),
    ("GET /session", "/session", "", ANY),
    ("DELETE /session", "/session", "", [401, 401, 204, 204, 204, 204, 204, 204]),
];

/// Every route that there is.
fn routes() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&hivelog::http::openapi()).expect("JSON");
    let mut routes = BTreeSet::from(["GET /".to_owned(), "GET /openapi.json".to_owned()]);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        routes.extend(
            methods.as_object().expect("methods").keys().map(|m| format!("{} {path}", m.to_uppercase())),
        );
    }
    routes
}

/// A server with every kind of caller; gives their tokens in the order of `CALLERS`.
pub async fn house() -> (House, [Option<String>; 8]) {
    let house = House::new().await;
    let end = super::now() + 60;
    let roles = [Role::Read, Role::Operator, Role::Admin, Role::Agent];
    let expired = house.credentials.add("expired", &roles, Some(end)).await.expect("a token");
    house.pass(61);
    let tokens = [
        None,
        Some(expired),
        Some(house.token("read", &[Role::Read]).await),
        Some(house.token("metrics", &[Role::Metrics]).await),
        Some(house.token("alice", &[Role::Agent]).await),
        Some(house.token("bob", &[Role::Agent]).await),
        Some(house.token("ops", &[Role::Operator]).await),
        Some(house.token("root", &[Role::Admin]).await),
    ];
    for caller in CALLERS {
        house.token(&format!("victim-{caller}"), &[Role::Read]).await;
    }
    crate::append(&house.server.log, r#"{"kind":"test.first"}"#).expect("stored");
    furnish(&house).await;
    (house, tokens)
}

/// Puts there what the calls speak of: for each caller its own.
async fn furnish(house: &House) {
    let desk = Desk::of(&house.server.log).expect("a desk");
    let ask = || Ask { asker: "alice".into(), question: "?".into(), ..Ask::default() };
    let count = i64::try_from(CALLERS.len()).expect("few");
    for n in 1..=count {
        let request = Request { agent: "alice".into(), approval_kind: "spawn".into(), ..Request::default() };
        assert_eq!(desk.request(request).await.expect("requested").id, n);
        desk.send("carol", "alice", "hello").await.expect("sent");
    }
    for n in 1..=4 * count {
        let asked = if n <= 2 * count { desk.ask(ask()) } else { desk.ask_peer(ask(), "bob") };
        assert_eq!(asked.await.expect("asked").id, n);
    }
    let handed = desk.recv("alice", Receive::default().max(100)).await.expect("handed out");
    assert!(handed.iter().map(|message| message.id).eq(1..=count));
    // The mirror of it all, so that the log stands still.
    let due = house.server.log.tail().get();
    let events = 1 + count * 3 + 2 * count;
    let mut seen = due;
    while seen < events {
        house.server.log.wait_past(Seq::new(seen).expect("a seq")).await;
        seen = house.server.log.tail().get();
    }
    assert_eq!(seen, events);
}

/// Method, path and body of a call as this caller makes it.
pub fn filled(row: &Row, caller: &str, tokens: &[Option<String>; 8]) -> (&'static str, String, String) {
    let method = row.0.split(' ').next().expect("a method");
    let fill = |text: &str| {
        let n = 1 + CALLERS.iter().position(|known| *known == caller).expect("a caller");
        let mut text =
            text.replace("{caller}", caller).replace("{token}", tokens[2].as_deref().expect("the reader's"));
        for (round, name) in ["{n}", "{m}", "{p}", "{q}"].into_iter().enumerate() {
            text = text.replace(name, &(n + round * CALLERS.len()).to_string());
        }
        text
    };
    (method, fill(row.1), fill(row.2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_knows_every_caller() {
    let listed: BTreeSet<String> = ROWS.iter().map(|row| row.0.to_owned()).collect();
    assert_eq!(listed, routes(), "a route without a row, or a row without a route");
    let (house, tokens) = house().await;
    for row in ROWS {
        for (index, caller) in CALLERS.iter().enumerate() {
            let (method, path, body) = filled(row, caller, &tokens);
            let before = (house.server.log.tail(), house.credentials.list());
            let reply = match &tokens[index] {
                Some(token) => house.by(token, method, &path, &body).await,
                None if body.is_empty() => house.ask(method, &path, &[], "").await,
                None => house.ask(method, &path, &[("Content-Type", "application/json")], &body).await,
            };
            let expected = row.3[index];
            assert_eq!(
                reply.status,
                expected,
                "{} by {caller}: {}",
                row.0,
                String::from_utf8_lossy(&reply.body)
            );
            let challenge = (expected == 401).then_some("Bearer");
            assert_eq!(reply.header("www-authenticate"), challenge, "{} by {caller}", row.0);
            if matches!(expected, 401 | 403) {
                check_problem(&reply, expected, if expected == 401 { "unauthorized" } else { "forbidden" });
                let after = (house.server.log.tail(), house.credentials.list());
                // What was sent by those who may is mirrored meanwhile.
                if !row.0.contains("/api/messages") && !row.0.contains("/api/agents") {
                    assert_eq!(before, after, "{} by {caller} had an effect", row.0);
                }
                if method == "GET" {
                    let token = tokens[index].clone().unwrap_or_default();
                    assert_eq!(house.by(&token, "HEAD", &path, "").await.status, expected, "HEAD {path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_looked_at_before_the_credential() {
    let house = House::new().await;
    for (method, path, body) in [
        ("GET", "/api/history?limit=none&unknown=1", ""),
        ("GET", "/api/stream?after=", ""),
        ("GET", "/api/history/none", ""),
        ("POST", "/api/events", "{"),
        ("POST", "/api/tokens?unknown=1", "{"),
        ("GET", "/api/nothing", ""),
        ("PUT", "/api/state", "{}"),
        ("DELETE", "/api/tokens/..", ""),
    ] {
        let json = [("Content-Type", "application/json"), ("Idempotency-Key", "")];
        check_problem(&house.ask(method, path, &json, body).await, 401, "unauthorized");
    }
    // Not even a body that does not come.
    let late = [("Content-Type", "application/json"), ("Content-Length", "1000000")];
    check_problem(&house.ask("POST", "/api/events", &late, "").await, 401, "unauthorized");
}

#[tokio::test]
async fn health_is_told_to_all_and_its_reasons_to_some() {
    let (house, tokens) = house().await;
    for (caller, token) in CALLERS.iter().zip(&tokens) {
        let reply = house.by(token.as_deref().unwrap_or("none"), "GET", "/readyz", "").await;
        let is_told = matches!(*caller, "read" | "metrics" | "ops" | "root");
        assert_eq!(reply.text() != "ok\n", is_told, "{caller}: {}", reply.text());
        assert_eq!(reply.text().contains("log_id"), is_told, "{caller}");
    }
    let log = house.server.log.clone();
    tokio::task::spawn_blocking(move || log.close()).await.expect("closed");
    let bare = house.ask("GET", "/readyz", &[], "").await;
    check_problem(&bare, 503, "unready");
    assert_eq!(bare.json().get("detail"), None);
    let full = house.by(tokens[3].as_deref().expect("metrics"), "GET", "/readyz", "").await;
    check_problem(&full, 503, "unready");
    assert!(full.json()["detail"].is_string());
}

#[tokio::test]
async fn what_looks_like_a_credential_is_none() {
    let house = House::new().await;
    let good = house.token("root", &[Role::Admin, Role::Operator]).await;
    let long = "x".repeat(10_000);
    let almost = format!("{}x", &good[..good.len() - 1]);
    for value in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        good.clone(),
        format!("Basic {good}"),
        format!("Bearer {almost}"),
        format!("Bearer {}", &good[..good.len() - 1]),
        format!("Bearer {good}x"),
        format!("Bearer {good} {good}"),
        format!("Bearer {good},{good}"),
        format!("Bearer {}", good.to_uppercase()),
        format!("Bearer {long}"),
        "Bearer HIVELOG_TOKEN".into(),
        "Bearer operator".into(),
        "Bearer root".into(),
    ] {
        let reply = house.ask("GET", "/api/state", &[("Authorization", &value)], "").await;
        check_problem(&reply, 401, "unauthorized");
        assert!(!reply.text().contains(&good));
    }
    let bearer = format!("Bearer {good}");
    let twice = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    check_problem(&house.ask("GET", "/api/state", &twice, "").await, 401, "unauthorized");
    for value in [format!("Bearer {good}"), format!("bearer  {good}")] {
        assert_eq!(house.ask("GET", "/api/state", &[("Authorization", &value)], "").await.status, 200);
    }
    // In the query it is nothing, whatever it is called.
    for name in ["token", "access_token", "authorization", "hvl", "code"] {
        for path in ["/api/state", "/api/history", "/api/stream", "/metrics", "/session", "/api/tokens"] {
            let reply = house.ask("GET", &format!("{path}?{name}={good}"), &[], "").await;
            assert!(matches!(reply.status, 400 | 401), "{path}?{name}: {}", reply.status);
            assert!(!reply.text().contains(&good), "{path}?{name}: {}", reply.text());
        }
    }
}
