//! The HTTP door: an axum router over a log, that nests in a host's app under any prefix.

mod access;
mod admin;
mod agents;
mod answer;
mod append;
mod approvals;
mod auth;
mod body;
mod caller;
mod command;
mod document;
mod gauges;
mod herald;
mod history;
mod late;
mod lines;
mod listener;
mod messages;
mod ops;
mod page;
mod params;
mod peers;
#[cfg(fuzzing)]
pub(crate) mod probe;
mod problem;
mod questions;
mod rights;
mod serve;
mod session;
mod socket;
mod state;
mod stream;
mod tokens;
mod trace;
mod transients;
mod unread;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};
use utoipa_axum::router::OpenApiRouter;

use crate::access::credentials::Credentials;
use crate::desk::Desk;
use crate::error::Error;
use crate::log::Log;
use crate::log::herald::Herald;
use crate::search::Search;

pub use access::Access;
pub use listener::Listener;
pub use problem::Problem;
pub use serve::{serve, serve_on};

/// What every handler shares.
pub(crate) struct Door {
    log: Log,
    /// What commands go to and credentials are asked of. Without one nobody comes in by a credential.
    desk: late::LateDesk,
    /// What follows the log to find words and agents, or why nothing does.
    search: Result<Search, Error>,
    access: Access,
    /// The name of a session's cookie: cookies do not know ports, logs know their ids.
    cookie: String,
    /// Ends streams and waits when the server stops.
    stop: CancellationToken,
    /// Tells the streams of what was committed.
    herald: Arc<Herald>,
    /// A fold of a past board is costly: one at a time.
    past: Arc<Semaphore>,
    room: answer::Room,
    boards: state::Boards,
    registry: Registry,
    gauges: gauges::Gauges,
    requests: trace::Ids,
}

impl Door {
    /// What commands go to.
    fn desk(&self) -> Result<&Desk, Error> {
        self.desk.get()
    }

    fn credentials(&self) -> Result<&Credentials, Error> {
        self.desk().map(Desk::credentials)
    }
}

type Shared = Arc<Door>;

/// The routes of a log, to be served or to be nested in a host's app.
///
/// Every path is relative, so any prefix works. Streams end when the log is closed. What is bounded at the socket
/// (how long a client may stall or take for a request's head, how many connect, how long an end takes) is
/// [`serve`]'s, not the router's: under another server it is that one's.
pub fn router(log: Log, access: Access) -> Router {
    let (door, routes) = open(log, access, CancellationToken::new());
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let door = Arc::clone(&door);
        async move { guard(&door, request, |request| next.run(request)).await }
    }))
}

/// The same as one service: a layer on each route costs each request two more boxes.
pub(crate) fn app(
    log: Log,
    access: Access,
    stop: CancellationToken,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let (door, routes) = open(log, access, stop);
    tower::service_fn(move |request| {
        let (door, routes) = (Arc::clone(&door), routes.clone());
        // In a box of its own: a connection keeps room for this future for as long as it is open, and most wait.
        Box::pin(async move {
            let run = |request| async {
                let Ok(response) = routes.oneshot(request).await;
                response
            };
            Ok(guard(&door, request, run).await)
        })
    })
}

/// What is shared, and the routes, which the guard has to stand before.
fn open(log: Log, access: Access, stop: CancellationToken) -> (Shared, Router) {
    let (registry, gauges) = gauges::registry(&log);
    let (desk, search) = (late::LateDesk::of(&log), Search::of(&log));
    let cookie = format!("hivelog_{}", log.id());
    let (past, requests) = (Arc::new(Semaphore::new(1)), trace::Ids::new());
    let herald = Arc::new(Herald::new());
    let (room, boards) = (answer::Room::new(), state::Boards::default());
    let door = Arc::new(Door {
        log,
        desk,
        search,
        access,
        cookie,
        stop,
        herald,
        past,
        room,
        boards,
        registry,
        gauges,
        requests,
    });
    let (routes, api) = routes().split_for_parts();
    let routes = document::with_openapi(routes, api)
        .route("/", get(page::index))
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .fallback(page::file)
        .with_state(Arc::clone(&door));
    (door, routes)
}

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(append::router())
        .merge(history::router())
        .merge(agents::router())
        .merge(state::router())
        .merge(approvals::router())
        .merge(questions::router())
        .merge(transients::router())
        .merge(messages::router())
        .merge(stream::router())
        .merge(ops::router())
        .merge(session::router())
        .merge(tokens::router())
        .merge(admin::router())
}

/// The routes in their documented form, for a test that compares them.
#[must_use]
pub fn openapi() -> String {
    let (_, api) = routes().split_for_parts();
    document::document(api).to_pretty_json().unwrap_or_default()
}

// Made once: a text that becomes a header is looked at byte by byte.
static NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
static NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
static NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
static NOTHING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);
static JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What holds for every route: who may come in, and that the answer is no page, unless it says that it is one.
async fn guard<F>(door: &Door, mut request: Request, run: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let traced = trace::Traced::begin(&door.requests, &mut request);
    let admitted = auth::admit(door, &request)
        .and_then(|caller| auth::enter(&door.access, &caller).map(|place| (caller, place)));
    let mut response = match admitted {
        Ok((caller, place)) => {
            let share = caller.share().cloned();
            request.extensions_mut().insert(caller);
            let answer = AssertUnwindSafe(async { run(request).await }).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Problem::panicked().into_response());
            door.room.let_out(share.as_ref(), answer, place)
        }
        Err(problem) => problem.into_response(),
    };
    if let Some(problem::Kind(kind)) = response.extensions().get() {
        door.log.shared().metrics.refuse_request(kind);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF.clone());
    headers.insert(header::REFERRER_POLICY, NO_REFERRER.clone());
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| NOTHING.clone());
    headers.entry(header::CACHE_CONTROL).or_insert_with(|| NO_STORE.clone());
    traced.end(&mut response);
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// A response of JSON in pieces.
fn pasted(pieces: [axum::body::Bytes; 3]) -> Response {
    json(axum::body::Body::new(answer::Pieces(pieces.into_iter())))
}

/// A response of JSON bytes.
fn json(body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    // What every answer gets on its way out: one by one they would have the map grow three times.
    response.headers_mut().reserve(12);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON.clone());
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use tokio_util::sync::CancellationToken;
    use tower::Service as _;

    use super::{Access, app};
    use crate::{Log, Options};

    /// hyper keeps room for it with each connection, thousands of which wait.
    #[tokio::test]
    async fn the_future_of_a_request_is_a_pointer() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path().join("log.db"), Options::default()).unwrap();
        let mut app = app(log, Access::no_auth(), CancellationToken::new());
        let answer = app.call(Request::new(Body::empty()));
        assert_eq!(size_of_val(&answer), size_of::<usize>());
    }
}
