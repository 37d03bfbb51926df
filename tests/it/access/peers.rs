//! Who sees and answers whose questions: the operator's, and those between peers.

use std::time::Duration;

use hivelog::Role;
use hivelog::http::Access;
use serde_json::{Value, json};

use super::House;
use crate::client::within;
use crate::server::check_problem;

struct Three {
    house: House,
    alice: String,
    bob: String,
    carol: String,
    operator: String,
}

impl Three {
    async fn new(access: Access) -> Self {
        let house = House::with(access).await;
        Self {
            alice: house.token("alice", &[Role::Agent]).await,
            bob: house.token("bob", &[Role::Agent]).await,
            carol: house.token("carol", &[Role::Agent]).await,
            operator: house.token("olga", &[Role::Operator]).await,
            house,
        }
    }

    async fn ask(&self, token: &str, body: Value) -> i64 {
        let asked = self.house.by(token, "POST", "/api/questions", &body.to_string()).await;
        assert_eq!(asked.status, 201, "{}", asked.text());
        assert_eq!(asked.json()["seq"].is_null(), body.get("to").is_some_and(|to| to != "operator"));
        asked.json()["id"].as_i64().expect("an id")
    }

    async fn answer(&self, token: &str, id: i64, body: Value) -> u16 {
        let path = format!("/api/questions/{id}/answer");
        self.house.by(token, "POST", &path, &body.to_string()).await.status
    }

