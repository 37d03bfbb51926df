//! What somebody wants of a question: to ask, answer, cancel or expire it.

use rusqlite::Connection;
use serde::Serialize;

use crate::board::question::check_choice;
use crate::board::question::find;
use crate::board::{is_too_large, lost, next_id, winner};
use crate::error::Refusal;
use crate::event::{Event, QuestionAdded, QuestionOutcome, QuestionResolved, TTL_WATCHDOG};
use crate::limits::{INTEGER_MAX, OPTIONS_MAX};

type Planned = rusqlite::Result<Result<Option<Event>, Refusal>>;

/// A question for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ask {
    /// Who asks.
    pub asker: String,
    /// The question.
    pub question: String,
    /// Answers to choose from; free text is always allowed too.
    pub options: Vec<String>,
    /// Whether several options may be chosen.
    pub multi: bool,
    /// When it expires, in unix seconds; never, by default.
    pub deadline_at: Option<i64>,
    /// When it expires, in seconds from the asking; instead of `deadline_at`.
    pub ttl_seconds: Option<i64>,
}

impl Ask {
    /// Refuses what has no sensible answer.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.question.trim().is_empty() {
            return Err(Refusal::invalid("question", "is empty"));
        }
        if self.options.len() > OPTIONS_MAX {
            return Err(Refusal::invalid("options", format!("has more than {OPTIONS_MAX} options")));
        }
        if self.options.iter().any(String::is_empty) || has_one_twice(&self.options) {
            return Err(Refusal::invalid("options", "has an empty option, or one twice"));
        }
        match (self.deadline_at, self.ttl_seconds) {
            (Some(_), Some(_)) => Err(Refusal::invalid("ttl_seconds", "is given beside `deadline_at`")),
            (None, Some(ttl)) if !(1..=INTEGER_MAX / 2_000).contains(&ttl) => {
                Err(Refusal::invalid("ttl_seconds", "is not a number of seconds from 1 on"))
            }
            _ => Ok(()),
        }
    }

    /// When it expires, for one that is asked now; refuses a deadline that has passed.
    pub(crate) fn deadline(&self, now: i64) -> Result<Option<i64>, Refusal> {
        let deadline = self.deadline_at.or_else(|| self.ttl_seconds.map(|ttl| now.saturating_add(ttl)));
        match deadline {
            Some(at) if at <= now => Err(Refusal::invalid("deadline_at", "has passed")),
            other => Ok(other),
        }
    }

    pub(in crate::board) fn plan(&self, conn: &Connection, now: i64) -> Planned {
        let deadline_at = match self.deadline(now) {
            Ok(deadline_at) => deadline_at,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(Ok(Some(Event::QuestionAdded(QuestionAdded {
            id: next_id(conn, "question_id")?,
            asker: self.asker.clone(),
            question: self.question.clone(),
            options: self.options.clone(),
            multi: self.multi,
            asked_at: now,
            deadline_at,
        }))))
    }
}

fn has_one_twice(texts: &[String]) -> bool {
    let mut seen = std::collections::HashSet::new();
    !texts.iter().all(|text| seen.insert(text))
}

/// An answer, in words or by choosing options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Which question.
    pub id: i64,
    /// The answer in words.
    pub answer: Option<String>,
    /// The options that are chosen, instead of words.
    pub selected: Option<Vec<String>>,
    /// Who answers.
    pub answerer: String,
}

impl Answer {
    /// Refuses an answer that says nothing, or two things, or one thing twice.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match (&self.answer, &self.selected) {
            (Some(_), Some(_)) => Err(Refusal::invalid("selected", "is given beside `answer`")),
            (None, None) => Err(Refusal::invalid("answer", "is missing")),
            (Some(answer), None) if answer.is_empty() => Err(Refusal::invalid("answer", "is empty")),
            (None, Some(selected)) if selected.is_empty() => Err(Refusal::invalid("selected", "is empty")),
            (None, Some(selected)) if has_one_twice(selected) => {
                Err(Refusal::invalid("selected", "has an option twice"))
            }
            _ => Ok(()),
        }
    }

    /// The answer as text: chosen options stand on lines of their own.
    pub(crate) fn text(&self) -> String {
        self.answer.clone().unwrap_or_else(|| self.selected.as_deref().unwrap_or_default().join("\n"))
    }

    pub(in crate::board) fn plan(&self, conn: &Connection, now: i64) -> Planned {
        let asked = match open(conn, self.id)? {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if asked.asker == self.answerer {
            return Ok(Err(Refusal::Forbidden("nobody answers a question of their own".into())));
        }
        // Also where its text was redacted since: who still knows an option must not bring it back.
        if let Some(selected) = &self.selected
            && let Err(refusal) = check_choice(selected, &asked.options, asked.multi)
        {
            return Ok(Err(refusal));
        }
        let mut resolved = QuestionResolved {
            id: self.id,
            answer: self.text(),
            answerer: self.answerer.clone(),
            answered_at: now,
            cancelled: false,
            outcome: QuestionOutcome::Answered,
            selected: self.selected.clone(),
        };
        // It says the same a second time: whatever was offered can be chosen.
        if is_too_large(&resolved) {
            resolved.selected = None;
        }
        Ok(Ok(Some(Event::QuestionResolved(resolved))))
    }
}

/// A question taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cancel {
    /// Which question.
    pub id: i64,
    /// Who takes it back.
    pub by: String,
}

impl Cancel {
    pub(in crate::board) fn plan(&self, conn: &Connection, now: i64) -> Planned {
        Ok(open(conn, self.id)?
            .map(|_| Some(closed(self.id, (&self.by, now), "[cancelled]", QuestionOutcome::Cancelled))))
    }
}

/// A question closed because its deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Expire {
    /// Which question.
    pub id: i64,
}

impl Expire {
    /// Nothing, where somebody was faster or it is not due.
    pub(in crate::board) fn plan(self, conn: &Connection, now: i64) -> Planned {
        let is_due = open(conn, self.id)?.is_ok_and(|asked| asked.deadline_at.is_some_and(|at| at <= now));
        let event =
            is_due.then(|| closed(self.id, (TTL_WATCHDOG, now), "[expired]", QuestionOutcome::Expired));
        Ok(Ok(event))
    }
}

fn closed(id: i64, (answerer, now): (&str, i64), answer: &str, outcome: QuestionOutcome) -> Event {
    Event::QuestionResolved(QuestionResolved {
        id,
        answer: answer.into(),
        answerer: answerer.into(),
        answered_at: now,
        cancelled: outcome == QuestionOutcome::Cancelled,
        outcome,
        selected: None,
    })
}

/// The opening event of a question that is open.
fn open(conn: &Connection, id: i64) -> rusqlite::Result<Result<QuestionAdded, Refusal>> {
    let what = format!("question {id}");
    let Some(found) = find(conn, id)? else { return Ok(Err(Refusal::Unknown(what.into()))) };
    if let Some(seq) = found.resolved_seq {
        return lost(conn, &format!("{what} is closed already"), seq).map(Err);
    }
    match winner(conn, found.added_seq)?.and_then(|row| row.event().ok()) {
        Some(Event::QuestionAdded(asked)) => Ok(Ok(asked)),
        _ => Ok(Err(Refusal::Unknown(what.into()))),
    }
}
