//! Who may come in: roles, tokens, sessions, login codes.

pub(crate) mod actor;
pub(crate) mod credentials;
pub(crate) mod first;
pub(crate) mod pass;
mod secret;
mod state;
mod tables;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Read the state, history, activity and the stream.
    Read,
    /// Act as the one agent that the credential names: send, receive, ask, request; nothing of another's.
    Agent,
    /// Read, decide, answer, cancel, set any transient, send and receive as `operator`.
    Operator,
    /// Read, append every kind as it is, hand out tokens.
    Admin,
    /// Read `/metrics` and `/readyz`.
    Metrics,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Read, Self::Agent, Self::Operator, Self::Admin, Self::Metrics];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| "expected read, agent, operator, admin or metrics".into())
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
