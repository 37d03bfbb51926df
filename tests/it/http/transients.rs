//! The routes of transients: set, renew, replace, clear; leases that nobody's process holds.

use std::time::Duration;

use hivelog::event::TransientKind::Starting;
use hivelog::{Desk, Filter, Followed};
use serde_json::{Value, json};

use crate::client::soon;
use crate::server::{Server, check_problem};
use crate::swarm::Hands;
use crate::{Place, seq};

async fn serve(log: hivelog::Log) -> Server {
    Server::serve(log, "127.0.0.1:0".parse().expect("an address")).await
}

/// The reason for which this name's transient ends.
async fn reason(server: &Server, name: &str) -> String {
    let filter = Filter::default().kind("transient_cleared").and_then(|filter| filter.agent(name));
    let mut live = server.log.follow(seq(0), filter.expect("a filter")).expect("followed");
    loop {
        if let Some(Ok(Followed::Event(row))) = soon("the end", live.next()).await {
            return row.decode::<Value>().expect("JSON")["reason"].as_str().expect("a reason").into();
        }
    }
}

#[tokio::test]
async fn set_renewed_replaced_and_cleared() {
    let place = Place::new();
    let server = serve(Hands::at(1_000).open(&place.path())).await;
    let path = "/api/transients/w-1";
    let put = |kind: &str| json!({"transient_kind": kind, "lease_seconds": 60});
    assert_eq!(server.done("PUT", path, &put("starting")).await, json!({"seq": 1}));
    assert_eq!(server.done("PUT", path, &put("starting")).await, json!({"seq": null}));
    assert_eq!(server.done("PUT", path, &put("stopping")).await, json!({"seq": 2}));
    let row = server.read("/api/state").await["transients"][0].clone();
    assert_eq!(
        (&row["transient_kind"], &row["since_unix"], &row["expires_at"]),
        (&json!("stopping"), &json!(1_000), &json!(1_060))
    );
    assert_eq!(server.done("DELETE", path, &json!({"reason": "failed"})).await, json!({"seq": 3}));
    check_problem(&server.call("DELETE", path, &[], b"").await, 404, "not-found");
    // Ten minutes where nothing is said; a reason of `done`.
    assert_eq!(server.done("PUT", path, &json!({"transient_kind": "spawning"})).await, json!({"seq": 4}));
    assert_eq!(server.read("/api/state").await["transients"][0]["expires_at"], 1_600);
    assert_eq!(server.call("DELETE", path, &[], b"").await.json(), json!({"seq": 5}));
    let ends: Vec<Value> =
        server.lines().await.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&ends[2]["reason"], &ends[4]["reason"]), (&json!("failed"), &json!("done")));
    assert_eq!(server.read("/api/state").await["transients"], json!([]));
}

#[tokio::test]
async fn a_lease_of_nobodys_process_outlives_the_server() {
    let place = Place::new();
    let server = serve(place.open()).await;
    server
        .done("PUT", "/api/transients/web", &json!({"transient_kind": "starting", "lease_seconds": 600}))
        .await;
    server
        .done("PUT", "/api/transients/short", &json!({"transient_kind": "starting", "lease_seconds": 1}))
        .await;
    let desk = Desk::of(&server.log).expect("a desk");
    desk.set("own", Starting, Duration::from_secs(600)).await.expect("set");
    // Set by a process, renewed by somebody else: it is no longer the process's.
    desk.set("both", Starting, Duration::from_secs(600)).await.expect("set");
    server.done("PUT", "/api/transients/both", &json!({"transient_kind": "starting"})).await;
    drop(desk);
    server.close().await;
    let server = serve(place.open()).await;
    let names = |state: &Value| -> Vec<String> {
        let rows = state["transients"].as_array().expect("a list").clone();
        rows.into_iter().map(|row| row["name"].as_str().expect("a name").into()).collect()
    };
    assert_eq!(reason(&server, "own").await, "restart");
    assert_eq!(reason(&server, "short").await, "lease_expired");
    assert_eq!(names(&server.read("/api/state").await), ["web", "both"]);
    assert_eq!(
        server
            .done("PUT", "/api/transients/web", &json!({"transient_kind": "starting", "lease_seconds": 1}))
            .await,
        json!({"seq": null})
    );
    assert_eq!(reason(&server, "web").await, "lease_expired");
}

#[tokio::test]
async fn a_hundred_names_are_a_hundred_actions() {
    let server = Server::start().await;
    let put = json!({"transient_kind": "rebuilding", "lease_seconds": 86_400});
    for number in 1..=100 {
        assert_eq!(
            server.done("PUT", &format!("/api/transients/w.{number}_x-y"), &put).await,
            json!({"seq": number})
        );
    }
    assert_eq!(server.read("/api/state").await["transients"].as_array().map(Vec::len), Some(100));
    for number in 1..=100 {
        let path = format!("/api/transients/w.{number}_x-y");
        assert_eq!(server.done("DELETE", &path, &json!({})).await, json!({"seq": 100 + number}));
    }
    assert_eq!(server.read("/api/state").await["transients"], json!([]));
}
