//! Questions: asked, answered or cancelled once, waited for, listed.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use rusqlite::Connection;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::board::question::{Answer, Ask, Cancel};
use crate::board::{Intent, Which, question};
use crate::desk::wait;
use crate::event::OPERATOR;
use crate::http::approvals::AskedList;
use crate::http::body;
use crate::http::caller::{Caller, forbidden};
use crate::http::command::{self, Done, Opened};
use crate::http::params::{NoParams, Params};
use crate::http::problem::Problem;
use crate::http::{Door, Shared, json};
use crate::store::readers::{Lane, at_one_moment};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(ask, list))
        .routes(routes!(answer))
        .routes(routes!(cancel))
        .routes(routes!(one))
}

/// A question.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AskBody {
    /// Who asks: the credential's own name. Needed only where nobody is asked for one.
    asker: Option<String>,
    question: String,
    /// Answers to choose from; free text is always allowed too.
    #[serde(default)]
    options: Vec<String>,
    /// Whether several options may be chosen.
    #[serde(default)]
    multi: bool,
    /// When it expires, in unix seconds; never, by default.
    deadline_at: Option<i64>,
    /// When it expires, in seconds from now.
    ttl_seconds: Option<i64>,
    /// A peer, instead of the operator.
    to: Option<String>,
}

/// Asks the operator, or a peer.
#[utoipa::path(
    post, path = "/api/questions", tag = "questions", request_body = AskBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "repeated with the same key and content, it is asked once")),
    responses(
        (status = 201, description = "asked; `seq` is null for a question to a peer", body = Opened),
        (status = 200, description = "it was asked before under this key", body = Opened),
        (status = 403, description = "another's name, or no agent", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not of its shape", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "too much is open", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn ask(
    State(door): State<Shared>,
    caller: Caller,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(&[Role::Agent])?;
    let asked: AskBody = body::read(&headers, body).await?;
    let AskBody { asker, question, options, multi, deadline_at, ttl_seconds, to } = asked;
    let asker = caller.agent("asker", asker.as_deref())?;
    let ask = Ask { asker, question, options, multi, deadline_at, ttl_seconds };
    match to {
        Some(_peer) if _peer != OPERATOR => Err(Problem::not_found()),
        _ => {
            let appended = command::carry_out(&door, &caller, &headers, Intent::Ask(ask)).await?;
            let seq = appended.seqs.first().copied();
            Ok(command::opened(appended.id.unwrap_or_default(), seq, appended.new > 0))
        }
    }
}

/// Who asked a question for the operator, and whether it is closed.
async fn look(door: &Door, id: i64) -> Result<Option<(String, bool)>, Problem> {
    let look = move |conn: &Connection| at_one_moment(conn, |conn| question::look(conn, id));
    Ok(door.log.shared().readers.run(Lane::Point, look).await?)
}

/// An answer.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    /// In words.
    answer: Option<String>,
    /// Or by choosing among the options.
    selected: Option<Vec<String>>,
    /// Who answers: the operator, or the peer that was asked.
    answerer: Option<String>,
}

/// Answers a question, once.
#[utoipa::path(
    post, path = "/api/questions/{id}/answer", tag = "questions", request_body = AnswerBody,
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 200, description = "answered", body = Done),
        (status = 403, description = "not this one's to answer", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "there is no such question, or it is not this one's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "it is closed; `winner` is what closed it", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not of its shape", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn answer(
    State(door): State<Shared>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(&[Role::Operator, Role::Agent])?;
    let id = command::id(id)?;
    let AnswerBody { answer, selected, answerer } = body::read(&headers, body).await?;
    let answerer = caller.answerer("answerer", answerer.as_deref())?;
    let (asker, _) = look(&door, id).await?.ok_or_else(Problem::not_found)?;
    if answerer != OPERATOR && caller.name().is_some() {
        if asker == answerer {
            return Err(forbidden("nobody answers a question of their own"));
        }
        if !door.access.has_peer_answers() {
            return Err(Problem::not_found());
        }
    }
    let intent = Intent::Answer(Answer { id, answer, selected, answerer });
    let appended = command::carry_out(&door, &caller, &headers, intent).await?;
    Ok(command::answer(&Done { seq: appended.seqs.first().copied() }))
}

/// Nothing, or where nobody is asked for a credential, who cancels.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    /// Who takes it back: the asker, or the operator.
    by: Option<String>,
}

