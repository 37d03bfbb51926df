//! A dashboard: follows the stream, resumes by id, and notes all that it was given.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::Value;

use crate::account::Way;
use crate::client::Client;

/// What one dashboard was given.
#[derive(Clone, Default)]
pub struct Run {
    pub seqs: Vec<i64>,
    pub lines: Vec<String>,
    pub connections: u64,
}

/// Follows from the first event on until it was given this seq.
pub async fn follow(me: Client, until: Arc<AtomicI64>) -> Run {
    let mut run = Run::default();
    let mut position = String::new();
    while !is_complete(&run, &until) {
        // As a browser's EventSource does: the address stays, the header says where to go on.
        let request = me.request(Method::GET, "/api/stream?after=0");
        let request = if position.is_empty() { request } else { request.header("last-event-id", &position) };
        let Ok(response) = request.send().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        assert_eq!(response.status(), 200, "{response:?}");
        run.connections += 1;
        let mut frames = response.bytes_stream().eventsource();
        // A stream that was cut off ends, or says so.
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(Duration::from_secs(1), frames.next()).await {
            assert_ne!(frame.event, "reset", "{}", frame.data);
            position = frame.id;
            if frame.event == "message" {
                let event: Value = serde_json::from_str(&frame.data).expect("an event");
                if event["kind"] == "sent" {
                    me.account.note_seen(event["message_id"].as_i64().expect("an id"), Way::Stream);
                }
                run.seqs.push(event["seq"].as_i64().expect("a seq"));
                run.lines.push(frame.data);
            }
            if is_complete(&run, &until) {
                break;
            }
        }
    }
    run
}

fn is_complete(run: &Run, until: &AtomicI64) -> bool {
    run.seqs.last().copied().unwrap_or(0) >= until.load(Ordering::Relaxed)
}
