//! What is logged: each request by its id, and never what anybody wrote or showed.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::{Place, Server, told};

/// In whatever clients send as text, and in nothing else.
const SECRET: &str = "xyzzy-plugh";

/// Status, request id and body of a call.
fn call(
    server: &Server,
    method: &str,
    path: &str,
    token: &str,
    body: Option<&Value>,
) -> (u16, String, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-i", "-m", "20", "-X", method, "-H", &format!("authorization: Bearer {token}")]);
    if let Some(body) = body {
        command.args(["-H", "content-type: application/json", "--data-binary", &body.to_string()]);
    }
    command.args(["-H", &format!("x-request-id: {SECRET}"), &format!("{}{path}", server.url)]);
    let answer = String::from_utf8_lossy(&command.output().expect("curl").stdout).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {path} {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id");
    (status, id.to_owned(), body.to_owned())
}

/// One of everything that takes text, gone well and gone wrong; gives the ids of all.
fn traffic(server: &Server, root: &str, alice: &str) -> Vec<(String, u16)> {
    let mut ids = Vec::new();
    let mut done = |token: &str, method: &str, path: &str, body: Option<Value>| {
        let (status, id, answer) = call(server, method, path, token, body.as_ref());
        ids.push((id, status));
        (status, answer)
    };
    let text = json!(SECRET);
    for (good, body) in [
        (201, json!({"kind": "test.note", "text": text, SECRET: 1})),
        (201, json!([{"kind": "test.note", "text": text, "key": "one"}])),
        (422, json!([{"kind": "test.note", "text": text, "key": "one", "more": 1}])),
        (422, json!({"kind": SECRET})),
        (422, json!({"kind": "sent", "from": SECRET, "to": 1})),
        (422, json!({"kind": "approval_added", "id": SECRET})),
    ] {
        let (status, answer) = done(root, "POST", "/api/events", Some(body.clone()));
        assert_eq!(status, good, "{body}: {answer}");
    }
    for (token, method, path, good, body) in [
        (alice, "POST", "/api/messages", 201, json!({"to": "alice", "body": text})),
        (alice, "POST", "/api/messages", 422, json!({"to": SECRET.to_uppercase(), "body": text})),
        (
            alice,
            "POST",
            "/api/approvals",
            201,
            json!({"approval_kind": "spawn", "description": text, "diff": text}),
        ),
        (root, "POST", "/api/approvals/1/resolve", 200, json!({"status": "denied", "note": text})),
        (root, "POST", "/api/approvals/1/resolve", 409, json!({"status": "denied", "note": text})),
        (alice, "POST", "/api/questions", 201, json!({"question": text, "options": [text]})),
        (alice, "POST", "/api/questions", 201, json!({"question": text, "to": "bob"})),
        (root, "POST", "/api/questions/1/answer", 200, json!({"answer": text})),
        (alice, "PUT", "/api/transients/alice", 422, json!({"transient_kind": text})),
        (root, "POST", "/api/tokens", 422, json!({"name": "x", "roles": [text]})),
        (root, "POST", "/session", 401, json!({"token": text})),
        (root, "POST", "/session", 422, json!({"other": text})),
    ] {
        let (status, answer) = done(token, method, path, Some(body.clone()));
        assert_eq!(status, good, "{method} {path} {body}: {answer}");
    }
    for (token, path, good) in [
        (alice, format!("/api/state?{SECRET}=1"), 403),
        (root, format!("/api/history?q={SECRET}"), 200),
        (root, format!("/api/history?agent={SECRET}&kind={SECRET}"), 400),
        (root, format!("/api/history?before={SECRET}"), 400),
        (root, format!("/api/stream?after={SECRET}"), 400),
        (SECRET, "/api/state".into(), 401),
        (root, "/api/state".into(), 200),
        (root, "/metrics".into(), 200),
    ] {
        assert_eq!(done(token, "GET", &path, None).0, good, "{path}");
    }
    let (_, received) = done(alice, "POST", "/api/agents/alice/recv", None);
    assert!(received.contains(SECRET));
    ids
}

fn check(format: &str, level: &str) {
    let place = Place::new();
    // The operator's credential of the environment is one of the secrets.
    let root = format!("{SECRET}-of-the-operator");
    let mut command = place.verb(&["serve", "--listen", "127.0.0.1:0", "--log-format", format]);
    let server = Server::start(&place, command.env("HIVELOG_LOG", level).env("HIVELOG_TOKEN", &root));
    let verb = |args: &[&str]| told(&place.verb(args).env("HIVELOG_TOKEN", &root).output().expect("it runs"));
    let alice = verb(&["token", "add", "--role", "agent", "--name", "alice"]);
    let link = verb(&["login"]);
    let code = link.split_once("#login=").expect("a link").1.to_owned();
    let ids = traffic(&server, &root, &alice);
    verb(&["send", "operator", SECRET]);
    let seen = verb(&["history", "-q", SECRET, "--json"]);
    assert!(seen.contains(SECRET), "the search found nothing");
    let (url, log) = (server.url.clone(), server.log.clone());
    assert_eq!(server.stop(), Some(0));
    let said = std::fs::read_to_string(log).expect("what it said");
    for (what, secret) in [("text", SECRET), ("a token", &*alice), ("a code", &*code)] {
        let leaked = said.lines().find(|line| line.to_lowercase().contains(secret));
        assert_eq!(leaked, None, "{what} is in the log at {level}");
    }
    assert!(said.contains(&url), "{said}");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id was given twice");
    if level != "debug" {
        return;
    }
    for (id, status) in ids {
        assert_ne!(id, SECRET, "an id of a client's is not taken over");
        let lines: Vec<&str> =
            said.lines().filter(|line| line.contains(&id) && line.contains("answered")).collect();
        let [line] = lines[..] else { panic!("{id} {status}: {lines:?}") };
        match format {
            "json" => {
                let line: Value = serde_json::from_str(line).expect("a line of JSON");
                let fields = &line["fields"];
                assert_eq!((&fields["request"], &fields["status"]), (&json!(id), &json!(status)), "{line}");
            }
            _ => assert!(
                line.contains(&format!("request={id} ")) && line.contains(&format!("status={status}")),
                "{line}"
            ),
        }
    }
    if format == "json" {
        for line in said.lines().filter(|line| !line.starts_with("hivelog: ")) {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "no JSON: {line}");
        }
    }
}

#[test]
fn no_text_is_in_the_logs_of_people() {
    check("text", "debug");
    check("text", "info");
}

#[test]
fn no_text_is_in_the_logs_of_machines() {
    check("json", "debug");
    check("json", "info");
}

/// What the server could not do is said without being asked for, with the id that the client has.
#[test]
fn a_failure_of_the_server_is_logged_with_its_id() {
    let place = Place::new();
    let mut command = place.verb(&["serve", "--no-auth", "--listen", "127.0.0.1:0"]);
    let server = Server::start(&place, &mut command);
    let other = hivelog::rusqlite::Connection::open(place.db()).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let body = json!({"kind": "test.note", "text": SECRET});
    let (status, id, _) = call(&server, "POST", "/api/events", "", Some(&body));
    assert_eq!(status, 503);
    other.execute_batch("ROLLBACK").expect("free");
    let said = server.said();
    let line = said.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{id}: {said}"));
    assert!(
        line.contains("WARN") && line.contains("503") && line.contains("\"busy\"") && !line.contains(SECRET),
        "{line}"
    );
}
