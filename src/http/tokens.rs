//! `/api/tokens`: who is let in.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::access::credentials::TokenRow;
use crate::error::Refusal;
use crate::http::Shared;
use crate::http::append::idempotency_key;
use crate::http::body;
use crate::http::caller::Caller;
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::http::session::refuse_key;
use crate::http::trace::RequestId;
use crate::store::keys::Key;

const ADMIN: &[Role] = &[Role::Admin];

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(add, list)).routes(routes!(revoke))
}

/// A token to make.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// `read`, `agent`, `operator`, `admin`, `metrics`: one or more of them.
    roles: Vec<String>,
    /// The name that it stands for; with the role `agent` that agent's.
    name: String,
    /// When it ends, in unix seconds; never, where it is absent.
    expires_at: Option<i64>,
}

/// The answer that tells a token, this once.
#[derive(Serialize, utoipa::ToSchema)]
struct Made {
    token: String,
}

/// The tokens.
#[derive(Serialize, utoipa::ToSchema)]
struct Tokens {
    tokens: Vec<TokenRow>,
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/tokens", tag = "access",
    request_body = Wanted,
    responses(
        (status = 201, description = "made", body = Made),
        (status = 409, description = "a token has that name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "no name, or no roles", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn add(
    State(door): State<Shared>,
    (caller, id): (Caller, RequestId),
    _: NoParams,
    request: Request,
) -> Result<Response, Problem> {
    caller.needs(ADMIN)?;
    let (parts, body) = request.into_parts();
    refuse_key(&parts.headers)?;
    let wanted: Wanted = body::read(&parts.headers, body).await?;
    let roles: Result<Vec<Role>, String> = wanted.roles.iter().map(|role| role.parse()).collect();
    let roles = roles.map_err(|detail| Refusal::invalid("roles", detail))?;
    let token = door.credentials()?.add(&wanted.name, &roles, wanted.expires_at).await?;
    tracing::info!(request = %id, name = wanted.name, roles = ?roles, by = caller.name(), "a token was made");
    Ok((StatusCode::CREATED, axum::Json(Made { token })).into_response())
}

/// Lists the tokens that are kept in the file, without their secrets.
#[utoipa::path(
    get, path = "/api/tokens", tag = "access",
    responses((status = 200, description = "the tokens", body = Tokens))
)]
async fn list(State(door): State<Shared>, caller: Caller, _: NoParams) -> Result<Response, Problem> {
    caller.needs(ADMIN)?;
    Ok(axum::Json(Tokens { tokens: door.credentials()?.list() }).into_response())
}

/// Takes a token back, with its sessions: what it has open ends within five seconds.
#[utoipa::path(
    delete, path = "/api/tokens/{name}", tag = "access",
    params(
        ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "repeated with the same key, the answer is the same"),
    ),
    responses(
        (status = 204, description = "taken back"),
        (status = 404, description = "no token has that name", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn revoke(
    State(door): State<Shared>,
    (caller, id): (Caller, RequestId),
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    caller.needs(ADMIN)?;
    let Path(name) = name?;
    let key = idempotency_key(&headers)?;
    let key = key.map(|key| Key::new(caller.actor(), key, "DELETE /api/tokens", &name));
    door.credentials()?.revoke_once(&name, key).await?;
    tracing::info!(request = %id, name, by = caller.name(), "a token was taken back");
    Ok(StatusCode::NO_CONTENT)
}
