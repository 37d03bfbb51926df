//! What can be asked: one range of the log, for the crate, the URL and the command line.

use std::time::Duration;

use crate::draft::is_kind;
use crate::error::Refusal;
use crate::event::{FREQUENT_KINDS, is_name};
use crate::limits::{FILTER_VALUES_MAX, INTEGER_MAX, PAGE_EVENTS, PAGE_EVENTS_MAX, WAIT_MAX};
use crate::words::Words;

/// The order of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    #[default]
    Asc,
    /// Newest first.
    Desc,
}

impl std::str::FromStr for Order {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text {
            "asc" => Ok(Self::Asc),
            "desc" => Ok(Self::Desc),
            _ => Err(Refusal::invalid("order", "is neither `asc` nor `desc`")),
        }
    }
}

/// Which events are wanted: any of the kinds, and any of the agents.
///
/// An empty list wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    kinds: Vec<Box<str>>,
    agents: Vec<Box<str>>,
}

impl Filter {
    /// Wants events of this kind too.
    ///
    /// # Errors
    /// The text is no kind, or there are too many.
    pub fn kind(mut self, kind: &str) -> Result<Self, Refusal> {
        if !is_kind(kind) {
            return Err(Refusal::invalid("kind", "is not a kind"));
        }
        add(&mut self.kinds, "kind", kind)?;
        Ok(self)
    }

    /// Wants events that concern this agent too.
    ///
    /// # Errors
    /// The text is no name, or there are too many.
    pub fn agent(mut self, agent: &str) -> Result<Self, Refusal> {
        if !is_name(agent) {
            return Err(Refusal::invalid("agent", "is not a name"));
        }
        add(&mut self.agents, "agent", agent)?;
        Ok(self)
    }

    /// The kinds, where the index over rare kinds holds all of them.
    pub(crate) fn rare_kinds(&self) -> Option<&[Box<str>]> {
        let rare = |kind: &str| !FREQUENT_KINDS.contains(&kind) && !kind.contains('.');
        (!self.kinds.is_empty() && self.kinds.iter().all(|kind| rare(kind))).then_some(&self.kinds)
    }

    /// Whether kinds are named, none of which comes by the thousand in every log.
    pub(crate) fn wants_few_kinds(&self) -> bool {
        !self.kinds.is_empty() && !self.kinds.iter().any(|kind| FREQUENT_KINDS.contains(&&**kind))
    }

    pub(crate) fn kinds(&self) -> &[Box<str>] {
        &self.kinds
    }

    pub(crate) fn agents(&self) -> &[Box<str>] {
        &self.agents
    }

    pub(crate) fn wants_all(&self) -> bool {
        self.kinds.is_empty() && self.agents.is_empty()
    }

    pub(crate) fn names_agents(&self) -> bool {
        !self.agents.is_empty()
    }

    /// Whether an event of this kind, concerning these agents, is wanted.
    pub(crate) fn wants(&self, kind: &str, agents: &str) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|wanted| **wanted == *kind))
            && (self.agents.is_empty()
                || agents.split(' ').any(|name| self.agents.iter().any(|wanted| **wanted == *name)))
    }
}

fn add(list: &mut Vec<Box<str>>, what: &str, value: &str) -> Result<(), Refusal> {
    if list.len() >= FILTER_VALUES_MAX {
        return Err(Refusal::invalid(what, format!("is repeated more than {FILTER_VALUES_MAX} times")));
    }
    if !list.iter().any(|known| **known == *value) {
        list.push(value.into());
    }
    Ok(())
}

/// A question about history.
///
/// Without `after` and `since` the page holds the newest events of the range, still oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Only events after this seq.
    pub after: Option<i64>,
    /// Only events before this seq.
    pub before: Option<i64>,
    /// Events on the page: 1 to 10,000.
    pub limit: usize,
    /// The order of the page.
    pub order: Order,
    /// Which events.
    pub filter: Filter,
    /// Only events in whose text all of these words are.
    pub words: Option<Words>,
    /// Only events recorded at or after this time, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Only events recorded before this time, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

impl Default for Range {
    fn default() -> Self {
        Self {
            after: None,
            before: None,
            limit: PAGE_EVENTS,
            order: Order::Asc,
            filter: Filter::default(),
            words: None,
            since_ms: None,
            until_ms: None,
        }
    }
}

impl Range {
    /// Whether the page is the newest part of the range.
    pub(crate) const fn is_newest(&self) -> bool {
        self.after.is_none() && self.since_ms.is_none()
    }

    /// Refuses what no range can be.
    ///
    /// # Errors
    /// The limit is out of bounds.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check_limit(self.limit).map(drop)
    }
}

/// Refuses a page size out of bounds.
pub(crate) fn check_limit(limit: usize) -> Result<usize, Refusal> {
    if (1..=PAGE_EVENTS_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Refusal::invalid("limit", format!("is not between 1 and {PAGE_EVENTS_MAX}")))
    }
}

/// Reads a time: whole unix seconds, or RFC 3339; the answer is in milliseconds.
///
/// # Errors
/// The text is neither.
pub fn parse_time(field: &str, text: &str) -> Result<i64, Refusal> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().ok().filter(|seconds| *seconds <= INTEGER_MAX / 1_000);
        return seconds
            .map(|seconds: i64| seconds * 1_000)
            .ok_or_else(|| Refusal::invalid(field, "is too far away"));
    }
    text.parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|_| Refusal::invalid(field, "is neither unix seconds nor an RFC 3339 time"))
}

/// Reads a wait: `30` or `30s`, from 0 to 60 seconds.
///
/// # Errors
/// The text is neither, or more.
pub fn parse_wait(text: &str) -> Result<Duration, Refusal> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| digits.parse().ok().map(Duration::from_secs))
        .flatten()
        .filter(|wait| *wait <= WAIT_MAX)
        .ok_or_else(|| Refusal::invalid("wait", "is not a number of seconds from 0 to 60"))
}
