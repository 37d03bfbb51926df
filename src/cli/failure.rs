//! Why a command ends other than well: the one table of exit codes.

use std::fmt::Display;
use std::process::ExitCode;

use crate::cli::output;
use crate::error::{Error, Refusal};

/// The exit code of what failed for a reason of its own.
const FAILED: u8 = 1;
/// The exit code of what was asked wrongly.
const USAGE: u8 = 2;
/// The exit code of what is not there.
const NOT_FOUND: u8 = 3;
/// The exit code of what somebody else was first with.
const CONFLICT: u8 = 4;
/// The exit code of what may succeed when called again (`EX_TEMPFAIL` of sysexits).
const LATER: u8 = 75;

/// Why a command ends other than well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read the output has enough: no failure to anybody.
    ClosedPipe,
    /// All is said; only the exit code is left.
    Told,
    /// What to say, and with what to exit.
    Said {
        /// The exit code.
        code: u8,
        /// One line.
        text: String,
        /// The event that was first, as on the wire.
        winner: Option<String>,
    },
}

impl Failure {
    fn said(code: u8, text: impl Display) -> Self {
        Self::Said { code, text: text.to_string(), winner: None }
    }

    pub(crate) fn failed(text: impl Display) -> Self {
        Self::said(FAILED, text)
    }

    pub(crate) fn usage(text: impl Display) -> Self {
        Self::said(USAGE, text)
    }

    pub(crate) fn not_found(text: impl Display) -> Self {
        Self::said(NOT_FOUND, text)
    }

    pub(crate) fn later(text: impl Display) -> Self {
        Self::said(LATER, text)
    }

    pub(crate) fn conflict(text: impl Display, winner: Option<String>) -> Self {
        Self::Said { code: CONFLICT, text: text.to_string(), winner }
    }

    /// What it says.
    pub(crate) fn text(&self) -> &str {
        if let Self::Said { text, .. } = self { text } else { "" }
    }

    /// Whether the same call may succeed later.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Said { code: LATER, .. })
    }

    /// The same failure with words before its text.
    pub(crate) fn within(self, place: impl Display) -> Self {
        if let Self::Said { code, text, winner } = self {
            return Self::Said { code, text: format!("{place}: {text}"), winner };
        }
        self
    }

    /// The same failure, where stdout is kept for something else than the one who was first.
    pub(crate) fn without_winner(self) -> Self {
        if let Self::Said { code, text, .. } = self {
            return Self::Said { code, text, winner: None };
        }
        self
    }

    /// What a file that is no export, or a bad line of one, ends with: the input is wrong, not the call.
    pub(crate) fn of_input(error: Error) -> Self {
        if let Error::Refused(refusal) = error {
            return Self::failed(refusal);
        }
        error.into()
    }

    /// Tells people and scripts.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::ClosedPipe => ExitCode::SUCCESS,
            Self::Told => ExitCode::from(FAILED),
            Self::Said { code, text, winner } => {
                if let Some(winner) = winner {
                    // Whether the winner could be printed changes nothing about who won.
                    let _told = output::Output::stdout(output::Form::JSON).event(winner.as_bytes());
                }
                output::say(format_args!("hivelog: {text}"));
                ExitCode::from(code)
            }
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::ClosedPipe } else { Self::failed(error) }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Conflict { winner, .. } => {
                Self::conflict(text, Some(String::from_utf8_lossy(&winner.line()).into_owned()))
            }
            Refusal::Closed { row, .. } => Self::conflict(text, Some(row.into())),
            Refusal::Unknown(_) => Self::not_found(text),
            Refusal::TooManyOpen(_) => Self::later(text),
            Refusal::Forbidden(_) => Self::failed(text),
            Refusal::Invalid { .. }
            | Refusal::Malformed(_)
            | Refusal::UnknownKind(_)
            | Refusal::KeyReused(_)
            | Refusal::TooLarge(_) => Self::usage(text),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.is_transient() {
            return Self::later(error);
        }
        if let Error::Refused(refusal) = error {
            return refusal.into();
        }
        if matches!(error, Error::NotFound(_) | Error::Gone { .. }) {
            return Self::not_found(error);
        }
        Self::failed(error)
    }
}
