//! The payloads of the fixed kinds: their fields in the order of the wire.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Refusal;
use crate::event::TTL_WATCHDOG;
use crate::event::shape::{id, integer, name, word};

/// What every payload type says of itself.
pub(crate) trait Payload: Serialize + for<'de> Deserialize<'de> {
    /// The fields in the order of the wire.
    const FIELDS: &'static [&'static str];

    /// Refuses values that the type alone lets through.
    fn check(&self) -> Result<(), Refusal>;

    /// The names that the event concerns.
    fn names(&self) -> Vec<&str>;

    /// The JSON text of a field that the writer of the event left out.
    fn absent(&self, _field: &str) -> &'static str {
        "null"
    }
}

/// A closed list of words. On the wire each is a string and nothing else: derived, it would be read from
/// `{"approved":null}` too, and an event keeps the text that it was read from.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match String::deserialize(deserializer)?.as_str() {
                    $($word => Ok(Self::$variant),)*
                    other => Err(D::Error::unknown_variant(other, &[$($word),*])),
                }
            }
        }
    };
}

/// A message between agents, or between an agent and the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who sent it.
    pub from: String,
    /// Who it is for.
    pub to: String,
    /// What it says.
    pub body: String,
    /// When it happened, in unix seconds.
    pub at: i64,
    /// The broker's id of the message.
    pub message_id: Option<i64>,
}

impl Payload for Message {
    const FIELDS: &'static [&'static str] = &["from", "to", "body", "at", "message_id"];

    fn check(&self) -> Result<(), Refusal> {
        name("from", &self.from)?;
        name("to", &self.to)?;
        integer("at", self.at)?;
        self.message_id.map_or(Ok(()), |number| id("message_id", number))
    }

    fn names(&self) -> Vec<&str> {
        vec![&self.from, &self.to]
    }
}

/// An agent's request for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAdded {
    /// Its id, never used before.
    pub id: i64,
    /// Who asks.
    pub agent: String,
    /// What for: `apply_commit`, `spawn`, or another word.
    pub approval_kind: String,
    /// The commit, shortened.
    pub sha_short: Option<String>,
    /// The raw unified diff, never cut.
    pub diff: Option<String>,
    /// The request in words.
    pub description: Option<String>,
}

impl Payload for ApprovalAdded {
    const FIELDS: &'static [&'static str] =
        &["id", "agent", "approval_kind", "sha_short", "diff", "description"];

    fn check(&self) -> Result<(), Refusal> {
        id("id", self.id)?;
        name("agent", &self.agent)?;
        word("approval_kind", &self.approval_kind)
    }

    fn names(&self) -> Vec<&str> {
        vec![&self.agent]
    }
}

words! {
    /// How an approval ended.
    ApprovalStatus {
        /// Granted.
        Approved = "approved",
        /// Refused.
        Denied = "denied",
        /// Granted, but what was asked could not be carried out.
        Failed = "failed",
    }
}

/// The decision of an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalResolved {
    /// The approval's id.
    pub id: i64,
    /// Who had asked.
    pub agent: String,
    /// What for.
    pub approval_kind: String,
    /// The commit, shortened.
    pub sha_short: Option<String>,
    /// The decision.
    pub status: ApprovalStatus,
    /// When, in unix seconds.
    pub resolved_at: i64,
    /// Why.
    pub note: Option<String>,
    /// The request in words.
    pub description: Option<String>,
    /// Who decided.
    pub by: Option<String>,
}

impl Payload for ApprovalResolved {
    const FIELDS: &'static [&'static str] =
        &["id", "agent", "approval_kind", "sha_short", "status", "resolved_at", "note", "description", "by"];

    fn check(&self) -> Result<(), Refusal> {
        id("id", self.id)?;
        name("agent", &self.agent)?;
        word("approval_kind", &self.approval_kind)?;
        integer("resolved_at", self.resolved_at)?;
        self.by.as_deref().map_or(Ok(()), |by| name("by", by))
    }

    fn names(&self) -> Vec<&str> {
        let mut names = vec![self.agent.as_str()];
        names.extend(self.by.as_deref());
        names
    }
}

/// A question for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionAdded {
    /// Its id, never used before.
    pub id: i64,
    /// Who asks.
    pub asker: String,
    /// The question.
    pub question: String,
    /// Answers to choose from; free text is always allowed too.
    pub options: Vec<String>,
    /// Whether several options may be chosen.
    pub multi: bool,
    /// When it was asked, in unix seconds.
    pub asked_at: i64,
    /// When it expires, in unix seconds.
    pub deadline_at: Option<i64>,
}

impl Payload for QuestionAdded {
    const FIELDS: &'static [&'static str] =
        &["id", "asker", "question", "options", "multi", "asked_at", "deadline_at"];

    fn check(&self) -> Result<(), Refusal> {
        id("id", self.id)?;
        name("asker", &self.asker)?;
        integer("asked_at", self.asked_at)?;
        self.deadline_at.map_or(Ok(()), |at| integer("deadline_at", at))
    }

    fn names(&self) -> Vec<&str> {
        vec![&self.asker]
    }
}

words! {
    /// How a question ended.
    QuestionOutcome {
        /// Somebody answered.
        Answered = "answered",
        /// It was taken back.
        Cancelled = "cancelled",
        /// Its deadline passed.
        Expired = "expired",
    }
}

