//! The bytes of a stream, and the frames that time brings.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use hivelog::http::{Access, router};
use hivelog::{Log, Options};
use serde_json::json;
use tower::ServiceExt as _;

use crate::server::Server;
use crate::sse::Stream;

/// Replaces what differs from run to run.
fn masked(text: &str, log_id: &str) -> String {
    let text = text.replace(log_id, "<log>");
    match text.strip_prefix("retry: ").and_then(|rest| rest.split_once('\n')) {
        Some((delay, rest)) => {
            let delay: u32 = delay.parse().expect("a number");
            assert!((1_000..=10_000).contains(&delay), "retry: {delay}");
            format!("retry: <ms>\n{rest}")
        }
        None => text,
    }
}

#[tokio::test]
async fn the_bytes_of_a_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options::default().clock(|| 1_763_829_000_123);
    let log = Log::open(folder.path().join("log.db"), options).expect("a log");
    let server = Server::serve(log, "127.0.0.1:0".parse().expect("an address")).await;
    let log_id = server.log.id().to_string();
    server
        .append_all(&[
            json!({"kind": "sent", "from": "alice", "to": "bob", "body": "one\ntwo\r\n", "at": 1}),
            json!({"kind": "deploy.finished", "agent": "bob"}),
        ])
        .await;
    let mut stream = Stream::open(&server, "?after=0", &[]).await;
    let mut text = String::new();
    for _ in 0..5 {
        text.push_str(&masked(&stream.bytes().await.expect("a frame"), &log_id));
    }
    server.append(r#"{"kind":"test.raw","n":1.50}"#).await;
    text.push_str(&masked(&stream.bytes().await.expect("a frame"), &log_id));
    let mut stream = Stream::open(&server, "?after=9", &[]).await;
    for _ in 0..4 {
        text.push_str(&masked(&stream.bytes().await.expect("a frame"), &log_id));
    }
    insta::assert_snapshot!(text, @r#"
    retry: <ms>

    id: <log>-0
    event: hello
    data: {"log_id":"<log>","seq":2,"floor":0}

    id: <log>-1
    data: {"seq":1,"recorded_at_ms":1763829000123,"kind":"sent","from":"alice","to":"bob","body":"one\ntwo\r\n","at":1,"message_id":null}

    id: <log>-2
    data: {"seq":2,"recorded_at_ms":1763829000123,"kind":"deploy.finished","agent":"bob"}

    id: <log>-2
    event: caught_up
    data: {"seq":2}

    id: <log>-3
    data: {"seq":3,"recorded_at_ms":1763829000123,"kind":"test.raw","n":1.50}

    retry: <ms>

    id: <log>-9
    event: hello
    data: {"log_id":"<log>","seq":3,"floor":0}

    id: <log>-3
    event: reset
    data: {"reason":"future","log_id":"<log>","seq":3,"floor":0}

    id: <log>-3
    event: caught_up
    data: {"seq":3}
    "#);
}

#[tokio::test]
async fn the_headers_of_a_stream() {
    let server = Server::start().await;
    let stream = Stream::open(&server, "", &[("Accept-Encoding", "gzip, br")]).await;
    let headers = [
        ("content-type", Some("text/event-stream")),
        ("cache-control", Some("no-store")),
        ("x-accel-buffering", Some("no")),
        ("content-encoding", None),
        ("x-content-type-options", Some("nosniff")),
    ];
    for (name, value) in headers {
        assert_eq!(stream.head.header(name), value, "{name}");
    }
}

/// Time stands still but where everybody waits for it, so that half a minute takes none.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_moves_the_position_of_a_filtered_stream() {
    let log = Log::temp().expect("a log");
    let app = router(log.clone(), Access::no_auth());
    let uri = "/api/stream?kind=test.wanted&agent=bob";
    let request =
        axum::http::Request::get(uri).header("Host", "localhost").body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("an answer");
    let mut body = response.into_body().into_data_stream();
    let mut next = async || {
        let bytes = body.next().await.expect("a frame").expect("no error");
        masked(std::str::from_utf8(&bytes).expect("UTF-8"), &log.id().to_string())
    };
    assert!(next().await.contains("event: hello\n"));
    assert!(next().await.contains("event: caught_up\n"));
    let begin = tokio::time::Instant::now();
    assert_eq!(next().await, "id: <log>-0\nevent: heartbeat\ndata: {\"seq\":0}\n\n");
    assert_eq!(begin.elapsed(), Duration::from_secs(15));
    // What is filtered out moves the id; what is the head is told.
    // Appended without giving the runtime a chance to let time pass.
    for _ in 0..3 {
        log.append(hivelog::Draft::from_json(r#"{"kind":"test.other"}"#).expect("a draft"))
            .wait()
            .expect("stored");
    }
    assert_eq!(next().await, "id: <log>-3\nevent: heartbeat\ndata: {\"seq\":3}\n\n");
    assert_eq!(begin.elapsed(), Duration::from_secs(30));
    let wanted = r#"{"kind":"test.wanted","agent":"bob"}"#;
    log.append(hivelog::Draft::from_json(wanted).expect("a draft")).wait().expect("stored");
    assert!(next().await.starts_with("id: <log>-4\ndata: {\"seq\":4,"));
    assert_eq!(begin.elapsed(), Duration::from_secs(30));
    assert_eq!(next().await, "id: <log>-4\nevent: heartbeat\ndata: {\"seq\":4}\n\n");
    assert_eq!(begin.elapsed(), Duration::from_secs(45));
    // A closed log ends it.
    log.close();
    assert!(body.next().await.is_none());
}

/// A piece that a client keeps for as long as it likes keeps itself alone of a commit of megabytes.
#[tokio::test]
async fn a_piece_of_a_large_commit_is_a_copy_of_its_own() {
    let log = Log::temp().expect("a log");
    let app = router(log.clone(), Access::no_auth());
    let open = async |query: &str| {
        let request = axum::http::Request::get(format!("/api/stream{query}")).header("Host", "localhost");
        let answer = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
        let mut body = answer.expect("an answer").into_body().into_data_stream();
        while !String::from_utf8_lossy(&body.next().await.expect("a frame").expect("no error"))
            .contains("caught_up")
        {}
        body
    };
    let (mut some, mut all) = (open("?kind=test.wanted").await, open("").await);
    let text = "x".repeat(20_000);
    let drafts = (0..100).map(|number| {
        let kind = if number == 50 { "test.wanted" } else { "test.other" };
        let text = if number == 50 { "" } else { &text };
        hivelog::Draft::of(&json!({"kind": kind, "number": number, "text": text}))
    });
    log.submit(hivelog::Command::new(drafts.collect())).wait().expect("stored");
    let wanted = some.next().await.expect("a frame").expect("no error");
    assert!(wanted.len() < 1_000 && wanted.is_unique(), "{} bytes of a larger piece", wanted.len());
    let (mut got, mut seqs) = (0, 0);
    while seqs < 100 {
        let piece = all.next().await.expect("a frame").expect("no error");
        assert!(piece.len() <= 100_000 && piece.is_unique(), "{} bytes", piece.len());
        seqs += String::from_utf8_lossy(&piece).matches("\ndata: {\"seq\":").count();
        got += piece.len();
    }
    assert!(got > 1_900_000, "{got}");
}
