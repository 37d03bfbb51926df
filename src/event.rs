//! What can happen: the closed list of kinds with their payloads.
//!
//! To add a fixed kind, add its line to `kinds!` and its payload type; the compiler then demands
//! the one match arm in `board::step`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::limits::{INTEGER_MAX, NAME_CHARS_MAX};

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

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($payload:ty) = $name:literal,)*) => {
        /// An event: a fact that happened.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$doc])* $variant($payload),)*
            /// A kind that is not one of the fixed ones.
            Custom(CustomEvent),
        }

        /// The fixed kinds by name.
        pub const FIXED_KINDS: &[&str] = &[$($name),*];

        impl Event {
            /// The kind by name, as on the wire.
            #[must_use]
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Custom(custom) => &custom.kind,
                }
            }

            /// The payload as the object that is stored.
            pub(crate) fn payload(&self) -> Result<String, serde_json::Error> {
                match self {
                    $(Self::$variant(payload) => serde_json::to_string(payload),)*
                    Self::Custom(custom) => Ok(custom.payload.get().to_owned()),
                }
            }

            pub(crate) fn check(&self) -> Result<(), Refusal> {
                match self {
                    $(Self::$variant(payload) => payload.check(),)*
                    Self::Custom(_) => Ok(()),
                }
            }

            pub(crate) fn names(&self) -> Vec<&str> {
                match self {
                    $(Self::$variant(payload) => payload.names(),)*
                    Self::Custom(_) => Vec::new(),
                }
            }

            /// Reads a stored payload.
            ///
            /// # Errors
            /// A fixed kind's payload does not have its shape: the file was changed by hand.
            pub(crate) fn read(kind: &str, payload: &str) -> Result<Self, serde_json::Error> {
                match kind {
                    $($name => serde_json::from_str::<$payload>(payload).map(Self::$variant),)*
                    _ => Ok(Self::Custom(CustomEvent {
                        kind: kind.into(),
                        payload: serde_json::from_str(payload)?,
                    })),
                }
            }

            /// Reads the members of a fixed kind and writes them as the object that is stored;
            /// `None` when the kind is not fixed.
            pub(crate) fn compose(
                kind: &str,
                members: &[(&str, &RawValue)],
            ) -> Option<Result<(Self, String), Refusal>> {
                match kind {
                    $($name => Some(compose::<$payload>(members)
                        .map(|(payload, text)| (Self::$variant(payload), text))),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// A message was sent.
    Sent(Message) = "sent",
    /// A message reached its recipient for the first time.
    Delivered(Message) = "delivered",
    /// An agent asks for approval.
    ApprovalAdded(ApprovalAdded) = "approval_added",
    /// An approval was decided.
    ApprovalResolved(ApprovalResolved) = "approval_resolved",
    /// An agent asks the operator.
    QuestionAdded(QuestionAdded) = "question_added",
    /// A question was answered, cancelled or expired.
    QuestionResolved(QuestionResolved) = "question_resolved",
    /// A lifecycle action began.
    TransientSet(TransientSet) = "transient_set",
    /// A lifecycle action ended.
    TransientCleared(TransientCleared) = "transient_cleared",
}

/// The two fixed kinds that are most of a log: the index over kinds leaves them out.
pub(crate) const FREQUENT_KINDS: [&str; 2] = ["sent", "delivered"];

/// Kinds that the board is folded from.
pub(crate) const BOARD_KINDS: [&str; 6] = [
    "approval_added",
    "approval_resolved",
    "question_added",
    "question_resolved",
    "transient_set",
    "transient_cleared",
];

/// Answers in the operator's stead when a question's deadline has passed.
pub const TTL_WATCHDOG: &str = "ttl-watchdog";
/// The person at the dashboard, as an actor.
pub const OPERATOR: &str = "operator";

/// An event of a kind that is not fixed.
#[derive(Clone, Debug)]
pub struct CustomEvent {
    /// The kind by name.
    pub kind: Box<str>,
    /// The payload object, byte for byte as stored.
    pub payload: Box<RawValue>,
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

/// How an approval ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// Granted.
    Approved,
    /// Refused.
    Denied,
    /// Granted, but what was asked could not be carried out.
    Failed,
}

impl ApprovalStatus {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
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

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionOutcome {
    /// Somebody answered.
    Answered,
    /// It was taken back.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

impl QuestionOutcome {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

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

/// A lifecycle action in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransientKind {
    /// Being created.
    Spawning,
    /// Coming up.
    Starting,
    /// Going down.
    Stopping,
    /// Going down to come up again.
    Restarting,
    /// Being built anew.
    Rebuilding,
    /// Being removed.
    Destroying,
}

impl TransientKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spawning => "spawning",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Rebuilding => "rebuilding",
            Self::Destroying => "destroying",
        }
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

/// Why a lifecycle action ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClearReason {
    /// It was carried out.
    #[default]
    Done,
    /// It failed.
    Failed,
    /// Nobody renewed its lease.
    LeaseExpired,
    /// The process that had set it is gone.
    Restart,
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

fn compose<P: Payload>(members: &[(&str, &RawValue)]) -> Result<(P, String), Refusal> {
    let pairs = members.iter().map(|(field, value)| (*field, *value));
    let payload = P::deserialize(serde::de::value::MapDeserializer::new(pairs))
        .map_err(|error: serde_json::Error| wrong_shape::<P>(members, &error))?;
    payload.check()?;
    let length = members.iter().map(|(field, value)| field.len() + value.get().len() + 8).sum();
    let mut text = String::with_capacity(length);
    for field in P::FIELDS {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push('"');
        text.push_str(field);
        text.push_str("\":");
        match members.iter().find(|(name, _)| name == field) {
            Some((_, value)) => crate::draft::compact(value.get(), &mut text),
            None => text.push_str(payload.absent(field)),
        }
    }
    text.push('}');
    Ok((payload, text))
}

/// Names the field that is wrong: each member is tried alone.
fn wrong_shape<P: Payload>(members: &[(&str, &RawValue)], error: &serde_json::Error) -> Refusal {
    if let Some((field, _)) = members.iter().find(|(field, _)| !P::FIELDS.contains(field)) {
        return Refusal::invalid(field, "is not a field of this kind");
    }
    for (field, value) in members {
        let alone = std::iter::once((*field, *value));
        if let Err(error) =
            P::deserialize(serde::de::value::MapDeserializer::<_, serde_json::Error>::new(alone))
        {
            let text = error.to_string();
            if !text.starts_with("missing field") {
                return Refusal::invalid(field, without_position(&text));
            }
        }
    }
    let text = error.to_string();
    match text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => Refusal::invalid(field, "is missing"),
        None => Refusal::shape(without_position(&text)),
    }
}

/// A position inside one member means nothing to the one who sent the whole.
fn without_position(text: &str) -> &str {
    text.split_once(" at line ").map_or(text, |(message, _)| message)
}

/// Whether `text` is a name: `[a-z0-9][a-z0-9._-]{0,63}`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= NAME_CHARS_MAX
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

fn name(field: &str, text: &str) -> Result<(), Refusal> {
    if is_name(text) {
        Ok(())
    } else {
        Err(Refusal::invalid(field, "is not a name: expected [a-z0-9][a-z0-9._-]{0,63}"))
    }
}

fn word(field: &str, text: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain) {
        Ok(())
    } else {
        Err(Refusal::invalid(field, "is not a word: expected [A-Za-z0-9._-]{1,64}"))
    }
}

fn id(field: &str, number: i64) -> Result<(), Refusal> {
    if number == 0 {
        return Err(Refusal::invalid(field, "is an id: they begin at 1"));
    }
    integer(field, number)
}

fn integer(field: &str, number: i64) -> Result<(), Refusal> {
    if (0..=INTEGER_MAX).contains(&number) {
        Ok(())
    } else {
        Err(Refusal::invalid(field, "is not an integer from 0 to 2^53-1"))
    }
}
