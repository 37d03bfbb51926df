//! The document of the API: what clients are generated from does not change unseen.

use serde_json::Value;

use crate::server::{Server, check_problem};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/openapi.json");

/// To accept a change: `REWRITE_GOLDEN=1 cargo test openapi`.
#[test]
fn the_document_is_the_golden_one() {
    let now = hivelog::http::openapi();
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, format!("{now}\n")).expect("written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("tests/golden/openapi.json");
    assert_eq!(golden.trim_end(), now, "to accept it: REWRITE_GOLDEN=1 cargo test openapi");
}

#[test]
fn the_document_speaks_of_this_crate() {
    let document: Value = serde_json::from_str(&hivelog::http::openapi()).expect("JSON");
    let info = document["info"].as_object().expect("an object");
    assert_eq!(info["title"], env!("CARGO_PKG_NAME"));
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["license"]["identifier"], env!("CARGO_PKG_LICENSE"));
    assert_eq!(info.get("contact"), None, "somebody else is named");
}

#[tokio::test]
async fn the_document_is_served() {
    let server = Server::start().await;
    let document = server.read("/openapi.json").await;
    let built: Value = serde_json::from_str(&hivelog::http::openapi()).expect("JSON");
    assert_eq!(document, built);
    check_problem(&server.get("/openapi.yaml").await, 404, "not-found");
}
