//! Messages between agents: sent, handed out, acknowledged.

use std::time::Instant;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, sleep_until};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::broker::{Broker, Delivery, Recv, send_key};
use crate::error::Refusal;
use crate::event::{OPERATOR, is_name};
use crate::http::answer::{Load, Loaded};
use crate::http::caller::{Caller, forbidden, unauthorized};
use crate::http::params::{NoParams, Params, number};
use crate::http::problem::Problem;
use crate::http::{Door, Shared, append, body, command, json};
use crate::limits::{COMMAND_TIMEOUT, MESSAGE_LEASE_MS, PAYLOAD_BYTES_MAX, RECV_BYTES_MAX};
use crate::query::parse_wait;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(send))
        .routes(routes!(recv))
        .routes(routes!(ack))
        .routes(routes!(renew))
        .routes(routes!(requeue))
}

/// A message.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SendBody {
    /// Who sends it; the credential's own name, where one is asked for.
    from: Option<String>,
    /// Who it is for: an agent, or the operator.
    to: String,
    /// What it says. Its event has at most 1 MiB.
    body: String,
}

/// The id of a message.
#[derive(Serialize, utoipa::ToSchema)]
struct Sent {
    id: i64,
}

/// When a command that did not get its turn is dropped.
fn deadline() -> Instant {
    Instant::now() + COMMAND_TIMEOUT
}

/// Sends a message to an agent or to the operator.
///
/// It is in the inbox of `to` once this is answered; its event `sent` follows on the log.
#[utoipa::path(
    post, path = "/api/messages", tag = "messages", request_body = SendBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 201, description = "sent", body = Sent),
        (status = 200, description = "it was sent before under this key", body = Sent),
        (status = 403, description = "another's name, or no role that sends", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "another content type", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not of its shape; or the key stands for another message", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "try later; nothing was sent", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn send(
    State(door): State<Shared>,
    caller: Caller,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(&[Role::Agent, Role::Operator])?;
    let SendBody { from, to, body } = body::read(&headers, body).await?;
    let from = caller.agent_or_operator("from", from.as_deref())?;
    let key =
        append::idempotency_key(&headers)?.map(|key| send_key(caller.actor(), key, (&from, &to, &body)));
    let sent = door.desk()?.broker().send(&from, &to, &body, key, Some(deadline())).await?;
    let mut response = command::answer(&Sent { id: sent.answer });
    *response.status_mut() = if sent.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response)
}

/// Whose inbox the path means. An agent has its own, an operator the operator's.
fn inbox(caller: &Caller, path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    caller.needs(&[Role::Agent, Role::Operator])?;
    let Path(name) = path?;
    if !is_name(&name) {
        return Err(Problem::not_found());
    }
    let is_own = match caller.name() {
        None => true,
        Some(_) if name == OPERATOR => caller.is(Role::Operator),
        Some(_) => caller.is_agent(&name),
    };
    if is_own { Ok(name) } else { Err(forbidden("a credential acts as nobody but itself")) }
}

/// The query of a look into an inbox.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
struct AskedRecv {
    /// Seconds to wait for a message: 0 to 60.
    wait: Option<String>,
    /// At most so many messages: 1 to 100, 1 by default.
    max: Option<i64>,
    /// How long they stay out unacknowledged: 1 to 86400, 600 by default.
    lease_seconds: Option<i64>,
}

fn asked(mut params: Params, recipient: &str) -> Result<(Recv, Duration), Refusal> {
    let wait = params.read("wait", parse_wait)?.unwrap_or_default();
    let max = params.read("max", |text| number("max", text))?.unwrap_or(1);
    let lease_ms = params.read("lease_seconds", |text| number("lease_seconds", text))?.map(seconds);
    params.end()?;
    let recv = Recv {
        recipient: recipient.into(),
        max: usize::try_from(max).unwrap_or(usize::MAX),
        lease_ms: lease_ms.unwrap_or(MESSAGE_LEASE_MS),
    };
    recv.check()?;
    Ok((recv, wait))
}

const fn seconds(seconds: i64) -> i64 {
    seconds.saturating_mul(1_000)
}

/// Messages that were handed out.
#[derive(Serialize, utoipa::ToSchema)]
struct Inbox {
    messages: Vec<Delivery>,
}

