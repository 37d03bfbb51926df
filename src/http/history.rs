//! `GET /api/history`: pages, whole ranges as lines, one event; `GET /api/activity`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{Error, Refusal};
use crate::http::answer::Loaded;
use crate::http::caller::{Caller, READERS, unauthorized};
use crate::http::params::{NoParams, Params, number};
use crate::http::problem::Problem;
use crate::http::{Door, Shared, json, lines, pasted};
use crate::limits::{ACTIVITY_BUCKETS, PAGE_BYTES_MAX, PAGE_EVENTS, PAGE_PARTS_MAX, SCAN_SLICE};
use crate::log::activity::{self, Activity, Bucket};
use crate::log::range::{Made, Page, Pager, Part};
use crate::query::{Filter, Range, check_limit, parse_time, parse_wait};
use crate::seq::{LogId, Seq};
use crate::store::readers::Lane;
use crate::wire;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(history)).routes(routes!(event)).routes(routes!(histogram))
}

/// The query of a page.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
struct Asked {
    /// Only events after this seq.
    after: Option<i64>,
    /// Only events before this seq.
    before: Option<i64>,
    /// Events on the page: 1 to 10,000, 200 by default.
    limit: Option<i64>,
    /// `asc` (the default) or `desc`.
    order: Option<String>,
    /// Only these kinds; may be repeated.
    kind: Vec<String>,
    /// Only events that concern one of these agents; may be repeated.
    agent: Vec<String>,
    /// Only events in whose text all of these words are; `*` behind a word means all that begin so.
    q: Option<String>,
    /// Only events recorded at or after this time: unix seconds or RFC 3339.
    since: Option<String>,
    /// Only events recorded before this time.
    until: Option<String>,
    /// Seconds to wait for an event where there is none: 0 to 60.
    wait: Option<String>,
}

/// What a page is asked for: the range, the limit where one was given, the wait.
pub(super) fn asked(mut params: Params) -> Result<(Range, Option<usize>, Duration), Refusal> {
    let limit = params
        .read("limit", |text| check_limit(usize::try_from(number("limit", text)?).unwrap_or(usize::MAX)))?;
    let range = Range {
        after: params.read("after", |text| number("after", text))?,
        before: params.read("before", |text| number("before", text))?,
        limit: limit.unwrap_or(PAGE_EVENTS),
        order: params.read("order", str::parse)?.unwrap_or_default(),
        filter: filter(&mut params)?,
        words: params.read("q", str::parse)?,
        since_ms: params.read("since", |text| parse_time("since", text))?,
        until_ms: params.read("until", |text| parse_time("until", text))?,
    };
    let wait = params.read("wait", parse_wait)?.unwrap_or_default();
    params.end()?;
    Ok((range, limit, wait))
}

pub(super) fn filter(params: &mut Params) -> Result<Filter, Refusal> {
    let kinds = params.all("kind");
    let filter = kinds.iter().try_fold(Filter::default(), |filter, kind| filter.kind(kind))?;
    params.all("agent").iter().try_fold(filter, |filter, agent| filter.agent(agent))
}

/// A page of history.
#[derive(Serialize, utoipa::ToSchema)]
#[allow(dead_code, reason = "the answer is pasted; this is its documentation")]
struct PageOnWire {
    log_id: String,
    /// The head at the read.
    seq: i64,
    floor: i64,
    events: Vec<serde_json::Value>,
    next_after: i64,
    next_before: i64,
}

