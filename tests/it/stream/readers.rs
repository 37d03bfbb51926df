//! Many readers at once: each sees all, none waits for another, all end with the server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{BEFORE_A_STALL, Conn, soon, within};
use crate::server::Server;
use crate::sse::Stream;

fn notes(count: usize, text: &str) -> Vec<Value> {
    (0..count).map(|number| json!({"kind": "test.note", "number": number, "text": text})).collect()
}

/// Memory that this process holds.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * 4_096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_readers_see_all() {
    let server = Server::start().await;
    server.append_all(&notes(300, "before")).await;
    let mut streams = Vec::new();
    for number in 0..50 {
        // Some from the start, some from the middle, some from the head.
        let after = [0, 150, 300][number % 3];
        streams.push((after, Stream::open(&server, &format!("?after={after}"), &[]).await));
    }
    let readers: Vec<_> = streams
        .into_iter()
        .map(|(after, mut stream)| tokio::spawn(async move { (after, stream.lines(1_300 - after).await) }))
        .collect();
    for _ in 0..100 {
        server.append_all(&notes(10, "live")).await;
    }
    let expected = server.lines().await;
    assert_eq!(expected.len(), 1_300);
    for reader in readers {
        let (after, lines) = soon("a reader", reader).await.expect("a reader");
        assert_eq!(lines, expected[after..], "after {after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_comes_and_goes_misses_nothing() {
    let server = Server::start().await;
    let total = 2_000;
    let appending = async {
        for part in notes(total, &"t".repeat(300)).chunks(5) {
            server.append_all(part).await;
        }
    };
    let reading = async |stride: usize| {
        let (mut seen, mut id) = (Vec::new(), "0".to_owned());
        for connection in 0usize.. {
            if seen.len() >= total {
                break;
            }
            let mut stream = Stream::resume(&server, &id).await;
            // A connection is dropped after so many frames, in the middle of whatever comes.
            for _ in 0..=connection * 7 % stride {
                let frame = if seen.len() < total { stream.next().await } else { break };
                assert!(!frame.is("reset"), "{frame:?}");
                seen.extend(frame.line().map(str::to_owned));
                id = frame.id.unwrap_or(id);
            }
        }
        seen
    };
    let both = async { tokio::join!(appending, reading(11), reading(60), reading(400)) };
    let ((), first, second, third) = within(Duration::from_mins(5), "reading", both).await;
    let expected = server.lines().await;
    assert_eq!(expected.len(), total);
    for seen in [first, second, third] {
        assert_eq!(seen, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_delays_nobody() {
    let server = Server::start().await;
    // 20 MB: more than any buffer on the way to one that does not read.
    let text = "x".repeat(20_000);
    for part in notes(1_000, &text).chunks(40) {
        server.append_all(part).await;
    }
    let before = resident_bytes();
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut conn = Conn::open(server.addr).await;
        conn.send(&server.bytes("GET", "/api/stream?after=0", &[], b"")).await.expect("sent");
        stalled.push(conn);
    }
    while server.metric("hivelog_followers").await < 20.0 {
        tokio::task::yield_now().await;
    }
    let mut live = Stream::open(&server, "", &[]).await;
    live.until("caught_up").await;
    let mut took = Vec::new();
    for _ in 0..50 {
        let begin = Instant::now();
        server.append_all(&notes(1, "live")).await;
        live.lines(1).await;
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    // The median, as this machine may pause.
    assert!(took[25] < Duration::from_secs(1) && took[49] < BEFORE_A_STALL, "{took:?}");
    // What is kept for live readers does not grow with those who do not read.
    let recent = server.metric("hivelog_recent_bytes").await;
    assert!(recent <= f64::from(9 << 20), "{recent}");
    // They wait for 400 MB in all. Other tests run beside this one, so the bound is a coarse one.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "{grown} bytes for 20 that do not read");
    // One of them reads after all, and has missed nothing.
    let mut late = Stream::resume(&server, "0").await;
    assert_eq!(late.lines(1_050).await, server.lines().await);
    assert!(server.stop().await < BEFORE_A_STALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_end_with_the_server() {
    let server = Server::start().await;
    server.append_all(&notes(10, "x")).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        let mut stream = Stream::open(&server, "?after=0", &[]).await;
        stream.until("caught_up").await;
        streams.push(stream);
    }
    assert!(server.metric("hivelog_followers").await >= 200.0);
    let (log, addr) = (server.log.clone(), server.addr);
    let took = server.stop().await;
    assert!(took < BEFORE_A_STALL, "{took:?}");
    for stream in &mut streams {
        assert_eq!(stream.try_next().await, None);
    }
    // The log is still open, and the port is free: the next server goes on.
    let server = Server::serve(log, addr).await;
    assert_eq!(server.append_all(&notes(1, "x")).await, [11]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_leave_are_forgotten() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = Stream::open(&server, "?after=0", &[]).await;
        stream.until("caught_up").await;
        streams.push(stream);
    }
    assert!((49.5..50.5).contains(&server.metric("hivelog_followers").await));
    drop(streams);
    // Before a heartbeat would find out.
    let forgotten = async {
        while server.metric("hivelog_followers").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(Duration::from_secs(12), "forgetting", forgotten).await;
}
