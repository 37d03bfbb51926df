//! A credential that goes takes with it what it has open, and it has only so much open.

use std::time::Duration;

use futures_util::StreamExt as _;
use hivelog::Role;
use hivelog::http::Access;
use serde_json::json;
use tower::ServiceExt as _;

use super::House;
use crate::client::{Conn, soon, within};
use crate::server::check_problem;
use crate::sse::Stream;

/// What is promised, with nothing on top.
const PROMISED: Duration = Duration::from_secs(5);

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn until_end(stream: &mut Stream) {
    while stream.try_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_streams_waits_and_downloads() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator]).await;
    let other = house.token("other", &[Role::Read]).await;
    let mut kept = Stream::open(&house.server, "", &[("Authorization", &bearer(&other))]).await;
    let mut stream = Stream::open(&house.server, "", &[("Authorization", &bearer(&token))]).await;
    stream.until("hello").await;
    let wait = house.by(&token, "GET", "/api/history?after=0&wait=60", "");
    let revoke = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        house.credentials.revoke("ops").await.expect("revoked");
    };
    let (reply, ()) = within(PROMISED, "the wait", async { tokio::join!(wait, revoke) }).await;
    check_problem(&reply, 401, "unauthorized");
    within(PROMISED, "the stream", until_end(&mut stream)).await;
    // Another one's goes on.
    crate::append(&house.server.log, r#"{"kind":"test.note"}"#).expect("stored");
    assert_eq!(kept.lines(1).await.len(), 1);
}

/// A stream that never has to wait for what comes next is asked all the same.
#[tokio::test]
async fn a_replay_is_cut_when_its_credential_goes() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Read]).await;
    for _ in 0..50 {
        let text = "x".repeat(20_000);
        crate::append(&house.server.log, &json!({ "kind": "test.large", "text": text }).to_string())
            .expect("stored");
    }
    // The body itself: what a socket would hold already is not in the way.
    let app = hivelog::http::router(house.server.log.clone(), Access::credentials());
    let request = axum::http::Request::get("/api/stream?after=0")
        .header("Host", "localhost")
        .header("Authorization", bearer(&token))
        .body(axum::body::Body::empty())
        .expect("a request");
    let response = app.oneshot(request).await.expect("an answer");
    let mut body = response.into_body().into_data_stream();
    for _ in 0..3 {
        body.next().await.expect("a piece").expect("no error");
    }
    house.credentials.revoke("ops").await.expect("revoked");
    // The next piece may have been taken up already.
    let left = soon("the end", body.count()).await;
    assert!(left <= 1, "{left} pieces more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_is_cut_and_does_not_look_whole() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Read]).await;
    let text = "x".repeat(20_000);
    for _ in 0..1_500 {
        drop(
            house.server.log.append(
                hivelog::Draft::from_json(&json!({ "kind": "test.large", "text": text }).to_string())
                    .expect("a draft"),
            ),
        );
    }
    crate::append(&house.server.log, r#"{"kind":"test.last"}"#).expect("stored");
    let headers = [("Authorization", &*bearer(&token)), ("Accept", "application/x-ndjson")];
    let mut conn = Conn::open(house.server.addr).await;
    conn.send(&house.server.bytes("GET", "/api/history?after=0", &headers, b"")).await.expect("sent");
    assert_eq!(soon("a head", conn.head()).await.expect("a head").status, 200);
    soon("a piece", conn.piece()).await.expect("a piece").expect("not the end");
    house.credentials.revoke("ops").await.expect("revoked");
    let end = within(PROMISED, "the download", async {
        loop {
            match conn.piece().await {
                Ok(Some(_)) => {}
                end => return end,
            }
        }
    });
    assert!(end.await.is_err(), "it looks whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_and_the_end_of_its_time_end_what_is_open() {
    let house = House::new().await;
    let token = house.token("ops", &[Role::Operator]).await;
    let (cookie, secret) = house.sign_in(&json!({ "token": token })).await;
    let mut stream = Stream::open(&house.server, "", &[("Cookie", &cookie)]).await;
    let mut of_token = Stream::open(&house.server, "", &[("Authorization", &bearer(&token))]).await;
    stream.until("hello").await;
    of_token.until("hello").await;
    let both = [("Cookie", cookie.as_str()), ("X-Hivelog-Session", secret.as_str())];
    assert_eq!(house.ask("DELETE", "/session", &both, "").await.status, 204);
    within(PROMISED, "the session's stream", until_end(&mut stream)).await;
    let end = super::now() + 3_600;
    let short = house.credentials.add("short", &[Role::Read], Some(end)).await.expect("a token");
    let mut stream = Stream::open(&house.server, "", &[("Authorization", &bearer(&short))]).await;
    stream.until("hello").await;
    house.pass(3_601);
    within(PROMISED, "the stream of one that ended", until_end(&mut stream)).await;
    // The token that the session was made from still holds.
    crate::append(&house.server.log, r#"{"kind":"test.note"}"#).expect("stored");
    assert_eq!(of_token.lines(1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_has_so_many_requests_open_and_others_have_theirs() {
    let house = House::new().await;
    let (busy, other) = (house.token("busy", &[Role::Read]).await, house.token("other", &[Role::Read]).await);
    let headers = bearer(&busy);
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(Stream::open(&house.server, "", &[("Authorization", &headers)]).await);
    }
    for path in ["/api/stream", "/api/state", "/livez"] {
        let reply = house.by(&busy, "GET", path, "").await;
        check_problem(&reply, 429, "too-many-requests");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    assert_eq!(house.by(&other, "GET", "/api/state", "").await.status, 200);
    assert_eq!(house.ask("GET", "/livez", &[], "").await.status, 200);
    // A session is its token's.
    let (cookie, _) = house.sign_in(&json!({ "token": busy })).await;
    assert_eq!(house.ask("GET", "/api/state", &[("Cookie", &cookie)], "").await.status, 429);
    drop(open);
    within(PROMISED, "room again", async {
        while house.by(&busy, "GET", "/api/state", "").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_bound_can_be_set() {
    let house = House::with(Access::credentials().connections_per_token(2)).await;
    let token = house.token("busy", &[Role::Read]).await;
    let headers = bearer(&token);
    let first = Stream::open(&house.server, "", &[("Authorization", &headers)]).await;
    let _second = Stream::open(&house.server, "", &[("Authorization", &headers)]).await;
    assert_eq!(house.by(&token, "GET", "/api/state", "").await.status, 429);
    drop(first);
    within(PROMISED, "room again", async {
        while house.by(&token, "GET", "/api/state", "").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // What ends gives its place back: a hundred in turn are one at a time.
    for _ in 0..100 {
        assert_eq!(house.by(&token, "GET", "/api/history", "").await.status, 200);
    }
}
