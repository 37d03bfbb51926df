//! The HTTP door: an axum router over a log, that nests in a host's app under any prefix.

mod append;
mod approvals;
mod body;
mod caller;
mod command;
mod history;
mod lines;
mod messages;
mod ops;
mod params;
mod problem;
mod questions;
mod rights;
mod serve;
mod socket;
mod state;
mod stream;
mod transients;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::desk::Desk;
use crate::error::Error;
use crate::log::Log;

pub use problem::Problem;
pub use serve::serve;

/// Who may come in.
///
/// There are no credentials yet: whoever reaches the port may read and append. So only requests that
/// name a known host are let in, which keeps a web page on another origin from reaching a server on
/// loopback through a name of its own (DNS rebinding).
#[derive(Clone, Debug, Default)]
pub struct Access {
    hosts: Vec<Box<str>>,
}

impl Access {
    /// Lets in requests that name loopback: `localhost`, `127.0.0.0/8`, `[::1]`, with any port.
    #[must_use]
    pub fn loopback() -> Self {
        Self::default()
    }

    /// Lets in requests that name this host too, with any port.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.hosts.push(name.to_ascii_lowercase().into());
        self
    }

    /// Whether peers may answer questions for the operator.
    #[allow(clippy::unused_self, reason = "a builder sets it")]
    const fn has_peer_answers(&self) -> bool {
        false
    }

    fn allows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        host == "localhost" || is_loopback || self.hosts.iter().any(|name| **name == *host)
    }
}

/// What every handler shares.
pub(crate) struct Door {
    log: Log,
    /// Absent where the log is only read.
    desk: Option<Desk>,
    access: Access,
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
    fn desk(&self) -> Result<&Desk, Problem> {
        self.desk.as_ref().ok_or_else(|| Error::ReadOnly.into())
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
    let requests = AtomicU64::new(0);
    let desk = Desk::of(&log).ok();
    let door =
        Arc::new(Door { log, desk, access, stop, past: Semaphore::new(1), registry, gauges, requests });
    let (routes, api) = routes().split_for_parts();
    ops::with_openapi(routes, api)
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .fallback(|| async { Problem::not_found() })
        .with_state(Arc::clone(&door))
        .layer(CatchPanicLayer::custom(|_| Problem::panicked().into_response()))
        .layer(middleware::from_fn_with_state(door, guard))
}

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(append::router())
        .merge(history::router())
        .merge(state::router())
        .merge(approvals::router())
        .merge(questions::router())
        .merge(transients::router())
        .merge(messages::router())
        .merge(stream::router())
        .merge(ops::router())
}

/// The routes in their documented form, for a test that compares them.
#[must_use]
pub fn openapi() -> String {
    let (_, api) = routes().split_for_parts();
    ops::document(api).to_pretty_json().unwrap_or_default()
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What holds for every route: the host is ours, the answer says that it is no page.
async fn guard(State(door): State<Shared>, request: Request, next: Next) -> Response {
    let number = door.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = match check_host(&door.access, &request) {
        Ok(()) => {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let response = next.run(request).await;
            tracing::debug!(request = number, %method, ?path, status = response.status().as_u16(), "answered");
            response
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    set(
        headers,
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    );
    if !headers.contains_key(header::CACHE_CONTROL) {
        set(headers, header::CACHE_CONTROL, "no-store");
    }
    headers.insert(REQUEST_ID, HeaderValue::from(number));
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

fn check_host(access: &Access, request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let (Some(host), None) = (host, hosts.next()) else { return Err(Problem::no_host()) };
    // The absolute form of a request line names a host too.
    let named = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if access.allows(host) && named.is_none_or(|named| access.allows(named)) {
        Ok(())
    } else {
        Err(Problem::misdirected())
    }
}

/// A response of JSON bytes.
fn json(body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    set(response.headers_mut(), header::CONTENT_TYPE, "application/json");
    response
}
