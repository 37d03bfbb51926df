//! `/metrics`: what operators watch is what the README lists, and says what is so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hivelog::http::Access;
use hivelog::{Desk, Log, Options, Role};
use serde_json::json;

use crate::Place;
use crate::client::{Conn, soon};
use crate::server::{Server, check_problem};
use crate::sse::Stream;

/// The names as they are asked for: a counter's ends in `_total`.
fn printed(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, sort) = line.split_once(' ').expect("a name and its type");
            assert!(name.starts_with("hivelog_"), "{line}");
            if sort == "counter" { format!("{name}_total") } else { name.to_owned() }
        })
        .collect()
}

fn listed() -> BTreeSet<String> {
    let readme = include_str!("../../../README.md");
    let (_, section) = readme.split_once("\n## Metrics\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split('`'))
        .filter(|word| word.starts_with("hivelog_"))
        .map(Into::into)
        .collect()
}

/// On a log where nothing has happened yet: a name that only comes with its first event cannot be watched.
#[tokio::test]
async fn the_readme_lists_what_is_printed() {
    let server = Server::start().await;
    assert_eq!(listed(), printed(server.get("/metrics").await.text()));
}

/// The sample of a name with this label.
fn sample(text: &str, name: &str, label: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn assert_is(told: f64, expected: f64) {
    assert!((told - expected).abs() < 1e-9, "{told} is not {expected}");
}

/// It may be more for a while, and never less.
async fn becomes(server: &Server, name: &str, expected: f64) {
    let settling = async {
        loop {
            let told = server.metric(name).await;
            assert!(told > expected - 1e-9, "{name}: {told} is less than {expected}");
            if told < expected + 1e-9 {
                return;
            }
        }
    };
    soon(name, settling).await;
}

#[tokio::test]
async fn what_is_open_is_counted_with_the_age_of_the_oldest() {
    let place = Place::new();
    let now = Arc::new(AtomicI64::new(1_763_829_000_000));
    let clock = Arc::clone(&now);
    let log =
        Log::open(place.path(), Options::default().clock(move || clock.load(Ordering::SeqCst))).unwrap();
    let server = Server::serve(log, "127.0.0.1:0".parse().unwrap()).await;
    let request = json!({"agent": "alice", "approval_kind": "spawn"});
    server.done("POST", "/api/approvals", &request).await;
    now.fetch_add(90_000, Ordering::SeqCst);
    server.done("POST", "/api/approvals", &request).await;
    server.done("POST", "/api/questions", &json!({"asker": "alice", "question": "?"})).await;
    server.done("PUT", "/api/transients/alice", &json!({"transient_kind": "starting"})).await;
    now.fetch_add(10_000, Ordering::SeqCst);
    let text = server.get("/metrics").await.text().to_owned();
    for (kind, open, age) in [("approval", 2.0, 100.0), ("question", 1.0, 10.0), ("transient", 1.0, 10.0)] {
        let label = format!("{{kind=\"{kind}\"}}");
        assert_is(sample(&text, "hivelog_open_items{", &label).unwrap(), open);
        assert_is(sample(&text, "hivelog_oldest_open_item_age_seconds{", &label).unwrap(), age);
    }
    assert!(!text.contains("alice"), "the name of an agent: {text}");
    server.done("POST", "/api/approvals/1/resolve", &json!({"status": "approved", "by": "operator"})).await;
    server.done("POST", "/api/questions/1/cancel", &json!({"by": "operator"})).await;
    let text = server.get("/metrics").await.text().to_owned();
    assert_is(sample(&text, "hivelog_open_items{", "approval").unwrap(), 1.0);
    assert_is(sample(&text, "hivelog_oldest_open_item_age_seconds{", "approval").unwrap(), 10.0);
    assert_is(sample(&text, "hivelog_oldest_open_item_age_seconds{", "question").unwrap(), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slowest_reader_is_told_of_and_connections_are_counted() {
    let server = Server::start().await;
    let mut live = Stream::resume(&server, "0").await;
    assert_is(server.metric("hivelog_slowest_follower_lag_events").await, 0.0);
    // One that takes nothing: it stands where the buffers on its way were full.
    let mut stalled = Conn::open(server.addr).await;
    stalled.send(&server.bytes("GET", "/api/stream?after=0", &[], b"")).await.unwrap();
    let text = "x".repeat(20_000);
    for _ in 0..20 {
        let events: Vec<_> = (0..40).map(|_| json!({"kind": "test.large", "text": text})).collect();
        server.append_all(&events).await;
        live.lines(40).await;
    }
    let lag = server.metric("hivelog_slowest_follower_lag_events").await;
    assert!((1.0..800.0).contains(&lag), "{lag}");
    // These two and the one that asks, once those that asked before are seen to be gone.
    becomes(&server, "hivelog_connections", 3.0).await;
    drop((stalled, live));
    becomes(&server, "hivelog_connections", 1.0).await;
    becomes(&server, "hivelog_followers", 0.0).await;
    assert_is(server.metric("hivelog_slowest_follower_lag_events").await, 0.0);
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let place = Place::new();
    let log = place.open();
    let admin = Desk::of(&log).unwrap().credentials().add("root", &[Role::Admin], None).await.unwrap();
    let server = Server::with(log, "127.0.0.1:0".parse().unwrap(), Access::credentials()).await;
    let bearer = format!("Bearer {admin}");
    let headers = [("Authorization", bearer.as_str()), crate::server::JSON];
    let approval = br#"{"kind":"approval_added","id":1,"agent":"a","approval_kind":"spawn"}"#;
    let resolved = br#"{"kind":"approval_resolved","id":1,"agent":"a","approval_kind":"spawn","status":"denied","resolved_at":1}"#;
    for body in [&approval[..], resolved, resolved, br#"{"kind":"nodot"}"#, b"{"] {
        server.call("POST", "/api/events", &headers, body).await;
    }
    check_problem(&server.get("/api/state").await, 401, "unauthorized");
    check_problem(&server.call("GET", "/nothing", &headers, b"").await, 404, "not-found");
    let reply = server.call("GET", "/metrics", &headers, b"").await;
    for (name, reason, count) in [
        ("hivelog_refused_appends_total{", "\"conflict\"", 1.0),
        ("hivelog_refused_appends_total{", "\"unknown_kind\"", 1.0),
        ("hivelog_refused_appends_total{", "\"queue_full\"", 0.0),
        ("hivelog_refused_requests_total{", "\"conflict\"", 1.0),
        ("hivelog_refused_requests_total{", "\"unauthorized\"", 1.0),
        ("hivelog_refused_requests_total{", "\"not-found\"", 1.0),
        ("hivelog_refused_requests_total{", "\"malformed\"", 1.0),
    ] {
        let told = sample(reply.text(), name, reason);
        assert_eq!(told.map(f64::to_bits), Some(f64::to_bits(count)), "{name} {reason}: {}", reply.text());
    }
    for name in ["hivelog_append_seconds_count", "hivelog_fsync_seconds_count", "hivelog_commit_events_count"]
    {
        assert!(sample(reply.text(), name, "").unwrap() >= 2.0, "{name}");
    }
}

/// What a mirror that is stopped has before it, as another process sees it.
#[tokio::test]
async fn what_is_not_mirrored_yet_is_counted() {
    let place = Place::new();
    let log = place.open();
    let desk = Desk::of(&log).unwrap();
    for _ in 0..3 {
        desk.send("alice", "bob", "hello").await.unwrap();
    }
    drop(desk);
    log.close();
    drop(log);
    let plain = crate::foreign(&place.path());
    let unmirrored =
        "INSERT INTO journal (what, message_id, at) SELECT 'delivered', id, at FROM messages WHERE id > 1";
    assert_eq!(plain.execute(unmirrored, []).unwrap(), 2);
    drop(plain);
    let log = Log::open_read_only(place.path()).unwrap();
    let server = Server::serve(log, "127.0.0.1:0".parse().unwrap()).await;
    assert_is(server.metric("hivelog_forwarder_lag_entries").await, 2.0);
    assert_is(server.metric("hivelog_head_seq").await, 3.0);
}
