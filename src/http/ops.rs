//! What operators and their tools ask: health, metrics, version.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::http::caller::Caller;
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::http::{Shared, gauges};
use crate::limits::WRITER_SILENCE_MAX;
use crate::log::feed::look_at_store;
use crate::store::readers::Lane;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(version))
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
    let silence = door.log.silence();
    if silence > WRITER_SILENCE_MAX {
        return Err(unready(format!("the writer has taken no turn for {} s", silence.as_secs())));
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
    gauges::read(&door).await?;
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
