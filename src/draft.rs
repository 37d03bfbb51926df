//! A draft: an event before it has a seq.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::event::{Event, is_name};
use crate::limits::{KEY_CHARS_MAX, NAME_CHARS_MAX, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX};
use crate::record::Record;
use crate::seq::Seq;

/// An application's own kind of event.
///
/// The kind needs a dot in its name (`deploy.finished`), or must be declared when the log is
/// opened.
pub trait Custom: Serialize {
    /// The kind by name.
    const KIND: &'static str;
}

/// An event before it has a seq.
///
/// A draft that does not have the shape of its kind is refused when it is appended, on the
/// receipt, and nothing is stored.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(crate) record: Result<Arc<Record>, Refusal>,
    pub(crate) key: Option<Box<str>>,
}

impl Draft {
    /// A draft of an application's own kind.
    pub fn custom<T: Custom>(value: &T) -> Self {
        let text = serde_json::to_string(value);
        Self::from_text(text, |text| parse(text, Some(T::KIND), Reserved::Refuse))
    }

    /// A draft of any object that has a `kind` member; a `seq` member is dropped.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::from_text(serde_json::to_string(value), |text| parse(text, None, Reserved::DropSeq))
    }

    fn from_text(
        text: Result<String, serde_json::Error>,
        parse: impl FnOnce(&str) -> Result<Self, Refusal>,
    ) -> Self {
        text.map_err(|error| Refusal::shape(error.to_string()))
            .and_then(|text| parse(&text))
            .unwrap_or_else(|refusal| Self { record: Err(refusal), key: None })
    }

    /// A draft from the text of one JSON object as it comes over the wire.
    ///
    /// # Errors
    /// The text is no JSON object, or not one of its kind's shape.
    pub fn from_json(text: &str) -> Result<Self, Refusal> {
        parse(text, None, Reserved::Refuse)
    }

    /// The draft with an idempotency key of 1 to 256 visible ASCII characters: appended again under the same key by
    /// the same actor, it is stored once. Keys are remembered for 90 days.
    #[must_use]
    pub fn key(mut self, key: impl Into<Box<str>>) -> Self {
        let key = key.into();
        match check_key(&key) {
            Ok(()) => self.key = Some(key),
            Err(refusal) => self.record = Err(refusal),
        }
        self
    }

    /// Reads a line of an export: an envelope with the seq, the time and the key that it had.
    pub(crate) fn imported(text: &str) -> Result<Imported, Refusal> {
        #[derive(Deserialize)]
        struct Envelope {
            seq: i64,
            recorded_at_ms: i64,
        }
        let envelope: Envelope =
            serde_json::from_str(text).map_err(|error| Refusal::shape(error.to_string()))?;
        let seq = Seq::new(envelope.seq)
            .filter(|seq| *seq > Seq::ZERO)
            .ok_or_else(|| Refusal::invalid("seq", "is not a seq"))?;
        let draft = parse(text, None, Reserved::Import)?;
        Ok(Imported { seq, recorded_at_ms: envelope.recorded_at_ms, key: draft.key, record: draft.record? })
    }
}

/// An event as an export has it.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) seq: Seq,
    pub(crate) recorded_at_ms: i64,
    pub(crate) key: Option<Box<str>>,
    pub(crate) record: Arc<Record>,
}

impl From<Event> for Draft {
    fn from(event: Event) -> Self {
        if let Event::Custom(custom) = &event {
            return Self::from_text(Ok(custom.payload.get().to_owned()), |text| {
                parse(text, Some(&custom.kind), Reserved::Refuse)
            });
        }
        let checked = event.check().and_then(|()| {
            let payload = event.payload().map_err(|error| Refusal::shape(error.to_string()))?;
            check_size(&payload)?;
            let mut writing = Record::begin(event.kind(), &event.names(), payload.len());
            writing.payload().push_str(&payload);
            Ok(writing)
        });
        let record = checked.map(|writing| Arc::new(writing.finish(Some(event))));
        Self { record, key: None }
    }
}

impl From<&Event> for Draft {
    fn from(event: &Event) -> Self {
        event.clone().into()
    }
}

/// What becomes of the names that only the log may write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reserved {
    Refuse,
    DropSeq,
    Import,
}

fn parse(text: &str, given_kind: Option<&str>, reserved: Reserved) -> Result<Draft, Refusal> {
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| Refusal::json(&error))?;
    let mut kind: Option<Cow<'_, str>> = given_kind.map(Cow::Borrowed);
    let mut key = None;
    let mut fields = Vec::with_capacity(members.0.len());
    for (name, value) in &members.0 {
        match name.as_ref() {
            "kind" if given_kind.is_none() => {
                let text: Text<'_> = serde_json::from_str(value.get())
                    .map_err(|_| Refusal::invalid("kind", "is not a string"))?;
                kind = Some(text.0);
            }
            "key" if given_kind.is_none() => {
                let text: Option<Text<'_>> = serde_json::from_str(value.get())
                    .map_err(|_| Refusal::invalid("key", "is not a string"))?;
                key = text.map(|text| text.0);
            }
            "seq" if reserved != Reserved::Refuse => {}
            "recorded_at_ms" if reserved == Reserved::Import => {}
            "seq" | "recorded_at_ms" | "kind" | "key" => {
                return Err(Refusal::invalid(name, "is given by the log"));
            }
            other => fields.push((other, *value)),
        }
    }
    let kind = kind.ok_or_else(|| Refusal::invalid("kind", "is missing"))?;
    // What a log wrote itself, or a newer hivelog knows, comes back through an import.
    if reserved != Reserved::Import {
        check_kind(&kind)?;
    }
    let record = match Event::compose(&kind, &fields) {
        Some(record) => record?,
        None => custom(text, &kind, &fields)?,
    };
    check_size(record.payload())?;
    let draft = Draft { record: Ok(Arc::new(record)), key: None };
    match key {
        Some(key) => {
            check_key(&key)?;
            Ok(Draft { key: Some(key.as_ref().into()), ..draft })
        }
        None => Ok(draft),
    }
}

