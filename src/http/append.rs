//! `POST /api/events`: one event, an array, or lines.

use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::access::actor::{as_admin, as_agent};
use crate::draft::Draft;
use crate::error::Refusal;
use crate::http::caller::Caller;
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::http::{Shared, json};
use crate::limits::{BATCH_EVENTS_MAX, BODY_BYTES_MAX, BODY_TIMEOUT, COMMAND_TIMEOUT};
use crate::log::authority::{Appended, Command};
use crate::seq::Seq;
use crate::wire;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(append))
}

/// The answer to one event.
#[derive(Serialize, utoipa::ToSchema)]
#[allow(dead_code, reason = "the answer is written by hand; this is its documentation")]
struct One {
    seq: i64,
}

/// The answer to several events.
#[derive(Serialize, utoipa::ToSchema)]
#[allow(dead_code, reason = "the answer is written by hand; this is its documentation")]
struct Many {
    first_seq: i64,
    last_seq: i64,
    seqs: Vec<i64>,
}

/// Appends events: all of them or none, in order, in one transaction.
///
/// The body is one object, an array, or (as `application/x-ndjson`) an object a line; 1 to 1000 events,
/// 1 MiB. An event of a batch may carry a `key` of its own instead of the header.
#[utoipa::path(
    post, path = "/api/events", tag = "events",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeated with the same key and content within 90 days, the events are stored once; 1 to 256 visible ASCII characters, each credential's own")),
    request_body(content((Object = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 201, description = "stored; an array and lines are answered with `Many`", body = One),
        (status = 200, description = "all of it was stored before", body = Many),
        (status = 400, description = "not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "an agent appends kinds that are not fixed, in its own name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "what is resolved was never there", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "what is resolved is closed; `winner` is the event that won", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "another content type", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not of its kind's shape; or the key stands for other content", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "too much is open; nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "the outcome is unknown: repeat with the same key", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "try later; nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "no space; nothing was stored", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn append(
    State(door): State<Shared>,
    caller: Caller,
    _: NoParams,
    request: Request,
) -> Result<Response, Problem> {
    caller.needs(&[Role::Admin, Role::Agent])?;
    let (parts, body) = request.into_parts();
    let form = Form::of(&parts.headers)?;
    let key = idempotency_key(&parts.headers)?;
    let bytes = read(&parts.headers, body).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::body_broken())?;
    let (command, is_one) = command(text, form, key, &caller)?;
    let command = command.actor(caller.actor()).deadline(Instant::now() + COMMAND_TIMEOUT);
    let (appended, command) = door.log.submit(command).soon().await;
    let answer = answer(&appended?, is_one);
    if !is_one {
        // A thousand texts are let go of after the answer: this task goes first.
        tokio::spawn(async move { drop(command) });
    }
    Ok(answer)
}

/// How the events are written in the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let value =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Ok(Self::Json)
        } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
            Ok(Self::Lines)
        } else {
            Err(Problem::media_type())
        }
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    match (keys.next().map(axum::http::HeaderValue::to_str), keys.next()) {
        (None, _) => Ok(None),
        (Some(Ok(key)), None) if crate::draft::check_key(key).is_ok() => Ok(Some(key)),
        _ => Err(Problem::header("Idempotency-Key needs 1 to 256 visible ASCII characters, once")),
    }
}

/// Reads a body within the limits on its size and its time.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(Problem::body_too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // A body without a length is cut off at the limit; a broken one has another cause inside.
        Ok(Err(error))
            if std::error::Error::source(&error)
                .is_some_and(|cause| cause.to_string().contains("length limit")) =>
        {
            Err(Problem::body_too_large())
        }
        Ok(Err(_)) => Err(Problem::body_broken()),
        Err(_) => Err(Problem::body_too_slow()),
    }
}

/// Reads the events of a body; says whether it was one object alone.
pub(super) fn command(
    text: &str,
    form: Form,
    key: Option<&str>,
    caller: &Caller,
) -> Result<(Command, bool), Problem> {
    let is_array = text.trim_start().starts_with('[');
    if form == Form::Json && !is_array {
        let draft = draft(text, caller)?;
        return match (key, &draft.key) {
            (Some(_), Some(_)) => Err(both_keys()),
            (Some(key), None) => Ok((Command::new(vec![draft.key(key)]), true)),
            (None, _) => Ok((Command::new(vec![draft]), true)),
        };
    }
    let drafts = match form {
        Form::Json => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| Refusal::json(&error))?;
            drafts(items.into_iter().map(RawValue::get), caller)?
        }
        Form::Lines => drafts(text.lines().filter(|line| !is_blank(line)), caller)?,
    };
    if key.is_some() && drafts.iter().any(|draft| draft.key.is_some()) {
        return Err(both_keys());
    }
    let command = Command::new(drafts);
    Ok((if let Some(key) = key { command.key(key) } else { command }, false))
}

/// Whether a line holds nothing but what JSON calls white space.
fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// One event, in the name of the one who appends it where a credential says who that is.
fn draft(text: &str, caller: &Caller) -> Result<Draft, Refusal> {
    let draft = Draft::from_json(text)?;
    match caller.name() {
        Some(name) if caller.is(Role::Admin) => Ok(as_admin(draft, name)),
        Some(name) => as_agent(draft, name),
        None => Ok(draft),
    }
}

fn drafts<'a>(texts: impl Iterator<Item = &'a str>, caller: &Caller) -> Result<Vec<Draft>, Problem> {
    // One more than allowed is enough to know that there are too many.
    let read = |(index, text)| draft(text, caller).map_err(|refusal: Refusal| refusal.at(index));
    Ok(texts.take(BATCH_EVENTS_MAX + 1).enumerate().map(read).collect::<Result<_, _>>()?)
}

fn both_keys() -> Problem {
    Problem::header("an idempotency key is given in the header and in an event")
}

fn answer(appended: &Appended, is_one: bool) -> Response {
    let mut out = Vec::with_capacity(40 + appended.seqs.len() * 8);
    let first = appended.seqs.first().copied().unwrap_or(Seq::ZERO);
    if is_one {
        out.extend_from_slice(b"{\"seq\":");
        wire::integer(&mut out, first.get());
        out.push(b'}');
    } else {
        let last = appended.seqs.last().copied().unwrap_or(Seq::ZERO);
        out.extend_from_slice(b"{\"first_seq\":");
        wire::integer(&mut out, first.get());
        out.extend_from_slice(b",\"last_seq\":");
        wire::integer(&mut out, last.get());
        out.extend_from_slice(b",\"seqs\":");
        for (index, seq) in appended.seqs.iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            wire::integer(&mut out, seq.get());
        }
        out.extend_from_slice(b"]}");
    }
    let mut response = json(out);
    *response.status_mut() = if appended.new == 0 { StatusCode::OK } else { StatusCode::CREATED };
    response
}
