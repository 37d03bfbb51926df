//! A server in this process, and the calls that the tests make of it.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use hivelog::Log;
use hivelog::http::Access;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Reply, once, request, within};

pub const JSON: (&str, &str) = ("Content-Type", "application/json");
pub const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// A log that is served on a port of loopback.
pub struct Server {
    pub log: Log,
    pub addr: SocketAddr,
    /// Stands before every path.
    pub prefix: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves a new temporary log.
    pub async fn start() -> Self {
        Self::serve(Log::temp().expect("a log"), "127.0.0.1:0".parse().expect("an address")).await
    }

    /// Serves a log without asking anybody for a credential.
    pub async fn serve(log: Log, addr: SocketAddr) -> Self {
        Self::with(log, addr, Access::no_auth()).await
    }

    pub async fn with(log: Log, addr: SocketAddr, access: Access) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let task = tokio::spawn(hivelog::http::serve(log.clone(), listener, access, stop.clone()));
        Self { log, addr, prefix: "", stop, task }
    }

    /// Serves a host's own app, in which the log is nested under `prefix`.
    pub async fn embedded(log: Log, app: axum::Router, prefix: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            axum::serve(listener, app).with_graceful_shutdown(stopped).await.expect("served");
        });
        Self { log, addr, prefix, stop, task }
    }

    /// Stops the server as `SIGTERM` does, and says how long that took. The log stays open.
    pub async fn stop(self) -> Duration {
        let begin = Instant::now();
        self.stop.cancel();
        // Longer than a peer that takes nothing may stall: how long is too long, the test says.
        let ended = within(Duration::from_mins(1), "stopping", self.task).await;
        ended.expect("the server did not panic");
        begin.elapsed()
    }

    /// Stops the server and closes the log, so that the file can be opened again.
    pub async fn close(self) -> Duration {
        let log = self.log.clone();
        let took = self.stop().await;
        log.close();
        took
    }

    pub fn bytes(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        request(method, &format!("{}{path}", self.prefix), headers, body)
    }

    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let reply = once(self.addr, &self.bytes(method, path, headers, body)).await;
        // Not what a host's own app answers.
        if reply.header("x-request-id").is_some() {
            check_documented(method, path, reply.status);
        }
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], b"").await
    }

    /// The JSON of a call that has to go well.
    pub async fn read(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"), "{path}");
        reply.json()
    }

    pub async fn post(&self, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.call("POST", "/api/events", headers, body.as_ref()).await
    }

    /// Makes a call with a JSON body.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.call(method, path, &[JSON], body.to_string().as_bytes()).await
    }

    /// The same under an idempotency key.
    pub async fn send_under(&self, key: &str, method: &str, path: &str, body: &Value) -> Reply {
        let headers = [JSON, ("Idempotency-Key", key)];
        self.call(method, path, &headers, body.to_string().as_bytes()).await
    }

    /// A call that has to go well, and the answer to it.
    pub async fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.send(method, path, body).await;
        assert!(matches!(reply.status, 200 | 201), "{method} {path}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"), "{method} {path}");
        reply.json()
    }

    /// Appends one event, an array, or nothing but lines.
    pub async fn append(&self, body: impl AsRef<[u8]>) -> Reply {
        self.post(&[JSON], body).await
    }

    /// Appends events that have to be taken, a batch at a time, and gives their seqs.
    pub async fn append_all(&self, events: &[Value]) -> Vec<i64> {
        let mut seqs = Vec::new();
        for batch in events.chunks(1_000) {
            let lines: String = batch.iter().map(|event| format!("{event}\n")).collect();
            let reply = self.post(&[NDJSON], lines).await;
            assert_eq!(reply.status, 201, "{}", reply.text());
            let json = reply.json();
            seqs.extend(json["seqs"].as_array().expect("seqs").iter().filter_map(Value::as_i64));
        }
        seqs
    }

    /// The head as a client learns it.
    pub async fn head(&self) -> i64 {
        self.read("/readyz").await["seq"].as_i64().expect("a seq")
    }

    /// The events of the log as lines, oldest first.
    pub async fn lines(&self) -> Vec<String> {
        let accept = [("Accept", "application/x-ndjson")];
        let reply = self.call("GET", "/api/history?after=0", &accept, b"").await;
        assert_eq!(reply.status, 200);
        reply.text().lines().map(str::to_owned).collect()
    }

    /// A number out of the metrics.
    pub async fn metric(&self, name: &str) -> f64 {
        let reply = self.get("/metrics").await;
        let line = reply.text().lines().find(|line| line.split([' ', '{']).next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {}", reply.text()))
    }
}

/// Every error has one shape.
#[track_caller]
/// An answer that the document does not tell of is one that clients do not expect.
fn check_documented(method: &str, path: &str, status: u16) {
    static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(&hivelog::http::openapi()).expect("JSON"));
    let path = path.split('?').next().unwrap_or_default();
    let is_of = |known: &str| {
        let mut parts = path.split('/');
        known.split('/').all(|of| parts.next().is_some_and(|part| of == part || of.starts_with('{')))
            && parts.next().is_none()
    };
    let paths = DOCUMENT["paths"].as_object().expect("an object");
    // A name in braces matches everything, also a part that another path has as it is.
    let Some(known) =
        paths.keys().filter(|known| is_of(known)).max_by_key(|known| known.matches('{').count() == 0)
    else {
        return;
    };
    let call = &paths[known][method.to_ascii_lowercase()];
    let is_told = call.is_null() || !call["responses"][status.to_string()].is_null();
    assert!(is_told, "the document does not tell of {status} for {method} {known}");
}

pub fn check_problem(reply: &Reply, status: u16, kind: &str) {
    assert_eq!(reply.status, status, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let json = reply.json();
    assert_eq!(json["status"], status, "{json}");
    assert!(json["title"].is_string(), "{json}");
    let word = json["type"].as_str().and_then(|word| word.strip_prefix("urn:hivelog:"));
    assert!(word.is_some(), "{json}");
    if !kind.is_empty() {
        assert_eq!(word, Some(kind), "{json}");
    }
}
