//! How long events are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::board::closed::Entity;
use crate::draft::is_kind;
use crate::error::Refusal;
use crate::event::{BOARD_KINDS, FREQUENT_KINDS};
use crate::limits::{KEPT_DAYS, KEPT_MS_MIN};

/// How much of one kind of event is kept: what is beyond any of the bounds goes, the oldest first.
///
/// Its text is a list of bounds, as `30d,100000,2GiB`: an age (`90s`, `30m`, `12h`, `30d`, `4w`; ten minutes
/// at least), a number of events, a size of their text (`64KiB`, `500MB`, `2GiB`). `all` has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub(crate) age_ms: Option<i64>,
    pub(crate) events: Option<i64>,
    pub(crate) bytes: Option<i64>,
}

impl Keep {
    /// Keeps everything.
    pub const ALL: Self = Self { age_ms: None, events: None, bytes: None };

    /// Keeps what was recorded within this time, or within ten minutes where that is less: readers that are
    /// behind still need it.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.age_ms = Some(age_ms.max(KEPT_MS_MIN));
        self
    }

    /// Keeps this many of the newest, and what is younger than ten minutes. An approval, a question and a
    /// transient count as one, however many events they have.
    #[must_use]
    pub fn events(mut self, events: u64) -> Self {
        self.events = Some(i64::try_from(events).unwrap_or(i64::MAX));
        self
    }

    /// Keeps the newest whose text is this many bytes together, and what is younger than ten minutes.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(i64::try_from(bytes).unwrap_or(i64::MAX));
        self
    }

    pub(crate) const fn has_bounds(self) -> bool {
        self.age_ms.is_some() || self.events.is_some() || self.bytes.is_some()
    }
}

/// Units of time in seconds, and of size in bytes.
const TIMES: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads an age, such as `30d`.
pub(crate) fn parse_age(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())?;
    let (_, seconds) = TIMES.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*seconds).map(Duration::from_secs)
}

impl FromStr for Keep {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let mut keep = Self::ALL;
        for bound in text.split(',') {
            let wrong = || {
                let expected = "expected an age (30d), a number of events (100000), a size (2GiB) or `all`";
                Refusal::invalid("keep", format!("{bound:?} is no bound: {expected}"))
            };
            let digits = bound.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, unit) = bound.split_at_checked(digits).ok_or_else(wrong)?;
            let number: u64 = digits.parse().map_err(|_| wrong())?;
            let times = |units: &[(&str, u64)]| {
                let unit = units.iter().find(|(name, _)| *name == unit);
                unit.and_then(|(_, size)| number.checked_mul(*size))
            };
            let is_new = if unit.is_empty() {
                keep.events.is_none() && {
                    keep = keep.events(number);
                    true
                }
            } else if let Some(age) = parse_age(bound) {
                if i64::try_from(age.as_millis()).is_ok_and(|age_ms| age_ms < KEPT_MS_MIN) {
                    return Err(Refusal::invalid("keep", format!("{bound:?} is less than ten minutes")));
                }
                keep.age_ms.is_none() && {
                    keep = keep.age(age);
                    true
                }
            } else {
                let bytes = times(&SIZES).ok_or_else(wrong)?;
                keep.bytes.is_none() && {
                    keep = keep.bytes(bytes);
                    true
                }
            };
            if !is_new {
                return Err(Refusal::invalid("keep", format!("{bound:?} is a second bound of its sort")));
            }
        }
        Ok(keep)
    }
}

/// Which events a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Those of one kind.
    Kind(Box<str>),
    /// Those of every kind that is an application's own, and has no rule.
    Others,
    /// Closed ones, whole.
    Entity(Entity),
}

impl FromStr for Subject {
    type Err = Refusal;

    /// Reads a kind. Kinds of one entity mean that entity: its events go together.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        Ok(match text {
            "*" => Self::Others,
            "approvals" | "approval_added" | "approval_resolved" => Self::Entity(Entity::Approval),
            "questions" | "question_added" | "question_resolved" => Self::Entity(Entity::Question),
            "transients" | "transient_set" | "transient_cleared" => Self::Entity(Entity::Transient),
            kind if is_kind(kind) => Self::Kind(kind.into()),
            other => return Err(Refusal::invalid("kind", format!("{other:?} is not a kind"))),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind(kind) => kind,
            Self::Others => "*",
            Self::Entity(Entity::Approval) => "approvals",
            Self::Entity(Entity::Question) => "questions",
            Self::Entity(Entity::Transient) => "transients",
        })
    }
}

/// How long events of each kind are kept. By default `sent` and `delivered` are kept for 30 days, and everything
/// else for ever.
///
/// It is carried out by what runs beside a log that has a `Desk`, a little at a time. What is
/// open is never pruned, and of an approval, a question or a transient all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub(crate) rules: BTreeMap<Subject, Keep>,
}

impl Default for Retention {
    fn default() -> Self {
        let keep = Keep::ALL.age(Duration::from_secs(KEPT_DAYS * 86_400));
        let rules = FREQUENT_KINDS.map(|kind| (Subject::Kind(kind.into()), keep));
        Self { rules: rules.into() }
    }
}

impl Retention {
    /// Keeps everything for ever.
    #[must_use]
    pub const fn forever() -> Self {
        Self { rules: BTreeMap::new() }
    }

    /// Keeps this much of a kind, in place of what was said of it before. `approvals`, `questions` and
    /// `transients` mean the closed ones, with all of their events; `*` every kind that is an application's
    /// own and has no rule.
    ///
    /// # Errors
    /// There can be no such kind.
    pub fn keep(mut self, kind: &str, keep: Keep) -> Result<Self, Refusal> {
        self.rules.insert(kind.parse()?, keep);
        Ok(self)
    }
}

/// Whether an event of this kind can go alone, and is an application's own.
pub(crate) fn is_free(kind: &str) -> bool {
    !BOARD_KINDS.contains(&kind) && !FREQUENT_KINDS.contains(&kind) && !kind.starts_with("hivelog.")
}
