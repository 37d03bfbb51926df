//! A slow download holds nothing that others need.

use serde_json::{Value, json};

use crate::client::{BEFORE_A_STALL, Conn, soon};
use crate::server::Server;

/// A server of `count` events of 20 kB: more than the buffers on the way to one that reads slowly.
async fn large(count: usize) -> Server {
    let server = Server::start().await;
    let text = "x".repeat(20_000);
    let events: Vec<Value> =
        (0..count).map(|number| json!({"kind": "test.large", "number": number, "text": text})).collect();
    for part in events.chunks(40) {
        server.append_all(part).await;
    }
    server
}

/// Begins a download and takes its first piece.
async fn begun(server: &Server, query: &str) -> (Conn, Vec<u8>) {
    let accept = [("Accept", "application/x-ndjson")];
    let mut conn = Conn::open(server.addr).await;
    let path = format!("/api/history?after=0{query}");
    conn.send(&server.bytes("GET", &path, &accept, b"")).await.expect("sent");
    assert_eq!(soon("a head", conn.head()).await.expect("a head").status, 200);
    let piece = soon("a piece", conn.piece()).await.expect("a piece").expect("not the end");
    (conn, piece)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_downloads_hold_up_nobody() {
    let server = large(1_000).await;
    // More downloads than there are connections to the file.
    let mut slow = Vec::new();
    for number in 0..16 {
        let order = ["asc", "desc"][number % 2];
        slow.push(begun(&server, &format!("&order={order}&kind=test.large")).await);
    }
    for number in 0..5 {
        // Were one of them waited for, it would be until it is cut, which is longer than a call waits.
        server.head().await;
        server.append_all(&[json!({"kind": "test.note", "number": number})]).await;
        let state = server.read("/api/state").await;
        assert_eq!(state["seq"], 1_001 + number);
        let page = server.read("/api/history?limit=1").await;
        assert_eq!(page["events"][0]["number"], number);
        server.read("/api/history?after=0&kind=test.note").await;
    }
    // Taken up again, a download is whole.
    let (mut conn, mut bytes) = slow.swap_remove(0);
    while let Some(piece) = soon("a piece", conn.piece()).await.expect("a piece") {
        bytes.extend(piece);
    }
    assert_eq!(bytes.split(|byte| *byte == b'\n').count() - 1, 1_000);
    // The others do not hold up the end.
    assert!(server.stop().await < BEFORE_A_STALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_cut_does_not_look_whole() {
    let server = large(1_000).await;
    let (mut conn, mut bytes) = begun(&server, "").await;
    assert!(server.stop().await < BEFORE_A_STALL);
    let ended = loop {
        match soon("a piece", conn.piece()).await {
            Ok(Some(piece)) => bytes.extend(piece),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
    assert!(lines < 1_000, "the buffers took everything: nothing was cut");
    assert!(!ended, "{lines} of 1000 lines, and then an end in good order");
}
