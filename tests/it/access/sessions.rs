//! Browsers that sign in: a cookie that reads, a second secret that writes, a code that works once.

use hivelog::Role;
use serde_json::json;

use super::matrix::{self, CALLERS, ROWS, filled};
use super::{House, cookie_of};
use crate::server::check_problem;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const DAY: i64 = 24 * 3_600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_reads_and_only_both_secrets_write() {
    let (house, tokens) = matrix::house().await;
    let token = tokens[7].as_deref().expect("the admin's");
    let (cookie, secret) = house.sign_in(&json!({ "token": token })).await;
    for row in ROWS {
        let (method, path, body) = filled(row, CALLERS[7], &tokens);
        let expected = row.3[7];
        let mut headers = vec![("Cookie", cookie.as_str())];
        if !body.is_empty() {
            headers.push(JSON);
        }
        if method == "GET" {
            assert_eq!(house.ask(method, &path, &headers, &body).await.status, expected, "{}", row.0);
            continue;
        }
        if row.3[0] != 401 {
            continue;
        }
        let before = (house.server.log.tail(), house.credentials.list());
        let value = cookie.split_once('=').expect("a value").1;
        for wrong in [None, Some(""), Some("x"), Some(value), Some(token)] {
            let armed = wrong.map(|wrong| ("X-Hivelog-Session", wrong));
            let headers = [&headers[..], armed.as_slice()].concat();
            check_problem(&house.ask(method, &path, &headers, &body).await, 403, "session");
        }
        assert_eq!(before, (house.server.log.tail(), house.credentials.list()), "{} had an effect", row.0);
        // The second secret alone is nothing.
        let alone = [("X-Hivelog-Session", secret.as_str()), JSON];
        check_problem(&house.ask(method, &path, &alone, &body).await, 401, "unauthorized");
        if row.0 != "DELETE /session" {
            let headers = [&headers[..], &[("X-Hivelog-Session", secret.as_str())]].concat();
            assert_eq!(house.ask(method, &path, &headers, &body).await.status, expected, "{}", row.0);
        }
    }
    let both = [("Cookie", cookie.as_str()), ("X-Hivelog-Session", secret.as_str())];
    let out = house.ask("DELETE", "/session", &both, "").await;
    assert_eq!(out.status, 204);
    let cleared = out.header("set-cookie").expect("a cookie");
    assert!(cleared.contains("=; ") && cleared.contains("Max-Age=0"), "{cleared}");
    check_problem(&house.ask("GET", "/api/state", &both, "").await, 401, "unauthorized");
}

#[tokio::test]
async fn the_cookie_is_this_logs_own() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator]).await;
    let reply = house.ask("POST", "/session", &[JSON], &json!({ "token": token }).to_string()).await;
    assert_eq!((reply.json()["name"].as_str(), &reply.json()["roles"]), (Some("ops"), &json!(["operator"])));
    let cookie = reply.header("set-cookie").expect("a cookie").to_owned();
    let (value, attributes) = cookie.split_once("; ").expect("attributes");
    assert!(value.starts_with(&format!("hivelog_{}=", house.server.log.id())), "{cookie}");
    assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    // Another server of this host sets cookies of the same name: the good one is still found.
    let name = value.split('=').next().expect("a name");
    let tossed = format!("other=1; {name}=forged; {value}; {name}=");
    assert_eq!(house.ask("GET", "/session", &[("Cookie", &tossed)], "").await.json()["name"], "ops");
    let many = format!("{}{value}", format!("{name}=x; ").repeat(50));
    assert_eq!(house.ask("GET", "/session", &[("Cookie", &many)], "").await.status, 401);
    let renamed = value.replace("hivelog_", "hivelog-");
    assert_eq!(house.ask("GET", "/session", &[("Cookie", &renamed)], "").await.status, 401);
    // A credential that is shown is the one that counts.
    let headers = [("Cookie", value), ("Authorization", "Bearer wrong")];
    assert_eq!(house.ask("GET", "/session", &headers, "").await.status, 401);
}

