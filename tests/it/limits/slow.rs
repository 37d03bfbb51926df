//! Peers that are slow: cut after a stated time, and not before.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt as _;
use hivelog::Log;
use hivelog::http::{Access, router};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::client::{Conn, soon, within};
use crate::server::Server;
use crate::sse::Stream;

/// Sends `first`, then `rest` a byte a second, until the server ends the connection.
async fn cut_after(server: &Server, first: &[u8], rest: &[u8]) -> Duration {
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.expect("connected");
    let begin = Instant::now();
    tokio::io::AsyncWriteExt::write_all(&mut stream, first).await.expect("sent");
    let (read, mut write) = stream.into_split();
    let dripping = async {
        for byte in rest {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut write, &[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let ending = async {
        let mut buffer = [0; 1 << 10];
        loop {
            // Whatever is answered before the end is not looked at.
            match read.readable().await.and_then(|()| read.try_read(&mut buffer)) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {}
            }
        }
    };
    tokio::select! {
        () = dripping => unreachable!(),
        () = ending => begin.elapsed(),
    }
}

async fn slow_heads(server: &Server) {
    let head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n";
    let (silent, half, dripping) = tokio::join!(
        cut_after(server, b"", b""),
        cut_after(server, head, b""),
        cut_after(server, head, b"X-Slow: a byte a second keeps no connection\r\n"),
    );
    for (what, took) in [("silent", silent), ("half", half), ("dripping", dripping)] {
        assert!((9.0..15.0).contains(&took.as_secs_f64()), "{what}: {took:?}");
    }
}

/// Subscribes and reads no more than the head.
async fn subscribed(server: &Server, query: &str) -> Conn {
    let mut conn = Conn::open(server.addr).await;
    let path = format!("/api/stream?after=0{query}");
    conn.send(&server.bytes("GET", &path, &[], b"")).await.expect("sent");
    assert_eq!(soon("a head", conn.head()).await.expect("a head").status, 200);
    conn
}

/// One that takes nothing is cut.
async fn stalled(server: &Server, mut conn: Conn) {
    let begin = Instant::now();
    // The server tells nobody that it cut one: the number of its followers does.
    while server.metric("hivelog_followers").await > 1.0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = begin.elapsed().as_secs_f64();
    assert!((29.0..60.0).contains(&took), "{took}");
    // What was on its way comes, then the end.
    let _ = soon("the end", conn.drain()).await;
}

/// One that takes something now and then is not cut while the stalled one is.
async fn trickling(mut conn: Conn) -> usize {
    let (begin, mut frames) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(33) {
        soon("a piece", conn.piece()).await.expect("not cut").expect("not ended");
        frames += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    frames
}

/// All that takes real time at once: half a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peers_are_cut_in_time() {
    let server = Server::start().await;
    // 30 MB: more than any buffer on the way, and than a trickle takes.
    let text = "x".repeat(20_000);
    let events: Vec<Value> =
        (0..1_500).map(|_| json!({"kind": "test.large", "agent": "stalled", "text": text})).collect();
    for part in events.chunks(40) {
        server.append_all(part).await;
    }
    let (stalls, trickles) = (subscribed(&server, "&agent=stalled").await, subscribed(&server, "").await);
    let all = async { tokio::join!(slow_heads(&server), stalled(&server, stalls), trickling(trickles)) };
    let ((), (), pieces) = within(Duration::from_secs(70), "slow peers", all).await;
    assert!(pieces > 20, "{pieces}");
    // It lost nothing: it resumes.
    let mut resumed = Stream::resume(&server, "0").await;
    assert_eq!(resumed.lines(1_500).await, server.lines().await);
}

fn post(body: Body) -> Request<Body> {
    let request = Request::post("/api/events").header("Host", "localhost");
    request.header("Content-Type", "application/json").body(body).expect("a request")
}

/// Time stands still but where everybody waits for it, so that half a minute takes none.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_cut() {
    let app = router(Log::temp().expect("a log"), Access::no_auth());
    let silent = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>().boxed();
    let dripping = futures_util::stream::repeat(())
        .then(|()| tokio::time::sleep(Duration::from_secs(4)))
        .map(|()| Ok(bytes::Bytes::from_static(b" ")))
        .boxed();
    for body in [silent, dripping] {
        let begin = tokio::time::Instant::now();
        let response = app.clone().oneshot(post(Body::from_stream(body))).await.expect("an answer");
        assert_eq!(response.status(), 408);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(begin.elapsed(), Duration::from_secs(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_after_what_was_asked() {
    let app = router(Log::temp().expect("a log"), Access::no_auth());
    for seconds in [1, 30, 60] {
        let uri = format!("/api/history?after=0&wait={seconds}");
        let request = Request::get(uri).header("Host", "localhost").body(Body::empty()).expect("a request");
        let begin = tokio::time::Instant::now();
        let response = app.clone().oneshot(request).await.expect("an answer");
        assert_eq!((response.status().as_u16(), begin.elapsed()), (200, Duration::from_secs(seconds)));
    }
}
