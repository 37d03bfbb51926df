//! What the door takes comes back byte for byte; what is no JSON does not come in.

#![no_main]

use std::collections::BTreeMap;

use hivelog::fuzzing::{Taken, events};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

type Members = BTreeMap<String, Box<RawValue>>;

/// Their text is written from what was read, so only the meaning stays.
const FIXED: [&str; 8] = [
    "sent",
    "delivered",
    "approval_added",
    "approval_resolved",
    "question_added",
    "question_resolved",
    "transient_set",
    "transient_cleared",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let (is_lines, key) = (first & 1 == 1, (first & 2 == 2).then_some("a-key"));
    let Ok((taken, is_one)) = events(body, is_lines, key) else { return };
    let text = std::str::from_utf8(body).expect("what was taken is text");
    let sources = sources(text, is_lines, is_one);
    assert_eq!(sources.len(), taken.len());
    for (source, taken) in sources.iter().zip(&taken) {
        check(source, taken, key.filter(|_| is_one));
    }
});

/// The events of a body, cut by another reader than the door's.
fn sources(text: &str, is_lines: bool, is_one: bool) -> Vec<String> {
    if is_lines {
        let lines = text.split('\n').filter(|line| !line.trim_matches([' ', '\t', '\r']).is_empty());
        return lines.map(str::to_owned).collect();
    }
    if is_one {
        return vec![text.to_owned()];
    }
    let items: Vec<Box<RawValue>> = serde_json::from_str(text).expect("what was taken is an array");
    items.iter().map(|item| item.get().to_owned()).collect()
}

fn check(source: &str, taken: &Taken, key: Option<&str>) {
    let mut members: Members = serde_json::from_str(source).expect("what was taken is an object");
    let payload: Members = serde_json::from_str(&taken.payload).expect("what is stored is an object");
    let word = |member: Option<Box<RawValue>>| {
        member.and_then(|text| serde_json::from_str::<String>(text.get()).ok())
    };
    assert_eq!(word(members.remove("kind")).as_deref(), Some(taken.kind.as_str()));
    let own = word(members.remove("key"));
    assert_eq!(own.as_deref().or(key), taken.key.as_deref());
    check_line(taken);
    assert!(taken.payload.len() <= 1 << 20);
    if FIXED.contains(&taken.kind.as_str()) {
        // An absent option is there as null; what is derived from the rest was not there at all.
        for (name, text) in &payload {
            let stored: Value = serde_json::from_str(text.get()).expect("JSON");
            match members.remove(name).map(|text| serde_json::from_str::<Value>(text.get())) {
                Some(sent) => assert_eq!(stored, sent.expect("JSON"), "{name}"),
                None => assert!(stored.is_null() || ["reason", "outcome"].contains(&name.as_str()), "{name}"),
            }
        }
        assert!(members.is_empty(), "a member was lost: {members:?}");
    } else {
        // Its own text, but for white space: names in order, and every value.
        assert_eq!(members.len(), payload.len());
        for (name, text) in &members {
            let stored = payload.get(name).unwrap_or_else(|| panic!("{name} was lost"));
            assert_eq!(squeezed(text.get()), stored.get(), "{name}");
            check_strict(&serde_json::from_str(text.get()).expect("JSON"), 1);
        }
        let squeezed = squeezed(source);
        for member in squeezed_members(&taken.payload) {
            assert!(squeezed.contains(&member), "{member} is not as it was written");
        }
    }
    // Read again, it is the same.
    let inner = taken.payload.strip_prefix('{').expect("an object");
    let comma = if inner == "}" { "" } else { "," };
    let again = format!("{{\"kind\":\"{}\"{comma}{inner}", taken.kind);
    let (again, _) = events(again.as_bytes(), false, None).expect("it was taken before");
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].payload, &again[0].agents), (&taken.payload, &taken.agents));
}

/// What readers get is one line of JSON, with everything in it.
fn check_line(taken: &Taken) {
    assert!(!taken.line.contains(&b'\n') && !taken.line.contains(&b'\r'), "one line");
    let line: BTreeMap<String, Value> = serde_json::from_slice(&taken.line).expect("a line is JSON");
    let payload: BTreeMap<String, Value> = serde_json::from_str(&taken.payload).expect("JSON");
    assert_eq!(line.len(), payload.len() + 3);
    assert_eq!(line.get("kind").and_then(Value::as_str), Some(taken.kind.as_str()));
    assert!(payload.iter().all(|(name, value)| line.get(name) == Some(value)));
}

/// White space outside of strings taken out, by another way than the log's own.
fn squeezed(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    while let Some(at) = rest.find(['"', ' ', '\t', '\r', '\n']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if !from.starts_with('"') {
            rest = &from[1..];
            continue;
        }
        let mut end = 1;
        while !from[end..].starts_with('"') {
            end += if from[end..].starts_with('\\') {
                2
            } else {
                from[end..].chars().next().map_or(1, char::len_utf8)
            };
        }
        out.push_str(&from[..=end]);
        rest = &from[end + 1..];
    }
    out + rest
}

/// The members of an object of the first level, each with its name as written.
fn squeezed_members(payload: &str) -> Vec<String> {
    let inner = payload.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).expect("an object");
    let (mut members, mut depth, mut in_string, mut escaped) = (vec![String::new()], 0, false, false);
    for character in inner.chars() {
        let is_end = !in_string && depth == 0 && character == ',';
        if is_end {
            members.push(String::new());
            continue;
        }
        members.last_mut().expect("one").push(character);
        if escaped {
            escaped = false;
        } else if in_string {
            escaped = character == '\\';
            in_string = character != '"';
        } else {
            in_string = character == '"';
            depth += i32::from(matches!(character, '{' | '[')) - i32::from(matches!(character, '}' | ']'));
        }
    }
    members
}

/// Nested no deeper than was promised.
fn check_strict(value: &Value, depth: usize) {
    match value {
        Value::Array(items) => {
            assert!(depth < 64);
            items.iter().for_each(|item| check_strict(item, depth + 1));
        }
        Value::Object(members) => {
            assert!(depth < 64);
            members.values().for_each(|member| check_strict(member, depth + 1));
        }
        Value::Number(number) => assert!(number.as_f64().is_some_and(f64::is_finite)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
