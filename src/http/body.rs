//! The body of a command, read strictly: one object, no field that is not asked for, the wrong one named.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::error::Refusal;
use crate::http::append;
use crate::http::problem::Problem;

/// Reads a body of JSON; an empty one is an object without members and needs no content type.
pub(super) async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let bytes = append::read(headers, body).await?;
    if bytes.is_empty() {
        return parse(b"{}");
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::media_type());
    }
    parse(&bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    no_list(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        named(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| Refusal::json(&error))?;
    Ok(read)
}

/// Refuses a list: a derived reader takes the members' values in a row for the object.
pub(super) fn no_list(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Refusal::shape("expected an object"));
    }
    Ok(())
}

/// What the JSON reader says, with the field that it speaks of.
fn named(path: &str, error: &serde_json::Error) -> Refusal {
    let refusal = Refusal::json(error);
    if matches!(refusal, Refusal::Malformed(_)) {
        return refusal;
    }
    let text = error.to_string();
    let text = text.split_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let quoted = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.split_once('`'));
    if let Some((field, _)) = quoted("unknown field `") {
        return Refusal::invalid(field, "is not a field of this call");
    }
    if let Some((field, _)) = quoted("missing field `") {
        return Refusal::invalid(field, "is missing");
    }
    if let Some((field, _)) = quoted("duplicate field `") {
        return Refusal::invalid(field, "is given twice");
    }
    if path == "." { Refusal::shape(text) } else { Refusal::invalid(path, text) }
}
