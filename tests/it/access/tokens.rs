//! Tokens handed out and taken back over HTTP, and the first one beside the file.

use std::os::unix::fs::PermissionsExt as _;

use hivelog::Role;
use serde_json::{Value, json};

use super::{House, now};
use crate::server::check_problem;

#[tokio::test]
async fn a_token_is_told_once_and_works_until_it_is_taken_back() {
    let house = House::new().await;
    let root = house.token("root", &[Role::Admin]).await;
    let body = json!({ "name": "ada", "roles": ["agent", "read", "read"], "expires_at": now() + 100 });
    let made = house.by(&root, "POST", "/api/tokens", &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("hvl_") && token.len() == 47, "{token}");
    assert_eq!(made.json().as_object().expect("an object").len(), 1);
    let who = house.by(&token, "GET", "/session", "").await.json();
    assert_eq!(who, json!({ "name": "ada", "roles": ["read", "agent"] }));
    let listed = house.by(&root, "GET", "/api/tokens", "").await;
    let names: Vec<Value> =
        listed.json()["tokens"].as_array().expect("rows").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["ada", "root"]);
    assert!(!listed.text().contains("hvl_") && !listed.text().contains("hash"), "{}", listed.text());
    // The name is taken, also for one that asks in the same words.
    let again = house.by(&root, "POST", "/api/tokens", &body.to_string()).await;
    check_problem(&again, 409, "conflict");
    assert_eq!(house.by(&token, "GET", "/api/state", "").await.status, 200);
    for key in ["a", "a", "b"] {
        let bearer = format!("Bearer {root}");
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
        let reply = house.ask("DELETE", "/api/tokens/ada", &headers, "").await;
        assert_eq!(reply.status, if key == "a" { 204 } else { 404 }, "{key}");
    }
    check_problem(&house.by(&token, "GET", "/api/state", "").await, 401, "unauthorized");
    check_problem(&house.by(&root, "DELETE", "/api/tokens/ada", "").await, 404, "not-found");
    let house = house.again().await;
    check_problem(&house.by(&token, "GET", "/api/state", "").await, 401, "unauthorized");
    assert_eq!(house.by(&root, "GET", "/api/tokens", "").await.status, 200);
    // Who takes its own token back is out at once.
    assert_eq!(house.by(&root, "DELETE", "/api/tokens/root", "").await.status, 204);
    check_problem(&house.by(&root, "GET", "/api/tokens", "").await, 401, "unauthorized");
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    let house = House::new().await;
    let root = house.token("root", &[Role::Admin]).await;
    for (body, field) in [
        (json!({ "name": "operator", "roles": ["operator"] }), "name"),
        (json!({ "name": "ttl-watchdog", "roles": ["agent"] }), "name"),
        (json!({ "name": "", "roles": ["agent"] }), "name"),
        (json!({ "name": "Ada", "roles": ["agent"] }), "name"),
        (json!({ "name": "a b", "roles": ["agent"] }), "name"),
        (json!({ "name": "a\n", "roles": ["agent"] }), "name"),
        (json!({ "name": "../x", "roles": ["agent"] }), "name"),
        (json!({ "name": "x".repeat(65), "roles": ["agent"] }), "name"),
        (json!({ "name": "HIVELOG_TOKEN", "roles": ["agent"] }), "name"),
        (json!({ "name": "ada", "roles": [] }), "roles"),
        (json!({ "name": "ada", "roles": ["root"] }), "roles"),
        (json!({ "name": "ada", "roles": ["read", ""] }), "roles"),
        (json!({ "name": "ada", "roles": ["read"], "expires_at": 5 }), "expires_at"),
        (json!({ "name": "ada", "roles": ["read"], "expires_at": now() }), "expires_at"),
        (json!({ "name": "ada", "roles": ["read"], "expires_at": 1_i64 << 53 }), "expires_at"),
    ] {
        let reply = house.by(&root, "POST", "/api/tokens", &body.to_string()).await;
        check_problem(&reply, 422, "invalid");
        assert_eq!(reply.json()["field"], field, "{body}");
    }
    for body in [
        r#"{"name":"ada"}"#,
        r#"{"roles":["read"]}"#,
        r#"{"name":"ada","roles":["read"],"secret":"x"}"#,
        "[]",
    ] {
        check_problem(&house.by(&root, "POST", "/api/tokens", body).await, 422, "invalid");
    }
    check_problem(&house.by(&root, "POST", "/api/tokens", "{").await, 400, "malformed");
    let bearer = format!("Bearer {root}");
    let keyed =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    let body = r#"{"name":"ada","roles":["read"]}"#;
    check_problem(&house.ask("POST", "/api/tokens", &keyed, body).await, 400, "header");
    assert_eq!(house.credentials.list().len(), 1);
}