#[tokio::test]
async fn a_code_signs_in_once_and_not_for_long() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator]).await;
    let code = async || {
        let reply = house.by(&token, "POST", "/api/login", "").await;
        assert_eq!(reply.status, 201);
        assert_eq!(reply.json()["base"], json!(null));
        reply.json()["code"].as_str().expect("a code").to_owned()
    };
    let first = code().await;
    house.sign_in(&json!({ "code": first })).await;
    let body = json!({ "code": first }).to_string();
    check_problem(&house.ask("POST", "/session", &[JSON], &body).await, 401, "unauthorized");
    // Many at once: one of them.
    let body = json!({ "code": code().await }).to_string();
    let headers = [JSON];
    let calls = (0..16).map(|_| house.ask("POST", "/session", &headers, &body));
    let replies = futures_util::future::join_all(calls).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
    let late = json!({ "code": code().await }).to_string();
    house.pass(601);
    check_problem(&house.ask("POST", "/session", &[JSON], &late).await, 401, "unauthorized");
    // A code is no token, and a token no code.
    let fresh = code().await;
    check_problem(&house.by(&fresh, "GET", "/api/state", "").await, 401, "unauthorized");
    for body in [json!({ "token": fresh }), json!({ "code": token }), json!({ "code": "" })] {
        let reply = house.ask("POST", "/session", &[JSON], &body.to_string()).await;
        check_problem(&reply, 401, "unauthorized");
    }
    for body in ["{}", r#"{"code":"a","token":"b"}"#, r#"{"code":5}"#, r#"{"other":"a"}"#, "[]"] {
        check_problem(&house.ask("POST", "/session", &[JSON], body).await, 422, "invalid");
    }
    check_problem(&house.ask("POST", "/session", &[JSON], "{").await, 400, "malformed");
    let keyed = [JSON, ("Idempotency-Key", "k")];
    let body = json!({ "token": token }).to_string();
    check_problem(&house.ask("POST", "/session", &keyed, &body).await, 400, "header");
}

#[tokio::test]
async fn a_session_outlives_the_server_and_not_its_token() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator, Role::Admin]).await;
    let (cookie, secret) = house.sign_in(&json!({ "token": token })).await;
    let code = house.by(&token, "POST", "/api/login", "").await.json()["code"].clone();
    let house = house.again().await;
    let both = [("Cookie", cookie.as_str()), ("X-Hivelog-Session", secret.as_str())];
    assert_eq!(house.ask("GET", "/api/state", &both, "").await.status, 200);
    assert_eq!(house.ask("POST", "/api/login", &both, "").await.status, 201);
    house.sign_in(&json!({ "code": code })).await;
    let spent = json!({ "code": code }).to_string();
    let house = house.again().await;
    check_problem(&house.ask("POST", "/session", &[JSON], &spent).await, 401, "unauthorized");
    // Used within thirty days again and again it lasts; unused it ends.
    for _ in 0..3 {
        house.pass(29 * DAY);
        assert_eq!(house.ask("GET", "/api/state", &both, "").await.status, 200);
    }
    house.pass(31 * DAY);
    check_problem(&house.ask("GET", "/api/state", &both, "").await, 401, "unauthorized");
    // Signed in by signing in: all go with the token.
    let (cookie, _) = house.sign_in(&json!({ "token": token })).await;
    let code = house.by(&token, "POST", "/api/login", "").await.json()["code"].clone();
    house.credentials.revoke("ops").await.expect("revoked");
    let again = house.token("ops", &[Role::Operator]).await;
    check_problem(&house.ask("GET", "/api/state", &[("Cookie", &cookie)], "").await, 401, "unauthorized");
    let body = json!({ "code": code }).to_string();
    check_problem(&house.ask("POST", "/session", &[JSON], &body).await, 401, "unauthorized");
    check_problem(&house.by(&token, "GET", "/api/state", "").await, 401, "unauthorized");
    assert_eq!(house.by(&again, "GET", "/api/state", "").await.status, 200);
    let house = house.again().await;
    check_problem(&house.ask("GET", "/api/state", &[("Cookie", &cookie)], "").await, 401, "unauthorized");
}

