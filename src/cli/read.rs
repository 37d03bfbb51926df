//! The verbs that print the log: a range of it, and what is open.

use std::io::Write as _;

use bytes::Bytes;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::client::{self, Client};
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output};
use crate::cli::place::{Place, Source};
use crate::cli::render;
use crate::limits::{INTEGER_MAX, PAGE_EVENTS, PAGE_EVENTS_MAX};
use crate::query::{Filter, Order, Range, parse_time};
use crate::seq::Seq;

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Only events after this seq
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Only events before this seq
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    before: Option<i64>,
    /// Print this many events at most, 10,000 in all; without --after and --since the newest ones
    #[arg(long, value_name = "N", default_value_t = PAGE_EVENTS)]
    limit: usize,
    /// Oldest first (asc) or newest first (desc)
    #[arg(long, value_name = "ORDER", default_value = "asc")]
    order: String,
    /// Only events recorded at or after this time: unix seconds or RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events recorded before this time: unix seconds or RFC 3339
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only events in whose text all of these words are; `WORD*` means all words that begin so
    #[arg(long, short = 'q', value_name = "WORDS")]
    query: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    form: Form,
}

/// Which events are wanted.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only events of this kind; repeat it for more
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<String>,
    /// Only events that concern this agent; repeat it for more
    #[arg(long = "agent", value_name = "NAME")]
    pub(crate) agents: Vec<String>,
}

impl Wanted {
    pub(crate) fn filter(&self) -> Result<Filter, Failure> {
        let mut filter = Filter::default();
        for kind in &self.kinds {
            filter = filter.kind(kind)?;
        }
        for agent in &self.agents {
            filter = filter.agent(agent)?;
        }
        Ok(filter)
    }

    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let kinds = self.kinds.iter().map(|kind| ("kind", kind.clone()));
        kinds.chain(self.agents.iter().map(|agent| ("agent", agent.clone()))).collect()
    }
}

/// A question to either kind of source.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    range: Range,
    wanted: Wanted,
    words: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// A page from either kind of source.
pub(crate) struct Lines {
    pub(crate) log_id: String,
    pub(crate) seq: i64,
    next_after: i64,
    next_before: i64,
    pub(crate) events: Vec<Bytes>,
}

/// A page as the server gives it.
#[derive(Deserialize)]
struct Answer<'a> {
    log_id: String,
    seq: i64,
    next_after: i64,
    next_before: i64,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

impl Asked {
    /// The newest events, this many at most.
    pub(crate) fn newest(limit: usize, wanted: &Wanted) -> Result<Self, Failure> {
        let range = Range { limit, filter: wanted.filter()?, ..Range::default() };
        let asked = Self { range, wanted: wanted.clone(), words: None, since: None, until: None };
        asked.check()
    }

    fn of(args: &HistoryArgs) -> Result<Self, Failure> {
        let time = |field, text: &Option<String>| {
            text.as_deref().map(|text| parse_time(field, text)).transpose().map_err(Failure::from)
        };
        let range = Range {
            after: args.after,
            before: args.before,
            limit: args.limit,
            order: args.order.parse::<Order>()?,
            filter: args.wanted.filter()?,
            words: args.query.as_deref().map(str::parse).transpose()?,
            since_ms: time("since", &args.since)?,
            until_ms: time("until", &args.until)?,
        };
        let (words, since, until) = (args.query.clone(), args.since.clone(), args.until.clone());
        Self { range, wanted: args.wanted.clone(), words, since, until }.check()
    }

    fn check(self) -> Result<Self, Failure> {
        if (1..=PAGE_EVENTS_MAX).contains(&self.range.limit) {
            return Ok(self);
        }
        Err(Failure::usage(format!("limit: is not between 1 and {PAGE_EVENTS_MAX}")))
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let range = &self.range;
        let mut query = self.wanted.query();
        query.push(("limit", range.limit.to_string()));
        if range.order == Order::Desc {
            query.push(("order", "desc".into()));
        }
        query.extend(range.after.map(|seq| ("after", seq.to_string())));
        query.extend(range.before.map(|seq| ("before", seq.to_string())));
        query.extend(self.words.iter().map(|words| ("q", words.clone())));
        query.extend(self.since.iter().map(|time| ("since", time.clone())));
        query.extend(self.until.iter().map(|time| ("until", time.clone())));
        query
    }

