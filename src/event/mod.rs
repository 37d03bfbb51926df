//! What can happen: the closed list of kinds.
//!
//! To add a fixed kind, add its line to `kinds!` and its payload type; the compiler then demands
//! the one match arm in `board::step`.

mod payload;
mod redact;
mod shape;

use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::event::payload::Payload as _;
use crate::event::shape::compose;
use crate::record::Record;

pub use payload::{
    ApprovalAdded, ApprovalResolved, ApprovalStatus, ClearReason, Message, QuestionAdded, QuestionOutcome,
    QuestionResolved, TransientCleared, TransientKind, TransientSet,
};
pub(crate) use redact::{MARK, REDACTED, is_redacted, redacted};
pub use shape::is_name;

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

            /// Reads the members of a fixed kind and writes them as they are stored; `None` when the kind is
            /// not fixed.
            pub(crate) fn compose(kind: &str, members: &[(&str, &RawValue)]) -> Option<Result<Record, Refusal>> {
                match kind {
                    $($name => Some(compose::<$payload>($name, members)
                        .map(|(payload, writing)| writing.finish(Some(Self::$variant(payload))))),)*
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
