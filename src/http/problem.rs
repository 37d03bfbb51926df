//! Every error as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::QueryRejection;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{Error, Refusal};
use crate::limits::PROBLEM_CHARS_MAX;

/// What went wrong, for a program and for a person.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A stable name of the error.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The same in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(value_type = u16)]
    status: Status,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Box<str>>,
    /// The event that won, where somebody else was first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    winner: Option<Box<RawValue>>,
    #[serde(skip)]
    retry_after_seconds: Option<u16>,
}

/// All types, for the document: `tests/it/http/openapi.rs` finds each of them in the source.
pub(super) const KINDS: [&str; 36] = [
    "urn:hivelog:answers-full",
    "urn:hivelog:body-timeout",
    "urn:hivelog:busy",
    "urn:hivelog:closed",
    "urn:hivelog:conflict",
    "urn:hivelog:disk-full",
    "urn:hivelog:expired",
    "urn:hivelog:forbidden",
    "urn:hivelog:gone",
    "urn:hivelog:header",
    "urn:hivelog:host",
    "urn:hivelog:internal",
    "urn:hivelog:invalid",
    "urn:hivelog:key-reused",
    "urn:hivelog:malformed",
    "urn:hivelog:media-type",
    "urn:hivelog:method",
    "urn:hivelog:not-found",
    "urn:hivelog:occupied",
    "urn:hivelog:origin",
    "urn:hivelog:pending",
    "urn:hivelog:poisoned",
    "urn:hivelog:query",
    "urn:hivelog:queue-full",
    "urn:hivelog:read-only",
    "urn:hivelog:request",
    "urn:hivelog:session",
    "urn:hivelog:storage",
    "urn:hivelog:timed-out",
    "urn:hivelog:too-large",
    "urn:hivelog:too-many-open",
    "urn:hivelog:too-many-requests",
    "urn:hivelog:unauthorized",
    "urn:hivelog:unknown-kind",
    "urn:hivelog:unready",
    "urn:hivelog:wal-held",
];

/// The last word of a problem's type, left on its answer to be counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind(pub(super) &'static str);

/// A status that is written as its number.
#[derive(Clone, Copy, Debug)]
struct Status(StatusCode);

impl Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0.as_u16())
    }
}

impl Problem {
    pub(crate) const fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Self {
            kind,
            title,
            status: Status(status),
            detail: None,
            field: None,
            winner: None,
            retry_after_seconds: None,
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn of_field(mut self, field: &str) -> Self {
        self.field = Some(field.into());
        self
    }

    /// A body that does not have its shape.
    pub(crate) fn invalid(field: &str, detail: &str) -> Self {
        Refusal::invalid(field, detail).into()
    }

    pub(crate) const fn retry_after(mut self, seconds: u16) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// A query that cannot be asked: its shape is the request's own, so it is 400 and not 422.
    pub(crate) fn query(error: Error) -> Self {
        if let Error::Refused(Refusal::Invalid { field, detail }) = error {
            let problem = Self::new(StatusCode::BAD_REQUEST, "urn:hivelog:query", "the query is not valid");
            return Self { field, ..problem.detail(detail) };
        }
        error.into()
    }

    pub(crate) const fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "urn:hivelog:not-found", "there is nothing here")
    }

    pub(crate) const fn no_such_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "urn:hivelog:method",
            "this resource does not take this method",
        )
    }

    pub(crate) const fn misdirected() -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "urn:hivelog:host", "this host is not served here")
    }

    pub(crate) const fn no_host() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "urn:hivelog:host", "the request needs one Host")
    }

    pub(crate) const fn body_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "urn:hivelog:too-large", "the body is larger than 1 MiB")
    }

    pub(crate) const fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "urn:hivelog:body-timeout", "the body took longer than 30 s")
    }

    pub(crate) const fn body_broken() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "urn:hivelog:malformed",
            "the body ended too early or is not UTF-8",
        )
    }

    pub(crate) const fn media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "urn:hivelog:media-type",
            "expected application/json or application/x-ndjson",
        )
    }

    pub(crate) const fn panicked() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "urn:hivelog:internal", "the server has a fault")
    }

    pub(crate) const fn header(title: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "urn:hivelog:header", title)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let problem = match refusal {
            Refusal::Malformed(_) => {
                Self::new(StatusCode::BAD_REQUEST, "urn:hivelog:malformed", "the body is not JSON")
            }
            Refusal::Invalid { field, .. } => Self {
                field,
                ..Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "urn:hivelog:invalid",
                    "what was sent does not have its shape",
                )
            },
            Refusal::UnknownKind(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:hivelog:unknown-kind",
                "the kind is not known",
            ),
            Refusal::Unknown(_) => Self::not_found(),
            Refusal::Conflict { winner, .. } => Self {
                winner: serde_json::from_slice(&winner.line()).ok(),
                ..Self::new(StatusCode::CONFLICT, "urn:hivelog:conflict", "somebody else was first")
            },
            Refusal::Closed { row, .. } => Self {
                winner: serde_json::from_str(&row).ok(),
                ..Self::new(StatusCode::CONFLICT, "urn:hivelog:conflict", "somebody else was first")
            },
            Refusal::KeyReused(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:hivelog:key-reused",
                "the idempotency key stands for other content",
            ),
            Refusal::Forbidden(_) => {
                Self::new(StatusCode::FORBIDDEN, "urn:hivelog:forbidden", "this credential may not do that")
            }
            Refusal::TooManyOpen(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "urn:hivelog:too-many-open", "too much is open")
            }
            Refusal::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "urn:hivelog:too-large", "the append is too large")
            }
        };
        problem.detail(detail)
    }
}

