//! Approvals: requested, decided once, waited for, listed.

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use rusqlite::Connection;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::board::approval::{Request, Resolve};
use crate::board::{Intent, Which, approval};
use crate::desk::wait;
use crate::event::ApprovalStatus;
use crate::http::body;
use crate::http::caller::Caller;
use crate::http::command::{self, AskedOne, Done, Opened};
use crate::http::params::{NoParams, Params};
use crate::http::problem::Problem;
use crate::http::{Shared, herald, pasted};
use crate::store::readers::{Lane, at_one_moment};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(request, list)).routes(routes!(resolve)).routes(routes!(one))
}

/// A request for approval.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RequestBody {
    /// Who asks: the credential's own name. Needed only where nobody is asked for one.
    agent: Option<String>,
    /// What for: `apply_commit`, `spawn`, or another word.
    approval_kind: String,
    /// The commit, shortened.
    sha_short: Option<String>,
    /// The raw unified diff.
    diff: Option<String>,
    /// The request in words.
    description: Option<String>,
}

/// Requests an approval.
#[utoipa::path(
    post, path = "/api/approvals", tag = "approvals", request_body = RequestBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "repeated with the same key and content, it is requested once")),
    responses(
        (status = 201, description = "requested", body = Opened),
        (status = 200, description = "it was requested before under this key", body = Opened),
        (status = 403, description = "another's name, or no agent", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not of its shape", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "too much is open", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn request(
    State(door): State<Shared>,
    caller: Caller,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(&[Role::Agent])?;
    let asked: RequestBody = body::read(&headers, body).await?;
    let RequestBody { agent, approval_kind, sha_short, diff, description } = asked;
    let agent = caller.agent("agent", agent.as_deref())?;
    let intent = Intent::Request(Request { agent, approval_kind, sha_short, diff, description });
    let appended = command::carry_out(&door, &caller, &headers, intent).await?;
    Ok(command::opened(appended.id.unwrap_or_default(), appended.seqs.first().copied(), appended.new > 0))
}

/// A decision.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ResolveBody {
    /// `approved`, `denied` or `failed`.
    #[schema(value_type = String)]
    status: ApprovalStatus,
    /// Why.
    note: Option<String>,
    /// Who decides: the credential's own name.
    by: Option<String>,
}

/// Decides an approval, once.
#[utoipa::path(
    post, path = "/api/approvals/{id}/resolve", tag = "approvals", request_body = ResolveBody,
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 200, description = "decided", body = Done),
        (status = 403, description = "no operator", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "there is no such approval", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "it is decided; `winner` is the event that won", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn resolve(
    State(door): State<Shared>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(&[Role::Operator])?;
    let id = command::id(id)?;
    let ResolveBody { status, note, by } = body::read(&headers, body).await?;
    let by = Some(caller.decider("by", by.as_deref())?);
    let intent = Intent::Resolve(Resolve { id, status, note, by });
    let appended = command::carry_out(&door, &caller, &headers, intent).await?;
    Ok(command::answer(&Done { seq: appended.seqs.first().copied() }))
}

/// Reads an approval, waiting for its decision.
#[utoipa::path(
    get, path = "/api/approvals/{id}", tag = "approvals", params(("id" = i64, Path), AskedOne),
    responses(
        (status = 200, description = "the approval; `status` is `pending` until it is decided", body = Object),
        (status = 404, description = "there is none, or it is another's", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn one(
    State(door): State<Shared>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    params: Params,
) -> Result<Response, Problem> {
    caller.may_see_own()?;
    let id = command::id(id)?;
    let wait = command::wait(params)?;
    let look = move |conn: &Connection| at_one_moment(conn, |conn| approval::look(conn, id));
    let readers = &door.log.shared().readers;
    let found = readers.run(Lane::Point, look).await?;
    let (_, is_decided) = found.filter(|(agent, _)| caller.sees(agent)).ok_or_else(Problem::not_found)?;
    if !is_decided {
        let decided = wait::decided(&door.log, "approval_resolved", id, herald::seat(&door), move |conn| {
            Ok(approval::look(conn, id)?.map(|(_, is_decided)| is_decided))
        });
        command::patiently(&door, &caller, wait, decided).await?;
    }
    let rows = readers.run(Lane::Point, move |conn| view(conn, &[Which::One(id)])).await?;
    command::row(&rows)
}

/// The query of a list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
pub(super) struct AskedList {
    /// Only what is open (`true`), or only the last that were closed (`false`); both by default.
    open: Option<bool>,
    /// Only the caller's own.
    mine: Option<bool>,
}

/// Lists approvals: the open ones, the oldest first, then the last closed ones, the newest first: 50, or
/// as many as make up 4 MiB.
#[utoipa::path(
    get, path = "/api/approvals", tag = "approvals", params(AskedList),
    responses(
        (status = 200, description = "`{approvals[]}`", body = Object),
        (status = 503, description = "too much of what was answered is not taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(State(door): State<Shared>, caller: Caller, params: Params) -> Result<Response, Problem> {
    caller.may_see_own()?;
    let asked = command::listed(params)?;
    let owner = caller.lists(asked.mine)?;
    let which = Which::listed(asked.open, owner);
    let rows = door.log.shared().readers.run(Lane::Scan, move |conn| view(conn, &which)).await?;
    Ok(pasted([Bytes::from_static(b"{\"approvals\":"), rows.into(), Bytes::from_static(b"}")]))
}

fn view(conn: &Connection, which: &[Which]) -> Result<Vec<u8>, crate::Error> {
    at_one_moment(conn, |conn| {
        let mut out = Vec::new();
        for which in which {
            crate::board::join(&mut out, |out| approval::view(conn, which, out))?;
        }
        Ok(out)
    })
}
