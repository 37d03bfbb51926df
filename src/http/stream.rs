//! `GET /api/stream`: the live read as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::time::{Instant, Sleep, sleep};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{Error, Refusal};
use crate::http::caller::{Caller, READERS};
use crate::http::params::Params;
use crate::http::problem::Problem;
use crate::http::{Shared, history};
use crate::limits::{HEARTBEAT, RETRY_MS};
use crate::log::feed::{Feed, ResetReason, Start, Step, look_at_store};
use crate::query::Filter;
use crate::row::Segment;
use crate::seq::{Cursor, Seq};
use crate::store::readers::Lane;
use crate::wire;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// The query of a stream.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
struct Asked {
    /// Where to go on: a cursor (`<log id>-<seq>`) or a seq. `Last-Event-ID` wins over it.
    after: Option<String>,
    /// Only these kinds; may be repeated.
    kind: Vec<String>,
    /// Only events that concern one of these agents; may be repeated.
    agent: Vec<String>,
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follows the log: what is there after the position, then what comes.
///
/// Every frame carries the position that a client resumes from. Log events have no event name; the
/// stream's own frames are `hello`, `caught_up`, `heartbeat` and `reset`.
#[utoipa::path(
    get, path = "/api/stream", tag = "live",
    params(Asked, ("Last-Event-ID" = Option<String>, Header, description = "the id of the last frame that was received")),
    responses(
        (status = 200, description = "the stream", body = String, content_type = "text/event-stream"),
        (status = 400, description = "no position, or no filter", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn follow(
    State(door): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let query = |refusal: Refusal| Problem::query(refusal.into());
    let filter = history::filter(&mut params).map_err(query)?;
    let after = params.one("after").map_err(query)?;
    params.end().map_err(query)?;
    let start = start(&headers, after.as_deref())?;
    let shared = Arc::clone(door.log.shared());
    let begin = shared.readers.run(Lane::Point, look_at_store).await?;
    let feed = Feed::begin(shared, start, begin);
    let stopped = door.stop.clone().cancelled_owned();
    let gone = caller.gone();
    let frames = Frames::new(feed, filter, async move {
        tokio::select! {
            () = stopped => {}
            () = gone => {}
        }
    });
    let body = Body::from_stream(stream::unfold(frames, |mut frames| async {
        frames.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), frames))
    }));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    super::set(headers, header::CONTENT_TYPE, "text/event-stream");
    super::set(headers, header::CACHE_CONTROL, "no-store");
    super::set(headers, HeaderName::from_static("x-accel-buffering"), "no");
    Ok(response)
}

fn start(headers: &HeaderMap, after: Option<&str>) -> Result<Start, Problem> {
    let mut ids = headers.get_all(LAST_EVENT_ID).iter();
    let text = match (ids.next(), ids.next()) {
        (None, _) => after,
        (Some(id), None) => {
            Some(id.to_str().map_err(|_| Problem::header("Last-Event-ID is not an id of this stream"))?)
        }
        (Some(_), Some(_)) => return Err(Problem::header("Last-Event-ID is given twice")),
    };
    match text.map(str::parse::<Cursor>) {
        None => Ok(Start::Now),
        Some(Ok(cursor)) => Ok(cursor.into()),
        Some(Err(_)) => {
            Err(Problem::header("the position is neither <log id>-<seq> nor a seq from 0 to 2^63-1"))
        }
    }
}

/// The frames of one stream, as bytes. It holds no event but those that it is about to give.
struct Frames {
    feed: Feed,
    filter: Filter,
    ready: VecDeque<Bytes>,
    // Both live as long as the stream, so that a wake-up costs no new timer and no new registration.
    heartbeat: Pin<Box<Sleep>>,
    /// The server stops, or the credential does not hold any more.
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

/// What ends a wait.
enum Woken {
    Step(Result<Step, Error>),
    Heartbeat,
    Stop,
}

impl Frames {
    fn new(feed: Feed, filter: Filter, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        let begin = feed.begun();
        let (log_id, head, floor) = (feed.log_id(), begin.head, begin.floor);
        let hello = wire::control_frame(
            "hello",
            begin.from,
            format_args!("{{\"log_id\":\"{log_id}\",\"seq\":{head},\"floor\":{floor}}}"),
        );
        let mut first = wire::retry_frame(jitter());
        first.extend_from_slice(&hello);
        Self {
            feed,
            filter,
            ready: VecDeque::from([Bytes::from(first)]),
            heartbeat: Box::pin(sleep(HEARTBEAT)),
            stop: Box::pin(stop),
            ended: false,
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            let woken = tokio::select! {
                // In this order: a reader that has something to read pays for nothing else.
                biased;
                step = self.feed.next() => Woken::Step(step),
                () = self.heartbeat.as_mut() => Woken::Heartbeat,
                () = self.stop.as_mut() => Woken::Stop,
            };
            match woken {
                Woken::Step(Ok(Step::Rows(segment, from))) => self.give(&segment, from),
                Woken::Step(Ok(Step::CaughtUp(seq))) => {
                    self.control("caught_up", format_args!("{{\"seq\":{seq}}}"));
                }
                Woken::Step(Ok(Step::Reset(reason, seq))) => self.reset(reason, seq),
                Woken::Heartbeat => {
                    self.heartbeat.as_mut().reset(Instant::now() + HEARTBEAT);
                    let head = self.feed.head();
                    self.control("heartbeat", format_args!("{{\"seq\":{head}}}"));
                }
                // An error ends the stream: the client comes back and is told by the answer.
                Woken::Step(Ok(Step::End) | Err(_)) | Woken::Stop => self.ended = true,
            }
        }
    }

    /// Cuts what is wanted out of the shared memory: neighbours stay one piece.
    fn give(&mut self, segment: &Segment, from: usize) {
        if self.filter.wants_all() {
            self.ready.push_back(segment.slice(from, segment.len()));
            return;
        }
        let mut begin = None;
        for (index, (kind, agents)) in (from..).zip(segment.words_from(from)) {
            match (self.filter.wants(kind, agents), begin) {
                (true, None) => begin = Some(index),
                (false, Some(first)) => {
                    self.ready.push_back(segment.slice(first, index));
                    begin = None;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        if let Some(first) = begin {
            self.ready.push_back(segment.slice(first, segment.len()));
        }
    }

    fn control(&mut self, name: &str, data: std::fmt::Arguments<'_>) {
        let frame = wire::control_frame(name, Cursor::new(self.feed.log_id(), self.feed.cursor()), data);
        self.ready.push_back(frame.into());
    }

    fn reset(&mut self, reason: ResetReason, seq: Seq) {
        let (log_id, floor, reason) = (self.feed.log_id(), self.feed.begun().floor, reason.as_str());
        self.control(
            "reset",
            format_args!(
                "{{\"reason\":\"{reason}\",\"log_id\":\"{log_id}\",\"seq\":{seq},\"floor\":{floor}}}"
            ),
        );
    }
}

/// A delay for reconnecting, spread evenly.
fn jitter() -> u32 {
    let (low, high) = (*RETRY_MS.start(), *RETRY_MS.end());
    // Without a random source every client gets the same delay, which is still a delay.
    low + getrandom::u32().unwrap_or(0) % (high - low + 1)
}
