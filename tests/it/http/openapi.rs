//! The document of the API: what clients are generated from does not change unseen.

use std::collections::BTreeSet;

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

#[test]
fn every_type_of_a_problem_is_in_the_document() {
    let document: Value = serde_json::from_str(&hivelog::http::openapi()).expect("JSON");
    let told = &document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    let told: BTreeSet<&str> = told.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http")).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("text");
        let list = text.find("const KINDS").map(|at| at..at + text[at..].find("];").expect("its end"));
        let without = list.map_or(text.clone(), |list| [&text[..list.start], &text[list.end..]].concat());
        for (at, _) in without.match_indices("\"urn:hivelog:") {
            used.extend(
                without[at + 1..].split('"').next().filter(|word| word.len() > 12).map(str::to_owned),
            );
        }
    }
    assert_eq!(told, used.iter().map(String::as_str).collect());
}
