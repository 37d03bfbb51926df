//! What is left of an event whose text is to be gone: a valid one of its kind.

use serde_json::value::RawValue;

use crate::event::{Event, QuestionOutcome, is_name};

/// Stands where a text was.
pub(crate) const MARK: &str = "[redacted]";
/// The kind of the event that says of another that its text is gone.
pub(crate) const REDACTED: &str = "hivelog.redacted";

/// Members of a custom kind that stay where they hold a name: the log says elsewhere whom an event concerns.
const NAMES: [&str; 7] = ["from", "to", "agent", "asker", "answerer", "by", "name"];

/// The payload without its text; `None` where an event of this kind has no text of anybody's.
pub(crate) fn redacted(kind: &str, payload: &str) -> Result<Option<String>, serde_json::Error> {
    let mut event = Event::read(kind, payload)?;
    let mark = |text: &mut Option<String>| {
        if let Some(text) = text {
            *text = MARK.into();
        }
    };
    match &mut event {
        Event::Sent(message) | Event::Delivered(message) => message.body = MARK.into(),
        Event::ApprovalAdded(added) => {
            mark(&mut added.sha_short);
            mark(&mut added.diff);
            mark(&mut added.description);
        }
        Event::ApprovalResolved(resolved) => {
            mark(&mut resolved.sha_short);
            mark(&mut resolved.note);
            mark(&mut resolved.description);
        }
        Event::QuestionAdded(added) => {
            added.question = MARK.into();
            // Still different from each other, so that one of them can be chosen.
            for (number, option) in (1..).zip(&mut added.options) {
                *option = format!("{MARK} {number}");
            }
        }
        Event::QuestionResolved(resolved) => {
            if resolved.outcome == QuestionOutcome::Answered {
                resolved.answer = MARK.into();
                resolved.selected = None;
            }
        }
        Event::TransientSet(_) | Event::TransientCleared(_) => return Ok(None),
        Event::Custom(custom) if &*custom.kind == REDACTED => return Ok(None),
        Event::Custom(custom) => return bare(&custom.payload).map(Some),
    }
    event.payload().map(Some)
}

/// Of an application's own kind nobody here knows which members are text, and names of members can be text too:
/// only names of agents stay.
fn bare(payload: &RawValue) -> Result<String, serde_json::Error> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload.get())?;
    let mut left = serde_json::Map::new();
    for name in NAMES {
        if let Some(value) = members.get(name)
            && value.as_str().is_some_and(is_name)
        {
            left.insert(name.into(), value.clone());
        }
    }
    left.insert("redacted".into(), true.into());
    serde_json::to_string(&left)
}

/// Whether the text of a question is gone: then nobody knows any more what there was to choose from.
pub(crate) fn is_redacted(question: &str, options: &[String]) -> bool {
    question == MARK && options.iter().all(|option| option.starts_with(MARK))
}
