//! Requests that are none: too large, not HTTP, cut off. The next good one works.

use crate::client::{BEFORE_A_TIMEOUT, Conn, once, soon, within};
use crate::server::{JSON, Server};

const EVENT: &str = r#"{"kind":"test.note"}"#;

/// What the bytes are answered with; `None` where the connection just ends. The peer has sent all that
/// it will.
async fn answered(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut conn = Conn::open(server.addr).await;
    // It may be cut while it still sends.
    let _ = conn.send(bytes).await;
    within(BEFORE_A_TIMEOUT, "an answer", conn.reply()).await.ok().map(|reply| reply.status)
}

async fn check_alive(server: &Server, stored: i64) {
    assert_eq!(server.append(EVENT).await.status, 201);
    assert_eq!(server.head().await, stored);
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let server = Server::start().await;
    let one = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(answered(&server, one.as_bytes()).await, Some(431));
    let many: String = (0..5_000).map(|number| format!("X-{number}: {number}\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(answered(&server, many.as_bytes()).await, Some(431));
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20));
    let status = answered(&server, target.as_bytes()).await;
    assert!(matches!(status, Some(414 | 431)), "{status:?}");
    check_alive(&server, 1).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = Server::start().await;
    let host = "Host: localhost\r\nContent-Type: application/json";
    let table: Vec<(Vec<u8>, &str)> = vec![
        (b"\0\0\0\0\r\n\r\n".to_vec(), "zeros"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(), "a TLS hello"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "HTTP/2"),
        (b"hello\r\n\r\n".to_vec(), "one word"),
        (b"GET\r\n\r\n".to_vec(), "a method alone"),
        (b"GET /livez HTTP/9.9\r\n\r\n".to_vec(), "a version"),
        (b"GET /livez\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "a control character"),
        (b"GET /livez HTTP/1.1\r\nHost localhost\r\n\r\n".to_vec(), "a header without a colon"),
        (b"GET /livez HTTP/1.1\r\nHost: local\0host\r\n\r\n".to_vec(), "NUL in a header"),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n".to_vec(), "a folded header"),
        (format!("POST /api/events HTTP/1.1\r\n{host}\r\nContent-Length: -1\r\n\r\n{EVENT}").into(), "-1"),
        (format!("POST /api/events HTTP/1.1\r\n{host}\r\nContent-Length: x\r\n\r\n{EVENT}").into(), "x"),
        (
            format!("POST /api/events HTTP/1.1\r\n{host}\r\nContent-Length: 5\r\nContent-Length: 20\r\n\r\n{EVENT}").into(),
            "two lengths",
        ),
        (
            format!("POST /api/events HTTP/1.1\r\n{host}\r\nTransfer-Encoding: gzip\r\n\r\n{EVENT}").into(),
            "an unknown coding",
        ),
        (
            format!("POST /api/events HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{EVENT}\r\n").into(),
            "a chunk without a size",
        ),
        (
            format!("POST /api/events HTTP/1.1\r\n{host}\r\nContent-Length: 5\r\n\r\n{EVENT}").into(),
            "a length shorter than the body",
        ),
    ];
    for (bytes, what) in &table {
        let status = answered(&server, bytes).await;
        assert!(status.is_none_or(|status| (400..=505).contains(&status)), "{what}: {status:?}");
        assert_eq!(server.head().await, 0, "{what}");
    }
    check_alive(&server, 1).await;
}

#[tokio::test]
async fn a_body_that_is_cut_off_stores_nothing() {
    let server = Server::start().await;
    let whole = server.bytes("POST", "/api/events", &[JSON], EVENT.as_bytes());
    for length in [whole.len() - 1, whole.len() - EVENT.len(), whole.len() / 2, 1] {
        let mut conn = Conn::open(server.addr).await;
        conn.send(&whole[..length]).await.expect("sent");
        drop(conn);
    }
    // A length that says more than comes, on a connection of which only our half is closed.
    let long = server.bytes("POST", "/api/events", &[JSON, ("Content-Length", "1000")], EVENT.as_bytes());
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.expect("connected");
    tokio::io::AsyncWriteExt::write_all(&mut stream, &long).await.expect("sent");
    tokio::io::AsyncWriteExt::shutdown(&mut stream).await.expect("half closed");
    let reply = soon("an answer", Conn::over(stream).reply()).await;
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 400));
    check_alive(&server, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_idle_connections_keeps_nobody_out() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(Conn::open(server.addr).await);
    }
    let bytes = server.bytes("POST", "/api/events", &[JSON], EVENT.as_bytes());
    for _ in 0..20 {
        let reply = within(BEFORE_A_TIMEOUT, "an append", once(server.addr, &bytes)).await;
        assert_eq!(reply.status, 201);
    }
    drop(idle);
    check_alive(&server, 21).await;
}