    /// The ids in a list as this one sees it.
    async fn list(&self, token: &str, query: &str) -> Vec<i64> {
        let list = self.house.by(token, "GET", &format!("/api/questions{query}"), "").await;
        assert_eq!(list.status, 200, "{}", list.text());
        let json = list.json();
        json["questions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["id"].as_i64().expect("an id"))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leave_a_peer_answers_nothing_of_the_operators() {
    let three = Three::new(Access::credentials()).await;
    let id = three.ask(&three.alice, json!({"question": "ship it?", "to": "operator"})).await;
    assert_eq!(three.answer(&three.bob, id, json!({"answer": "yes"})).await, 404);
    assert_eq!(three.answer(&three.bob, id, json!({"answer": "yes", "answerer": "operator"})).await, 403);
    assert_eq!(three.answer(&three.alice, id, json!({"answer": "yes"})).await, 403);
    assert_eq!(three.list(&three.bob, "").await, Vec::<i64>::new());
    assert_eq!(three.list(&three.alice, "?open=true&mine=true").await, [id]);
    assert_eq!(three.answer(&three.operator, id, json!({"answer": "yes"})).await, 200);
    let row = three.house.by(&three.alice, "GET", &format!("/api/questions/{id}"), "").await.json();
    // The person at the dashboard, by whatever credential.
    assert_eq!((&row["answerer"], &row["outcome"]), (&json!("operator"), &json!("answered")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_leave_any_peer_but_the_asker_may_answer() {
    let three = Three::new(Access::credentials().peer_answers(true)).await;
    let id = three.ask(&three.alice, json!({"question": "which parser?", "options": ["a", "b"]})).await;
    let between = three.ask(&three.alice, json!({"question": "between us?", "to": "carol"})).await;
    assert_eq!(three.list(&three.bob, "").await, [id], "it is listed for a peer");
    assert_eq!(three.list(&three.bob, "?mine=true").await, Vec::<i64>::new());
    assert_eq!(three.list(&three.carol, "").await, [id, between]);
    let seen = three.house.by(&three.bob, "GET", &format!("/api/questions/{id}"), "").await;
    assert_eq!((seen.status, seen.json()["outcome"].clone()), (200, json!("open")));
    assert_eq!(three.answer(&three.alice, id, json!({"answer": "a"})).await, 403);
    assert_eq!(three.answer(&three.bob, id, json!({"selected": ["a"]})).await, 200);
    let row = three.house.by(&three.alice, "GET", &format!("/api/questions/{id}"), "").await.json();
    assert_eq!((&row["answerer"], &row["answer"]), (&json!("bob"), &json!("a")));
    let late = three
        .house
        .by(&three.operator, "POST", &format!("/api/questions/{id}/answer"), r#"{"answer":"b"}"#)
        .await;
    check_problem(&late, 409, "conflict");
    assert_eq!(late.json()["winner"]["answerer"], "bob");
    // A peer cancels nothing of another's.
    let other = three.ask(&three.alice, json!({"question": "and this?"})).await;
    let cancelled = three.house.by(&three.bob, "POST", &format!("/api/questions/{other}/cancel"), "").await;
    check_problem(&cancelled, 404, "not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_between_peers_is_theirs_alone() {
    let three = Three::new(Access::credentials().peer_answers(true)).await;
    let id =
        three.ask(&three.alice, json!({"question": "rebase?", "to": "bob", "options": ["yes", "no"]})).await;
    assert_eq!(three.house.server.log.tail().get(), 0, "nothing of it is on the log");
    for (token, due) in [(&three.alice, 200), (&three.bob, 200), (&three.carol, 404), (&three.operator, 404)]
    {
        let seen = three.house.by(token, "GET", &format!("/api/questions/{id}"), "").await;
        assert_eq!(seen.status, due, "{}", seen.text());
    }
    assert_eq!(three.list(&three.operator, "").await, Vec::<i64>::new());
    assert_eq!(three.list(&three.carol, "").await, Vec::<i64>::new());
    assert_eq!(three.list(&three.alice, "?mine=true").await, [id]);
    assert_eq!(three.list(&three.bob, "?open=true").await, [id]);
    // It is in the inbox of the one who was asked.
    let inbox = three.house.by(&three.bob, "POST", "/api/agents/bob/recv", "").await.json();
    assert_eq!(inbox["messages"][0]["question_id"], id);
    assert_eq!(inbox["messages"][0]["body"], "rebase?");
    for (token, due) in [(&three.carol, 404), (&three.operator, 404), (&three.alice, 403)] {
        assert_eq!(three.answer(token, id, json!({"answer": "no"})).await, due);
    }
    assert_eq!(three.answer(&three.bob, id, json!({"selected": ["maybe"]})).await, 422);
    let waited = async {
        three.house.by(&three.alice, "GET", &format!("/api/questions/{id}?wait=30"), "").await.json()
    };
    let answered = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        three.answer(&three.bob, id, json!({"selected": ["yes"]})).await
    };
    let (row, status) =
        within(Duration::from_secs(5), "the answer", async { tokio::join!(waited, answered) }).await;
    assert_eq!((status, &row["answer"], &row["answerer"]), (200, &json!("yes"), &json!("bob")));
    let late = three
        .house
        .by(&three.bob, "POST", &format!("/api/questions/{id}/answer"), r#"{"answer":"no"}"#)
        .await;
    check_problem(&late, 409, "conflict");
    assert_eq!(late.json()["winner"]["answer"], "yes");
    // Answering it acknowledged its message.
    let requeued = three.house.by(&three.bob, "POST", "/api/agents/bob/requeue", "").await.json();
    assert_eq!(requeued["requeued"], 0);
    assert_eq!(three.house.server.log.tail().get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_may_read_is_listed_what_is_put_to_it_too() {
    let three = Three::new(Access::credentials()).await;
    let both = three.house.token("dora", &[Role::Agent, Role::Read]).await;
    let reader = three.house.token("rita", &[Role::Read]).await;
    let of_all = three.ask(&three.alice, json!({"question": "ship it?"})).await;
    let put = three.ask(&three.alice, json!({"question": "rebase?", "to": "dora"})).await;
    let asked = three.ask(&both, json!({"question": "which one?", "to": "bob"})).await;
    let others = three.ask(&three.alice, json!({"question": "and you?", "to": "bob"})).await;
    assert_eq!(three.list(&both, "").await, [of_all, asked, put]);
    assert_eq!(three.list(&both, "?mine=true").await, [asked]);
    assert_eq!(three.list(&reader, "").await, [of_all]);
    assert_eq!(three.list(&three.operator, "").await, [of_all]);
    assert_eq!(three.answer(&both, put, json!({"answer": "yes"})).await, 200);
    assert_eq!(three.list(&both, "?open=false").await, [put]);
    assert_eq!(three.list(&three.bob, "?open=true").await, [asked, others]);
}
