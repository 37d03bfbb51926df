//! `GET /api/activity`: the counts are those of history.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hivelog::{Log, Options};
use serde_json::{Value, json};

use crate::server::{Server, check_problem};

const BASE_MS: i64 = 1_767_225_600_000;

/// A log whose events fell on the seconds that are given.
async fn at_seconds(seconds: &[i64]) -> (Server, tempfile::TempDir) {
    let now = Arc::new(AtomicI64::new(BASE_MS));
    let folder = tempfile::tempdir().expect("a folder");
    let clock = {
        let now = Arc::clone(&now);
        move || now.load(Ordering::SeqCst)
    };
    let log = Log::open(folder.path().join("log.db"), Options::default().clock(clock)).expect("a log");
    let server = Server::serve(log, "127.0.0.1:0".parse().expect("an address")).await;
    for second in seconds {
        now.store(BASE_MS + second * 1_000, Ordering::SeqCst);
        server.append_all(&[json!({"kind": "test.note"})]).await;
    }
    (server, folder)
}

/// The buckets of a histogram, each compared with history.
async fn check_buckets(server: &Server, query: &str) -> Vec<i64> {
    let histogram = server.read(&format!("/api/activity{query}")).await;
    let buckets = histogram["buckets"].as_array().expect("buckets").clone();
    let field = |bucket: &Value, name: &str| bucket[name].as_i64().expect("a number");
    for pair in buckets.windows(2) {
        let (first, next) = (field(&pair[0], "first_seq"), field(&pair[1], "first_seq"));
        assert_eq!(field(&pair[0], "count"), next - first, "{query}");
        let (from, to) = (field(&pair[0], "from_ms"), field(&pair[1], "from_ms"));
        if from % 1_000 == 0 && to % 1_000 == 0 {
            let path = format!("/api/history?since={}&until={}&limit=10000", from / 1_000, to / 1_000);
            let page = server.read(&path).await;
            let events = page["events"].as_array().expect("events");
            assert_eq!(Value::from(events.len()), pair[0]["count"], "{query} {path}");
            if let Some(event) = events.first() {
                assert_eq!(event["seq"], pair[0]["first_seq"], "{query} {path}");
            }
        }
    }
    buckets.iter().map(|bucket| field(bucket, "count")).collect()
}

#[tokio::test]
async fn counts_are_those_of_history() {
    let seconds: Vec<i64> = (0..60).map(|number| number * number / 60).collect();
    let (server, _folder) = at_seconds(&seconds).await;
    for buckets in [1, 2, 7, 10, 60, 1_000] {
        let counts = check_buckets(&server, &format!("?buckets={buckets}")).await;
        assert_eq!(counts.len(), buckets);
        assert_eq!(counts.iter().sum::<i64>(), 60, "{buckets}");
    }
    assert_eq!(check_buckets(&server, "").await.len(), 60);
    let bounds = format!("?since={}&until={}&buckets=10", BASE_MS / 1_000, BASE_MS / 1_000 + 10);
    let counts = check_buckets(&server, &bounds).await;
    let expected: Vec<i64> = (0..10)
        .map(|second| i64::try_from(seconds.iter().filter(|at| **at == second).count()).expect("few"))
        .collect();
    assert_eq!(counts, expected);
    let since = check_buckets(&server, "?since=2026-01-01T00:00:30Z&buckets=5").await;
    let after = seconds.iter().filter(|at| **at >= 30).count();
    assert_eq!(since.iter().sum::<i64>(), i64::try_from(after).expect("few"));
    // Before there was anything.
    assert_eq!(check_buckets(&server, "?since=0&until=100&buckets=4").await, [0; 4]);
}

#[tokio::test]
async fn an_empty_log_has_empty_buckets() {
    let (server, _folder) = at_seconds(&[]).await;
    let reply = server.get("/api/activity").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let json = reply.json();
    let buckets = json["buckets"].as_array().expect("buckets");
    assert!(buckets.iter().all(|bucket| bucket["count"] == 0));
    // Nor is there anything in the future.
    assert_eq!(check_buckets(&server, "?since=9999999999&buckets=3").await, [0; 3]);
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let (server, _folder) = at_seconds(&[0]).await;
    for query in [
        "?buckets=0",
        "?buckets=1001",
        "?buckets=-1",
        "?buckets=",
        "?buckets=x",
        "?since=x",
        "?until=",
        "?since=10&until=10",
        "?since=10&until=9",
        "?kind=test.note",
        "?buckets=1&buckets=2",
        "?since=99999999999999999",
    ] {
        let reply = server.get(&format!("/api/activity{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        check_problem(&reply, 400, "query");
    }
}
