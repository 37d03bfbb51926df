//! The shape of a payload: its members read, checked and written in the order of the wire.

use serde_json::value::RawValue;

use crate::draft::{compact, payload_bytes};
use crate::error::Refusal;
use crate::event::payload::Payload;
use crate::limits::{INTEGER_MAX, NAME_CHARS_MAX};
use crate::record::{Record, Writing};

/// Reads the members of a payload and writes them as the object that is stored.
pub(super) fn compose<P: Payload>(
    kind: &str,
    members: &[(&str, &RawValue)],
) -> Result<(P, Writing), Refusal> {
    let pairs = members.iter().map(|(field, value)| (*field, *value));
    let payload = P::deserialize(serde::de::value::MapDeserializer::new(pairs))
        .map_err(|error: serde_json::Error| wrong_shape::<P>(members, &error))?;
    payload.check()?;
    let mut writing = Record::begin(kind, &payload.names(), payload_bytes(members));
    let text = writing.payload();
    let mut divider = '{';
    for field in P::FIELDS {
        text.push(std::mem::replace(&mut divider, ','));
        text.push('"');
        text.push_str(field);
        text.push_str("\":");
        match members.iter().find(|(name, _)| name == field) {
            Some((_, value)) => compact(value.get(), text),
            None => text.push_str(payload.absent(field)),
        }
    }
    text.push('}');
    Ok((payload, writing))
}

/// Names the field that is wrong: each member is tried alone.
fn wrong_shape<P: Payload>(members: &[(&str, &RawValue)], error: &serde_json::Error) -> Refusal {
    if let Some((field, _)) = members.iter().find(|(field, _)| !P::FIELDS.contains(field)) {
        return Refusal::invalid(field, "is not a field of this kind");
    }
    for (field, value) in members {
        let alone = std::iter::once((*field, *value));
        if let Err(error) =
            P::deserialize(serde::de::value::MapDeserializer::<_, serde_json::Error>::new(alone))
        {
            let text = error.to_string();
            if !text.starts_with("missing field") {
                return Refusal::invalid(field, without_position(&text));
            }
        }
    }
    let text = error.to_string();
    match text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => Refusal::invalid(field, "is missing"),
        None => Refusal::shape(without_position(&text)),
    }
}

/// A position inside one member means nothing to the one who sent the whole.
fn without_position(text: &str) -> &str {
    text.split_once(" at line ").map_or(text, |(message, _)| message)
}

/// Whether `text` is a name: `[a-z0-9][a-z0-9._-]{0,63}`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= NAME_CHARS_MAX
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

pub(super) fn name(field: &str, text: &str) -> Result<(), Refusal> {
    if is_name(text) {
        Ok(())
    } else {
        Err(Refusal::invalid(field, "is not a name: expected [a-z0-9][a-z0-9._-]{0,63}"))
    }
}

pub(super) fn word(field: &str, text: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain) {
        Ok(())
    } else {
        Err(Refusal::invalid(field, "is not a word: expected [A-Za-z0-9._-]{1,64}"))
    }
}

pub(super) fn id(field: &str, number: i64) -> Result<(), Refusal> {
    if number == 0 {
        return Err(Refusal::invalid(field, "is an id: they begin at 1"));
    }
    integer(field, number)
}

pub(super) fn integer(field: &str, number: i64) -> Result<(), Refusal> {
    if (0..=INTEGER_MAX).contains(&number) {
        Ok(())
    } else {
        Err(Refusal::invalid(field, "is not an integer from 0 to 2^53-1"))
    }
}
