//! Whether a request comes in at all: its host, its origin, its form, its credential.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::access::Role;
use crate::access::credentials::Credentials;
use crate::access::pass::Place;
use crate::error::Error;
use crate::http::caller::Caller;
use crate::http::listener::Bound;
use crate::http::problem::Problem;
use crate::http::{Access, Door};

/// Carries the second secret of a session.
pub(super) const SESSION: HeaderName = HeaderName::from_static("x-hivelog-session");

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Cookies of our name that are looked at: another server on this host can set some too.
const COOKIES_MAX: usize = 4;

/// Lets a request in, or says why not; gives who makes it.
pub(super) fn admit(door: &Door, request: &Request) -> Result<Caller, Problem> {
    let host = check_host(&door.access, request)?;
    let writes = is_write(request.method());
    // The stream tells what happens to whoever holds it open.
    if writes || request.uri().path() == "/api/stream" {
        check_origin(&door.access, request.headers(), host)?;
    }
    if writes {
        check_form(request)?;
    }
    let caller = match request.extensions().get::<Bound>() {
        Some(bound) => credentials(door)?.map_or(Caller::Unknown, |all| Caller::Known(bound.pass(all))),
        None => identify(door, request.headers(), writes)?,
    };
    // Each handler asks for its roles. Before any of them reads a query or a body, this holds for all.
    if request.uri().path().starts_with("/api/") {
        caller.needs(&Role::ALL)?;
    }
    Ok(caller)
}

fn check_host<'a>(access: &Access, request: &'a Request) -> Result<&'a str, Problem> {
    let host = only(request.headers(), &header::HOST).ok_or_else(Problem::no_host)?;
    // The absolute form of a request line names a host too.
    let named = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if access.allows(host) && named.is_none_or(|named| access.allows(named)) {
        Ok(host)
    } else {
        Err(Problem::misdirected())
    }
}

/// The one value of a header; none where it is absent, given twice, or no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().and_then(|value| value.to_str().ok());
    first.filter(|_| values.next().is_none())
}

/// Whether a method changes something. One that is not known might.
const fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Refuses what a page of another origin makes a browser send.
fn check_origin(access: &Access, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let foreign = |detail: &'static str| {
        Problem::new(StatusCode::FORBIDDEN, "urn:hivelog:origin", "a page of another origin may not do that")
            .detail(detail)
    };
    if headers.contains_key(header::ORIGIN)
        && only(headers, &header::ORIGIN).is_none_or(|origin| !access.is_own(origin, host))
    {
        return Err(foreign("Origin is neither the scheme and Host of this request nor a public URL's"));
    }
    if headers.contains_key(FETCH_SITE) && !matches!(only(headers, &FETCH_SITE), Some("same-origin" | "none"))
    {
        return Err(foreign("Sec-Fetch-Site is neither same-origin nor none"));
    }
    Ok(())
}

/// Refuses bodies that a form can send: those need no leave of a browser.
fn check_form(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let is_empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
        && !headers.contains_key(header::TRANSFER_ENCODING);
    if is_empty && !headers.contains_key(header::CONTENT_TYPE) {
        return Ok(());
    }
    let kind = only(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let takes_lines = request.uri().path() == "/api/events";
    if essence.eq_ignore_ascii_case("application/json")
        || (takes_lines && essence.eq_ignore_ascii_case("application/x-ndjson"))
    {
        return Ok(());
    }
    Err(Problem::media_type())
}

/// What credentials are asked of; none where the log has no such thing. Where they are not there yet nobody is told that
/// theirs does not hold.
fn credentials(door: &Door) -> Result<Option<&Credentials>, Problem> {
    match door.credentials() {
        Ok(credentials) => Ok(Some(credentials)),
        // Of a log that is only read nobody has one.
        Err(Error::ReadOnly | Error::Closed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Who makes the request: `Authorization`, else the cookie. The query is never looked at.
fn identify(door: &Door, headers: &HeaderMap, writes: bool) -> Result<Caller, Problem> {
    if !door.access.asks {
        return Ok(Caller::Anybody);
    }
    let shows_none =
        !headers.contains_key(header::AUTHORIZATION) && cookies(headers, &door.cookie).next().is_none();
    let credentials = if shows_none { None } else { credentials(door)? };
    let Some(credentials) = credentials else { return Ok(Caller::Unknown) };
    if headers.contains_key(header::AUTHORIZATION) {
        let pass = only(headers, &header::AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| credentials.by_token(token.trim()));
        return Ok(pass.map_or(Caller::Unknown, Caller::Known));
    }
    let write = only(headers, &SESSION);
    let mut cookies = cookies(headers, &door.cookie).take(COOKIES_MAX);
    Ok(match cookies.find_map(|cookie| credentials.by_session(cookie, write)) {
        Some((_, false)) if writes => Caller::Unarmed,
        Some((pass, _)) => Caller::Known(pass),
        None => Caller::Unknown,
    })
}

fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, value)| value)
}

/// A place among the open requests of the caller's token; nobody else is counted.
pub(super) fn enter(access: &Access, caller: &Caller) -> Result<Option<Place>, Problem> {
    let Caller::Known(pass) = caller else { return Ok(None) };
    match pass.enter(access.connections_per_token) {
        Some(place) => Ok(Some(place)),
        None => Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "urn:hivelog:too-many-requests",
            "this credential has too many requests open",
        )
        .retry_after(1)),
    }
}
