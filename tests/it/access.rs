//! Who may come in, and what each of them may do.

mod ends;
mod events;
mod matrix;
mod origin;
mod peers;
mod proxy;
mod sessions;
mod socket;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hivelog::http::Access;
use hivelog::{Credentials, Desk, Log, Options, Role};
use serde_json::Value;

use crate::Place;
use crate::client::{Conn, Reply, soon};
use crate::server::Server;

/// A guarded server, whose wall clock the test sets.
struct House {
    server: Server,
    credentials: Credentials,
    /// Seconds that the clock is ahead.
    ahead: Arc<AtomicI64>,
    place: Place,
}

impl House {
    async fn new() -> Self {
        Self::with(Access::credentials()).await
    }

    async fn with(access: Access) -> Self {
        Self::at(Place::new(), access).await
    }

    async fn at(place: Place, access: Access) -> Self {
        let ahead = Arc::new(AtomicI64::new(0));
        let seconds = Arc::clone(&ahead);
        let clock = move || now() * 1_000 + seconds.load(Ordering::SeqCst) * 1_000;
        let log = Log::open(place.path(), Options::default().clock(clock)).expect("a log");
        let credentials = Desk::of(&log).expect("a desk").credentials().clone();
        let server = Server::with(log, "127.0.0.1:0".parse().expect("an address"), access).await;
        Self { server, credentials, ahead, place }
    }

    /// The same file, closed and served again.
    async fn again(self) -> Self {
        let Self { server, credentials, place, .. } = self;
        let log = server.log.clone();
        server.stop().await;
        drop(credentials);
        tokio::task::spawn_blocking(move || log.close()).await.expect("closed");
        Self::at(place, Access::credentials()).await
    }

    fn pass(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn token(&self, name: &str, roles: &[Role]) -> String {
        self.credentials.add(name, roles, None).await.expect("a token")
    }

    /// Status and headers, and the body of everything that has an end.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        ask(&self.server, method, path, headers, body).await
    }

    /// The same with a token.
    async fn by(&self, token: &str, method: &str, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        self.ask(method, path, &headers, body).await
    }

    /// Signs in; gives the cookie as it is sent back, and the second secret.
    async fn sign_in(&self, body: &Value) -> (String, String) {
        let json = [("Content-Type", "application/json")];
        let reply = self.ask("POST", "/session", &json, &body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let secret = reply.json()["session"].as_str().expect("a second secret").to_owned();
        (cookie_of(&reply), secret)
    }
}

/// Name and value of the cookie that was set.
fn cookie_of(reply: &Reply) -> String {
    let cookie = reply.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("a value").to_owned()
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut conn = Conn::open(server.addr).await;
    conn.send(&server.bytes(method, path, headers, body.as_bytes())).await.expect("sent");
    let mut reply = soon("an answer", conn.head()).await.expect("an answer");
    if reply.header("content-type") != Some("text/event-stream") && method != "HEAD" {
        while let Some(piece) = soon("a body", conn.piece()).await.expect("a body") {
            reply.body.extend(piece);
        }
    }
    reply
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("in range")
}
