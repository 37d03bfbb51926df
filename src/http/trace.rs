//! What is logged of a request: its id and how it went, never its text.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::response::Response;

use crate::http::problem::Kind;
use crate::limits::PROBLEM_CHARS_MAX;

/// Tells a client the id of its request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives ids that no other run of a server gives.
#[derive(Debug)]
pub(super) struct Ids {
    /// What every id of this run begins with.
    run: String,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        // Without a random source ids are those of an earlier run too, which costs nobody more than a look at the time.
        Self { run: format!("{:08x}-", getrandom::u32().unwrap_or(0)), next: AtomicU64::new(0) }
    }

    fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Of one width: none is the beginning of another.
        let text = format!("{}{number:010}", self.run);
        RequestId(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }
}

/// The id of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(HeaderValue);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Every request passes the guard, which gives it one.
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self(HeaderValue::from_static(""))))
    }
}

/// A request that is being answered.
pub(super) struct Traced {
    id: RequestId,
    method: Method,
    uri: Uri,
    begin: Instant,
}

impl Traced {
    pub(super) fn begin(ids: &Ids, request: &mut Request) -> Self {
        let id = ids.next();
        request.extensions_mut().insert(id.clone());
        Self { id, method: request.method().clone(), uri: request.uri().clone(), begin: Instant::now() }
    }

    /// Writes down how it went, and tells the client under which id.
    pub(super) fn end(self, response: &mut Response) {
        let Self { id: request, method, uri, begin } = self;
        let status = response.status().as_u16();
        let problem = response.extensions().get().map(|Kind(kind)| *kind);
        // The path alone: a query may hold what somebody takes for a credential, or the words of a search.
        let path = || uri.path().chars().take(PROBLEM_CHARS_MAX).collect::<String>();
        let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if response.status().is_server_error() {
            tracing::warn!(%request, %method, path = ?path(), status, problem, ms, "not answered well");
        } else {
            tracing::debug!(%request, %method, path = ?path(), status, problem, ms, "answered");
        }
        response.headers_mut().insert(REQUEST_ID, request.0);
    }
}