/// The members that make an event concern somebody, when they hold a name.
const NAMING: [&str; 7] = ["from", "to", "agent", "asker", "answerer", "by", "name"];

fn custom(text: &str, kind: &str, fields: &[(&str, &RawValue)]) -> Result<Record, Refusal> {
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    for (field, value) in fields {
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        Strict { depth: 1 }
            .deserialize(&mut deserializer)
            .map_err(|error| Refusal::invalid(field, error.to_string()))?;
        if NAMING.contains(field)
            && let Ok(name) = serde_json::from_str::<Text<'_>>(value.get())
            && is_name(&name.0)
        {
            names.push(name.0);
        }
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let mut writing = Record::begin(kind, &names, payload_bytes(fields));
    let payload = writing.payload();
    let mut divider = '{';
    for (field, value) in fields {
        payload.push(std::mem::replace(&mut divider, ','));
        push_member_name(text, field, value, payload)?;
        payload.push(':');
        compact(value.get(), payload);
    }
    payload.push_str(if fields.is_empty() { "{}" } else { "}" });
    Ok(writing.finish(None))
}

/// Bytes of an object of these members, where their names have no escapes and their values no white space.
pub(crate) fn payload_bytes(members: &[(&str, &RawValue)]) -> usize {
    1 + members.iter().map(|(field, value)| field.len() + value.get().len() + 4).sum::<usize>()
}

/// Writes the name of a member as it was written: a plain one between quotes, another one (with escapes)
/// cut out of the text before its value, so that its bytes stay.
fn push_member_name(text: &str, field: &str, value: &RawValue, out: &mut String) -> Result<(), Refusal> {
    let unreadable = || Refusal::invalid(field, "has a name that cannot be read");
    let start = (value.get().as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let written = text
        .get(..start)
        .and_then(|before| before.trim_end().strip_suffix(':')?.trim_end().strip_suffix('"'))
        .ok_or_else(unreadable)?;
    out.push('"');
    if written.strip_suffix(field).is_some_and(|before| before.ends_with('"')) {
        out.push_str(field);
    } else {
        // The opening quote is the last one that is not escaped.
        let opening = written.rmatch_indices('"').map(|(at, _)| at).find(|&at| {
            let escapes = written.bytes().take(at).rev().take_while(|byte| *byte == b'\\');
            escapes.count() % 2 == 0
        });
        out.push_str(opening.and_then(|at| written.get(at + 1..)).ok_or_else(unreadable)?);
    }
    out.push('"');
    Ok(())
}

/// Copies valid JSON without the white space outside its strings.
pub(crate) fn compact(json: &str, out: &mut String) {
    // A string, a number or a word has no white space outside a string.
    if !json.starts_with(['{', '[']) {
        out.push_str(json);
        return;
    }
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            out.push(character);
            if escaped {
                escaped = false;
            } else if character == '\\' {
                escaped = true;
            } else if character == '"' {
                in_string = false;
            }
        } else if !matches!(character, ' ' | '\t' | '\n' | '\r') {
            in_string = character == '"';
            out.push(character);
        }
    }
}

/// Whether `kind` has the form of a kind: dotted parts of `[a-z][a-z0-9_]*`, at most 64
/// characters in all.
#[must_use]
pub(crate) fn is_kind(kind: &str) -> bool {
    kind.len() <= NAME_CHARS_MAX
        && kind.split('.').all(|part| {
            part.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
}

fn check_kind(kind: &str) -> Result<(), Refusal> {
    if kind.starts_with("hivelog.") {
        return Err(Refusal::invalid("kind", "begins with `hivelog.`, which only the log writes"));
    }
    if is_kind(kind) {
        Ok(())
    } else {
        Err(Refusal::invalid(
            "kind",
            "is not a kind: expected dotted parts of [a-z][a-z0-9_]*, at most 64 characters",
        ))
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Refusal> {
    let fits = (1..=KEY_CHARS_MAX).contains(&key.len());
    if fits && key.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        Ok(())
    } else {
        Err(Refusal::invalid("key", "is not an idempotency key: expected 1 to 256 visible ASCII characters"))
    }
}

fn check_size(payload: &str) -> Result<(), Refusal> {
    if payload.len() <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::TooLarge(
        format!("an event has at most {PAYLOAD_BYTES_MAX} bytes, this one {}", payload.len()).into(),
    ))
}

/// The members of one object in order, their values as written; a repeated name is an error.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string that borrows from the text where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(10);
                let mut many: HashSet<Cow<'de, str>> = HashSet::new();
                while let Some(Text(name)) = map.next_key()? {
                    // A short list is searched, a long one hashed: a hostile object has 100,000.
                    let seen = if members.len() < 16 {
                        members.iter().any(|(other, _)| *other == name)
                    } else {
                        if many.is_empty() {
                            many.extend(members.iter().map(|(other, _)| other.clone()));
                        }
                        !many.insert(name.clone())
                    };
                    if seen {
                        return Err(serde::de::Error::custom(format_args!("duplicate field {name:?}")));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Walks one value and accepts only what every reader understands alike: no repeated names, finite
/// numbers, whole surrogate pairs, bounded depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= PAYLOAD_DEPTH_MAX {
            return Err(E::custom(format_args!("is nested deeper than {PAYLOAD_DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(Text(name)) = map.next_key()? {
            if names.contains(&name) {
                return Err(serde::de::Error::custom(format_args!("duplicate field {name:?}")));
            }
            names.insert(name);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}