/// Takes a question back.
#[utoipa::path(
    post, path = "/api/questions/{id}/cancel", tag = "questions", request_body = Option<CancelBody>,
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header, description = "as for every write")),
    responses(
        (status = 200, description = "cancelled", body = Done),
        (status = 404, description = "there is no such question, or it is another's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "it is closed; `winner` is what closed it", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn cancel(
    State(door): State<Shared>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    _: NoParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.needs(&[Role::Operator, Role::Agent])?;
    let id = command::id(id)?;
    let CancelBody { by } = body::read(&headers, body).await?;
    let by = caller.answerer("by", by.as_deref())?;
    let (asker, _) = look(&door, id).await?.ok_or_else(Problem::not_found)?;
    if by != OPERATOR && by != asker {
        return Err(Problem::not_found());
    }
    let intent = Intent::Cancel(Cancel { id, by });
    let appended = command::carry_out(&door, &caller, &headers, intent).await?;
    Ok(command::answer(&Done { seq: appended.seqs.first().copied() }))
}

/// The query of one item.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
struct AskedOne {
    /// Seconds to wait for the end: 0 to 60.
    wait: Option<String>,
}

/// Reads a question, waiting for its end.
#[utoipa::path(
    get, path = "/api/questions/{id}", tag = "questions", params(("id" = i64, Path), AskedOne),
    responses(
        (status = 200, description = "the question; `outcome` is `open` until it is closed", body = Object),
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
    let (asker, is_closed) = look(&door, id).await?.ok_or_else(Problem::not_found)?;
    let is_offered = door.access.has_peer_answers() && caller.is(Role::Agent);
    if !is_offered && !caller.sees(&asker) {
        return Err(Problem::not_found());
    }
    if !is_closed {
        let closed = wait::decided(&door.log, "question_resolved", id, move |conn| {
            Ok(question::look(conn, id)?.map(|(_, is_closed)| is_closed))
        });
        command::patiently(&door, &caller, wait, closed).await?;
    }
    let read = move |conn: &Connection| view(conn, &[Which::One(id)]);
    let rows = door.log.shared().readers.run(Lane::Point, read).await?;
    match rows.strip_prefix(b"[").and_then(|rows| rows.strip_suffix(b"]")) {
        Some(row) if !row.is_empty() => Ok(json(row.to_vec())),
        _ => Err(Problem::not_found()),
    }
}

/// Lists questions: the open ones, the oldest first, then the last 50 closed, the newest first.
#[utoipa::path(
    get, path = "/api/questions", tag = "questions", params(AskedList),
    responses((status = 200, description = "`{questions[]}`", body = Object))
)]
async fn list(State(door): State<Shared>, caller: Caller, params: Params) -> Result<Response, Problem> {
    caller.may_see_own()?;
    let asked = command::listed(params)?;
    let owner = caller.lists(asked.mine)?;
    let which = Which::listed(asked.open, owner);
    let rows = door.log.shared().readers.run(Lane::Point, move |conn| view(conn, &which)).await?;
    Ok(json([b"{\"questions\":", rows.as_slice(), b"}"].concat()))
}

fn view(conn: &Connection, which: &[Which]) -> Result<Vec<u8>, crate::Error> {
    at_one_moment(conn, |conn| {
        let mut out = Vec::new();
        for which in which {
            crate::board::join(&mut out, |out| question::view(conn, which, out))?;
        }
        Ok(out)
    })
}
