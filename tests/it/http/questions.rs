//! The routes of questions: ask, answer, take back, wait, list.

use serde_json::{Value, json};

use crate::Place;
use crate::client::{Conn, soon};
use crate::server::{Server, check_problem};
use crate::swarm::Hands;

async fn ask(server: &Server, body: Value) -> i64 {
    let mut asked = json!({"asker": "alice", "question": "which?"});
    for (name, value) in body.as_object().expect("an object") {
        asked[name] = value.clone();
    }
    server.done("POST", "/api/questions", &asked).await["id"].as_i64().expect("an id")
}

#[tokio::test]
async fn from_the_question_to_the_answer() {
    let server = Server::start().await;
    let asked = json!({"asker": "alice", "question": "which?", "options": ["a", "b"], "multi": true, "to": "operator"});
    let reply = server.send("POST", "/api/questions", &asked).await;
    assert_eq!((reply.status, reply.json()), (201, json!({"id": 1, "seq": 1})));
    let mut due: Value = serde_json::from_str(&server.lines().await[0]).expect("JSON");
    for name in ["resolved_seq", "answer", "answerer", "answered_at", "selected"] {
        due[name] = json!(null);
    }
    (due["outcome"], due["cancelled"]) = (json!("open"), json!(false));
    assert_eq!(server.read("/api/questions/1").await, due);
    assert_eq!((&due["deadline_at"], &due["options"]), (&json!(null), &json!(["a", "b"])));
    assert_eq!(
        server.done("POST", "/api/questions/1/answer", &json!({"selected": ["b", "a"]})).await,
        json!({"seq": 2})
    );
    let row = server.read("/api/questions/1?wait=60").await;
    assert_eq!(
        (&row["outcome"], &row["answer"], &row["selected"]),
        (&json!("answered"), &json!("b\na"), &json!(["b", "a"]))
    );
    assert_eq!((&row["answerer"], &row["resolved_seq"]), (&json!("operator"), &json!(2)));
    let winner: Value = serde_json::from_str(&server.lines().await[1]).expect("JSON");
    for (call, body) in
        [("answer", json!({"answer": "c"})), ("cancel", json!({"by": "alice"})), ("cancel", json!({}))]
    {
        let late = server.send("POST", &format!("/api/questions/1/{call}"), &body).await;
        check_problem(&late, 409, "conflict");
        assert_eq!(late.json()["winner"], winner, "{call}");
    }
    let state = server.read("/api/state").await;
    assert_eq!((&state["questions"], &state["recent_questions"][0]), (&json!([]), &row));
}

#[tokio::test]
async fn whose_question_it_is() {
    let server = Server::start().await;
    let id = ask(&server, json!({})).await;
    let path = |call: &str| format!("/api/questions/{id}/{call}");
    let own = server.send("POST", &path("answer"), &json!({"answer": "yes", "answerer": "alice"})).await;
    check_problem(&own, 403, "forbidden");
    check_problem(&server.send("POST", &path("cancel"), &json!({"by": "bob"})).await, 404, "not-found");
    assert_eq!(server.read(&format!("/api/questions/{id}")).await["outcome"], "open");
    server.done("POST", &path("cancel"), &json!({"by": "alice"})).await;
    let row = server.read(&format!("/api/questions/{id}")).await;
    assert_eq!(
        (&row["outcome"], &row["answer"], &row["answerer"]),
        (&json!("cancelled"), &json!("[cancelled]"), &json!("alice"))
    );
    assert_eq!(row["cancelled"], true);
    let other = ask(&server, json!({})).await;
    server
        .done("POST", &format!("/api/questions/{other}/answer"), &json!({"answer": "yes", "answerer": "bob"}))
        .await;
    assert_eq!(server.read(&format!("/api/questions/{other}")).await["answerer"], "bob");
}

#[tokio::test]
async fn a_question_expires_under_the_eyes_of_who_waits() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let server = Server::serve(hands.open(&place.path()), "127.0.0.1:0".parse().expect("an address")).await;
    check_problem(
        &server
            .send("POST", "/api/questions", &json!({"asker": "a", "question": "?", "deadline_at": 1_000}))
            .await,
        422,
        "invalid",
    );
    ask(&server, json!({"deadline_at": 1_030})).await;
    ask(&server, json!({"ttl_seconds": 31})).await;
    assert_eq!(server.read("/api/questions/2").await["deadline_at"], 1_031);
    let mut conn = Conn::open(server.addr).await;
    conn.send(&server.bytes("GET", "/api/questions/1?wait=60", &[], b"")).await.expect("sent");
    hands.forward(30);
    let row = soon("the end", conn.reply()).await.expect("an answer").json();
    assert_eq!(
        (&row["outcome"], &row["answer"], &row["answerer"]),
        (&json!("expired"), &json!("[expired]"), &json!("ttl-watchdog"))
    );
    assert_eq!((&row["cancelled"], &row["answered_at"]), (&json!(false), &json!(1_030)));
    let late = server.send("POST", "/api/questions/1/answer", &json!({"answer": "yes"})).await;
    check_problem(&late, 409, "conflict");
    assert_eq!(late.json()["winner"]["outcome"], "expired");
    assert_eq!(server.read("/api/questions/2").await["outcome"], "open");
    let list = server.read("/api/questions?open=true").await;
    assert_eq!(list["questions"].as_array().map(Vec::len), Some(1));
    let list = server.read("/api/questions").await;
    assert_eq!(
        (&list["questions"][0]["id"], &list["questions"][1]["outcome"]),
        (&json!(2), &json!("expired"))
    );
}

#[tokio::test]
async fn free_text_stands_beside_options() {
    let server = Server::start().await;
    ask(&server, json!({"options": ["yes", "no"]})).await;
    let both =
        server.send("POST", "/api/questions/1/answer", &json!({"answer": "yes", "selected": ["yes"]})).await;
    check_problem(&both, 422, "invalid");
    let two = server.send("POST", "/api/questions/1/answer", &json!({"selected": ["yes", "no"]})).await;
    assert_eq!(two.json()["field"], "selected");
    server.done("POST", "/api/questions/1/answer", &json!({"answer": "yes, but\r\nlater"})).await;
    let row = server.read("/api/questions/1").await;
    assert_eq!((&row["answer"], &row["selected"]), (&json!("yes, but\r\nlater"), &json!(null)));
}
