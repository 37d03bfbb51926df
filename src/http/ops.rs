//! What operators and their tools ask: health, metrics, version, the document of the API.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{License, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::http::caller::Caller;
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::http::{Shared, json};
use crate::log::Log;
use crate::log::feed::look_at_store;
use crate::store::readers::Lane;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(version))
}

/// Numbers that are read when they are asked for.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    head: Gauge<i64, AtomicI64>,
    queued: Gauge<i64, AtomicI64>,
    recent_bytes: Gauge<i64, AtomicI64>,
    failed: Gauge<i64, AtomicI64>,
    search: Gauge<i64, AtomicI64>,
}

pub(super) fn registry(log: &Log) -> (Registry, Gauges) {
    let mut registry = Registry::with_prefix("hivelog");
    log.shared().metrics.register(&mut registry);
    let gauges = Gauges::default();
    registry.register("head_seq", "The highest committed seq", gauges.head.clone());
    registry.register("queued_appends", "Appends that wait for the writer", gauges.queued.clone());
    registry.register("recent_bytes", "Encoded events kept in memory", gauges.recent_bytes.clone());
    registry.register(
        "search_seq",
        "The seq up to which the search index has the log",
        gauges.search.clone(),
    );
    registry.register("failed", "1 when the log takes no more appends", gauges.failed.clone());
    (registry, gauges)
}

/// Whether the process lives.
#[utoipa::path(get, path = "/livez", tag = "operators", responses((status = 200, description = "it does")))]
async fn livez(_: NoParams) -> &'static str {
    "ok\n"
}

#[derive(Serialize, utoipa::ToSchema)]
struct Ready {
    status: &'static str,
    log_id: String,
    seq: i64,
    floor: i64,
    durability: &'static str,
}

/// Whether the log can be read and written. Anybody is told that much; more needs a credential.
#[utoipa::path(
    get, path = "/readyz", tag = "operators",
    responses(
        (status = 200, description = "it can", body = Ready),
        (status = 503, description = "it cannot", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(door): State<Shared>, caller: Caller, _: NoParams) -> Result<Response, Problem> {
    let is_told = caller.needs(&[Role::Metrics, Role::Read, Role::Operator, Role::Admin]).is_ok();
    let unready = |detail: String| {
        let problem =
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "urn:hivelog:unready", "the log is not ready");
        if is_told { problem.detail(detail) } else { problem }
    };
    if let Some(error) = door.log.failure() {
        return Err(unready(error.to_string()));
    }
    let look = door.log.shared().readers.run(Lane::Point, look_at_store);
    let looked = tokio::time::timeout(Duration::from_secs(2), look).await;
    match looked {
        Ok(Ok(_)) if !is_told => Ok("ok\n".into_response()),
        Ok(Ok((head, floor))) => {
            let ready = Ready {
                status: "ready",
                log_id: door.log.id().to_string(),
                seq: head.get(),
                floor: floor.get(),
                durability: door.log.durability().as_str(),
            };
            Ok(axum::Json(ready).into_response())
        }
        Ok(Err(error)) => Err(unready(error.to_string())),
        Err(_) => Err(unready("the head could not be read within 2 s".into())),
    }
}

/// Numbers for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operators",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"))
)]
async fn metrics(State(door): State<Shared>, caller: Caller, _: NoParams) -> Result<Response, Problem> {
    caller.needs(&[Role::Metrics, Role::Admin])?;
    let as_gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    door.gauges.head.set(door.log.tail().get());
    door.gauges.queued.set(as_gauge(door.log.queued()));
    door.gauges.recent_bytes.set(as_gauge(door.log.shared().recent.bytes()));
    door.gauges.search.set(door.search.as_ref().map_or(0, |search| search.upto().get()));
    door.gauges.failed.set(i64::from(door.log.failure().is_some()));
    let mut text = String::new();
    encode(&mut text, &door.registry).map_err(|_| Problem::panicked())?;
    let mut response = text.into_response();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    super::set(response.headers_mut(), header::CONTENT_TYPE, kind);
    Ok(response)
}

#[derive(Serialize, utoipa::ToSchema)]
struct Build {
    name: &'static str,
    version: &'static str,
    sqlite: &'static str,
}

/// Which build this is.
#[utoipa::path(get, path = "/version", tag = "operators", responses((status = 200, description = "the build", body = Build)))]
async fn version(caller: Caller, _: NoParams) -> Result<axum::Json<Build>, Problem> {
    caller.needs(&Role::ALL)?;
    Ok(axum::Json(Build {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        sqlite: rusqlite::version(),
    }))
}

/// The document of the routes.
pub(super) fn document(mut api: OpenApi) -> OpenApi {
    api.info.title = "hivelog".into();
    api.info.description = Some(env!("CARGO_PKG_DESCRIPTION").into());
    api.info.version = env!("CARGO_PKG_VERSION").into();
    // The router's own crate puts its author here.
    api.info.contact = None;
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").into());
    api.info.license = Some(license);
    let schemes = [
        ("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer))),
        ("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("hivelog_<log id>")))),
        ("second", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Hivelog-Session")))),
    ];
    let components = api.components.get_or_insert_default();
    components.security_schemes.extend(schemes.map(|(name, scheme)| (name.to_owned(), scheme.into())));
    let none: [&str; 0] = [];
    let by_session = SecurityRequirement::new("session", none).add("second", none);
    // One of these; the session's second secret is for writes.
    api.security = Some(vec![SecurityRequirement::new("token", none), by_session]);
    api
}

/// Adds the document itself.
pub(super) fn with_openapi(routes: Router<Shared>, api: OpenApi) -> Router<Shared> {
    let document = document(api).to_pretty_json().unwrap_or_default();
    let openapi = async move |caller: Caller, _: NoParams| {
        caller.needs(&Role::ALL)?;
        Ok::<_, Problem>(json(document.clone()))
    };
    routes.route("/openapi.json", get(openapi))
}
