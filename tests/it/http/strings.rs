//! P13: whatever text a command carries comes back as it came, and is nothing but text on its way.

use serde_json::{Value, json};

use crate::nasty;
use crate::server::{JSON, Server, check_problem};
use crate::sse::Stream;

/// Has this text go through every text field there is; gives the ids.
async fn say(server: &Server, text: &str) -> (i64, i64, i64) {
    let id = |answer: Value| answer["id"].as_i64().expect("an id");
    let asked = json!({"agent": "alice", "approval_kind": "apply_commit", "sha_short": text, "diff": text, "description": text});
    let approval = id(server.done("POST", "/api/approvals", &asked).await);
    let path = format!("/api/approvals/{approval}/resolve");
    server.done("POST", &path, &json!({"status": "denied", "note": text})).await;
    let asked = json!({"asker": "alice", "question": format!("{text}?"), "options": [text, format!("{text}!")], "multi": true});
    let chosen = id(server.done("POST", "/api/questions", &asked).await);
    let said = id(server.done("POST", "/api/questions", &asked).await);
    let both = json!({"selected": [format!("{text}!"), text]});
    server.done("POST", &format!("/api/questions/{chosen}/answer"), &both).await;
    server.done("POST", &format!("/api/questions/{said}/answer"), &json!({"answer": text})).await;
    (approval, chosen, said)
}

fn check_approval(row: &Value, text: &str) {
    for name in ["sha_short", "diff", "description", "note"] {
        assert_eq!(row[name], *text, "{name}");
    }
    assert_eq!(row["status"], "denied");
}

fn check_question(row: &Value, text: &str, is_chosen: bool) {
    assert_eq!((row["question"].as_str(), &row["outcome"]), (Some(&*format!("{text}?")), &json!("answered")));
    let options = [text.to_owned(), format!("{text}!")];
    assert_eq!(row["options"], json!(options));
    if is_chosen {
        assert_eq!(
            (&row["answer"], &row["selected"]),
            (&json!(format!("{text}!\n{text}")), &json!([options[1], options[0]]))
        );
    } else {
        assert_eq!((&row["answer"], &row["selected"]), (&json!(text), &json!(null)));
    }
}

#[tokio::test]
async fn every_text_comes_back_as_it_came_on_every_way() {
    let server = Server::start().await;
    let mut live = Stream::open(&server, "", &[]).await;
    live.until("caught_up").await;
    for text in nasty::texts() {
        let (approval, chosen, said) = say(&server, &text).await;
        let row = server.read(&format!("/api/approvals/{approval}")).await;
        check_approval(&row, &text);
        check_question(&server.read(&format!("/api/questions/{chosen}")).await, &text, true);
        check_question(&server.read(&format!("/api/questions/{said}")).await, &text, false);
        let state = server.read("/api/state").await;
        assert_eq!(state["recent_approvals"][0], row);
        check_question(&state["recent_questions"][0], &text, false);
        let page = server.read("/api/history?limit=6&order=asc").await;
        let events = page["events"].as_array().expect("events");
        assert_eq!(events.len(), 6);
        for (index, name) in [(0, "diff"), (1, "note"), (5, "answer")] {
            assert_eq!(events[index][name], *text, "{name}");
        }
        // On the stream each event is one frame of two lines, whatever stands in it.
        for event in events {
            let frame = live.bytes().await.expect("a frame");
            let lines: Vec<&str> = frame.split(['\n', '\r']).collect();
            let [id, data, "", ""] = lines[..] else { panic!("{frame:?}") };
            assert!(id.starts_with("id: ") && id.ends_with(&format!("-{}", event["seq"])), "{id}");
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
            assert_eq!(data, *event);
        }
    }
    // A line of the log is a line.
    let count = nasty::texts().len() * 6;
    assert_eq!(server.lines().await.len(), count);
}

#[tokio::test]
async fn no_name_and_no_word_is_such_a_text() {
    let server = Server::start().await;
    server.done("POST", "/api/approvals", &json!({"agent": "alice", "approval_kind": "spawn"})).await;
    server.done("POST", "/api/questions", &json!({"asker": "alice", "question": "?"})).await;
    let head = server.log.tail();
    // A word may begin with a dash, and `null` and `-1` are words; no such name begins so.
    for text in nasty::texts().into_iter().filter(|text| !matches!(text.as_str(), "null" | "-1")) {
        let cases = [
            ("/api/approvals", "agent", json!({"agent": text, "approval_kind": "spawn"})),
            ("/api/approvals", "approval_kind", json!({"agent": "alice", "approval_kind": text})),
            ("/api/approvals/1/resolve", "by", json!({"status": "approved", "by": text})),
            ("/api/approvals/1/resolve", "status", json!({"status": text})),
            ("/api/questions", "asker", json!({"asker": text, "question": "?"})),
            ("/api/questions/1/answer", "answerer", json!({"answer": "x", "answerer": text})),
            ("/api/questions/1/answer", "selected", json!({"selected": [text]})),
            ("/api/questions/1/cancel", "by", json!({"by": text})),
        ];
        for (path, field, body) in cases {
            let reply = server.send("POST", path, &body).await;
            check_problem(&reply, 422, "invalid");
            assert_eq!(reply.json()["field"], field);
            assert!(reply.body.len() < 4 << 10, "{path}: an answer of {} bytes", reply.body.len());
        }
        let escaped: String = text.bytes().take(200).map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/api/transients/{escaped}");
        let put = json!({"transient_kind": "starting"});
        check_problem(&server.send("PUT", &path, &put).await, 404, "not-found");
    }
    assert_eq!(server.log.tail(), head);
}

#[tokio::test]
async fn half_a_character_is_no_text() {
    let server = Server::start().await;
    for half in [r"\ud800", r"\udc00", r"\ud83d\u0041", r"\ud83dx", r"\ude00\ud83d", r"\uD8"] {
        let body = format!(r#"{{"agent":"alice","approval_kind":"spawn","diff":"{half}"}}"#);
        check_problem(
            &server.call("POST", "/api/approvals", &[JSON], body.as_bytes()).await,
            400,
            "malformed",
        );
        let body = format!(r#"{{"asker":"alice","question":"?","options":["{half}"]}}"#);
        check_problem(
            &server.call("POST", "/api/questions", &[JSON], body.as_bytes()).await,
            400,
            "malformed",
        );
    }
    let whole = r#"{"agent":"alice","approval_kind":"spawn","diff":"\ud83d\udc1d\u0000"}"#;
    assert_eq!(server.call("POST", "/api/approvals", &[JSON], whole.as_bytes()).await.status, 201);
    assert_eq!(server.read("/api/approvals/1").await["diff"], "🐝\0");
}