#[tokio::test]
async fn who_signs_in_too_often_ends_the_oldest_session() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator]).await;
    let body = json!({ "token": token });
    let (oldest, _) = house.sign_in(&body).await;
    house.pass(1);
    let mut cookies = Vec::new();
    for _ in 0..20 {
        let calls = (0..50).map(|_| house.sign_in(&body));
        cookies.extend(futures_util::future::join_all(calls).await);
    }
    // Those that are made at once may be some more; the next one sees all of them.
    cookies.push(house.sign_in(&body).await);
    let status = async |cookie: &str| house.ask("GET", "/session", &[("Cookie", cookie)], "").await.status;
    assert_eq!(status(&oldest).await, 401);
    assert_eq!(status(&cookies.last().expect("one").0).await, 200);
}

#[tokio::test]
async fn the_environments_credential_is_kept_in_memory_alone() {
    let house = House::new().await;
    let place = house.place.path();
    house.credentials.write_first_token(&place).await.expect("written").expect("a path");
    let stored = std::fs::read_to_string(house.place.beside("log.db.token")).expect("the token");
    let stored = stored.trim();
    assert_eq!(house.by(stored, "GET", "/api/state", "").await.status, 200);
    let (of_stored, _) = house.sign_in(&json!({ "token": stored })).await;
    house.credentials.set_operator("a-word-of-mine").expect("set");
    assert_eq!(house.by("a-word-of-mine", "GET", "/session", "").await.json()["name"], "operator");
    // It stands in for the stored one, whose sessions rest too.
    assert_eq!(house.by(stored, "GET", "/api/state", "").await.status, 401);
    assert_eq!(house.ask("GET", "/session", &[("Cookie", &of_stored)], "").await.status, 401);
    let (cookie, _) = house.sign_in(&json!({ "token": "a-word-of-mine" })).await;
    let house = house.again().await;
    let status = async |house: &House, cookie: &str| {
        house.ask("GET", "/session", &[("Cookie", cookie)], "").await.status
    };
    assert_eq!(status(&house, &cookie).await, 401);
    assert_eq!(status(&house, &of_stored).await, 200);
    house.credentials.set_operator("another-word").expect("set");
    assert_eq!(status(&house, &cookie).await, 401);
    house.credentials.set_operator("a-word-of-mine").expect("set");
    assert_eq!(status(&house, &cookie).await, 200);
    assert_eq!(house.by("HIVELOG_TOKEN", "GET", "/session", "").await.status, 401);
    for bad in ["", " ", "a b", "grün", &"x".repeat(257)] {
        assert!(house.credentials.set_operator(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_new_sign_in_needs_nothing_of_the_old_one() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator]).await;
    let (cookie, _) = house.sign_in(&json!({ "token": token })).await;
    // The page lost its second secret: it signs in with the old cookie still there.
    let headers = [("Cookie", cookie.as_str()), JSON];
    let reply = house.ask("POST", "/session", &headers, &json!({ "token": token }).to_string()).await;
    assert_eq!(reply.status, 200);
    assert_ne!(cookie_of(&reply), cookie);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_while_the_token_is_taken_back_is_not_in() {
    let house = House::new().await;
    let (mut refused, mut ended) = (0, 0);
    for round in 0..63 {
        let token = house.token("ops", &[Role::Operator]).await;
        let body = json!({ "token": token }).to_string();
        let headers = [JSON];
        // The token is taken back once so many of the eight are in: before the first one, after the last
        // one, and between any two, where some of the others are on their way.
        let in_before = round % 9;
        let (came, mut coming) = tokio::sync::mpsc::unbounded_channel();
        let calls = (0..8).map(|_| async {
            let reply = house.ask("POST", "/session", &headers, &body).await;
            came.send(()).expect("counted");
            reply
        });
        let take_back = async {
            for _ in 0..in_before {
                coming.recv().await.expect("one came");
            }
            house.credentials.revoke("ops").await.expect("revoked");
            // Another one of that name, for which nobody signed in.
            house.token("ops", &[Role::Operator]).await
        };
        let (_, replies) = tokio::join!(take_back, futures_util::future::join_all(calls));
        for reply in replies {
            if reply.status == 401 {
                refused += 1;
                continue;
            }
            ended += 1;
            let cookie = cookie_of(&reply);
            check_problem(
                &house.ask("GET", "/session", &[("Cookie", &cookie)], "").await,
                401,
                "unauthorized",
            );
        }
        house.credentials.revoke("ops").await.expect("revoked");
    }
    assert!(refused > 0 && ended > 0, "{refused} refused, {ended} ended: there was no race");
}
