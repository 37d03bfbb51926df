//! What the children append: a pure function of the number of the call, so that any process can
//! repeat what an earlier one sent.

use hivelog::event::{
    ApprovalAdded, ApprovalResolved, ApprovalStatus, ClearReason, Event, Message, QuestionAdded,
    QuestionOutcome, QuestionResolved, TransientCleared, TransientKind, TransientSet,
};
use hivelog::{Command, Draft};

use crate::dice::Dice;

/// One call of a child.
pub struct Call {
    pub command: Command,
    pub key: String,
    /// Kind and payload of each event, as the file has to hold them.
    pub events: Vec<(String, String)>,
}

/// What fills the WAL towards its checkpoint: sent without a key, and nobody asks what became of it.
pub fn padding() -> (&'static str, String) {
    ("pad.ding", format!("{{\"text\":\"{}\"}}", "x".repeat(40_000)))
}

/// The call with this number.
pub fn call(number: u64) -> Call {
    let key = format!("call-{number}");
    let count = if number % 10 == 9 { 1 + Dice::from_seed(number).below(5) } else { 1 };
    let events: Vec<Event> = (0..count).map(|index| event(number, index)).collect();
    let told = events.iter().map(|event| (event.kind().to_owned(), payload(event))).collect();
    let drafts: Vec<Draft> = events.into_iter().map(Into::into).collect();
    Call { command: Command::new(drafts).key(key.as_str()), key, events: told }
}

fn payload(event: &Event) -> String {
    match event {
        Event::Sent(body) | Event::Delivered(body) => serde_json::to_string(body),
        Event::ApprovalAdded(body) => serde_json::to_string(body),
        Event::ApprovalResolved(body) => serde_json::to_string(body),
        Event::QuestionAdded(body) => serde_json::to_string(body),
        Event::QuestionResolved(body) => serde_json::to_string(body),
        Event::TransientSet(body) => serde_json::to_string(body),
        Event::TransientCleared(body) => serde_json::to_string(body),
        Event::Custom(custom) => Ok(custom.payload.get().to_owned()),
        other => panic!("a kind that this test does not send: {other:?}"),
    }
    .unwrap()
}

/// No two events are alike: the number of the call is in each, and the index.
fn event(number: u64, index: u64) -> Event {
    let mut dice = Dice::from_seed(number * 16 + index);
    let mark = format!("{number}/{index}");
    // Ids and times that no other call has: what is resolved was opened some calls before.
    let at = i64::try_from(number * 16 + index).unwrap();
    let opened = i64::try_from((number - dice.below(number.min(30))) * 16).unwrap();
    let agent = format!("agent-{}", at / 16 % 7);
    let opened_by = format!("agent-{}", opened / 16 % 7);
    // Of ten calls the fourth sets a transient, the seventh clears it.
    let transient = format!("t-{}-{index}", number / 10);
    if number % 10 == 3 {
        return Event::TransientSet(TransientSet {
            name: transient,
            transient_kind: TransientKind::Starting,
            since_unix: at,
            expires_at: None,
        });
    }
    if number % 10 == 6 {
        return Event::TransientCleared(TransientCleared { name: transient, reason: ClearReason::Done });
    }
    match dice.below(9) {
        0 | 1 => Event::Sent(Message {
            from: agent,
            to: "bob".into(),
            body: mark,
            at,
            message_id: dice.percent(50).then_some(at + 1),
        }),
        2 => Event::Delivered(Message {
            from: agent,
            to: "bob".into(),
            body: format!("{mark} \"ü\" \u{1f41d}"),
            at,
            message_id: Some(at + 1),
        }),
        3 | 4 => Event::ApprovalAdded(ApprovalAdded {
            id: at + 1,
            agent,
            approval_kind: "apply_commit".into(),
            sha_short: Some("0123456".into()),
            diff: Some("+x\n".repeat(usize::try_from(dice.below(200)).unwrap())),
            description: Some(mark),
        }),
        5 => Event::ApprovalResolved(ApprovalResolved {
            id: opened + 1,
            agent: opened_by,
            approval_kind: "apply_commit".into(),
            sha_short: None,
            status: ApprovalStatus::Denied,
            resolved_at: at,
            note: Some(mark),
            description: None,
            by: Some("operator".into()),
        }),
        6 => Event::QuestionAdded(QuestionAdded {
            id: at + 1,
            asker: agent,
            question: mark,
            options: vec!["yes".into(), "no".into()],
            multi: false,
            asked_at: at,
            deadline_at: None,
        }),
        7 => Event::QuestionResolved(QuestionResolved {
            id: opened + 1,
            answer: mark,
            answerer: "operator".into(),
            answered_at: at,
            cancelled: false,
            outcome: QuestionOutcome::Answered,
            selected: None,
        }),
        _ => {
            let kind = if dice.percent(50) { "crash.note" } else { "declared" };
            let payload = format!("{{\"agent\":\"{agent}\",\"mark\":\"{mark}\",\"n\":[1,2.50,1e3]}}");
            Event::Custom(hivelog::event::CustomEvent {
                kind: kind.into(),
                payload: serde_json::value::RawValue::from_string(payload).unwrap(),
            })
        }
    }
}
