//! The operator's page: its files come out of the binary and need no credential.

use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;

use crate::http::problem::Problem;

/// The files of the page, as `build.rs` made them. A debug build reads them from the source as they are asked for.
#[derive(RustEmbed)]
#[cfg_attr(debug_assertions, folder = "src/dashboard")]
#[cfg_attr(not(debug_assertions), folder = "$OUT_DIR/dashboard")]
struct Files;

const INDEX: &str = "index.html";

/// What the page may do: load its own files and call its own server, and nothing that turns text into code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The page. Its query is the page's own: filters that were chosen, an event that is shown.
pub(super) async fn index(OriginalUri(asked): OriginalUri, headers: HeaderMap) -> Response {
    let place = asked.path().rsplit_once('/').map_or("", |(_, last)| last);
    let page = embedded(INDEX, &headers).unwrap_or_else(|| Problem::not_found().into_response());
    // A host nests a log under a prefix without a slash behind it: from there the files are one step down. What
    // a host let a client choose is no prefix of ours to write into a page.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    if place.is_empty() || page.status() != StatusCode::OK || !place.bytes().all(is_plain) {
        return page;
    }
    let (parts, _) = page.into_parts();
    let html = Files::get(INDEX).map(|file| String::from_utf8_lossy(&file.data).into_owned());
    let html = html.unwrap_or_default().replace("=\"./", &format!("=\"./{place}/"));
    Response::from_parts(parts, Body::from(html))
}

/// Any other file of the page, and the answer to every path that is none.
pub(super) async fn file(uri: Uri, request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let name = uri.path().trim_start_matches('/');
    let found = if is_read { badge(name).or_else(|| embedded(name, request.headers())) } else { None };
    found.unwrap_or_else(|| Problem::not_found().into_response())
}

fn embedded(name: &str, headers: &HeaderMap) -> Option<Response> {
    // A build that reads the files from disk would follow the dots.
    if name.split('/').any(|part| part.starts_with('.')) {
        return None;
    }
    let file = Files::get(name)?;
    let mut tag = String::from("\"");
    for byte in file.metadata.sha256_hash() {
        // Writing to a String does not fail.
        let _infallible = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known.strip_prefix("W/").unwrap_or(known) == tag
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data))
    };
    let kind = file.metadata.mimetype();
    let kind = if kind.starts_with("text/") { format!("{kind}; charset=utf-8") } else { kind.to_owned() };
    dress(&mut response, &kind);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Some(response)
}

/// The icon with the number of what waits: `icon-1.svg` to `icon-99.svg`.
fn badge(name: &str) -> Option<Response> {
    let digits = name.strip_prefix("icon-")?.strip_suffix(".svg")?;
    let number = digits.parse::<u8>().ok().filter(|number| (1..=99).contains(number))?;
    if number.to_string() != digits {
        return None;
    }
    let icon = Files::get("icon.svg")?;
    let plain = std::str::from_utf8(&icon.data).ok()?;
    let badge = format!(
        "<circle cx=\"22\" cy=\"10\" r=\"10\" fill=\"#c5221f\"/>\
         <text x=\"22\" y=\"15\" fill=\"#fff\" font-family=\"sans-serif\" font-size=\"14\" font-weight=\"700\" \
         text-anchor=\"middle\">{number}</text></svg>"
    );
    let mut response =
        Response::new(Body::from(plain.trim_end().strip_suffix("</svg>")?.to_owned() + &badge));
    dress(&mut response, "image/svg+xml");
    Some(response)
}

fn dress(response: &mut Response, kind: &str) {
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    super::set(headers, header::CACHE_CONTROL, "no-cache");
    super::set(headers, header::CONTENT_SECURITY_POLICY, POLICY);
    super::set(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    super::set(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}
