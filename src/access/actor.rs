//! What an event that is appended as it is says of the one who appends it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::draft::Draft;
use crate::error::Refusal;
use crate::event::{Event, FIXED_KINDS};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::record::Record;

/// The draft as an agent may append it: of a kind that is not fixed, with its own name in `agent`, which
/// is added last where it is absent. All other bytes stay.
pub(crate) fn as_agent(draft: Draft, name: &str) -> Result<Draft, Refusal> {
    let record = draft.record?;
    if FIXED_KINDS.contains(&record.kind()) {
        let detail = format!("an agent does not append {} as it is: there is a call for that", record.kind());
        return Err(Refusal::Forbidden(detail.into()));
    }
    let members: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(record.payload()).map_err(|error| Refusal::json(&error))?;
    if let Some(agent) = members.get("agent") {
        let is_own = serde_json::from_str::<Cow<'_, str>>(agent.get()).is_ok_and(|agent| agent == name);
        if !is_own {
            return Err(Refusal::Forbidden("`agent` is another than the one who appends".into()));
        }
        return Ok(Draft { record: Ok(record), key: draft.key });
    }
    let comma = if members.is_empty() { "" } else { "," };
    let open = record.payload().strip_suffix('}').unwrap_or_default();
    // A name has nothing in it that JSON would escape.
    let payload = format!("{open}{comma}\"agent\":\"{name}\"}}");
    if payload.len() > PAYLOAD_BYTES_MAX {
        let detail = format!("an event has at most {PAYLOAD_BYTES_MAX} bytes, with its agent");
        return Err(Refusal::TooLarge(detail.into()));
    }
    let names: Vec<&str> =
        record.agents().split(' ').filter(|known| !known.is_empty()).chain([name]).collect();
    let record = Record::new(record.kind(), &names, &payload);
    Ok(Draft { record: Ok(Arc::new(record)), key: draft.key })
}

/// The draft as an admin appends it: a decision that does not say whose it is is the admin's.
pub(crate) fn as_admin(draft: Draft, name: &str) -> Draft {
    let event = draft.record.as_ref().ok().and_then(|record| record.event.as_deref());
    let Some(Event::ApprovalResolved(resolved)) = event else { return draft };
    if resolved.by.is_some() {
        return draft;
    }
    let mut resolved = resolved.clone();
    resolved.by = Some(name.into());
    Draft { key: draft.key, ..Draft::from(Event::ApprovalResolved(resolved)) }
}
