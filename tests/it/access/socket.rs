//! A unix socket that stands for one agent: whoever connects is that agent, and nobody else.

use std::path::{Path, PathBuf};

use hivelog::Role;
use hivelog::http::{Access, Listener, serve_on};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::House;
use super::matrix::{CALLERS, ROWS, filled, house};
use crate::client::{Conn, Reply, request, soon};
use crate::server::check_problem;

/// Serves the house's log on a socket of alice's too.
fn socket_of_alice(house: &House, access: Access) -> PathBuf {
    let path = house.place.beside("alice.sock");
    let listener = Listener::from(UnixListener::bind(&path).expect("a socket"));
    let listener = listener.for_agent("alice").expect("an agent");
    tokio::spawn(serve_on(house.server.log.clone(), vec![listener], access, CancellationToken::new()));
    path
}

async fn connect(socket: &Path) -> Conn<UnixStream> {
    Conn::over(soon("connecting", UnixStream::connect(socket)).await.expect("connected"))
}

async fn call(socket: &Path, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut conn = connect(socket).await;
    let mut headers = headers.to_vec();
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    conn.send(&request(method, path, &headers, body.as_bytes())).await.expect("sent");
    let mut reply = soon("an answer", conn.head()).await.expect("an answer");
    if reply.header("content-type") != Some("text/event-stream") {
        while let Some(piece) = soon("a body", conn.piece()).await.expect("a body") {
            reply.body.extend(piece);
        }
    }
    reply
}

/// Every route answers as it does to the agent's token, whatever credential is shown besides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_an_agent_is_that_agent_on_every_route() {
    let column = CALLERS.iter().position(|caller| *caller == "alice").expect("alice");
    for shown in [None, Some("root"), Some("bob"), Some("none")] {
        let (house, tokens) = house().await;
        let socket = socket_of_alice(&house, Access::credentials());
        let token = shown.and_then(|name| tokens[CALLERS.iter().position(|known| *known == name)?].clone());
        let bearer = shown.map(|_| format!("Bearer {}", token.as_deref().unwrap_or("hvl_none")));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        for row in ROWS {
            let (method, path, body) = filled(row, "alice", &tokens);
            let reply = call(&socket, method, &path, &headers, &body).await;
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert_eq!(reply.status, row.3[column], "{} with {shown:?}: {text}", row.0);
        }
        let who = call(&socket, "GET", "/session", &headers, "").await.json();
        assert_eq!((&who["name"], &who["roles"]), (&"alice".into(), &serde_json::json!(["agent"])));
    }
}

/// Where nobody is asked for a credential, such a socket still is of one agent.
#[tokio::test]
async fn a_socket_of_an_agent_acts_as_nobody_else_without_credentials_too() {
    let house = House::with(Access::no_auth()).await;
    let socket = socket_of_alice(&house, Access::no_auth());
    let reply = call(&socket, "POST", "/api/messages", &[], r#"{"to":"bob","body":"hello"}"#).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let forged = r#"{"to":"bob","body":"hello","from":"carol"}"#;
    check_problem(&call(&socket, "POST", "/api/messages", &[], forged).await, 403, "forbidden");
    for (method, path, body) in [
        ("GET", "/api/state", ""),
        ("GET", "/api/stream", ""),
        ("GET", "/api/history", ""),
        ("POST", "/api/agents/bob/recv", ""),
        ("POST", "/api/tokens", r#"{"roles":["admin"],"name":"mine"}"#),
        ("POST", "/api/login", ""),
    ] {
        check_problem(&call(&socket, method, path, &[], body).await, 403, "forbidden");
    }
}

/// What keeps pages of other origins out, and how much one may have open, hold there too.
#[tokio::test]
async fn the_limits_of_a_credential_hold_on_a_socket() {
    let house = House::new().await;
    let socket = socket_of_alice(&house, Access::credentials().connections_per_token(2));
    check_problem(&call(&socket, "GET", "/version", &[("Host", "evil.example")], "").await, 421, "host");
    let foreign = [("Origin", "http://evil.example")];
    let message = r#"{"to":"bob","body":"hello"}"#;
    check_problem(&call(&socket, "POST", "/api/messages", &foreign, message).await, 403, "origin");
    let mut waits = Vec::new();
    for _ in 0..2 {
        let mut conn = connect(&socket).await;
        conn.send(&request("POST", "/api/agents/alice/recv?wait=30", &[], b"")).await.expect("sent");
        waits.push(conn);
    }
    // Both are let in before anybody is told that there are too many.
    let full = async {
        loop {
            let reply = call(&socket, "GET", "/version", &[], "").await;
            if reply.status != 200 {
                break reply;
            }
        }
    };
    check_problem(&soon("a refusal", full).await, 429, "too-many-requests");
    drop(waits);
    let free = async { while call(&socket, "GET", "/version", &[], "").await.status != 200 {} };
    soon("a place", free).await;
}

#[tokio::test]
async fn a_port_stands_for_nobody_and_a_socket_for_no_name_of_ours() {
    let port = || async { TcpListener::bind("127.0.0.1:0").await.expect("a port") };
    assert!(Listener::from(port().await).for_agent("alice").is_err());
    let place = crate::Place::new();
    for (number, name) in ["operator", "ttl-watchdog", "", "Alice", "a b", "--socket"].iter().enumerate() {
        let socket = UnixListener::bind(place.beside(&format!("{number}.sock"))).expect("a socket");
        assert!(Listener::from(socket).for_agent(name).is_err(), "{name}");
    }
}

/// A token that is revoked ends what it has open; a socket of the same name goes on: it is no token.
#[tokio::test]
async fn revoking_a_token_leaves_the_socket_of_that_name() {
    let house = House::new().await;
    let token = house.token("alice", &[Role::Agent]).await;
    let socket = socket_of_alice(&house, Access::credentials());
    house.credentials.revoke("alice").await.expect("revoked");
    assert_eq!(house.by(&token, "GET", "/version", "").await.status, 401);
    assert_eq!(call(&socket, "GET", "/version", &[], "").await.status, 200);
}
