//! A checked event, as it will be stored.

use crate::event::{BOARD_KINDS, Event};

/// A checked event, as it will be stored.
#[derive(Debug)]
pub(crate) struct Record {
    /// Kind, agents and payload in one piece: a batch has a thousand of each, and memory is asked for and given
    /// back one by one.
    text: Box<str>,
    kind_end: usize,
    agents_end: usize,
    /// The event as typed, where the board asks for it. Most events are messages, whose text is enough.
    pub(crate) event: Option<Box<Event>>,
}

impl Record {
    /// A record of a payload that is there.
    pub(crate) fn new(kind: &str, names: &[&str], payload: &str) -> Self {
        let mut writing = Self::begin(kind, names, payload.len());
        writing.payload().push_str(payload);
        writing.finish(None)
    }

    /// A record whose payload, of about so many bytes, is still to be written.
    pub(crate) fn begin(kind: &str, names: &[&str], payload_bytes: usize) -> Writing {
        let names_bytes: usize = names.iter().map(|name| name.len() + 1).sum();
        // As long as it becomes, most often: what has room to spare is shrunk to be boxed.
        let mut text = String::with_capacity(kind.len() + names_bytes.saturating_sub(1) + payload_bytes);
        text.push_str(kind);
        for (index, name) in names.iter().enumerate() {
            if names.get(..index).is_some_and(|before| before.contains(name)) {
                continue;
            }
            if text.len() > kind.len() {
                text.push(' ');
            }
            text.push_str(name);
        }
        Writing { agents_end: text.len(), kind_end: kind.len(), text }
    }

    pub(crate) fn kind(&self) -> &str {
        self.text.get(..self.kind_end).unwrap_or_default()
    }

    /// The names that the event concerns, divided by single spaces.
    pub(crate) fn agents(&self) -> &str {
        self.text.get(self.kind_end..self.agents_end).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &str {
        self.text.get(self.agents_end..).unwrap_or_default()
    }
}

/// A record whose payload is being written.
pub(crate) struct Writing {
    text: String,
    kind_end: usize,
    agents_end: usize,
}

impl Writing {
    /// Where the payload is written: what comes after what is there.
    pub(crate) const fn payload(&mut self) -> &mut String {
        &mut self.text
    }

    /// The record, with the event as typed where there is one.
    pub(crate) fn finish(self, event: Option<Event>) -> Record {
        let Self { text, kind_end, agents_end } = self;
        let event = event.filter(|event| BOARD_KINDS.contains(&event.kind())).map(Box::new);
        Record { text: text.into(), kind_end, agents_end, event }
    }
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn its_parts_are_what_was_given_and_each_name_once() {
        let of = |names: &[&str]| {
            let record = Record::new("a.b", names, "{}");
            assert_eq!((record.kind(), record.payload()), ("a.b", "{}"));
            record.agents().to_owned()
        };
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["x"]), "x");
        assert_eq!(of(&["x", "y", "x", "xy"]), "x y xy");
    }
}