/// Hands out the oldest messages that nobody has, waiting for one.
///
/// They are out until they are acknowledged, or until their lease ends and they come back, `redelivered`. A
/// call that is cut off may have had messages handed out: they come back too. So it takes no idempotency key.
#[utoipa::path(
    post, path = "/api/agents/{name}/recv", tag = "messages", params(("name" = String, Path), AskedRecv),
    responses(
        (status = 200, description = "messages; none at the end of the wait", body = Inbox),
        (status = 400, description = "the query is not valid, or an idempotency key is given", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "another's inbox", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "1000 messages are out unacknowledged", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "try later; nothing was handed out", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn recv(
    State(door): State<Shared>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = inbox(&caller, name)?;
    if headers.contains_key("idempotency-key") {
        return Err(Problem::header("recv takes no Idempotency-Key: what it hands out comes back by itself"));
    }
    let (recv, wait) = asked(params, &name).map_err(|refusal| Problem::query(refusal.into()))?;
    body::read::<Nothing>(&headers, body).await?;
    let (messages, load) = wait_for(&door, &caller, &recv, wait).await?;
    let answer = serde_json::to_vec(&Inbox { messages }).unwrap_or_default();
    let load = Loaded(load.and_then(|load| load.fit(answer.len())));
    let mut response = json(answer);
    response.extensions_mut().insert(load);
    Ok(response)
}

/// The body of a call that says all in its path.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What a call may hand out at most, as JSON, where a character may take six.
fn heaviest(recv: &Recv) -> usize {
    (recv.max * PAYLOAD_BYTES_MAX).min(6 * RECV_BYTES_MAX)
}

/// Looks into the inbox until there is something, or the time is over. What is handed out is never dropped
/// half way: only the sleep between two looks is cut short.
async fn wait_for(
    door: &Door,
    caller: &Caller,
    recv: &Recv,
    wait: Duration,
) -> Result<(Vec<Delivery>, Option<Load>), Problem> {
    let broker = door.desk()?.broker();
    let until = tokio::time::Instant::now() + wait;
    let mut bell = broker.listen(&recv.recipient);
    loop {
        // Before it: what was handed out has to go out. And not while there is nothing, which may be long.
        let load = door.room.reserve(caller.share(), heaviest(recv)).await?;
        let messages = broker.recv(recv, Some(deadline())).await?;
        if !messages.is_empty() || wait.is_zero() {
            return Ok((messages, Some(load)));
        }
        drop(load);
        tokio::select! {
            heard = bell.heard() => heard?,
            () = sleep_until(until) => return Ok((messages, None)),
            () = door.stop.cancelled() => return Ok((messages, None)),
            () = caller.gone() => return Err(unauthorized()),
        }
    }
}

/// Whose messages a call may touch: an agent's own, the operator's; anybody's where nobody is asked.
fn whose(caller: &Caller) -> Result<Option<&str>, Problem> {
    caller.needs(&[Role::Agent, Role::Operator])?;
    Ok(match caller.name() {
        Some(_) if !caller.is(Role::Agent) => Some(OPERATOR),
        name => name,
    })
}

/// Does something to a message that is the caller's. A credential that is an agent and an operator has two
/// inboxes: what is not in the one may be in the other.
async fn touch<T, F: Future<Output = Result<T, crate::Error>>>(
    door: &Door,
    caller: &Caller,
    touch: impl Fn(&Broker, Option<&str>) -> F,
) -> Result<T, Problem> {
    let broker = door.desk()?.broker();
    let whose = whose(caller)?;
    let touched = touch(broker, whose).await;
    let has_another = whose.is_some_and(|name| name != OPERATOR) && caller.is(Role::Operator);
    if has_another && matches!(touched, Err(crate::Error::Refused(Refusal::Unknown(_)))) {
        return Ok(touch(broker, Some(OPERATOR)).await?);
    }
    Ok(touched?)
}

/// Acknowledges a message, also a second time, also late.
#[utoipa::path(
    post, path = "/api/messages/{id}/ack", tag = "messages",
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 204, description = "acknowledged"),
        (status = 404, description = "there is no such message, it is another's, or it was never handed out", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn ack(
    State(door): State<Shared>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    caller.needs(&[Role::Agent, Role::Operator])?;
    let id = command::id(id)?;
    body::read::<Nothing>(&headers, body).await?;
    let key = command::key(&caller, &headers, "ack", &id)?;
    touch(&door, &caller, |broker, whose| broker.ack(id, whose, key.clone(), Some(deadline()))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nothing, or how long.
#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RenewBody {
    /// How long it stays out from now on: 1 to 86400, 600 by default.
    lease_seconds: Option<i64>,
}

/// Lets a message stay out for longer.
#[utoipa::path(
    post, path = "/api/messages/{id}/renew", tag = "messages", request_body = Option<RenewBody>,
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 204, description = "it stays out"),
        (status = 404, description = "there is no such message, it is another's, or it is not out", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not of its shape", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn renew(
    State(door): State<Shared>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    caller.needs(&[Role::Agent, Role::Operator])?;
    let id = command::id(id)?;
    let asked: RenewBody = body::read(&headers, body).await?;
    let lease_ms = asked.lease_seconds.map_or(MESSAGE_LEASE_MS, seconds);
    let key = command::key(&caller, &headers, "renew", &(id, &asked))?;
    touch(&door, &caller, |broker, whose| broker.renew(id, whose, lease_ms, key.clone(), Some(deadline())))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many messages came back.
#[derive(Serialize, utoipa::ToSchema)]
struct Requeued {
    requeued: usize,
}

/// Takes back at once all that an agent has out: what a harness does when it starts.
#[utoipa::path(
    post, path = "/api/agents/{name}/requeue", tag = "messages",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 200, description = "they are in the inbox", body = Requeued),
        (status = 403, description = "another's inbox", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn requeue(
    State(door): State<Shared>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = inbox(&caller, name)?;
    body::read::<Nothing>(&headers, body).await?;
    let key = command::key(&caller, &headers, "requeue", &name)?;
    let requeued = door.desk()?.broker().requeue(&name, key, Some(deadline())).await?;
    Ok(command::answer(&Requeued { requeued: requeued.answer }))
}
