//! A host's own app nests the log under a prefix: everything works there, and nothing leaks out.

use axum::Router;
use axum::routing::get;
use hivelog::Log;
use hivelog::http::{Access, router};
use serde_json::{Value, json};

use crate::server::{JSON, NDJSON, Server, check_problem};
use crate::sse::Stream;

/// An app with routes, state and a fallback of its own.
async fn host() -> Server {
    let log = Log::temp().expect("a log");
    let app = Router::new()
        .route("/", get(async |state: axum::extract::State<&'static str>| state.0))
        .route("/some/other", get(async || "the host's"))
        .nest("/some/prefix", router(log.clone(), Access::no_auth().host("dash.example")).with_state(()))
        .fallback(async || (axum::http::StatusCode::NOT_FOUND, "the host's own 404"))
        .with_state("the host's own state");
    Server::embedded(log, app, "/some/prefix").await
}

fn notes(count: i64) -> Vec<Value> {
    (1..=count).map(|number| json!({"kind": "test.note", "agent": "alice", "number": number})).collect()
}

#[tokio::test]
async fn every_call_works_under_a_prefix() {
    let server = host().await;
    assert_eq!(server.append_all(&notes(10)).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(server.post(&[JSON, ("Idempotency-Key", "k")], r#"{"kind":"test.a"}"#).await.status, 201);
    assert_eq!(server.post(&[NDJSON, ("Idempotency-Key", "k")], r#"{"kind":"test.a"}"#).await.status, 200);
    let page = server.read("/api/history?limit=3&agent=alice").await;
    assert_eq!(page["events"].as_array().expect("events").len(), 3);
    assert_eq!(server.lines().await.len(), 11);
    assert_eq!(server.read("/api/history/5").await["number"], 5);
    assert_eq!(server.read("/api/state").await["seq"], 11);
    assert_eq!(server.read("/api/state?at=3").await["seq"], 3);
    assert_eq!(server.read("/readyz").await["status"], "ready");
    assert_eq!(server.read("/version").await["name"], "hivelog");
    assert!(server.read("/openapi.json").await["paths"].is_object());
    assert_eq!(server.get("/livez").await.text(), "ok\n");
    assert!(server.metric("hivelog_head_seq").await >= 11.0);
    let counts = server.read("/api/activity?buckets=1").await;
    assert_eq!(counts["buckets"][0]["count"], 11);
    // Through the host's own handle too.
    let draft = hivelog::Draft::from_json(r#"{"kind":"test.own"}"#).expect("a draft");
    server.log.append(draft).await.expect("stored");
    assert_eq!(server.head().await, 12);
}

#[tokio::test]
async fn the_stream_works_under_a_prefix() {
    let server = host().await;
    server.append_all(&notes(5)).await;
    let mut stream = Stream::open(&server, "?after=2&kind=test.note", &[]).await;
    assert_eq!(stream.lines(3).await, server.lines().await[2..]);
    stream.until("caught_up").await;
    server.append_all(&notes(2)).await;
    let frame = stream.next().await;
    let mut resumed = Stream::resume(&server, &frame.id.expect("an id")).await;
    assert_eq!(resumed.lines(1).await, server.lines().await[6..]);
    // A log that is closed ends its streams, so that the host can stop in good order.
    let log = server.log.clone();
    tokio::task::spawn_blocking(move || log.close()).await.expect("closed");
    while resumed.try_next().await.is_some() {}
    assert_eq!(resumed.try_next().await, None);
    for reply in
        [server.append(r#"{"kind":"test.late"}"#).await, server.get("/api/history?after=0&wait=60").await]
    {
        check_problem(&reply, 503, "closed");
        assert!(reply.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn errors_are_ours_inside_and_the_hosts_outside() {
    let mut server = host().await;
    check_problem(&server.get("/api/nothing").await, 404, "not-found");
    check_problem(&server.call("DELETE", "/api/state", &[], b"").await, 405, "method");
    check_problem(&server.append("{").await, 400, "malformed");
    let named = |name: &'static str| [("Host", name)];
    check_problem(&server.call("GET", "/api/state", &named("evil.com"), b"").await, 421, "host");
    assert_eq!(server.call("GET", "/api/state", &named("dash.example:8443"), b"").await.status, 200);
    check_problem(&server.call("GET", "/api/state", &named("sub.dash.example"), b"").await, 421, "host");
    server.prefix = "";
    assert_eq!(server.get("/").await.text(), "the host's own state");
    let other = server.call("GET", "/some/other", &named("evil.com"), b"").await;
    assert_eq!((other.status, other.text()), (200, "the host's"));
    assert_eq!(other.header("x-request-id"), None);
    for path in ["/api/state", "/some", "/somewhere"] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.text()), (404, "the host's own 404"), "{path}");
    }
}

#[tokio::test]
async fn a_prefix_hides_no_call_from_the_guard() {
    let server = host().await;
    let foreign = ("Origin", "http://evil.com");
    check_problem(&server.call("GET", "/api/stream", &[foreign], b"").await, 403, "origin");
    check_problem(&server.post(&[JSON, foreign], r#"{"kind":"test.note"}"#).await, 403, "origin");
    let text = [("Content-Type", "text/plain")];
    check_problem(&server.post(&text, r#"{"kind":"test.note"}"#).await, 415, "media-type");
    assert_eq!(server.head().await, 0);
}

#[tokio::test]
async fn a_host_may_ask_for_credentials_too() {
    let log = Log::temp().expect("a log");
    let credentials = hivelog::Desk::of(&log).expect("a desk").credentials().clone();
    let app = Router::new().nest("/some/prefix", router(log.clone(), Access::credentials()));
    let server = Server::embedded(log, app, "/some/prefix").await;
    check_problem(&server.get("/api/state").await, 401, "unauthorized");
    let token = credentials.add("dash", &[hivelog::Role::Read], None).await.expect("a token");
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(server.call("GET", "/api/state", &headers, b"").await.status, 200);
    let mut stream = Stream::open(&server, "", &headers).await;
    stream.until("hello").await;
    credentials.revoke("dash").await.expect("revoked");
    while stream.try_next().await.is_some() {}
    check_problem(&server.call("GET", "/api/state", &headers, b"").await, 401, "unauthorized");
    // A log that was only opened to be read has no credentials to show.
    let read_only = Log::open_read_only(server.log.path()).expect("a log");
    let app = Router::new().nest("/some/prefix", router(read_only.clone(), Access::credentials()));
    let server = Server::embedded(read_only, app, "/some/prefix").await;
    check_problem(&server.get("/api/state").await, 401, "unauthorized");
}

/// Whoever holds the write lock while a router is made keeps nobody out for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_was_made_beside_a_held_lock_gets_its_desk() {
    let log = Log::temp().expect("a log");
    let shell = crate::foreign(log.path());
    shell.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let server = Server::serve(log, "127.0.0.1:0".parse().expect("an address")).await;
    let message = json!({"from": "alice", "to": "bob", "body": "hello"});
    check_problem(&server.send("POST", "/api/messages", &message).await, 503, "busy");
    drop(shell);
    let begin = std::time::Instant::now();
    while server.send("POST", "/api/messages", &message).await.status != 201 {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "there is no desk");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The same where credentials are asked for, and on a socket that stands for an agent: nobody is told meanwhile that
/// what they show does not hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_hold_are_let_in_once_there_is_a_desk() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let log = Log::open(&path, hivelog::Options::default()).expect("a log");
    let desk = hivelog::Desk::of(&log).expect("a desk");
    let token = desk.credentials().add("rita", &[hivelog::Role::Read], None).await.expect("a token");
    drop(desk);
    log.close();
    let log = Log::open(&path, hivelog::Options::default()).expect("a log");
    let shell = crate::foreign(&path);
    shell.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let server = Server::with(log, "127.0.0.1:0".parse().expect("an address"), Access::credentials()).await;
    let bearer = format!("Bearer {token}");
    let state = async || server.call("GET", "/api/state", &[("Authorization", &bearer)], b"").await;
    check_problem(&state().await, 503, "busy");
    check_problem(&server.get("/api/state").await, 401, "unauthorized");
    assert_eq!(server.get("/livez").await.status, 200);
    drop(shell);
    let begin = std::time::Instant::now();
    while state().await.status != 200 {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "there is no desk");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// How often a task is woken.
struct Polled<F>(std::pin::Pin<Box<F>>, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl<F: Future> Future for Polled<F> {
    type Output = F::Output;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<F::Output> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.0.as_mut().poll(cx)
    }
}

/// Who waits for a decision is told of decisions, and not of each commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_decision_sleeps_through_everything_else() {
    use tower::ServiceExt as _;
    let log = Log::temp().expect("a log");
    let app = router(log.clone(), Access::no_auth());
    let desk = hivelog::Desk::of(&log).expect("a desk");
    let asked =
        hivelog::Request { agent: "alice".into(), approval_kind: "spawn".into(), ..Default::default() };
    desk.request(asked).await.expect("requested");
    let polls = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let request = axum::http::Request::get("/api/approvals/1?wait=60").header("Host", "localhost");
    let request = request.body(axum::body::Body::empty()).expect("a request");
    let waiting = tokio::spawn(Polled(Box::pin(app.oneshot(request)), std::sync::Arc::clone(&polls)));
    for number in 0..500 {
        let draft = format!(r#"{{"kind":"test.note","n":{number}}}"#);
        log.append(hivelog::Draft::from_json(&draft).expect("a draft")).await.expect("stored");
    }
    let woken = polls.load(std::sync::atomic::Ordering::SeqCst);
    let denied = hivelog::event::ApprovalStatus::Denied;
    desk.resolve(hivelog::Resolve { id: 1, status: denied, note: None, by: None }).await.expect("decided");
    let answer = waiting.await.expect("it ends").expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(woken < 50, "woken {woken} times by 500 commits");
}
