//! Questions between peers: asked, answered once, waited for, and never on the log.

use crate::board::question::{Answer, Ask, Cancel};
use crate::broker::peer::{self, Which, Whose};
use crate::desk::decisions::one;
use crate::desk::{Desk, Opened, QuestionRow};
use crate::error::Error;
use crate::log::authority::Receipt;

impl Desk {
    /// Asks another agent; the receipt tells the question's id. Does not block.
    ///
    /// The question is a message in the inbox of `to`, with its id in `question_id`. It has no seq: no event
    /// tells of it. The receipt ends with [`Refusal::Invalid`](crate::Refusal::Invalid) where `to` is the asker
    /// or the operator, and with [`Refusal::TooManyOpen`](crate::Refusal::TooManyOpen) where the asker has
    /// 1,000 such questions open.
    pub fn ask_peer(&self, ask: Ask, to: &str) -> Receipt<Opened> {
        let asked = self.broker().ask_peer(ask, to, None);
        Receipt::of(async move { asked.await.map(|once| Opened { id: once.answer, seq: None }) })
    }

    /// Answers a question of another agent's, which also acknowledges its message. Does not block. Until it
    /// is closed an answer wins, even past the deadline.
    ///
    /// The receipt ends with [`Refusal::Closed`](crate::Refusal::Closed), which holds the question as it
    /// stands, where it is closed; with [`Refusal::Forbidden`](crate::Refusal::Forbidden) where the asker
    /// answers; with [`Refusal::Unknown`](crate::Refusal::Unknown) for anybody who was not asked.
    pub fn answer_peer(&self, answer: Answer) -> Receipt<()> {
        let answered = self.broker().answer_peer(answer, None);
        Receipt::of(async move { answered.await.map(drop) })
    }

    /// Takes a question to a peer back, which also takes its message out of the inbox. Does not block. Only
    /// the asker can; refused as [`Desk::answer_peer`].
    pub fn cancel_peer(&self, cancel: &Cancel) -> Receipt<()> {
        let cancelled = self.broker().cancel_peer(cancel.id, &cancel.by, None);
        Receipt::of(async move { cancelled.await.map(drop) })
    }

    /// Waits until a question to a peer is closed, also across restarts of whoever answers. Cancel-safe;
    /// blocks for microseconds at the end.
    ///
    /// # Errors
    /// [`Refusal::Unknown`](crate::Refusal::Unknown), [`Error::Closed`] when the log is closed,
    /// [`Error::Storage`].
    pub async fn peer_outcome(&self, id: i64) -> Result<QuestionRow, Error> {
        self.broker().peer_outcome(id).await?;
        self.peer_question(id)
    }

    /// Reads a question to a peer. Blocks for microseconds.
    ///
    /// # Errors
    /// [`Refusal::Unknown`](crate::Refusal::Unknown), [`Error::Storage`].
    pub fn peer_question(&self, id: i64) -> Result<QuestionRow, Error> {
        let rows = self.rows(|conn, out| peer::view(conn, &Which::One(id), out))?;
        one(rows, || format!("question {id}"))
    }

    /// The open questions that were put to an agent, the oldest first, 1,000 at most: what it goes on with
    /// after a crash. Blocks for as long as they take to read.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn questions_put_to(&self, name: &str) -> Result<Vec<QuestionRow>, Error> {
        let which = Which::Open(Whose::PutTo(name.into()));
        self.rows(|conn, out| peer::view(conn, &which, out))
    }
}
