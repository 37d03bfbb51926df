//! Every route of the document: which hosts come in, which methods are there.

use serde_json::Value;

use crate::client::{Conn, Reply, once, soon};
use crate::server::{JSON, Server, check_problem};

/// Method and path of every route, with a path that leads somewhere.
fn routes() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&hivelog::http::openapi()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let mut routes = Vec::new();
    for (path, methods) in paths {
        for method in methods.as_object().expect("methods").keys() {
            routes.push((method.to_uppercase(), path.replace("{seq}", "1")));
        }
    }
    assert!(routes.len() >= 9, "{routes:?}");
    routes.push(("GET".into(), "/openapi.json".into()));
    routes.push(("GET".into(), "/".into()));
    routes
}

const EVENT: &[u8] = br#"{"kind":"test.note"}"#;

/// Status and headers; the body too where the answer is an error (a stream has no end).
async fn answer(server: &Server, bytes: &[u8]) -> Reply {
    let mut conn = Conn::open(server.addr).await;
    conn.send(bytes).await.expect("sent");
    let mut reply = soon("an answer", conn.head()).await.expect("an answer");
    if reply.status >= 400 {
        while let Some(piece) = soon("a body", conn.piece()).await.expect("a body") {
            reply.body.extend(piece);
        }
    }
    reply
}

fn call(method: &str, target: &str, hosts: &[&str]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    for host in hosts {
        head.push_str(&format!("Host: {host}\r\n"));
    }
    let body = if method == "POST" { EVENT } else { b"" };
    head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_hosts_of_this_machine_come_in() {
    let server = Server::start().await;
    server.append(EVENT).await;
    let (good, bad) = (
        [
            "localhost",
            "localhost:1",
            "LocalHost:65535",
            "127.0.0.1",
            "127.0.0.1:4483",
            "127.9.9.9",
            "[::1]",
            "[::1]:80",
        ],
        [
            "evil.com",
            "evil.com:4483",
            "localhost.evil.com",
            "evil.localhost",
            "127.0.0.1.evil.com",
            "localhost.",
            "user@localhost",
            "localhost@evil.com",
            "localhost:80@evil.com",
            "evil.com#localhost",
            "evil.com/localhost",
            "localhost,evil.com",
            "localhost evil.com",
            "0.0.0.0",
            "128.0.0.1",
            "[::2]",
            "::1",
            "2130706433",
            "null",
            "xn--localhost-",
            "",
            " ",
        ],
    );
    for (method, path) in routes() {
        for host in good {
            let reply = answer(&server, &call(&method, &path, &[host])).await;
            // What this body comes to there is another question.
            let is_let_in = reply.status != 421 && !reply.text().contains("urn:hivelog:host");
            assert!(is_let_in, "{method} {path} {host}: {}", reply.status);
        }
        let head = server.head().await;
        for host in bad {
            let reply = answer(&server, &call(&method, &path, &[host])).await;
            assert!(matches!(reply.status, 400 | 421), "{method} {path} {host:?}: {}", reply.status);
            check_problem(&reply, reply.status, "host");
        }
        // None, two, and a target that names another one than the header.
        let evil = format!("http://evil.com{path}");
        let ours = format!("http://localhost{path}");
        for (target, hosts, status) in [
            (&path, &[][..], 400),
            (&path, &["localhost", "localhost"], 400),
            (&path, &["localhost", "evil.com"], 400),
            (&evil, &["localhost"], 421),
            (&ours, &["evil.com"], 421),
            (&evil, &["evil.com"], 421),
        ] {
            let reply = answer(&server, &call(&method, target, hosts)).await;
            assert_eq!(reply.status, status, "{method} {target} {hosts:?}");
            check_problem(&reply, status, "host");
        }
        assert_ne!(answer(&server, &call(&method, &ours, &["localhost"])).await.status, 421);
        let old = format!("{method} {path} HTTP/1.0\r\n\r\n");
        check_problem(&answer(&server, old.as_bytes()).await, 400, "host");
        let stored = i64::from(method == "POST" && path == "/api/events");
        assert_eq!(server.head().await, head + stored, "{method} {path}: a forged host had an effect");
    }
    for target in ["/nothing", "/api/nothing", "/api"] {
        let reply = answer(&server, &call("GET", target, &["evil.com"])).await;
        check_problem(&reply, 421, "host");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_has_its_methods_and_no_others() {
    let server = Server::start().await;
    server.append(EVENT).await;
    let routes = routes();
    let head = server.head().await;
    for (_, path) in &routes {
        let known = |method: &str| routes.iter().any(|(known, other)| known == method && other == path);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if known(method) {
                continue;
            }
            let reply = server.call(method, path, &[JSON], EVENT).await;
            check_problem(&reply, 405, "method");
            let allowed = reply.header("allow").unwrap_or_default();
            assert!(
                known(allowed.split(',').next().unwrap_or_default()),
                "{method} {path}: allow {allowed:?}"
            );
        }
        // The head of what can be read, without a body and without a stream that stays open.
        if known("GET") {
            let mut conn = Conn::open(server.addr).await;
            let bytes = server.bytes("HEAD", path, &[("Connection", "close")], b"");
            conn.send(&bytes).await.expect("sent");
            // What a path with an id names is not there.
            let due = if path.contains("{id}") { 404 } else { 200 };
            assert_eq!(soon("an answer", conn.head()).await.expect("an answer").status, due, "HEAD {path}");
            assert_eq!(soon("the end", conn.drain()).await.expect("the end"), 0, "HEAD {path}");
        }
    }
    assert!(server.metric("hivelog_followers").await < 1.0);
    for path in [
        "/nothing",
        "/api",
        "/api/",
        "/api/events/",
        "/api/history/1/2",
        "/api//history",
        "/%2e%2e/",
        "/API/state",
        "//",
        "/api/state/",
        "/livez/x",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            check_problem(&server.call(method, path, &[JSON], EVENT).await, 404, "not-found");
        }
    }
    assert_eq!(server.head().await, head);
    // The one form of a target that is no path.
    let reply = once(server.addr, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    check_problem(&reply, 404, "not-found");
}

#[tokio::test]
async fn what_is_read_takes_no_parameter_that_it_does_not_know() {
    let server = Server::start().await;
    server.append(EVENT).await;
    for path in ["/api/history", "/api/activity", "/api/state", "/api/stream"] {
        check_problem(&server.get(&format!("{path}?unknown=1")).await, 400, "query");
    }
    check_problem(&server.get("/api/history/1?unknown=1").await, 400, "query");
}
