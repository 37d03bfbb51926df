//! Peers that are slow: cut after a stated time, and not before.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt as _;
use hivelog::Log;
use hivelog::http::{Access, router, serve_on};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::client::{Conn, soon, within};
use crate::server::Server;
use crate::sse::Stream;

/// Who were cut after half a minute would be by then.
const LONGER_THAN_A_STALL: Duration = Duration::from_secs(33);

/// Listens on a unix socket too.
fn beside(server: &Server) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.sock");
    let listener = UnixListener::bind(&path).expect("a socket").into();
    tokio::spawn(serve_on(server.log.clone(), vec![listener], Access::no_auth(), CancellationToken::new()));
    (folder, path)
}

async fn connected(path: &Path) -> UnixStream {
    soon("connecting", UnixStream::connect(path)).await.expect("connected")
}

/// Sends `first`, then `rest` a byte a second, until the server ends the connection.
async fn cut<S: AsyncRead + AsyncWrite>(stream: S, first: &[u8], rest: &[u8]) -> Instant {
    let (mut read, mut write) = tokio::io::split(stream);
    tokio::io::AsyncWriteExt::write_all(&mut write, first).await.expect("sent");
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
            if matches!(read.read(&mut buffer).await, Ok(0) | Err(_)) {
                break;
            }
        }
    };
    tokio::select! {
        () = dripping => unreachable!(),
        () = ending => Instant::now(),
    }
}

async fn slow_heads(server: &Server, socket: &Path) {
    let head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n";
    let port = || async { TcpStream::connect(server.addr).await.expect("connected") };
    let slow = b"X-Slow: a byte a second keeps no connection\r\n";
    // Before they connect: from then on the server may count.
    let begin = Instant::now();
    let (silent, half, dripping, unix, unix_dripping) = tokio::join!(
        cut(port().await, b"", b""),
        cut(port().await, head, b""),
        cut(port().await, head, slow),
        cut(connected(socket).await, b"", b""),
        cut(connected(socket).await, head, slow),
    );
    let all = [
        ("silent", silent),
        ("half", half),
        ("dripping", dripping),
        ("unix", unix),
        ("unix, dripping", unix_dripping),
    ];
    for (what, at) in all {
        let took = at - begin;
        assert!((9.0..29.0).contains(&took.as_secs_f64()), "{what}: {took:?}");
    }
}

/// Subscribes and reads no more than the head.
async fn subscribed(server: &Server, query: &str) -> Conn {
    subscribe(Conn::open(server.addr).await, server, query).await
}

async fn subscribe<S: AsyncRead + AsyncWrite + Unpin>(
    mut conn: Conn<S>,
    server: &Server,
    query: &str,
) -> Conn<S> {
    let path = format!("/api/stream?after=0{query}");
    conn.send(&server.bytes("GET", &path, &[], b"")).await.expect("sent");
    assert_eq!(soon("a head", conn.head()).await.expect("a head").status, 200);
    conn
}

/// One that takes nothing is cut.
async fn stalled(
    server: &Server,
    begin: Instant,
    mut conn: Conn,
    mut unix: Conn<UnixStream>,
    are_cut: &AtomicBool,
) {
    // The server tells nobody that it cut one: the number of its followers does.
    while server.metric("hivelog_followers").await > 2.0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = begin.elapsed().as_secs_f64();
    are_cut.store(true, Ordering::SeqCst);
    assert!((29.0..60.0).contains(&took), "{took}");
    // What was on its way comes, then the end.
    let _ = soon("the end", conn.drain()).await;
    let _ = soon("the end", unix.drain()).await;
}

/// One that takes something now and then is not cut while the stalled one is.
async fn trickling(mut conn: Conn, are_cut: &AtomicBool) -> usize {
    let (begin, mut frames) = (Instant::now(), 0);
    while begin.elapsed() < LONGER_THAN_A_STALL || !are_cut.load(Ordering::SeqCst) {
        soon("a piece", conn.piece()).await.expect("not cut").expect("not ended");
        frames += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    frames
}

/// One that takes a kilobyte a second, from the buffers of a phone, is not cut either.
async fn crawling(server: &Server, are_cut: &AtomicBool) -> usize {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    // Loopback's own segments are larger than that: its window would open once in half a minute.
    socket2::SockRef::from(&socket).set_tcp_mss(1_400).expect("small segments");
    let mut stream = socket.connect(server.addr).await.expect("connected");
    let request = server.bytes("GET", "/api/stream?after=0", &[], b"");
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.expect("sent");
    let (begin, mut taken) = (Instant::now(), 0);
    while begin.elapsed() < LONGER_THAN_A_STALL || !are_cut.load(Ordering::SeqCst) {
        let mut buffer = [0; 1_000];
        let read = soon("a piece", tokio::io::AsyncReadExt::read(&mut stream, &mut buffer)).await;
        let read = read.expect("not cut");
        assert!(read > 0, "it was cut after {:?}", begin.elapsed());
        taken += read;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Were it cut, its buffers would still have something for it: the server knows. The others are gone by now.
    assert!(server.metric("hivelog_followers").await >= 1.0, "it was cut");
    taken
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
    let begin = Instant::now();
    let (stalls, trickles) = (subscribed(&server, "&agent=stalled").await, subscribed(&server, "").await);
    let (_folder, socket) = beside(&server);
    let unix = subscribe(Conn::over(connected(&socket).await), &server, "&agent=stalled").await;
    let are_cut = AtomicBool::new(false);
    let all = async {
        tokio::join!(
            slow_heads(&server, &socket),
            stalled(&server, begin, stalls, unix, &are_cut),
            trickling(trickles, &are_cut),
            crawling(&server, &are_cut)
        )
    };
    let ((), (), pieces, taken) = within(Duration::from_mins(2), "slow peers", all).await;
    assert!(pieces > 20 && taken > 20_000, "{pieces} pieces, {taken} bytes");
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
