//! Requests for approval, and questions: asked, decided once, waited for.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::board::approval::{Request, Resolve};
use crate::board::question::{Answer, Ask, Cancel};
use crate::board::{Intent, Which, approval, question};
use crate::desk::{Desk, seq, wait};
use crate::error::{Error, Refusal};
use crate::event::QuestionOutcome;
use crate::log::authority::{Appended, Receipt};
use crate::seq::Seq;
use crate::store::reading;

/// What was asked got this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The id that it is decided by.
    pub id: i64,
    /// Its event's seq; `None` for a question to a peer, which is not on the log.
    pub seq: Option<Seq>,
}

impl Opened {
    fn of(appended: Appended) -> Self {
        Self { id: appended.id.unwrap_or_default(), seq: seq(appended) }
    }
}

/// An approval as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ApprovalRow {
    /// Its id.
    pub id: i64,
    /// Who asked.
    pub agent: String,
    /// What for.
    pub approval_kind: String,
    /// The commit, shortened.
    pub sha_short: Option<String>,
    /// The raw unified diff.
    pub diff: Option<String>,
    /// The request in words.
    pub description: Option<String>,
    /// `pending`, `approved`, `denied` or `failed`.
    pub status: String,
    /// When it was decided, in unix seconds.
    pub resolved_at: Option<i64>,
    /// Why.
    pub note: Option<String>,
    /// Who decided.
    pub by: Option<String>,
}

/// A question as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct QuestionRow {
    /// Its id.
    pub id: i64,
    /// Who asked.
    pub asker: String,
    /// The question.
    pub question: String,
    /// Answers to choose from.
    pub options: Vec<String>,
    /// Whether several may be chosen.
    pub multi: bool,
    /// When it was asked, in unix seconds.
    pub asked_at: i64,
    /// When it expires, in unix seconds.
    pub deadline_at: Option<i64>,
    /// `open`, `answered`, `cancelled` or `expired`.
    pub outcome: String,
    /// The answer; `[cancelled]` or `[expired]` where nobody answered.
    pub answer: Option<String>,
    /// Who answered.
    pub answerer: Option<String>,
    /// When, in unix seconds.
    pub answered_at: Option<i64>,
    /// The options that were chosen.
    pub selected: Option<Vec<String>>,
}

impl QuestionRow {
    /// Whether somebody answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.outcome == QuestionOutcome::Answered.as_str()
    }
}

impl Desk {
    /// Requests an approval; the receipt tells its id. Does not block.
    ///
    /// The receipt ends with [`Refusal::TooManyOpen`] where the agent, or the board, has as much open as there may
    /// be, and with [`Refusal::Invalid`] for a name or a word that is none.
    pub fn request(&self, request: Request) -> Receipt<Opened> {
        self.submit(Intent::Request(request), Opened::of)
    }

    /// Decides an approval. Does not block.
    ///
    /// The receipt ends with [`Refusal::Conflict`], which holds the event that won, where it is decided
    /// already, and with [`Refusal::Unknown`] where there is none of this id.
    pub fn resolve(&self, resolve: Resolve) -> Receipt<Seq> {
        self.submit(Intent::Resolve(resolve), |appended| seq(appended).unwrap_or_default())
    }

    /// Waits until an approval is decided, across restarts of whoever decides. Cancel-safe; blocks for
    /// microseconds at each look.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Error::Closed`] when the log is closed, [`Error::Storage`].
    pub async fn decision(&self, id: i64) -> Result<ApprovalRow, Error> {
        wait::decided(
            &self.log,
            "approval_resolved",
            id,
            |feed, _| feed,
            move |conn| Ok(approval::look(conn, id)?.map(|(_, is_decided)| is_decided)),
        )
        .await?;
        self.approval(id)
    }

    /// Reads an approval. Blocks for microseconds.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Error::Storage`].
    pub fn approval(&self, id: i64) -> Result<ApprovalRow, Error> {
        let rows = self.rows(|conn, out| approval::view(conn, &Which::One(id), out))?;
        one(rows, || format!("approval {id}"))
    }

    /// The open requests of an agent, or of all: what it goes on with after a crash. Blocks for as long as
    /// they take to read.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn open_approvals(&self, agent: Option<&str>) -> Result<Vec<ApprovalRow>, Error> {
        let which = Which::Open(agent.map(Into::into));
        self.rows(|conn, out| approval::view(conn, &which, out))
    }

    /// Asks the operator; the receipt tells the question's id. Does not block. Refused as [`Desk::request`], and
    /// where there is no question or more options than 64.
    pub fn ask(&self, ask: Ask) -> Receipt<Opened> {
        self.submit(Intent::Ask(ask), Opened::of)
    }

    /// Answers a question for the operator. Does not block. Until its end is on the log an answer wins, even
    /// past the deadline.
    ///
    /// The receipt ends with [`Refusal::Conflict`], which holds the event that won, where it is closed, with
    /// [`Refusal::Forbidden`] where the asker answers, with [`Refusal::Unknown`] where there is none of this id, and
    /// with [`Refusal::Invalid`] where what is selected is no option of it or nothing is answered.
    pub fn answer(&self, answer: Answer) -> Receipt<Seq> {
        self.submit(Intent::Answer(answer), |appended| seq(appended).unwrap_or_default())
    }

    /// Takes a question back. Does not block; refused as [`Desk::answer`].
    pub fn cancel(&self, cancel: Cancel) -> Receipt<Seq> {
        self.submit(Intent::Cancel(cancel), |appended| seq(appended).unwrap_or_default())
    }

    /// Waits until a question for the operator is answered, cancelled or expired. Cancel-safe; blocks for
    /// microseconds at each look.
    ///
    /// # Errors
    /// As [`Desk::decision`].
    pub async fn outcome(&self, id: i64) -> Result<QuestionRow, Error> {
        wait::decided(
            &self.log,
            "question_resolved",
            id,
            |feed, _| feed,
            move |conn| Ok(question::look(conn, id)?.map(|(_, is_closed)| is_closed)),
        )
        .await?;
        self.question(id)
    }

    /// Reads a question for the operator. Blocks for microseconds.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Error::Storage`].
    pub fn question(&self, id: i64) -> Result<QuestionRow, Error> {
        let rows = self.rows(|conn, out| question::view(conn, &Which::One(id), out))?;
        one(rows, || format!("question {id}"))
    }

    /// The open questions of an agent for the operator, or of all.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn open_questions(&self, asker: Option<&str>) -> Result<Vec<QuestionRow>, Error> {
        let which = Which::Open(asker.map(Into::into));
        self.rows(|conn, out| question::view(conn, &which, out))
    }

    pub(super) fn rows<T: DeserializeOwned>(
        &self,
        view: impl FnOnce(&rusqlite::Connection, &mut Vec<u8>) -> rusqlite::Result<()>,
    ) -> Result<Vec<T>, Error> {
        let mut out = Vec::new();
        let readers = self.log.readers();
        readers.with(|conn| view(conn, &mut out).map_err(|error| reading(&error)))?;
        serde_json::from_slice(&out).map_err(|error| Error::Storage(error.to_string().into()))
    }
}

pub(super) fn one<T>(rows: Vec<T>, what: impl FnOnce() -> String) -> Result<T, Error> {
    rows.into_iter().next().ok_or_else(|| Refusal::Unknown(what().into()).into())
}