    fn page(&self, source: &Source) -> Result<Lines, Failure> {
        match source {
            Source::File(log) => {
                let page = log.range(&self.range)?;
                Ok(Lines {
                    log_id: page.log_id.to_string(),
                    seq: page.seq.get(),
                    next_after: page.next_after,
                    next_before: page.next_before,
                    events: page.rows().map(|row| row.line()).collect(),
                })
            }
            Source::Served(client) => client::block_on(ask(client, &self.query())),
        }
    }

    /// Goes through the pages that the limit takes: one ends early at its bound of bytes or of time.
    pub(crate) fn pages(
        mut self,
        source: &Source,
        mut take: impl FnMut(&Lines) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let is_newest = self.range.after.is_none() && self.range.since_ms.is_none();
        let goes_up = self.range.order == Order::Asc && !is_newest;
        loop {
            let page = self.page(source)?;
            take(&page)?;
            let rest = self.range.limit.saturating_sub(page.events.len());
            let is_over = if goes_up {
                page.next_after >= page.seq || self.range.after == Some(page.next_after)
            } else {
                page.next_before <= 1 || self.range.before == Some(page.next_before)
            };
            if rest == 0 || is_over {
                return Ok(());
            }
            self.range.limit = rest;
            if goes_up {
                self.range.after = Some(page.next_after);
            } else {
                self.range.before = Some(page.next_before);
            }
        }
    }

    /// The newest events, oldest first, with the first page's place in the log.
    pub(crate) fn turned(self, source: &Source) -> Result<(String, i64, Vec<Bytes>), Failure> {
        let mut place = None;
        let mut pages = Vec::new();
        self.pages(source, |page| {
            place.get_or_insert_with(|| (page.log_id.clone(), page.seq));
            pages.push(page.events.clone());
            Ok(())
        })?;
        let (log_id, seq) = place.unwrap_or_default();
        Ok((log_id, seq, pages.into_iter().rev().flatten().collect()))
    }
}

/// One page of a server.
pub(crate) async fn ask(client: &Client, query: &[(&str, String)]) -> Result<Lines, Failure> {
    let body = client.get("/api/history", query).await?;
    let answer: Answer<'_> = serde_json::from_slice(&body).map_err(|error| client::not_ours(&error))?;
    let events = answer.events.iter().map(|event| body.slice_ref(event.get().as_bytes())).collect();
    let Answer { log_id, seq, next_after, next_before, .. } = answer;
    Ok(Lines { log_id, seq, next_after, next_before, events })
}

impl Lines {
    /// Where a page of what comes earlier begins; `None` when there is nothing earlier.
    pub(crate) fn earlier(&self, asked: Option<i64>) -> Option<i64> {
        (self.next_before > 1 && asked != Some(self.next_before)).then_some(self.next_before)
    }
}

pub(crate) fn history(args: &HistoryArgs) -> Result<(), Failure> {
    let asked = Asked::of(args)?;
    let source = args.place.source()?;
    let mut out = Output::stdout(args.form);
    let is_turned = asked.range.order == Order::Asc && args.after.is_none() && args.since.is_none();
    if is_turned {
        for event in asked.turned(&source)?.2 {
            out.event(&event)?;
        }
    } else {
        asked.pages(&source, |page| {
            for event in &page.events {
                out.event(event)?;
            }
            Ok(())
        })?;
    }
    out.flush()?;
    Ok(())
}

#[derive(Args, Debug)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Show it as it stood at this seq
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..=INTEGER_MAX))]
    at: Option<i64>,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn state(args: &StateArgs) -> Result<(), Failure> {
    let json = match args.place.source()? {
        Source::File(log) => match args.at.and_then(Seq::new) {
            Some(seq) => log.snapshot_at(seq)?.json(),
            None => log.snapshot()?.json(),
        },
        Source::Served(client) => {
            let query: Vec<_> = args.at.map(|seq| ("at", seq.to_string())).into_iter().collect();
            client::block_on(async { Ok(client.get("/api/state", &query).await?) })?
        }
    };
    let mut out = Output::stdout(args.form);
    if args.form.json {
        out.json(&json)?;
    } else {
        out.text(render::state(&json, args.form.raw)?)?;
    }
    out.flush()?;
    Ok(())
}
