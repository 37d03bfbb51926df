//! A slow download holds nothing that others need.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Conn, soon, within};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_downloads_hold_up_nobody() {
    let server = Server::start().await;
    // 20 MB, and more downloads than there are connections to the file.
    let text = "x".repeat(20_000);
    let events: Vec<Value> =
        (0..1_000).map(|number| json!({"kind": "test.large", "number": number, "text": text})).collect();
    for part in events.chunks(40) {
        server.append_all(part).await;
    }
    let mut slow = Vec::new();
    for number in 0..16 {
        let accept = [("Accept", "application/x-ndjson")];
        let order = ["asc", "desc"][number % 2];
        let path = format!("/api/history?after=0&order={order}&kind=test.large");
        let mut conn = Conn::open(server.addr).await;
        conn.send(&server.bytes("GET", &path, &accept, b"")).await.expect("sent");
        assert_eq!(soon("a head", conn.head()).await.expect("a head").status, 200);
        assert!(soon("a piece", conn.piece()).await.expect("a piece").is_some());
        slow.push(conn);
    }
    for number in 0..5 {
        let second = Duration::from_secs(1);
        within(second, "readyz", server.head()).await;
        within(second, "an append", server.append_all(&[json!({"kind": "test.note", "number": number})]))
            .await;
        let state = within(second, "a snapshot", server.read("/api/state")).await;
        assert_eq!(state["seq"], 1_001 + number);
        let page = within(second, "a page", server.read("/api/history?limit=1")).await;
        assert_eq!(page["events"][0]["number"], number);
        within(second, "a filtered page", server.read("/api/history?after=0&kind=test.note")).await;
    }
    // Taken up again, a download is whole.
    let mut conn = slow.swap_remove(0);
    let mut bytes = 0;
    while let Some(piece) = soon("a piece", conn.piece()).await.expect("a piece") {
        bytes += piece.len();
    }
    assert!(bytes > 19_000_000, "{bytes}");
    // The others do not hold up the end.
    assert!(server.stop().await < Duration::from_secs(5));
}