impl From<Error> for Problem {
    /// 429, 503 and 507 say that nothing was stored; where that is not sure the answer is 500.
    fn from(error: Error) -> Self {
        let later = |kind, title, seconds| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title).retry_after(seconds)
        };
        let detail = error.to_string();
        let problem = match error {
            Error::Refused(refusal) => return refusal.into(),
            Error::QueueFull => later("urn:hivelog:queue-full", "too many appends wait", 1),
            Error::Expired => later("urn:hivelog:expired", "the append did not get its turn", 1),
            Error::Busy => later("urn:hivelog:busy", "another process holds the write lock", 1),
            Error::Occupied => later("urn:hivelog:occupied", "another such question is being answered", 1),
            Error::Pending => later("urn:hivelog:pending", "a reader holds old pages", 5),
            Error::TimedOut => later("urn:hivelog:timed-out", "the answer took too long", 10),
            Error::Closed => later("urn:hivelog:closed", "the log is being closed", 5),
            Error::ReadOnly => {
                Self::new(StatusCode::FORBIDDEN, "urn:hivelog:read-only", "this log is only read here")
            }
            Error::DiskFull => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "urn:hivelog:disk-full", "the disk is full")
                    .retry_after(5)
            }
            Error::WalHeld => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "urn:hivelog:wal-held",
                "a reader holds back the WAL",
            )
            .retry_after(5),
            Error::Gone { .. } => {
                Self::new(StatusCode::GONE, "urn:hivelog:gone", "that part of the log was pruned")
            }
            Error::NotFound(_) => Self::not_found(),
            Error::Poisoned(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "urn:hivelog:poisoned",
                "the log takes no appends; the outcome of this one is unknown",
            ),
            Error::Locked { .. }
            | Error::NotALog(_)
            | Error::Newer { .. }
            | Error::Exists(_)
            | Error::Replaced
            | Error::Storage(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "urn:hivelog:storage", "the storage failed")
            }
        };
        problem.detail(detail)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "urn:hivelog:query", "the query is not valid")
            .detail(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::not_found()
    }
}

/// The text cut with a visible mark; `None` where it is short enough.
fn clip(text: &str) -> Option<String> {
    let (end, _) = text.char_indices().nth(PROBLEM_CHARS_MAX)?;
    Some(format!("{}…", text.get(..end)?))
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.detail = self.detail.map(|detail| clip(&detail).unwrap_or(detail));
        self.field = self.field.map(|field| clip(&field).map_or(field, Into::into));
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status.0;
        response.extensions_mut().insert(Kind(self.kind.strip_prefix("urn:hivelog:").unwrap_or(self.kind)));
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if self.status.0 == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
