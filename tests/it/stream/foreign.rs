//! Clients that are not ours follow the stream: a crate made for it, and curl.

use std::process::Stdio;
use std::time::Duration;

use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures_util::{StreamExt as _, stream};
use hivelog::{Log, Options};
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture, TransportError};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::client::{Conn, request, soon, within};
use crate::server::Server;

fn notes(count: i64) -> Vec<Value> {
    (0..count)
        .map(|number| json!({"kind": "test.note", "text": "a\nb\u{2028}\u{e4}", "number": number}))
        .collect()
}

/// Carries the crate's requests over a plain socket, and writes down what it sent as its position.
#[derive(Clone)]
struct Wire {
    positions: mpsc::UnboundedSender<Option<String>>,
}

impl HttpTransport for Wire {
    fn request(&self, asked: launchdarkly_sdk_transport::Request<Option<bytes::Bytes>>) -> ResponseFuture {
        let positions = self.positions.clone();
        let answer = tokio::spawn(async move {
            let text =
                |name| asked.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let _ = positions.send(text("last-event-id"));
            let addr = asked.uri().authority().expect("an authority").as_str();
            let stream = tokio::net::TcpStream::connect(addr).await.map_err(TransportError::new)?;
            let mut conn = Conn::over(stream);
            let headers: Vec<(&str, &str)> = asked
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
                .collect();
            let target = asked.uri().path_and_query().expect("a path").as_str();
            conn.send(&request("GET", target, &headers, b"")).await.map_err(TransportError::new)?;
            let head = conn.head().await.map_err(TransportError::new)?;
            let (pieces, received) = mpsc::channel(1);
            tokio::spawn(async move {
                while let Ok(Some(piece)) = conn.piece().await {
                    if pieces.send(Ok(bytes::Bytes::from(piece))).await.is_err() {
                        break;
                    }
                }
            });
            let body: ByteStream = Box::pin(stream::unfold(received, |mut received| async {
                received.recv().await.map(|piece| (piece, received))
            }));
            let mut response = launchdarkly_sdk_transport::Response::builder().status(head.status);
            for (name, value) in &head.headers {
                response = response.header(name, value);
            }
            response.body(body).map_err(TransportError::new)
        });
        Box::pin(async move { answer.await.map_err(TransportError::new)? })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crate_for_it_resumes_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Log::open(folder.path().join("log.db"), Options::default()).expect("a log");
    let server = Server::serve(open(), "127.0.0.1:0".parse().expect("an address")).await;
    server.append_all(&notes(200)).await;
    let (positions, mut asked) = mpsc::unbounded_channel();
    let reconnect = ReconnectOptions::reconnect(true)
        .delay(Duration::from_millis(20))
        .delay_max(Duration::from_millis(100));
    let client = ClientBuilder::for_url(&format!("http://{}/api/stream?after=0", server.addr))
        .expect("a client")
        .reconnect(reconnect.build())
        .build_with_transport(Wire { positions });
    // Attempts while the server is down are errors that the client goes on from by itself.
    let mut events = Box::pin(client.stream().filter_map(|event| std::future::ready(event.ok())));
    let mut seen: Vec<String> = Vec::new();
    let mut read_to = async |seen: &mut Vec<String>, count: usize| {
        while seen.len() < count {
            match soon("an event", events.next()).await.expect("it goes on") {
                SSE::Event(event) if event.event_type == "message" => {
                    assert!(event.id.is_some(), "{event:?}");
                    seen.push(event.data);
                }
                SSE::Event(event) => assert_ne!(event.event_type, "reset", "{}", event.data),
                SSE::Connected(_) | SSE::Comment(_) => {}
            }
        }
    };
    read_to(&mut seen, 120).await;
    server.append_all(&notes(50)).await;
    read_to(&mut seen, 230).await;
    let (addr, log) = (server.addr, server.log.clone());
    server.stop().await;
    log.close();
    drop(log);
    // Appended while nobody serves: the client learns of it all the same.
    let log = open();
    log.append(hivelog::Draft::from_json(r#"{"kind":"test.between"}"#).expect("a draft"))
        .await
        .expect("stored");
    let server = Server::serve(log, addr).await;
    server.append_all(&notes(49)).await;
    read_to(&mut seen, 300).await;
    server.append_all(&notes(20)).await;
    read_to(&mut seen, 320).await;
    assert_eq!(seen, server.lines().await);
    assert_eq!(asked.recv().await, Some(None));
    let resumed = asked.recv().await.flatten().expect("a position by itself");
    assert!(resumed.starts_with(&format!("{}-", server.log.id())), "{resumed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_sees_what_history_holds() {
    if tokio::process::Command::new("curl").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        eprintln!("curl is not here: nothing is compared");
        return;
    }
    let server = Server::start().await;
    server.append_all(&notes(500)).await;
    let mut curl = tokio::process::Command::new("curl")
        .args(["-sN", "--max-time", "20"])
        .arg(format!("http://{}/api/stream?after=0", server.addr))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("curl");
    let mut out = curl.stdout.take().expect("its output");
    let reading = async {
        let (mut text, mut live) = (Vec::new(), false);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = out.read(&mut buffer).await.expect("bytes");
            assert_ne!(read, 0, "curl ended");
            text.extend_from_slice(&buffer[..read]);
            let shown = String::from_utf8_lossy(&text);
            if !live && shown.contains("event: caught_up\n") {
                live = true;
                server.append_all(&notes(100)).await;
            }
            if shown.contains("id: ") && shown.ends_with("\n\n") && shown.contains("\"seq\":600,") {
                break shown.into_owned();
            }
        }
    };
    let text = within(Duration::from_secs(20), "curl", reading).await;
    let seen: Vec<&str> = text
        .split("\n\n")
        .filter(|frame| !frame.contains("\nevent: "))
        .filter_map(|frame| frame.split_once("\ndata: ").map(|(_, data)| data))
        .collect();
    assert_eq!(seen, server.lines().await);
    server.stop().await;
    let status = soon("curl's end", curl.wait()).await.expect("curl");
    assert!(status.success(), "the end of a stream is no error: {status}");
}
