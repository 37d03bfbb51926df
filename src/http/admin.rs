//! `POST /api/prune` and `POST /api/events/{seq}/redact`: what only an admin takes out of a log.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::error::{Error, Refusal};
use crate::http::caller::Caller;
use crate::http::command::{self, Done};
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::http::trace::RequestId;
use crate::http::{Shared, append, body};
use crate::log::Log;
use crate::log::prune::{Prune, Pruned};
use crate::query::parse_time;
use crate::redact::Redact;
use crate::seq::Seq;
use crate::store::keys::{Key, Once, once};
use crate::store::task::Task;

const ADMIN: &[Role] = &[Role::Admin];

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(prune)).routes(routes!(redact))
}

/// What is to be pruned: `before_seq`, `before` or both say how far.
#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Only events before this seq.
    before_seq: Option<i64>,
    /// Only events recorded before this time: unix seconds, or RFC 3339.
    #[schema(value_type = Option<String>)]
    before: Option<Time>,
    /// Of which kinds: `sent` and `delivered` where none is named. `approvals`, `questions` and `transients` mean
    /// the closed ones, with all of their events; `*` every kind that is an application's own.
    kinds: Option<Vec<String>>,
    /// Whether to say only what would go.
    dry_run: Option<bool>,
}

/// A time as a number or as text.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Time {
    Seconds(u64),
    Text(String),
}

impl Asked {
    fn read(&self) -> Result<Prune, Refusal> {
        if self.before_seq.is_some_and(|seq| seq < 0) {
            return Err(Refusal::invalid("before_seq", "is negative"));
        }
        let before_ms = match &self.before {
            Some(Time::Seconds(seconds)) => Some(parse_time("before", &seconds.to_string())?),
            Some(Time::Text(text)) => Some(parse_time("before", text)?),
            None => None,
        };
        Ok(Prune {
            before_seq: self.before_seq,
            before_ms,
            kinds: self.kinds.clone().unwrap_or_default(),
            dry_run: self.dry_run.unwrap_or(false),
        })
    }
}

/// What was pruned, or would be.
#[derive(Clone, Copy, Deserialize, Serialize, utoipa::ToSchema)]
struct Told {
    /// The highest pruned seq.
    #[schema(value_type = i64)]
    floor: Seq,
    /// How many events went.
    pruned: u64,
}

/// Takes old events out of the log, in small steps between which appends go on. What is open stays; an approval,
/// a question or a transient goes whole or not at all. Broken off, it has pruned less, and can be called again.
#[utoipa::path(
    post, path = "/api/prune", tag = "admin", request_body = Asked,
    params(("Idempotency-Key" = Option<String>, Header, description = "repeated with the same key, the answer is the same")),
    responses(
        (status = 200, description = "pruned, or with `dry_run` what would be", body = Told),
        (status = 422, description = "no bound, or no kind", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "later; what was pruned is pruned", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn prune(
    State(door): State<Shared>,
    (caller, id): (Caller, RequestId),
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(ADMIN)?;
    let asked: Asked = body::read(&headers, body).await?;
    let prune = asked.read()?;
    let key = command::key(&caller, &headers, "POST /api/prune", &asked)?;
    let (log, dry_run) = (door.log.clone(), prune.dry_run);
    // On a thread of its own, so that a client that goes away does not break it off between two steps.
    let told = blocking::unblock(move || carry_out(&log, &prune, key)).await?;
    let Told { floor, pruned } = told;
    tracing::info!(request = %id, floor = floor.get(), pruned, dry_run, by = caller.name(), "pruned");
    Ok(command::answer(&told))
}

/// Prunes, or finds that the key is known. The answer is kept with the last step: what is cut off before it prunes on.
fn carry_out(log: &Log, prune: &Prune, key: Option<Key>) -> Result<Told, Error> {
    let known = key.as_ref().map(|key| log.readers().with(|conn| key.known(conn))).transpose()?.flatten();
    if let Some(known) = known {
        return known;
    }
    let Pruned { floor, pruned } = log.prune(prune)?;
    let told = Told { floor, pruned };
    let kept = log.store()?.write(Task::new(move |turn| once(turn, key.as_ref(), || Ok(Ok(told)))));
    let Once { answer, .. } = pollster::block_on(kept)?;
    Ok(answer)
}

/// Whether one event of a message is meant, or both.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Of a message that was both sent and delivered, both events; only the one in the path by default.
    both: Option<bool>,
}

/// Takes the text of an event out of the log and of everything made of it. The event keeps its seq, its kind and its
/// names; an event `hivelog.redacted` says what was done, and `seq` is its place.
#[utoipa::path(
    post, path = "/api/events/{seq}/redact", tag = "admin", request_body = Option<Which>,
    params(
        ("seq" = i64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "as for every write; a redaction is the same when it is repeated without one"),
    ),
    responses(
        (status = 200, description = "nothing of the text is left here", body = Done),
        (status = 404, description = "there is no such event", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "it was pruned", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "it has no text", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`pending`: it is redacted, but a reader of the file holds old pages; to be called again", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn redact(
    State(door): State<Shared>,
    (caller, id): (Caller, RequestId),
    path: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(ADMIN)?;
    let seq = Seq::new(command::id(path)?).ok_or_else(Problem::not_found)?;
    let Which { both } = body::read(&headers, body).await?;
    let by = caller.name().map(str::to_owned);
    let asked = Redact { seq, by: by.clone(), both: both.unwrap_or(false) };
    let key = append::idempotency_key(&headers)?.map(str::to_owned);
    let (log, actor) = (door.log.clone(), caller.actor().to_owned());
    let redacted =
        blocking::unblock(move || log.redact_under(&asked, key.as_deref().map(|key| (&*actor, key)))).await;
    if matches!(redacted, Ok(_) | Err(Error::Pending)) {
        tracing::info!(request = %id, seq = seq.get(), by, pending = redacted.is_err(), "redacted");
    }
    Ok(command::answer(&Done { seq: Some(redacted?) }))
}
