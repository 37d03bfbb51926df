//! What fuzz targets reach of the door; in their builds only.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::FromRequestParts as _;
use axum::http::{HeaderMap, HeaderValue, Request};

use crate::http::append::{self, Form};
use crate::http::caller::Caller;
use crate::http::params::Params;
use crate::http::{history, stream};
use crate::log::authority::Work;
use crate::log::feed::Start;
use crate::query::{Order, Range};
use crate::seq::{Cursor, Seq};
use crate::wire;

/// An event that the door took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its kind.
    pub kind: String,
    /// The names that it concerns.
    pub agents: String,
    /// Its text as it is stored.
    pub payload: String,
    /// The idempotency key that it carried.
    pub key: Option<String>,
    /// What readers get.
    pub line: Vec<u8>,
}

/// Reads a body of `POST /api/events`; also whether it was one object alone.
///
/// # Errors
/// It is refused; what is said of it.
pub fn events(body: &[u8], is_lines: bool, key: Option<&str>) -> Result<(Vec<Taken>, bool), String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let form = if is_lines { Form::Lines } else { Form::Json };
    let read =
        append::command(text, form, key, &Caller::Anybody).map_err(|problem| format!("{problem:?}"))?;
    let Work::Append(drafts) = read.0.work else { return Ok((Vec::new(), read.1)) };
    let taken = |draft: crate::Draft| {
        let record = draft.record.map_err(|refusal| refusal.to_string())?;
        let mut line = Vec::new();
        wire::envelope(&mut line, (Seq::MAX, 1), record.kind(), None, record.payload().as_bytes());
        let (kind, agents) = (record.kind().to_string(), record.agents().to_string());
        let payload = record.payload().to_string();
        Ok(Taken { kind, agents, payload, key: draft.key.map(Into::into), line })
    };
    Ok((drafts.into_iter().map(taken).collect::<Result<_, String>>()?, read.1))
}

/// Reads the query of a page of history; what was understood, and the same written as a query again.
pub fn asked(query: &str) -> Option<((Range, Option<usize>, Duration), String)> {
    let request = Request::get(format!("/api/history?{query}")).body(()).ok()?;
    let (mut parts, ()) = request.into_parts();
    let params = pollster::block_on(Params::from_request_parts(&mut parts, &())).ok()?;
    let asked = history::asked(params).ok()?;
    let written = written(&asked.0, asked.1, asked.2);
    Some((asked, written))
}

fn written(range: &Range, limit: Option<usize>, wait: Duration) -> String {
    let mut out = format!("wait={}", wait.as_secs());
    // Writing to a String does not fail.
    let mut pair = |name: &str, value: &dyn std::fmt::Display| {
        let _written = write!(out, "&{name}=");
        for byte in value.to_string().bytes() {
            let _written = write!(out, "%{byte:02x}");
        }
    };
    let numbers = [("after", range.after), ("before", range.before)];
    for (name, value) in numbers.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        pair(name, &value);
    }
    if let Some(limit) = limit {
        pair("limit", &limit);
    }
    pair("order", if range.order == Order::Asc { &"asc" } else { &"desc" });
    range.filter.kinds().iter().for_each(|kind| pair("kind", kind));
    range.filter.agents().iter().for_each(|agent| pair("agent", agent));
    if let Some(words) = &range.words {
        let words: Vec<_> = words
            .iter()
            .map(|word| format!("{}{}", word.text, if word.is_prefix { "*" } else { "" }))
            .collect();
        pair("q", &words.join(" "));
    }
    for (name, value) in [("since", range.since_ms), ("until", range.until_ms)] {
        if let Some(time) = value.and_then(|value| jiff::Timestamp::from_millisecond(value).ok()) {
            pair(name, &time);
        } else if let Some(value) = value {
            pair(name, &(value / 1_000));
        }
    }
    out
}

/// Where a stream begins: `None` for refused, else the position, and `None` in it for "from now".
pub fn begins(id: Option<&[u8]>, after: Option<&str>) -> Option<Option<Cursor>> {
    let mut headers = HeaderMap::new();
    if let Some(id) = id {
        headers.insert("last-event-id", HeaderValue::from_bytes(id).ok()?);
    }
    match stream::start(&headers, after).ok()? {
        Start::Now => Some(None),
        Start::After(cursor) => Some(Some(cursor)),
    }
}
