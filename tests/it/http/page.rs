//! The operator's page: its files, what they may do, and what is none of them.

use hivelog::Log;
use hivelog::http::{Access, router};

use crate::server::{Server, check_problem};

#[tokio::test]
async fn the_page_is_served_and_may_do_nothing_but_its_own() {
    let server = Server::start().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/?kind=sent&q=a%20b", "text/html; charset=utf-8"),
        ("/client.js", "text/javascript; charset=utf-8"),
        ("/kinds/index.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/icon-1.svg", "image/svg+xml"),
        ("/icon-99.svg", "image/svg+xml"),
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{path}");
        let policy = reply.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "require-trusted-types-for 'script'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    // What is no page keeps the policy that allows nothing.
    let policy = server.get("/api/state").await;
    assert!(policy.header("content-security-policy").is_some_and(|policy| !policy.contains("self")));
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let server = Server::start().await;
    let first = server.get("/client.js").await;
    let tag = first.header("etag").expect("a tag").to_owned();
    let again = server.call("GET", "/client.js", &[("If-None-Match", &tag)], b"").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let weak = format!("\"x\", W/{tag}");
    assert_eq!(server.call("GET", "/client.js", &[("If-None-Match", &weak)], b"").await.status, 304);
    assert_eq!(server.call("GET", "/client.js", &[("If-None-Match", "\"x\"")], b"").await.status, 200);
}

#[tokio::test]
async fn nothing_else_is_a_file() {
    let server = Server::start().await;
    for path in [
        "/icon-0.svg",
        "/icon-100.svg",
        "/icon-01.svg",
        "/icon-+1.svg",
        "/icon-x.svg",
        "/kinds",
        "/kinds/",
        "/../http/page.rs",
        "/%2e%2e/http/page.rs",
        "/kinds/../../lib.rs",
        "//etc/passwd",
        "/index.html/",
        "/client.js/x",
        "/.hidden",
    ] {
        check_problem(&server.get(path).await, 404, "not-found");
    }
    let posted = server.call("POST", "/client.js", &[], b"").await;
    check_problem(&posted, 404, "not-found");
}

/// A host decides whether its prefix ends in a slash; the page finds its files either way.
#[tokio::test]
async fn a_nested_page_finds_its_files() {
    let log = Log::temp().expect("a log");
    for (prefix, place, files) in [("/deep/log", "", "./log/"), ("/deep/log/", "/", "./")] {
        let app = axum::Router::new().nest(prefix, router(log.clone(), Access::no_auth()));
        let server = Server::embedded(log.clone(), app, "/deep/log").await;
        for path in [place.to_owned(), format!("{place}?q=a")] {
            let reply = server.get(&path).await;
            assert_eq!(reply.status, 200, "{prefix} {path}");
            assert!(
                reply.text().contains(&format!("src=\"{files}main.js\"")),
                "{prefix} {path}: {}",
                reply.text()
            );
        }
        assert_eq!(server.get("/main.js").await.status, 200);
        assert_eq!(server.read("/api/state").await["seq"], 0);
    }
}
