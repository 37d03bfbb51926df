//! Who a raw append says did it: an agent speaks in its own name, an admin in the body's.

use hivelog::Role;
use serde_json::json;

use super::House;
use crate::server::check_problem;

#[tokio::test]
async fn an_agent_appends_in_its_own_name_alone() {
    let house = House::new().await;
    let token = house.token("alice", &[Role::Agent]).await;
    let post = async |body: &str| house.by(&token, "POST", "/api/events", body).await;
    for (sent, stored) in [
        (r#"{"kind":"test.note"}"#, r#""kind":"test.note","agent":"alice"}"#),
        (r#"{"kind":"test.note","n": 1.50 }"#, r#""kind":"test.note","n":1.50,"agent":"alice"}"#),
        (
            r#"{"agent":"alice","kind":"a.b","z":1,"y":{ "agent":"bob" }}"#,
            r#""kind":"a.b","agent":"alice","z":1,"y":{"agent":"bob"}}"#,
        ),
        (r#"{"kind":"a.b","\u0061gent":"\u0061lice"}"#, r#""kind":"a.b","\u0061gent":"\u0061lice"}"#),
        (r#"{"kind":"a.b","to":"alice","s":"}"}"#, r#""kind":"a.b","to":"alice","s":"}","agent":"alice"}"#),
        (r#"{"kind":"a.b","from":"bob"}"#, r#""kind":"a.b","from":"bob","agent":"alice"}"#),
    ] {
        let reply = post(sent).await;
        assert_eq!(reply.status, 201, "{sent}: {}", reply.text());
        let lines = crate::lines(&house.server.log);
        assert!(lines.last().expect("a line").ends_with(stored), "{lines:?}");
    }
    assert_eq!(crate::lines(&house.server.log).len(), 6);
    let mine = hivelog::Range {
        filter: hivelog::Filter::default().agent("alice").expect("a filter"),
        ..hivelog::Range::default()
    };
    assert_eq!(house.server.log.range(&mine).expect("a page").rows().count(), 6);
    for forged in [
        r#"{"kind":"test.note","agent":"bob"}"#,
        r#"{"kind":"test.note","agent":null}"#,
        r#"{"kind":"test.note","agent":["alice"]}"#,
        r#"{"kind":"test.note","\u0061gent":"bob"}"#,
        r#"[{"kind":"test.note"},{"kind":"test.note","agent":"operator"}]"#,
        r#"{"kind":"sent","from":"alice","to":"bob","body":"hi","at":1}"#,
        r#"{"kind":"approval_added","id":1,"agent":"alice","approval_kind":"spawn"}"#,
        r#"{"kind":"approval_resolved","id":1,"agent":"alice","approval_kind":"spawn","status":"approved","resolved_at":1}"#,
        r#"{"kind":"transient_set","name":"alice","transient_kind":"spawning","since_unix":1}"#,
    ] {
        check_problem(&post(forged).await, 403, "forbidden");
    }
    check_problem(&post(r#"{"kind":"test.note","agent":"alice","agent":"bob"}"#).await, 422, "invalid");
    let big = json!({ "kind": "test.note", "text": "x".repeat((1 << 20) - 60) }).to_string();
    assert!(matches!(post(&big).await.status, 201 | 413));
    let full = format!(r#"{{"kind":"t.n","x":"{}"}}"#, "x".repeat((1 << 20) - 22));
    check_problem(&post(&full).await, 413, "too-large");
}

#[tokio::test]
async fn keys_are_the_actors_own() {
    let house = House::new().await;
    let (alice, bob) = (house.token("alice", &[Role::Agent]).await, house.token("bob", &[Role::Agent]).await);
    let keyed = r#"{"kind":"test.note","key":"k"}"#;
    for (token, status, seq) in [(&alice, 201, 1), (&bob, 201, 2), (&alice, 200, 1), (&bob, 200, 2)] {
        let reply = house.by(token, "POST", "/api/events", keyed).await;
        assert_eq!((reply.status, &reply.json()["seq"]), (status, &json!(seq)));
    }
}

#[tokio::test]
async fn an_admin_appends_everything_and_decides_in_its_name_unless_it_says_whose() {
    let house = House::new().await;
    let token = house.token("coordinator", &[Role::Admin, Role::Agent]).await;
    let post = async |body: &str| {
        let reply = house.by(&token, "POST", "/api/events", body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        crate::lines(&house.server.log).pop().expect("a line")
    };
    for id in [1, 2, 3] {
        post(&crate::approval(id, "alice")).await;
    }
    let resolved = |id: i64, by: &str| {
        format!(
            r#"{{"kind":"approval_resolved","id":{id},"agent":"alice","approval_kind":"spawn","status":"denied","resolved_at":5,"note":"no"{by}}}"#
        )
    };
    assert!(post(&resolved(1, "")).await.ends_with(r#""by":"coordinator"}"#));
    assert!(post(&resolved(2, r#","by":null"#)).await.ends_with(r#""by":"coordinator"}"#));
    assert!(post(&resolved(3, r#","by":"operator""#)).await.ends_with(r#""by":"operator"}"#));
    assert!(
        post(r#"{"kind":"sent","from":"x","to":"y","body":"hi","at":1}"#).await.contains(r#""from":"x""#)
    );
    assert!(post(r#"{"kind":"test.note"}"#).await.ends_with(r#""kind":"test.note"}"#));
    assert!(post(r#"{"kind":"test.note","agent":"bob"}"#).await.ends_with(r#""agent":"bob"}"#));
}
