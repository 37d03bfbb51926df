//! Transients: set, renewed, cleared.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::board::Intent;
use crate::board::transient::Clear;
use crate::event::{ClearReason, TransientKind, is_name};
use crate::http::Shared;
use crate::http::body;
use crate::http::caller::{Caller, forbidden};
use crate::http::command::{self, Done};
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::limits::TRANSIENT_LEASE_MS;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(set, clear))
}

/// A lifecycle action.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SetBody {
    /// `spawning`, `starting`, `stopping`, `restarting`, `rebuilding` or `destroying`.
    #[schema(value_type = String)]
    transient_kind: TransientKind,
    /// How long it may last unrenewed; 600 by default, at most a day.
    lease_seconds: Option<i64>,
}

/// Whose transient the path means; another's is an operator's to set.
fn name(caller: &Caller, path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    caller.needs(&[Role::Agent, Role::Operator])?;
    let Path(name) = path?;
    if !is_name(&name) {
        return Err(Problem::not_found());
    }
    if caller.is(Role::Operator) || caller.name() == Some(&name) {
        return Ok(name);
    }
    Err(forbidden("a credential acts as nobody but itself"))
}

/// Begins a lifecycle action, renews its lease (no event), or replaces it by another kind.
#[utoipa::path(
    put, path = "/api/transients/{name}", tag = "transients", request_body = SetBody,
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 200, description = "set; `seq` is null for a renewal", body = Done),
        (status = 403, description = "another's name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not of its shape", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn set(
    State(door): State<Shared>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = name(&caller, path)?;
    let SetBody { transient_kind, lease_seconds } = body::read(&headers, body).await?;
    let lease_ms = lease_seconds.map_or(TRANSIENT_LEASE_MS, |seconds| seconds.saturating_mul(1_000));
    let lease = Duration::from_millis(u64::try_from(lease_ms).unwrap_or(0));
    let intent = door.desk()?.set_intent(&name, transient_kind, lease, false)?;
    let appended = command::carry_out(&door, &caller, &headers, intent).await?;
    Ok(command::answer(&Done { seq: appended.seqs.first().copied() }))
}

/// Why it ends.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ClearBody {
    /// `done` (the default) or `failed`.
    #[schema(value_type = Option<String>)]
    reason: Option<ClearReason>,
}

/// Ends a lifecycle action.
#[utoipa::path(
    delete, path = "/api/transients/{name}", tag = "transients", request_body = Option<ClearBody>,
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 200, description = "cleared", body = Done),
        (status = 403, description = "another's name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "none is set", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn clear(
    State(door): State<Shared>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = name(&caller, path)?;
    let ClearBody { reason } = body::read(&headers, body).await?;
    let reason = reason.unwrap_or_default();
    if !matches!(reason, ClearReason::Done | ClearReason::Failed) {
        return Err(Problem::invalid("reason", "is `done` or `failed`: the others are the keeper's"));
    }
    let intent = Intent::Clear(Clear { name, reason, only: None });
    let appended = command::carry_out(&door, &caller, &headers, intent).await?;
    Ok(command::answer(&Done { seq: appended.seqs.first().copied() }))
}