impl QuestionOutcome {
    const fn json(self) -> &'static str {
        match self {
            Self::Answered => "\"answered\"",
            Self::Cancelled => "\"cancelled\"",
            Self::Expired => "\"expired\"",
        }
    }
}

/// The end of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "QuestionResolvedOnWire")]
pub struct QuestionResolved {
    /// The question's id.
    pub id: i64,
    /// The answer; `[expired]` or `[cancelled]` where nobody answered.
    pub answer: String,
    /// Who answered; `ttl-watchdog` where the deadline passed.
    pub answerer: String,
    /// When, in unix seconds.
    pub answered_at: i64,
    /// Whether it was taken back.
    pub cancelled: bool,
    /// How it ended. Derived from the other fields when a writer leaves it out.
    pub outcome: QuestionOutcome,
    /// The options that were chosen.
    pub selected: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionResolvedOnWire {
    id: i64,
    answer: String,
    answerer: String,
    answered_at: i64,
    cancelled: bool,
    outcome: Option<QuestionOutcome>,
    selected: Option<Vec<String>>,
}

impl From<QuestionResolvedOnWire> for QuestionResolved {
    fn from(wire: QuestionResolvedOnWire) -> Self {
        let derived = if wire.cancelled {
            QuestionOutcome::Cancelled
        } else if wire.answerer == TTL_WATCHDOG {
            QuestionOutcome::Expired
        } else {
            QuestionOutcome::Answered
        };
        Self {
            id: wire.id,
            answer: wire.answer,
            answerer: wire.answerer,
            answered_at: wire.answered_at,
            cancelled: wire.cancelled,
            outcome: wire.outcome.unwrap_or(derived),
            selected: wire.selected,
        }
    }
}

impl Payload for QuestionResolved {
    const FIELDS: &'static [&'static str] =
        &["id", "answer", "answerer", "answered_at", "cancelled", "outcome", "selected"];

    fn check(&self) -> Result<(), Refusal> {
        id("id", self.id)?;
        name("answerer", &self.answerer)?;
        integer("answered_at", self.answered_at)?;
        if self.cancelled != (self.outcome == QuestionOutcome::Cancelled) {
            return Err(Refusal::invalid("cancelled", "must agree with `outcome`"));
        }
        if (self.answerer == TTL_WATCHDOG) != (self.outcome == QuestionOutcome::Expired) {
            return Err(Refusal::invalid(
                "answerer",
                "is `ttl-watchdog` if the outcome is `expired`, and only then",
            ));
        }
        let demanded = match self.outcome {
            QuestionOutcome::Answered => return Ok(()),
            QuestionOutcome::Cancelled => "[cancelled]",
            QuestionOutcome::Expired => "[expired]",
        };
        if self.answer == demanded && self.selected.is_none() {
            Ok(())
        } else {
            Err(Refusal::invalid("answer", format!("must be {demanded:?} with nothing selected")))
        }
    }

    fn names(&self) -> Vec<&str> {
        vec![&self.answerer]
    }

    fn absent(&self, field: &str) -> &'static str {
        if field == "outcome" { self.outcome.json() } else { "null" }
    }
}

words! {
    /// A lifecycle action in progress.
    TransientKind {
        /// Being created.
        Spawning = "spawning",
        /// Coming up.
        Starting = "starting",
        /// Going down.
        Stopping = "stopping",
        /// Going down to come up again.
        Restarting = "restarting",
        /// Being built anew.
        Rebuilding = "rebuilding",
        /// Being removed.
        Destroying = "destroying",
    }
}

/// The begin of a lifecycle action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransientSet {
    /// Whose action it is.
    pub name: String,
    /// Which action.
    pub transient_kind: TransientKind,
    /// When it began, in unix seconds.
    pub since_unix: i64,
    /// When its lease ends, in unix seconds.
    pub expires_at: Option<i64>,
}

impl Payload for TransientSet {
    const FIELDS: &'static [&'static str] = &["name", "transient_kind", "since_unix", "expires_at"];

    fn check(&self) -> Result<(), Refusal> {
        name("name", &self.name)?;
        integer("since_unix", self.since_unix)?;
        self.expires_at.map_or(Ok(()), |at| integer("expires_at", at))
    }

    fn names(&self) -> Vec<&str> {
        vec![&self.name]
    }
}

words! {
    /// Why a lifecycle action ended.
    #[derive(Default)]
    ClearReason {
        /// It was carried out.
        #[default]
        Done = "done",
        /// It failed.
        Failed = "failed",
        /// Nobody renewed its lease.
        LeaseExpired = "lease_expired",
        /// The process that had set it is gone.
        Restart = "restart",
    }
}

/// The end of a lifecycle action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransientCleared {
    /// Whose action it was.
    pub name: String,
    /// Why it ended; `done` when a writer leaves it out.
    #[serde(default)]
    pub reason: ClearReason,
}

impl Payload for TransientCleared {
    const FIELDS: &'static [&'static str] = &["name", "reason"];

    fn check(&self) -> Result<(), Refusal> {
        name("name", &self.name)
    }

    fn names(&self) -> Vec<&str> {
        vec![&self.name]
    }

    fn absent(&self, field: &str) -> &'static str {
        if field == "reason" { "\"done\"" } else { "null" }
    }
}
