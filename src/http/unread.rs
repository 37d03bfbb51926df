//! Bytes that are no request: hyper's own refusal of them, in the shape of every other error.
//!
//! hyper answers by itself what it cannot read, with a bare head, and lets nobody else say it. So the socket
//! looks at what is about to go out: a head of four hundred and something that is all there is, and that lacks
//! the mark of everything that went through the router, is one of those.

use axum::http::StatusCode;

use crate::http::problem::Problem;

/// hyper's own refusals are shorter than this; what is longer is not even searched.
const REFUSAL_BYTES_MAX: usize = 256;
const NO_BODY: &str = "content-length: 0\r\n";

/// What goes out in place of these bytes, if they end in a refusal of hyper's own.
pub(super) fn instead_of(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let from = bytes.len().saturating_sub(REFUSAL_BYTES_MAX);
    let tail = bytes.get(from..)?;
    let at = from + tail.windows(10).rposition(|window| window == b"HTTP/1.1 4")?;
    let (before, refusal) = bytes.split_at_checked(at)?;
    let head = std::str::from_utf8(refusal).ok()?;
    // Everything of ours has a number.
    if head.contains("x-request-id") {
        return None;
    }
    let (first, rest) = head.split_once(NO_BODY)?;
    let body = serde_json::to_vec(&problem(head.get(9..12)?)?).ok()?;
    let length = body.len();
    let headers = format!(
        "content-type: application/problem+json\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n"
    );
    Some([before, first.as_bytes(), headers.as_bytes(), rest.as_bytes(), &body].concat())
}

fn problem(status: &str) -> Option<Problem> {
    let (status, title) = match status {
        "400" => (StatusCode::BAD_REQUEST, "this is no request of HTTP/1.1"),
        "414" => (StatusCode::URI_TOO_LONG, "the target of the request is too long"),
        "431" => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too large"),
        _ => return None,
    };
    Some(Problem::new(status, "urn:hivelog:request", title))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str =
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";

    #[test]
    fn a_bare_refusal_is_given_a_body() {
        for before in ["", "HTTP/1.1 200 OK\r\nx-request-id: 1\r\ncontent-length: 2\r\n\r\n{}"] {
            let instead = instead_of(format!("{before}{BARE}").as_bytes()).unwrap_or_default();
            let text = String::from_utf8_lossy(&instead).into_owned();
            let (head, body) = text.rsplit_once("\r\n\r\n").unwrap_or_default();
            assert!(head.starts_with(before), "{head}");
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
            assert!(head.contains("connection: close\r\n") && head.ends_with("date: now"), "{head}");
            assert!(body.starts_with(r#"{"type":"urn:hivelog:request""#), "{body}");
        }
    }

    #[test]
    fn everything_else_goes_out_as_it_is() {
        let ours = BARE.replace("date", "x-request-id: 7\r\ndate");
        let good = BARE.replace("400 Bad Request", "200 OK");
        let torn = &BARE[..BARE.len() - 1];
        for bytes in [&ours, &good, torn, "", "\r\n\r\n", "0\r\n\r\n", "id: 1\n\n\r\n"] {
            assert_eq!(instead_of(bytes.as_bytes()), None, "{bytes}");
        }
    }
}
