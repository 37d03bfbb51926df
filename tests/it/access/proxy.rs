//! Behind a proxy that strips a path: cookie, links and origin are those of the public URL.

use std::net::SocketAddr;

use hivelog::Role;
use hivelog::http::Access;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::House;
use crate::client::{Reply, once, request};
use crate::server::check_problem;

/// A proxy that takes `/hive` off the path and hands everything else on; it serves until the test ends.
async fn proxy(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 << 10];
                let read = client.read(&mut bytes).await.expect("a request");
                let text = String::from_utf8_lossy(&bytes[..read]).replacen(" /hive", " ", 1);
                let mut server = TcpStream::connect(target).await.expect("the server");
                server.write_all(text.as_bytes()).await.expect("sent");
                let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stripped_path_is_no_obstacle() {
    let access = Access::credentials().public_url("https://swarm.example/hive").expect("a URL");
    let house = House::with(access).await;
    let token = house.token("ops", &[Role::Operator, Role::Admin]).await;
    let proxy = proxy(house.server.addr).await;
    let call = async |method: &str, path: &str, headers: &[(&str, &str)], body: &str| -> Reply {
        let of_browser = [
            ("Host", "swarm.example"),
            ("Origin", "https://swarm.example"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Content-Type", "application/json"),
        ];
        let headers = [&of_browser[..], headers].concat();
        once(proxy, &request(method, path, &headers, body.as_bytes())).await
    };
    let login = house.by(&token, "POST", "/api/login", "").await.json();
    assert_eq!(login["base"], "https://swarm.example/hive");
    let body = json!({ "code": login["code"] }).to_string();
    let reply = call("POST", "/hive/session", &[], &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let cookie = reply.header("set-cookie").expect("a cookie");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/hive; Max-Age=2592000; Secure"), "{cookie}");
    let (cookie, secret) = (super::cookie_of(&reply), reply.json()["session"].clone());
    let both = [("Cookie", cookie.as_str()), ("X-Hivelog-Session", secret.as_str().expect("a secret"))];
    assert_eq!(call("GET", "/hive/api/state", &both[..1], "").await.status, 200);
    let reply = call("POST", "/hive/api/events", &both, r#"{"kind":"test.note"}"#).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    check_problem(&call("POST", "/hive/api/login", &both[..1], "").await, 403, "session");
    let out = call("DELETE", "/hive/session", &both, "").await;
    assert!(out.header("set-cookie").expect("a cookie").contains("Path=/hive; Max-Age=0; Secure"));
    // The one who comes straight to the port gets a cookie for there.
    let json = [("Content-Type", "application/json")];
    let reply = house.ask("POST", "/session", &json, &json!({ "token": token }).to_string()).await;
    let cookie = reply.header("set-cookie").expect("a cookie");
    assert!(cookie.ends_with("Path=/; Max-Age=2592000"), "{cookie}");
    // A proxy that names its server by the server's own name: the origin tells.
    let renamed = [("Origin", "https://swarm.example"), json[0], ("Host", "127.0.0.1:4483")];
    let reply = house.ask("POST", "/session", &renamed, &json!({ "token": token }).to_string()).await;
    assert!(reply.header("set-cookie").expect("a cookie").contains("Path=/hive;"));
}
