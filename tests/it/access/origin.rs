//! A page of another origin can do nothing, whatever the browser sends for it.

use hivelog::Role;
use hivelog::http::Access;

use super::matrix::{CALLERS, ROWS, filled, house};
use super::{House, ask};
use crate::server::{Server, check_problem};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_and_the_stream_look_at_the_origin() {
    let (house, tokens) = house().await;
    let port = house.server.addr.port();
    let host = format!("127.0.0.1:{port}");
    let root = format!("Bearer {}", tokens[7].as_deref().expect("the admin's"));
    let bad = [
        ("Origin", "null".to_owned()),
        ("Origin", "http://evil.com".to_owned()),
        ("Origin", format!("http://127.0.0.1:{}", port ^ 1)),
        ("Origin", "http://127.0.0.1".to_owned()),
        ("Origin", format!("https://{host}")),
        ("Origin", format!("http://localhost:{port}")),
        ("Origin", format!("http://{host}/")),
        ("Origin", format!("http://{host}.evil.com")),
        ("Origin", format!("http://{host} http://evil.com")),
        ("Origin", String::new()),
        ("Sec-Fetch-Site", "cross-site".to_owned()),
        ("Sec-Fetch-Site", "same-site".to_owned()),
        ("Sec-Fetch-Site", "anything".to_owned()),
    ];
    for row in ROWS {
        let (method, path, body) = filled(row, CALLERS[7], &tokens);
        let is_guarded = method != "GET" || path == "/api/stream";
        if !is_guarded {
            continue;
        }
        let mut headers = vec![("Authorization", root.as_str()), ("Host", &host)];
        if !body.is_empty() {
            headers.push(JSON);
        }
        let before = (house.server.log.tail(), house.credentials.list());
        for (name, value) in &bad {
            let headers = [&headers[..], &[(*name, value)]].concat();
            let reply = house.ask(method, &path, &headers, &body).await;
            assert_eq!(reply.status, 403, "{} with {name}: {value}", row.0);
            check_problem(&reply, 403, "origin");
        }
        let own = format!("http://{host}");
        let twice = [&headers[..], &[("Origin", own.as_str()), ("Origin", own.as_str())]].concat();
        check_problem(&house.ask(method, &path, &twice, &body).await, 403, "origin");
        assert_eq!(before, (house.server.log.tail(), house.credentials.list()), "{} had an effect", row.0);
        let good = [&headers[..], &[("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")]].concat();
        let reply = house.ask(method, &path, &good, &body).await;
        assert_eq!(reply.status, row.3[7], "{}: {}", row.0, String::from_utf8_lossy(&reply.body));
    }
}

#[tokio::test]
async fn what_a_form_can_send_is_refused_everywhere() {
    let (house, tokens) = house().await;
    let root = format!("Bearer {}", tokens[7].as_deref().expect("the admin's"));
    for row in ROWS {
        let (method, path, body) = filled(row, CALLERS[7], &tokens);
        if method == "GET" {
            continue;
        }
        let body = if body.is_empty() { "{}".to_owned() } else { body };
        let before = (house.server.log.tail(), house.credentials.list());
        for kind in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "text/plain;charset=UTF-8",
            "text/plain; application/json",
            "application/jsonx",
            "",
        ] {
            let headers = [("Authorization", root.as_str()), ("Content-Type", kind)];
            let reply = house.ask(method, &path, &headers, &body).await;
            assert_eq!(reply.status, 415, "{} as {kind:?}", row.0);
        }
        let reply = house.ask(method, &path, &[("Authorization", root.as_str())], &body).await;
        check_problem(&reply, 415, "media-type");
        if row.0 != "POST /api/events" {
            let lines = [("Authorization", root.as_str()), ("Content-Type", "application/x-ndjson")];
            check_problem(&house.ask(method, &path, &lines, &body).await, 415, "media-type");
        }
        assert_eq!(before, (house.server.log.tail(), house.credentials.list()), "{} had an effect", row.0);
    }
}

#[tokio::test]
async fn nobody_is_asked_but_a_page_of_another_origin_is_still_kept_out() {
    let server = Server::start().await;
    let event = r#"{"kind":"test.note"}"#;
    for bad in [("Origin", "http://evil.com"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        check_problem(&ask(&server, "POST", "/api/events", &[JSON, bad], event).await, 403, "origin");
        check_problem(&ask(&server, "GET", "/api/stream", &[bad], "").await, 403, "origin");
    }
    let form = [("Content-Type", "text/plain")];
    check_problem(&ask(&server, "POST", "/api/events", &form, event).await, 415, "media-type");
    assert_eq!(server.head().await, 0);
    let own = [JSON, ("Host", "localhost:1"), ("Origin", "http://localhost:1")];
    assert_eq!(ask(&server, "POST", "/api/events", &own, event).await.status, 201);
}

#[tokio::test]
async fn a_public_url_has_its_host_and_its_origin_alone() {
    let access = Access::credentials().public_url("https://Hive.Example/dash/").expect("a URL");
    let house = House::with(access).await;
    let token = house.token("root", &[Role::Admin]).await;
    let bearer = format!("Bearer {token}");
    let event = r#"{"kind":"test.note"}"#;
    for (host, origin, status) in [
        ("hive.example", "https://hive.example", 201),
        ("HIVE.example:443", "https://hive.example", 201),
        // A proxy that puts its own name for this server there.
        ("127.0.0.1:4483", "https://hive.example", 201),
        ("localhost:7", "http://localhost:7", 201),
        ("hive.example", "http://hive.example", 403),
        ("hive.example", "https://hive.example:8443", 403),
        ("hive.example:8443", "https://hive.example:8443", 403),
        ("hive.example", "https://evil.example", 403),
        ("hive.example", "http://127.0.0.1:4483", 403),
        ("other.example", "https://hive.example", 421),
        ("hive.example.", "https://hive.example", 421),
    ] {
        let headers = [("Authorization", bearer.as_str()), JSON, ("Host", host), ("Origin", origin)];
        let reply = house.ask("POST", "/api/events", &headers, event).await;
        assert_eq!(reply.status, status, "{host} {origin}: {}", reply.text());
    }
    for url in [
        "hive.example",
        "ftp://hive.example",
        "https://",
        "https://u@hive.example",
        "https://hive.example/?q",
        "https://hive.example/#x",
        "https://hive.example/a;b",
        "https://hive.example//a",
        "/dash",
    ] {
        assert!(Access::credentials().public_url(url).is_err(), "{url}");
    }
}
