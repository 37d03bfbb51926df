//! The HTTP door: an axum router over a log, that nests in a host's app under any prefix.

mod access;
mod agents;
mod append;
mod approvals;
mod auth;
mod body;
mod caller;
mod command;
mod history;
mod lines;
mod messages;
mod ops;
mod page;
mod params;
mod peers;
mod problem;
mod questions;
mod rights;
mod serve;
mod session;
mod socket;
mod state;
mod stream;
mod tokens;
mod transients;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::access::credentials::Credentials;
use crate::desk::Desk;
use crate::error::Error;
use crate::log::Log;
use crate::search::Search;

pub use access::Access;
pub use problem::Problem;
pub use serve::serve;

/// What every handler shares.
pub(crate) struct Door {
    log: Log,
    /// What commands go to and credentials are asked of, or why there is none: then nobody comes in by one.
    desk: Result<Desk, Error>,
    /// What follows the log to find words and agents, or why nothing does.
    search: Result<Search, Error>,
    access: Access,
    /// The name of a session's cookie: cookies do not know ports, logs know their ids.
    cookie: String,
    /// Ends streams and waits when the server stops.
    stop: CancellationToken,
    /// A fold of a past board is costly: one at a time.
    past: Semaphore,
    registry: Registry,
    gauges: ops::Gauges,
    requests: AtomicU64,
}

impl Door {
    /// What commands go to.
    fn desk(&self) -> Result<&Desk, Error> {
        self.desk.as_ref().map_err(Clone::clone)
    }

    fn credentials(&self) -> Result<&Credentials, Error> {
        self.desk().map(Desk::credentials)
    }
}

type Shared = Arc<Door>;

/// The routes of a log, to be served or to be nested in a host's app.
///
/// Every path is relative, so any prefix works. Streams end when the log is closed.
pub fn router(log: Log, access: Access) -> Router {
    router_until(log, access, CancellationToken::new())
}

pub(crate) fn router_until(log: Log, access: Access, stop: CancellationToken) -> Router {
    let (registry, gauges) = ops::registry(&log);
    let (desk, search) = (Desk::of(&log), Search::of(&log));
    let cookie = format!("hivelog_{}", log.id());
    let (past, requests) = (Semaphore::new(1), AtomicU64::new(0));
    let door = Arc::new(Door { log, desk, search, access, cookie, stop, past, registry, gauges, requests });
    let (routes, api) = routes().split_for_parts();
    ops::with_openapi(routes, api)
        .route("/", get(page::index))
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .fallback(page::file)
        .with_state(Arc::clone(&door))
        .layer(CatchPanicLayer::custom(|_| Problem::panicked().into_response()))
        .layer(middleware::from_fn_with_state(door, guard))
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
}

/// The routes in their documented form, for a test that compares them.
#[must_use]
pub fn openapi() -> String {
    let (_, api) = routes().split_for_parts();
    ops::document(api).to_pretty_json().unwrap_or_default()
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What holds for every route: who may come in, and that the answer is no page, unless it says that it is one.
async fn guard(State(door): State<Shared>, mut request: Request, next: Next) -> Response {
    let number = door.requests.fetch_add(1, Ordering::Relaxed);
    let admitted = auth::admit(&door, &request)
        .and_then(|caller| auth::enter(&door.access, &caller).map(|place| (caller, place)));
    let mut response = match admitted {
        Ok((caller, place)) => {
            request.extensions_mut().insert(caller);
            // The path alone: a query may hold what somebody takes for a credential.
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let response = next.run(request).await;
            tracing::debug!(request = number, %method, ?path, status = response.status().as_u16(), "answered");
            auth::stay(response, place)
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let nothing = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
        set(headers, header::CONTENT_SECURITY_POLICY, nothing);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        set(headers, header::CACHE_CONTROL, "no-store");
    }
    headers.insert(REQUEST_ID, HeaderValue::from(number));
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// A response of JSON bytes.
fn json(body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    set(response.headers_mut(), header::CONTENT_TYPE, "application/json");
    response
}
