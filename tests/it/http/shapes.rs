//! The bodies of commands that are none: one answer in one shape, the wrong field named, no trace.

use serde_json::{Value, json};

use crate::client::{BEFORE_A_TIMEOUT, Reply, within};
use crate::server::{JSON, Server, check_problem};

/// Every command that changes something, with a body that it takes.
fn commands() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("POST", "/api/approvals", json!({"agent": "alice", "approval_kind": "spawn"})),
        ("POST", "/api/approvals/1/resolve", json!({"status": "approved"})),
        ("POST", "/api/questions", json!({"asker": "alice", "question": "?"})),
        ("POST", "/api/questions/1/answer", json!({"answer": "yes"})),
        ("POST", "/api/questions/1/cancel", json!({"by": "operator"})),
        ("PUT", "/api/transients/w-1", json!({"transient_kind": "starting"})),
        ("DELETE", "/api/transients/w-1", json!({"reason": "done"})),
    ]
}

/// One of each is open.
async fn open_one_of_each() -> Server {
    let server = Server::start().await;
    for index in [0, 2, 5] {
        let (method, path, body) = &commands()[index];
        server.done(method, path, body).await;
    }
    server
}

async fn check_refused(
    server: &Server,
    reply: impl Future<Output = Reply>,
    what: &str,
    due: (u16, &str),
) -> Value {
    let head = server.log.tail();
    let reply = within(BEFORE_A_TIMEOUT, what, reply).await;
    assert_eq!(reply.status, due.0, "{what}: {}", String::from_utf8_lossy(&reply.body));
    check_problem(&reply, due.0, due.1);
    assert!(reply.body.len() < 4 << 10, "{what}: an answer of {} bytes", reply.body.len());
    assert_eq!(server.log.tail(), head, "{what} left a trace");
    reply.json()
}