#[tokio::test]
async fn values_in_a_row_make_no_token_and_sign_nobody_in() {
    let house = House::new().await;
    let root = house.token("root", &[Role::Admin]).await;
    for body in
        [json!([["admin"], "x", null]), json!([["admin"], "x"]), json!([{ "name": "x", "roles": ["admin"] }])]
    {
        check_problem(&house.by(&root, "POST", "/api/tokens", &body.to_string()).await, 422, "invalid");
    }
    assert_eq!(house.credentials.list().len(), 1);
    let code = house.by(&root, "POST", "/api/login", "").await.json()["code"].clone();
    let json = [("Content-Type", "application/json")];
    for body in [json!([null, root]), json!([code, null]), json!([code]), json!([{ "token": root }])] {
        for body in [body.to_string(), format!(" \n{body}")] {
            let reply = house.ask("POST", "/session", &json, &body).await;
            check_problem(&reply, 422, "invalid");
            assert!(!reply.text().contains(&root), "an error that repeats a secret");
        }
    }
    house.sign_in(&json!({ "code": code })).await;
}

#[tokio::test]
async fn the_first_token_is_written_once_and_for_its_owner() {
    let house = House::new().await;
    let (log, path) = (house.place.path(), house.place.beside("log.db.token"));
    // Something that lies in the way, readable for all.
    std::fs::write(&path, "old").expect("written");
    assert_eq!(house.credentials.write_first_token(&log).await.expect("written"), Some(path.clone()));
    let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&path).expect("the file");
    let who = house.by(token.trim(), "GET", "/session", "").await.json();
    assert_eq!(who, json!({ "name": "operator", "roles": ["operator", "admin"] }));
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(house.credentials.write_first_token(&log).await.expect("asked"), None);
    let house = house.again().await;
    assert_eq!(house.credentials.write_first_token(&log).await.expect("asked"), None);
    assert!(!path.exists());
    assert_eq!(house.by(token.trim(), "GET", "/api/state", "").await.status, 200);
    // It can be taken back, and does not come again.
    house.credentials.revoke("operator").await.expect("revoked");
    let house = house.again().await;
    assert_eq!(house.credentials.write_first_token(&log).await.expect("asked"), None);
    check_problem(&house.by(token.trim(), "GET", "/api/state", "").await, 401, "unauthorized");
}

#[tokio::test]
async fn the_file_holds_no_secret() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator]).await;
    let (cookie, second) = house.sign_in(&json!({ "token": token })).await;
    let code =
        house.by(&token, "POST", "/api/login", "").await.json()["code"].as_str().expect("a code").to_owned();
    house.credentials.set_operator("a-word-that-a-person-chose").expect("set");
    let (cookie_of_word, _) = house.sign_in(&json!({ "token": "a-word-that-a-person-chose" })).await;
    let value = |cookie: &str| cookie.split_once('=').expect("a value").1.to_owned();
    let secrets =
        [token, value(&cookie), second, code, value(&cookie_of_word), "a-word-that-a-person".into()];
    let path = house.place.path();
    for name in ["log.db", "log.db-wal"] {
        let bytes = std::fs::read(path.with_file_name(name)).expect("the file");
        for secret in &secrets {
            let found = memchr::memmem::find(&bytes, secret.as_bytes());
            assert!(found.is_none(), "{name} holds {secret}");
        }
    }
}

#[test]
fn a_trigger_on_who_may_come_in_is_foreign() {
    let place = crate::Place::new();
    place.open().close();
    let conn = crate::foreign(&place.path());
    conn.execute_batch(
        "CREATE TRIGGER more AFTER INSERT ON sessions BEGIN UPDATE tokens SET roles = 'admin'; END",
    )
    .expect("a trigger");
    drop(conn);
    let opened = hivelog::Log::open(place.path(), hivelog::Options::default());
    assert!(matches!(opened, Err(hivelog::Error::NotALog(_))), "{opened:?}");
}
