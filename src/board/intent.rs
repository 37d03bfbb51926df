//! Intents: what somebody wants of the board, before it is decided which event comes of it.
//!
//! `plan` reads, may refuse, and gives the event; the log inserts and folds it; `settle` writes what belongs
//! to the entity but to no event (leases).

use rusqlite::Connection;
use serde::Serialize;

use crate::board::approval::{Request, Resolve};
use crate::board::question::{Answer, Ask, Cancel, Expire};
use crate::board::transient::{Clear, Set};
use crate::error::Refusal;
use crate::event::{Event, QuestionOutcome, QuestionResolved};

// What commands are called in the hashes of what was sent under a key.
const REQUEST: &str = "request";
const RESOLVE: &str = "resolve";
const ASK: &str = "ask";
const ANSWER: &str = "answer";
const CANCEL: &str = "cancel";
const EXPIRE: &str = "expire";
const SET: &str = "set";
const CLEAR: &str = "clear";

/// The name of the command that makes such an event, where one does.
pub(crate) const fn command(event: &Event) -> Option<&'static str> {
    match event {
        Event::ApprovalAdded(_) => Some(REQUEST),
        Event::ApprovalResolved(_) => Some(RESOLVE),
        Event::QuestionAdded(_) => Some(ASK),
        Event::QuestionResolved(QuestionResolved { outcome: QuestionOutcome::Answered, .. }) => Some(ANSWER),
        Event::QuestionResolved(QuestionResolved { outcome: QuestionOutcome::Cancelled, .. }) => Some(CANCEL),
        Event::QuestionResolved(_) => Some(EXPIRE),
        Event::TransientSet(_) => Some(SET),
        Event::TransientCleared(_) => Some(CLEAR),
        Event::Sent(_) | Event::Delivered(_) | Event::Custom(_) => None,
    }
}

/// What somebody wants of the board.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Intent {
    /// To have something approved.
    Request(Request),
    /// To decide it.
    Resolve(Resolve),
    /// To ask the operator.
    Ask(Ask),
    /// To answer.
    Answer(Answer),
    /// To take a question back.
    Cancel(Cancel),
    /// To close a question whose deadline has passed.
    Expire(Expire),
    /// To begin a lifecycle action, or to renew its lease.
    Set(Set),
    /// To end it.
    Clear(Clear),
}

impl Intent {
    /// The name of the command: a key that stands for one command stands for no other.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => REQUEST,
            Self::Resolve(_) => RESOLVE,
            Self::Ask(_) => ASK,
            Self::Answer(_) => ANSWER,
            Self::Cancel(_) => CANCEL,
            Self::Expire(_) => EXPIRE,
            Self::Set(_) => SET,
            Self::Clear(_) => CLEAR,
        }
    }

    /// Bytes of text that it holds: of every field, since none was checked yet.
    pub(crate) fn weight(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let list = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        128 + match self {
            Self::Request(Request { agent, approval_kind, sha_short, diff, description }) => {
                agent.len() + approval_kind.len() + length(sha_short) + length(diff) + length(description)
            }
            Self::Resolve(Resolve { note, by, .. }) => length(note) + length(by),
            Self::Ask(ask) => ask.asker.len() + ask.question.len() + list(&ask.options),
            Self::Answer(Answer { answer, selected, answerer, .. }) => {
                answerer.len() + length(answer) + list(selected.as_deref().unwrap_or(&[]))
            }
            Self::Cancel(cancel) => cancel.by.len(),
            Self::Set(set) => set.name.len(),
            Self::Clear(clear) => clear.name.len(),
            Self::Expire(_) => 0,
        }
    }

    /// Refuses what no board could grant.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Ask(ask) => ask.check(),
            Self::Answer(answer) => answer.check(),
            Self::Set(set) => set.check(),
            Self::Request(_) | Self::Resolve(_) | Self::Cancel(_) | Self::Expire(_) | Self::Clear(_) => {
                Ok(())
            }
        }
    }
}

/// The event that the intent comes to at this wall time, in unix seconds, if any; or why not.
pub(crate) fn plan(
    conn: &Connection,
    intent: &Intent,
    now: i64,
) -> rusqlite::Result<Result<Option<Event>, Refusal>> {
    match intent {
        Intent::Request(request) => request.plan(conn),
        Intent::Resolve(resolve) => resolve.plan(conn, now),
        Intent::Ask(ask) => ask.plan(conn, now),
        Intent::Answer(answer) => answer.plan(conn, now),
        Intent::Cancel(cancel) => cancel.plan(conn, now),
        Intent::Expire(expire) => expire.plan(conn, now),
        Intent::Set(set) => set.plan(conn, now),
        Intent::Clear(clear) => clear.plan(conn, now),
    }
}

/// Writes what no event carries.
pub(crate) fn settle(conn: &Connection, intent: &Intent) -> rusqlite::Result<()> {
    match intent {
        Intent::Set(set) => set.settle(conn),
        Intent::Clear(clear) => clear.settle(conn),
        Intent::Request(_)
        | Intent::Resolve(_)
        | Intent::Ask(_)
        | Intent::Answer(_)
        | Intent::Cancel(_)
        | Intent::Expire(_) => Ok(()),
    }
}

/// The id that an opening event got.
pub(crate) const fn minted_id(event: &Event) -> Option<i64> {
    match event {
        Event::ApprovalAdded(added) => Some(added.id),
        Event::QuestionAdded(added) => Some(added.id),
        Event::Sent(_)
        | Event::Delivered(_)
        | Event::ApprovalResolved(_)
        | Event::QuestionResolved(_)
        | Event::TransientSet(_)
        | Event::TransientCleared(_)
        | Event::Custom(_) => None,
    }
}