/// Reads history.
///
/// Oldest first unless `order=desc`. Without `after` and `since` the page holds the newest events of the
/// range, still oldest first. A page ends at `limit` events, 4 MiB, 5 s of scan, or before an event that
/// cannot be read, with both cursors moved. With `Accept: application/x-ndjson` the whole range is streamed from its start, a line each,
/// without a limit unless one is given.
#[utoipa::path(
    get, path = "/api/history", tag = "events", params(Asked),
    responses(
        (status = 200, description = "a page, or lines", content((PageOnWire = "application/json"), (String = "application/x-ndjson"))),
        (status = 400, description = "the query is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "too much of what was answered is not taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn history(
    State(door): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let (range, limit, wait) = asked(params).map_err(|refusal| Problem::query(refusal.into()))?;
    if wants_lines(&headers) {
        return lines::response(door, range, limit, &caller);
    }
    tokio::select! {
        page = page(&door, range, wait, &caller) => page,
        () = caller.gone() => Err(unauthorized()),
    }
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| {
        media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-ndjson")
    })
}

async fn page(door: &Shared, mut range: Range, wait: Duration, caller: &Caller) -> Result<Response, Problem> {
    let deadline = Instant::now() + wait;
    loop {
        let page = match begin(door, range.clone()).await.map_err(Problem::query)? {
            Begun::Whole(page) => page,
            Begun::Parts(first, rest) => {
                // Read ahead of who takes nothing, up to the whole of it.
                let load = door.room.take(caller.share(), PAGE_BYTES_MAX)?;
                let mut response = parts_response(door, first, rest, caller);
                response.extensions_mut().insert(Loaded(load));
                return Ok(response);
            }
        };
        let may_grow = range.before.is_none_or(|before| before > page.seq.get() + 1);
        // Where the time was over before the end, what is asked for may stand in what rests.
        let is_over = !page.is_whole || wait.is_zero() || !may_grow || Instant::now() >= deadline;
        if is_over || !page.is_empty() {
            return Ok(page_response(&page));
        }
        // What was looked at stays looked at: the next look begins where this one ended.
        range.after = Some(page.next_after);
        let seen = Seq::new(page.next_after).unwrap_or(page.seq).max(page.seq);
        tokio::select! {
            woken = door.log.wait_past(seen) => {
                if woken == crate::tail::Woken::Closed {
                    return Ok(page_response(&page));
                }
            }
            () = tokio::time::sleep_until(deadline) => return Ok(page_response(&page)),
            () = door.stop.cancelled() => return Ok(page_response(&page)),
        }
    }
}

type Told = Result<Made, Error>;

/// A page that is there, or one that goes out while it is read.
enum Begun {
    Whole(Page),
    Parts(Part, Receiver<Told>),
}

async fn begin(door: &Shared, range: Range) -> Result<Begun, Error> {
    let pager = Pager::new(door.log.shared(), range, false)?;
    // A channel, because reading and sending run on two threads; a whole page fits in, so that no scan waits
    // for a client; it ends when either side goes away.
    let (sender, mut parts) = channel(PAGE_PARTS_MAX);
    let making = tokio::spawn(make(Arc::clone(door), pager, sender));
    match parts.recv().await {
        Some(Ok(Made::Page(page))) => Ok(Begun::Whole(page)),
        Some(Ok(Made::Part(first))) => Ok(Begun::Parts(first, parts)),
        Some(Err(error)) => Err(error),
        Some(Ok(Made::Nothing)) | None => match making.await {
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Ok(()) | Err(_) => Err(Error::Closed),
        },
    }
}

async fn make(door: Shared, mut pager: Pager, sender: Sender<Told>) {
    loop {
        let to = sender.clone();
        // One slice at a time holds a place among the scans, so that long scans take turns.
        let read = move |conn: &Connection| make_some(conn, pager, &to);
        match door.log.shared().readers.run(Lane::Scan, read).await {
            Ok(Some(rest)) => pager = rest,
            Ok(None) => return,
            Err(error) => {
                // The client may be gone.
                let _unheard = sender.try_send(Err(error));
                return;
            }
        }
    }
}

/// Makes parts for a slice of time; gives what is to be gone on with.
fn make_some(conn: &Connection, mut pager: Pager, to: &Sender<Told>) -> Result<Option<Pager>, Error> {
    let begin = std::time::Instant::now();
    loop {
        let made = pager.part(conn)?;
        let is_over = matches!(made, Made::Page(_));
        let gives_way = matches!(made, Made::Nothing) || begin.elapsed() > SCAN_SLICE;
        let is_heard =
            if matches!(made, Made::Nothing) { !to.is_closed() } else { to.try_send(Ok(made)).is_ok() };
        if is_over || !is_heard {
            return Ok(None);
        }
        if gives_way {
            return Ok(Some(pager));
        }
    }
}

/// What comes before the events of a page.
fn head_of(log_id: LogId, seq: Seq) -> Bytes {
    let mut head = Vec::with_capacity(128);
    head.extend_from_slice(b"{\"log_id\":");
    wire::string(&mut head, log_id.as_str());
    head.extend_from_slice(b",\"seq\":");
    wire::integer(&mut head, seq.get());
    head.extend_from_slice(b",\"events\":[");
    head.into()
}

/// What comes after them: where a page ends, and above what it has no hole, is known once it is read.
fn end_of(page: &Page) -> Bytes {
    let mut end = Vec::with_capacity(96);
    for (name, value) in [
        ("],\"floor\":", page.floor.get()),
        (",\"next_after\":", page.next_after),
        (",\"next_before\":", page.next_before),
    ] {
        end.extend_from_slice(name.as_bytes());
        wire::integer(&mut end, value);
    }
    end.push(b'}');
    end.into()
}

fn page_response(page: &Page) -> Response {
    pasted([head_of(page.log_id, page.seq), page.rows.bytes().clone(), end_of(page)])
}

/// What is still to be sent of a page.
enum Rest {
    Parts(Receiver<Told>),
    End(Bytes),
    Nothing,
}

fn parts_response(door: &Door, first: Part, rest: Receiver<Told>, caller: &Caller) -> Response {
    let begun = [head_of(door.log.id(), first.seq), first.bytes];
    let gone = Box::pin(caller.gone());
    let rest = stream::unfold((Rest::Parts(rest), gone), |(rest, mut gone)| async {
        let (piece, rest) = match rest {
            Rest::Nothing => return None,
            Rest::End(end) => (Ok(end), Rest::Nothing),
            Rest::Parts(mut parts) => {
                let told = tokio::select! {
                    biased;
                    () = &mut gone => None,
                    told = parts.recv() => told,
                };
                match told {
                    Some(Ok(Made::Part(part))) => (Ok(part.bytes), Rest::Parts(parts)),
                    Some(Ok(Made::Page(page))) => (Ok(page.rows.bytes().clone()), Rest::End(end_of(&page))),
                    Some(Err(error)) => (Err(error), Rest::Nothing),
                    // An error, since an end in good order would say that the page is whole.
                    Some(Ok(Made::Nothing)) | None => (Err(Error::Closed), Rest::Nothing),
                }
            }
        };
        Some((piece, (rest, gone)))
    });
    json(Body::from_stream(stream::iter(begun.map(Ok)).chain(rest)))
}

/// Reads one event.
#[utoipa::path(
    get, path = "/api/history/{seq}", tag = "events", params(("seq" = i64, Path)),
    responses(
        (status = 200, description = "the event", body = Object),
        (status = 404, description = "there is no such event", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "it was pruned", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn event(
    State(door): State<Shared>,
    caller: Caller,
    seq: Result<Path<String>, PathRejection>,
    _: NoParams,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let Path(text) = seq?;
    let seq = number("seq", &text).map_err(|refusal| Problem::query(refusal.into()))?;
    let Some(seq) = Seq::new(seq) else { return Err(Problem::not_found()) };
    let read = move |conn: &Connection| crate::log::range::get(conn, seq);
    let row = door.log.shared().readers.run(Lane::Point, read).await?;
    row.map(|row| json(row.line())).ok_or_else(Problem::not_found)
}

/// The query of a histogram.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
struct AskedActivity {
    /// Where the histogram begins: unix seconds or RFC 3339. By default at the first event.
    since: Option<String>,
    /// Where it ends. By default now.
    until: Option<String>,
    /// How many buckets: 1 to 1000, 60 by default.
    buckets: Option<i64>,
}

fn asked_activity(mut params: Params) -> Result<Activity, Refusal> {
    let buckets = params.read("buckets", |text| number("buckets", text))?;
    let buckets = buckets.map(|buckets| usize::try_from(buckets).unwrap_or(usize::MAX));
    let asked = Activity {
        since_ms: params.read("since", |text| parse_time("since", text))?,
        until_ms: params.read("until", |text| parse_time("until", text))?,
        buckets: buckets.unwrap_or(ACTIVITY_BUCKETS),
    };
    params.end()?;
    Ok(asked)
}

#[derive(Serialize, utoipa::ToSchema)]
struct Histogram {
    buckets: Vec<Bucket>,
}

/// Counts events over time without reading them: the cost grows with the log's logarithm.
#[utoipa::path(
    get, path = "/api/activity", tag = "events", params(AskedActivity),
    responses(
        (status = 200, description = "the histogram", body = Histogram),
        (status = 400, description = "the query is not valid", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn histogram(State(door): State<Shared>, caller: Caller, params: Params) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let asked = asked_activity(params).map_err(|refusal| Problem::query(refusal.into()))?;
    let now_ms = door.log.shared().clock.now_ms();
    let read = move |conn: &Connection| activity::activity(conn, asked, now_ms);
    let buckets = door.log.shared().readers.run(Lane::Point, read).await.map_err(Problem::query)?;
    Ok(axum::Json(Histogram { buckets }).into_response())
}
