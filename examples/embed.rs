//! A host's own web app with a log inside: the log's routes under a prefix, the log itself in handlers.
//!
//! `cargo run --example embed` answers a few calls and ends; with an address as argument it serves:
//! `cargo run --example embed 127.0.0.1:4484`.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use hivelog::event::{Event, Message};
use hivelog::http::{Access, router};
use hivelog::{Custom, Draft, Log};
use serde::Serialize;
use tower::ServiceExt as _;

/// An event of the host's own: the dot in its kind says so.
#[derive(Serialize)]
struct DeployFinished {
    service: String,
    seconds: f64,
}

impl Custom for DeployFinished {
    const KIND: &'static str = "deploy.finished";
}

/// A handler of the host's: it appends and answers with the seq.
async fn deploy(State(log): State<Log>) -> Result<String, (StatusCode, String)> {
    let event = DeployFinished { service: "web".into(), seconds: 3.5 };
    match log.append(Draft::custom(&event)).await {
        Ok(seq) => Ok(seq.to_string()),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn app(log: &Log) -> Router {
    Router::new()
        .route("/deploy", post(deploy))
        .with_state(log.clone())
        .nest("/hive", router(log.clone(), Access::no_auth()))
}

async fn call(app: &Router, request: Request<Body>) -> Result<String, Box<dyn std::error::Error>> {
    let response = app.clone().oneshot(request).await.into_response();
    let body = to_bytes(response.into_body(), 1 << 20).await?;
    Ok(String::from_utf8(body.to_vec())?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let log = Log::temp()?;
    let app = app(&log);
    if let Some(address) = std::env::args().nth(1) {
        let listener = tokio::net::TcpListener::bind(&address).await?;
        println!("http://{address}/hive/");
        return Ok(axum::serve(listener, app).await?);
    }
    let hello = Message {
        from: "alice".into(),
        to: "bob".into(),
        body: "the build is green".into(),
        at: 1_763_829_000,
        message_id: None,
    };
    log.append(Event::Sent(hello)).await?;
    let request = Request::post("/deploy").header("host", "localhost").body(Body::empty())?;
    assert_eq!(call(&app, request).await?, "2");
    let request = Request::get("/hive/api/history").header("host", "localhost").body(Body::empty())?;
    let history = call(&app, request).await?;
    assert!(history.contains(r#""kind":"deploy.finished","service":"web","seconds":3.5"#), "{history}");
    println!("{history}");
    log.close();
    Ok(())
}
