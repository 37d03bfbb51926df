//! Questions: asked, answered or cancelled once, waited for, listed.

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
use crate::board::question::{Answer, Ask, Cancel};
use crate::board::{Intent, Which, question};
use crate::desk::wait;
use crate::event::OPERATOR;
use crate::http::approvals::AskedList;
use crate::http::body;
use crate::http::caller::{Caller, forbidden};
use crate::http::command::{self, AskedOne, Done, Opened};
use crate::http::params::{NoParams, Params};
use crate::http::peers::{self, Found};
use crate::http::problem::Problem;
use crate::http::{Shared, herald, json, pasted};
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
    let AskBody { asker, question, options, multi, deadline_at, ttl_seconds, to } =
        body::read(&headers, body).await?;
    let asker = caller.agent("asker", asker.as_deref())?;
    let ask = Ask { asker, question, options, multi, deadline_at, ttl_seconds };
    if let Some(to) = to.filter(|to| to != OPERATOR) {
        let (id, is_new) = peers::ask(&door, &caller, &headers, (ask, &to)).await?;
        return Ok(command::opened(id, None, is_new));
    }
    let appended = command::carry_out(&door, &caller, &headers, Intent::Ask(ask)).await?;
    let seq = appended.seqs.first().copied();
    Ok(command::opened(appended.id.unwrap_or_default(), seq, appended.new > 0))
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
    let asker = match peers::look(&door, id).await? {
        Found::Board { asker, .. } => asker,
        Found::Peers(asked) => {
            // What the body says of who answers has to be true of the one who does.
            if caller.name().is_some() {
                caller.agent_or_operator("answerer", answerer.as_deref())?;
            }
            let answer = Answer { id, answer, selected, answerer: String::new() };
            peers::answer(&door, &caller, &headers, (&asked, answer)).await?;
            return Ok(command::answer(&Done { seq: None }));
        }
    };
    let answerer = caller.answerer("answerer", answerer.as_deref())?;
    if answerer != OPERATOR && caller.name().is_some() {
        if asker == answerer {
            return Err(forbidden("nobody answers a question of their own"));
        }
        if !door.access.peer_answers {
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
    let asker = match peers::look(&door, id).await? {
        Found::Board { asker, .. } => asker,
        Found::Peers(asked) => {
            peers::cancel(&door, &caller, &headers, &asked).await?;
            return Ok(command::answer(&Done { seq: None }));
        }
    };
    let by = caller.answerer("by", by.as_deref())?;
    if by != OPERATOR && by != asker {
        return Err(Problem::not_found());
    }
    let intent = Intent::Cancel(Cancel { id, by });
    let appended = command::carry_out(&door, &caller, &headers, intent).await?;
    Ok(command::answer(&Done { seq: appended.seqs.first().copied() }))
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
    let (asker, is_closed) = match peers::look(&door, id).await? {
        Found::Board { asker, is_closed } => (asker, is_closed),
        Found::Peers(asked) if peers::sees(&caller, &asked) => {
            return Ok(json(peers::row(&door, &caller, (&asked, wait)).await?));
        }
        Found::Peers(_) => return Err(Problem::not_found()),
    };
    let is_offered = door.access.peer_answers && caller.is(Role::Agent);
    if !is_offered && !caller.sees(&asker) {
        return Err(Problem::not_found());
    }
    if !is_closed {
        let closed = wait::decided(&door.log, "question_resolved", id, herald::seat(&door), move |conn| {
            Ok(question::look(conn, id)?.map(|(_, is_closed)| is_closed))
        });
        command::patiently(&door, &caller, wait, closed).await?;
    }
    let read = move |conn: &Connection| {
        let mut out = Vec::new();
        at_one_moment(conn, |conn| question::view(conn, &Which::One(id), &mut out))?;
        Ok(out)
    };
    let rows = door.log.shared().readers.run(Lane::Point, read).await?;
    command::row(&rows)
}

/// Lists questions: the open ones, the oldest first, then the last closed ones, the newest first: 50, or
/// as many as make up 4 MiB. An agent sees
/// its own, those that were put to it, and under `--peer-answers` the open ones of others.
#[utoipa::path(
    get, path = "/api/questions", tag = "questions", params(AskedList),
    responses(
        (status = 200, description = "`{questions[]}`", body = Object),
        (status = 503, description = "too much of what was answered is not taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(State(door): State<Shared>, caller: Caller, params: Params) -> Result<Response, Problem> {
    caller.may_see_own()?;
    let asked = command::listed(params)?;
    let view = peers::listed(&door, &caller, &asked)?;
    let rows = door.log.shared().readers.run(Lane::Scan, view).await?;
    Ok(pasted([Bytes::from_static(b"{\"questions\":"), rows.into(), Bytes::from_static(b"}")]))
}
