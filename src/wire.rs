//! The bytes on the wire: the JSON envelope of an event, the frames of a stream.

use std::io::Write as _;

use crate::seq::{Cursor, LogId, Seq};

/// Appends one event as a flat JSON object on one line, with the idempotency key that it was appended
/// under where one is given; says where its kind ends.
///
/// The payload is pasted as stored: never parsed, never written anew.
pub(crate) fn envelope(
    out: &mut Vec<u8>,
    (seq, recorded_at_ms): (Seq, i64),
    kind: &str,
    key: Option<&str>,
    payload: &[u8],
) -> usize {
    out.reserve(payload.len() + 160);
    let kind_end = open_envelope(out, seq, recorded_at_ms, kind);
    if let Some(key) = key {
        out.extend_from_slice(b",\"key\":");
        string(out, key);
    }
    close_envelope(out, payload);
    kind_end
}

fn open_envelope(out: &mut Vec<u8>, seq: Seq, recorded_at_ms: i64, kind: &str) -> usize {
    out.extend_from_slice(b"{\"seq\":");
    integer(out, seq.get());
    out.extend_from_slice(b",\"recorded_at_ms\":");
    integer(out, recorded_at_ms);
    out.extend_from_slice(KIND);
    // A kind is [a-z0-9_.]: it needs no escapes. A foreign row's kind is made harmless.
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if kind.bytes().all(is_plain) {
        out.extend_from_slice(kind.as_bytes());
    } else {
        out.extend(kind.bytes().map(|byte| if is_plain(byte) { byte } else { b'?' }));
    }
    out.push(b'"');
    out.len() - 1
}

/// What stands before the kind of an event.
const KIND: &[u8] = b",\"kind\":\"";

fn close_envelope(out: &mut Vec<u8>, payload: &[u8]) {
    match payload {
        [b'{', b'}'] | [] => out.push(b'}'),
        [_, members @ ..] => {
            out.push(b',');
            out.extend_from_slice(members);
        }
    }
}

/// Appends an integer in decimal digits.
pub(crate) fn integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec does not fail, nor does a &str as JSON.
    let _infallible = serde_json::to_writer(out, text);
}

/// Appends the lines of a frame that come before its data: every frame carries the position that
/// a client resumes from.
pub(crate) fn frame_id(out: &mut Vec<u8>, log_id: LogId, seq: Seq) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(log_id.as_str().as_bytes());
    out.push(b'-');
    integer(out, seq.get());
    out.push(b'\n');
}

pub(crate) const FRAME_DATA: &[u8] = b"data: ";
pub(crate) const FRAME_END: &[u8] = b"\n\n";

/// The first line of a stream: how long a browser waits before it comes back.
#[must_use]
pub(crate) fn retry_frame(delay_ms: u32) -> Vec<u8> {
    format!("retry: {delay_ms}\n\n").into_bytes()
}

/// A frame of the stream's own, with a name and the position `at` that a client resumes from.
#[must_use]
pub(crate) fn control_frame(name: &str, at: Cursor, data: std::fmt::Arguments<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    // Writing to a Vec does not fail.
    let _infallible = write!(out, "id: {at}\nevent: {name}\ndata: {data}\n\n");
    out
}
