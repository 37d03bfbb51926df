//! The place of an event in a log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::INTEGER_MAX;

/// The place of an event in the log: 1 for the first, with no hole above the floor.
///
/// `Seq::ZERO` is the place before the first event. Values go to 2^53 − 1, so that a JavaScript
/// number holds every one of them exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(i64);

impl Seq {
    /// The place before the first event.
    pub const ZERO: Self = Self(0);
    /// The last place a log can reach (2^53 − 1).
    pub const MAX: Self = Self(INTEGER_MAX);

    /// The seq with this number, or `None` outside 0..=2^53 − 1.
    #[must_use]
    pub const fn new(number: i64) -> Option<Self> {
        if number >= 0 && number <= INTEGER_MAX { Some(Self(number)) } else { None }
    }

    /// What the store read from its own file: a foreign row out of bounds becomes the nearest bound.
    pub(crate) const fn clamped(number: i64) -> Self {
        match Self::new(number) {
            Some(seq) => seq,
            None if number < 0 => Self::ZERO,
            None => Self::MAX,
        }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The place after this one; the last place stays where it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::clamped(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of one log: 16 lowercase hex digits, random, new after a restore or an import.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId([u8; 16]);

impl LogId {
    /// A new name from the system's random source.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub(crate) fn mint() -> Result<Self, getrandom::Error> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random)?;
        let mut text = [0u8; 16];
        for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
            pair.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
        }
        Ok(Self(text))
    }

    /// The 16 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

const fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

impl Serialize for LogId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Text that is no log id, seq or cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: expected <log id>-<seq> or a seq from 0 to 2^63-1")]
pub struct BadCursor;

impl FromStr for LogId {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let digits: [u8; 16] = text.as_bytes().try_into().map_err(|_| BadCursor)?;
        let hex = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
        if digits.iter().all(hex) { Ok(Self(digits)) } else { Err(BadCursor) }
    }
}

/// Where a reader stands: a seq, and the log that it belongs to when the reader knows it.
///
/// Its text is `<log id>-<seq>`, or the bare seq. A seq above 2^53 − 1 is in the future of every
/// log, so it is kept as asked and never rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) log_id: Option<LogId>,
    pub(crate) seq: i64,
}

impl Cursor {
    /// The position after `seq` of the log `log_id`.
    #[must_use]
    pub const fn new(log_id: LogId, seq: Seq) -> Self {
        Self { log_id: Some(log_id), seq: seq.get() }
    }
}

impl From<Seq> for Cursor {
    fn from(seq: Seq) -> Self {
        Self { log_id: None, seq: seq.get() }
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (log_id, digits) = match text.split_once('-') {
            Some((id, digits)) => (Some(id.parse()?), digits),
            None => (None, text),
        };
        // Only digits: `i64::from_str` would also take a sign.
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadCursor);
        }
        let seq = digits.parse().map_err(|_| BadCursor)?;
        Ok(Self { log_id, seq })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log_id {
            Some(id) => write!(f, "{id}-{}", self.seq),
            None => self.seq.fmt(f),
        }
    }
}
