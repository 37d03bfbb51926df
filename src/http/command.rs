//! What the command routes share: the key, the actor, the answer, the wait.

use std::future::Future;
use std::time::Instant;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tokio::time::{Duration, timeout};

use crate::board::Intent;
use crate::error::Error;
use crate::http::caller::Caller;
use crate::http::params::{Params, number};
use crate::http::problem::Problem;
use crate::http::{Door, append, json};
use crate::limits::COMMAND_TIMEOUT;
use crate::log::authority::{Appended, Command};
use crate::query::parse_wait;
use crate::seq::Seq;
use crate::store::keys::Key;

/// The answer to what opens something.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Opened {
    pub(super) id: i64,
    /// `null` for a question to a peer, which is not on the log.
    #[schema(value_type = Option<i64>)]
    pub(super) seq: Option<Seq>,
}

/// The answer to what changes something.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Done {
    /// `null` where no event came of it.
    #[schema(value_type = Option<i64>)]
    pub(super) seq: Option<Seq>,
}

/// Has an intent carried out, under the request's idempotency key if it has one.
pub(super) async fn carry_out(
    door: &Door,
    caller: &Caller,
    headers: &HeaderMap,
    intent: Intent,
) -> Result<Appended, Problem> {
    let mut command =
        Command::intend(intent).actor(caller.actor()).deadline(Instant::now() + COMMAND_TIMEOUT);
    if let Some(key) = append::idempotency_key(headers)? {
        command = command.key(key);
    }
    Ok(door.log.submit(command).soon().await.0?)
}

/// The answer to what opens something: 201, or 200 where it was open under this key already.
pub(super) fn opened(id: i64, seq: Option<Seq>, is_new: bool) -> Response {
    let mut response = answer(&Opened { id, seq });
    *response.status_mut() = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    response
}

/// An answer as JSON.
pub(super) fn answer(body: &impl Serialize) -> Response {
    json(serde_json::to_vec(body).unwrap_or_default())
}

/// The key of a command that makes no event, if the request has one.
pub(super) fn key(
    caller: &Caller,
    headers: &HeaderMap,
    what: &'static str,
    content: &impl Serialize,
) -> Result<Option<Key>, Problem> {
    Ok(append::idempotency_key(headers)?.map(|key| Key::new(caller.actor(), key, what, content)))
}

/// The one row of a list that asked for one; it may have been pruned.
pub(super) fn row(rows: &[u8]) -> Result<Response, Problem> {
    match rows.strip_prefix(b"[").and_then(|rows| rows.strip_suffix(b"]")) {
        Some(row) if !row.is_empty() => Ok(json(row.to_vec())),
        _ => Err(Problem::not_found()),
    }
}

/// The query of one item.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
pub(super) struct AskedOne {
    /// Seconds to wait for its end: 0 to 60.
    wait: Option<String>,
}

/// The id in a path; what is no id names nothing.
pub(super) fn id(path: Result<Path<String>, PathRejection>) -> Result<i64, Problem> {
    let Path(text) = path?;
    number("id", &text).ok().filter(|id| *id > 0).ok_or_else(Problem::not_found)
}

/// The wait of a query that asks for nothing else.
pub(super) fn wait(mut params: Params) -> Result<Duration, Problem> {
    let read = params.read("wait", parse_wait).and_then(|wait| params.end().map(|()| wait));
    read.map(Option::unwrap_or_default).map_err(|refusal| Problem::query(refusal.into()))
}

/// Waits for at most this long; a server that stops, or a log that is closed, ends the wait too.
pub(super) async fn patiently(
    door: &Door,
    caller: &Caller,
    wait: Duration,
    event: impl Future<Output = Result<(), Error>>,
) -> Result<(), Problem> {
    if wait.is_zero() {
        return Ok(());
    }
    let ended = tokio::select! {
        ended = timeout(wait, event) => ended.unwrap_or(Ok(())),
        () = door.stop.cancelled() => Ok(()),
        () = caller.gone() => return Err(crate::http::caller::unauthorized()),
    };
    match ended {
        Ok(()) | Err(Error::Closed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The query of a list: `open` and `mine`.
pub(super) struct Listed {
    /// Only what is open, or only what is closed.
    pub(super) open: Option<bool>,
    /// Only the caller's own.
    pub(super) mine: bool,
}

pub(super) fn listed(mut params: Params) -> Result<Listed, Problem> {
    let truth = |field: &'static str| {
        move |text: &str| match text {
            "true" | "1" | "" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(crate::Refusal::invalid(field, "is not true or false")),
        }
    };
    let mut read = || {
        let open = params.read("open", truth("open"))?;
        let mine = params.read("mine", truth("mine"))?.unwrap_or(false);
        Ok(Listed { open, mine })
    };
    let listed = read().map_err(|refusal: crate::Refusal| Problem::query(refusal.into()))?;
    params.end().map_err(|refusal| Problem::query(refusal.into()))?;
    Ok(listed)
}