#[tokio::test]
async fn what_is_no_json_is_no_command() {
    let server = open_one_of_each().await;
    for (method, path, good) in commands() {
        let first = good.as_object().and_then(|good| good.keys().next()).expect("a member").clone();
        let good = good.to_string();
        let broken: Vec<Vec<u8>> = vec![
            b"{".to_vec(),
            b" ".to_vec(),
            format!("{{\"{first}\":}}").into(),
            b"nul".to_vec(),
            format!("{good} x").into(),
            format!("{good}{good}").into(),
            format!("{good}\0").into(),
            format!("\u{feff}{good}").into(),
            good.replace('"', "'").into(),
            [&good.as_bytes()[..good.len() - 2], b"\xff\"}"].concat(),
            [&good.as_bytes()[..good.len() - 2], b"\\ud800\"}"].concat(),
            [&good.as_bytes()[..good.len() - 2], b"\n\"}"].concat(),
            b"{\"\xff\":1}".to_vec(),
        ];
        for body in broken {
            let what = format!("{method} {path} {}", String::from_utf8_lossy(&body));
            let call = server.call(method, path, &[JSON], &body);
            check_refused(&server, call, &what, (400, "malformed")).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_object_is_no_command() {
    let server = open_one_of_each().await;
    for (method, path, good) in commands() {
        // Its values in a row are not the object, nor is a list of it.
        let row: Vec<&Value> = good.as_object().expect("an object").values().collect();
        let mut whole = row.clone();
        whole.resize(8, &Value::Null);
        let bodies = [
            json!([]),
            json!(null),
            json!(1),
            json!(true),
            json!("x"),
            json!([good]),
            json!(row),
            json!(whole),
            json!(whole[..2]),
            json!(whole[..3]),
            json!(whole[..5]),
            json!([null, "spawn", null, null, null]),
            json!(["?", "x", [], false, null, null, null]),
            json!(["alice", "?", [], false, null, null, null]),
        ];
        for body in bodies {
            let what = format!("{method} {path} {body}");
            check_refused(&server, server.send(method, path, &body), &what, (422, "invalid")).await;
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let call = server.call(method, path, &[JSON], deep.as_bytes());
        check_refused(&server, call, path, (422, "invalid")).await;
    }
}

#[tokio::test]
async fn the_member_that_is_wrong_is_named() {
    let server = open_one_of_each().await;
    for (method, path, good) in commands() {
        let mut more = good.clone();
        more["nope"] = json!(1);
        let problem = check_refused(&server, server.send(method, path, &more), path, (422, "invalid")).await;
        assert_eq!(problem["field"], "nope", "{path}");
        for (name, value) in good.as_object().expect("an object") {
            let rest = good.to_string();
            let twice = format!("{{\"{name}\":{value},{}", &rest[1..]);
            let call = server.call(method, path, &[JSON], twice.as_bytes());
            let problem = check_refused(&server, call, &twice, (422, "invalid")).await;
            assert_eq!(problem["field"], *name, "{twice}");
            for wrong in [
                json!(1),
                json!(1.5),
                json!(true),
                json!(["x"]),
                json!({"x": null}),
                json!({"approved": null}),
            ] {
                let mut body = good.clone();
                body[name] = wrong;
                let what = format!("{method} {path} {body}");
                let problem =
                    check_refused(&server, server.send(method, path, &body), &what, (422, "invalid")).await;
                assert_eq!(problem["field"], *name, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn each_field_has_its_own_bounds() {
    let server = open_one_of_each().await;
    let commands = commands();
    let cases: &[(usize, &str, Value)] = &[
        (0, "agent", json!(null)),
        (0, "agent", json!("No Name")),
        (0, "agent", json!("a\r\nb")),
        (0, "agent", json!("a".repeat(65))),
        (0, "approval_kind", json!(null)),
        (0, "approval_kind", json!("")),
        (0, "approval_kind", json!("two words")),
        (0, "approval_kind", json!("\u{1b}[31m")),
        (0, "sha_short", json!(7)),
        (0, "diff", json!(["a"])),
        (0, "description", json!({})),
        (1, "status", json!("pending")),
        (1, "status", json!("Approved")),
        (1, "status", json!(null)),
        (1, "status", json!({"approved": null})),
        (1, "note", json!(1)),
        (1, "by", json!("No Name")),
        (2, "asker", json!("No Name")),
        (2, "asker", json!(null)),
        (2, "question", json!("")),
        (2, "question", json!(" \n")),
        (2, "options", json!("yes")),
        (2, "options", json!(["a", "a"])),
        (2, "options", json!([""])),
        (2, "options", json!((0..65).map(|number| number.to_string()).collect::<Vec<_>>())),
        (2, "multi", json!("yes")),
        (2, "deadline_at", json!(1)),
        (2, "deadline_at", json!(-1)),
        (2, "deadline_at", json!(1.5e12)),
        (2, "deadline_at", json!(1_i64 << 53)),
        (2, "deadline_at", json!("tomorrow")),
        (2, "ttl_seconds", json!(0)),
        (2, "ttl_seconds", json!(-5)),
        (2, "ttl_seconds", json!(i64::MAX)),
        (3, "answer", json!("")),
        (3, "answer", json!(null)),
        (3, "selected", json!(["yes"])),
        (3, "answerer", json!("No Name")),
        (3, "answerer", json!("ttl-watchdog")),
        (4, "by", json!("No Name")),
        (5, "transient_kind", json!("dancing")),
        (5, "transient_kind", json!(null)),
        (5, "transient_kind", json!({"starting": null})),
        (5, "lease_seconds", json!(0)),
        (5, "lease_seconds", json!(-1)),
        (5, "lease_seconds", json!(86_401)),
        (5, "lease_seconds", json!(i64::MAX)),
        (5, "lease_seconds", json!("600")),
        (6, "reason", json!("bored")),
        (6, "reason", json!("lease_expired")),
        (6, "reason", json!("restart")),
        (6, "reason", json!({"done": null})),
    ];
    for (index, field, value) in cases {
        let (method, path, good) = &commands[*index];
        let mut body = good.clone();
        body[*field] = value.clone();
        let what = format!("{method} {path} {body}");
        let problem = check_refused(&server, server.send(method, path, &body), &what, (422, "invalid")).await;
        let told = problem["field"].as_str().unwrap_or_default();
        assert!(told == *field || (*field == "options" && told.starts_with("options[")), "{what}: {problem}");
    }
    // In a list the place is named.
    let body = json!({"asker": "a", "question": "?", "options": ["x", 1]});
    let problem =
        check_refused(&server, server.send("POST", "/api/questions", &body), "a list", (422, "invalid"))
            .await;
    assert_eq!(problem["field"], "options[1]");
    // A long name comes back cut.
    let body = json!({"\u{1}".repeat(100_000): 1});
    check_refused(&server, server.send("POST", "/api/questions", &body), "long", (422, "invalid")).await;
    let body = json!({"status": "\u{1}".repeat(100_000)});
    check_refused(&server, server.send("POST", "/api/approvals/1/resolve", &body), "long", (422, "invalid"))
        .await;
}

#[tokio::test]
async fn what_is_around_a_body_is_looked_at_too() {
    let server = open_one_of_each().await;
    for (method, path, good) in commands() {
        let good = good.to_string();
        let good = good.as_bytes();
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "",
            "application/x-ndjson",
        ] {
            let headers = [("Content-Type", kind)];
            let what = format!("{method} {path} as {kind:?}");
            check_refused(&server, server.call(method, path, &headers, good), &what, (415, "media-type"))
                .await;
        }
        check_refused(&server, server.call(method, path, &[], good), path, (415, "media-type")).await;
        let asked = format!("{path}?nope=1");
        check_refused(&server, server.call(method, &asked, &[JSON], good), &asked, (400, "query")).await;
        let large = [good, &b" ".repeat(1 << 20)].concat();
        check_refused(&server, server.call(method, path, &[JSON], &large), path, (413, "too-large")).await;
        for key in ["", "two words", "\u{e9}", &"k".repeat(257)] {
            let headers = [JSON, ("Idempotency-Key", key)];
            check_refused(&server, server.call(method, path, &headers, good), path, (400, "header")).await;
        }
        let twice = [JSON, ("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
        check_refused(&server, server.call(method, path, &twice, good), path, (400, "header")).await;
        // Another method is none of this resource's.
        check_refused(&server, server.call("PATCH", path, &[JSON], good), path, (405, "method")).await;
    }
    // After all of that each of them is taken.
    for (method, path, good) in commands() {
        let due = if path.ends_with("cancel") { 409 } else { 0 };
        let reply = server.send(method, path, &good).await;
        assert!(matches!(reply.status, 200 | 201) || reply.status == due, "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn an_empty_body_is_an_object_without_members() {
    let server = open_one_of_each().await;
    for (index, field) in
        [(0, "approval_kind"), (1, "status"), (2, "question"), (3, "answer"), (5, "transient_kind")]
    {
        let (method, path, _) = &commands()[index];
        let problem =
            check_refused(&server, server.call(method, path, &[], b""), path, (422, "invalid")).await;
        assert_eq!(problem["field"], field);
    }
    for index in [4, 6] {
        let (method, path, _) = &commands()[index];
        assert_eq!(server.call(method, path, &[], b"").await.status, 200, "{path}");
    }
    assert_eq!(server.read("/api/questions/1").await["answerer"], "operator");
}

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let server = open_one_of_each().await;
    let ids = [
        "2",
        "0",
        "-1",
        "1.5",
        "1e0",
        "+1",
        "x",
        "%31x",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999",
        "9007199254740992",
        "%00",
        "%ff",
        "1%0d%0a",
        "..%2f1",
        "%F0%9F%90%9D",
    ];
    for id in ids {
        for path in [
            format!("/api/approvals/{id}"),
            format!("/api/questions/{id}"),
            format!("/api/questions/{id}?wait=1"),
        ] {
            check_refused(&server, server.get(&path), &path, (404, "not-found")).await;
        }
        for (path, body) in [
            (format!("/api/approvals/{id}/resolve"), json!({"status": "approved"})),
            (format!("/api/questions/{id}/answer"), json!({"answer": "yes"})),
            (format!("/api/questions/{id}/cancel"), json!({})),
        ] {
            check_refused(&server, server.send("POST", &path, &body), &path, (404, "not-found")).await;
        }
    }
    for name in ["No%20Name", "%0a", "a%2fb", "-a", "%ff", &"a".repeat(65)] {
        let path = format!("/api/transients/{name}");
        check_refused(
            &server,
            server.send("PUT", &path, &json!({"transient_kind": "starting"})),
            &path,
            (404, "not-found"),
        )
        .await;
        check_refused(&server, server.call("DELETE", &path, &[], b""), &path, (404, "not-found")).await;
    }
    for path in ["/api/approvals/1", "/api/questions/1"] {
        for query in ["wait=61", "wait=-1", "wait=", "wait=1m", "wait=1&wait=1", "open=1", "nope"] {
            let path = format!("{path}?{query}");
            check_refused(&server, server.get(&path), &path, (400, "query")).await;
        }
    }
    for path in ["/api/approvals", "/api/questions"] {
        for query in ["open=maybe", "open=true&open=true", "wait=1", "limit=5", "mine=maybe"] {
            let path = format!("{path}?{query}");
            check_refused(&server, server.get(&path), &path, (400, "query")).await;
        }
        // Where nobody is asked for a credential there is nobody whose items these could be.
        check_refused(&server, server.get(&format!("{path}?mine=1")), path, (400, "header")).await;
    }
}

#[tokio::test]
async fn a_word_is_a_word_for_a_raw_append_too() {
    let server = open_one_of_each().await;
    let events = [
        r#"{"kind":"approval_resolved","id":1,"agent":"alice","approval_kind":"spawn","status":{"approved":null},"resolved_at":1}"#,
        r#"{"kind":"question_resolved","id":1,"answer":"x","answerer":"operator","answered_at":1,"cancelled":false,"outcome":{"answered":null}}"#,
        r#"{"kind":"transient_set","name":"w-2","transient_kind":{"starting":null},"since_unix":1}"#,
        r#"{"kind":"transient_cleared","name":"w-1","reason":{"done":null}}"#,
    ];
    for event in events {
        check_refused(&server, server.append(event), event, (422, "invalid")).await;
    }
}
