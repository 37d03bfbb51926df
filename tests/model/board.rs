//! The board as any client can fold it: from a snapshot, or from nothing, by the events on the wire.

use serde_json::{Value, json};

/// Closed items that a snapshot still shows.
const RECENT: usize = 50;

/// A snapshot without its head line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    approvals: Vec<Value>,
    questions: Vec<Value>,
    transients: Vec<Value>,
    recent_approvals: Vec<Value>,
    recent_questions: Vec<Value>,
}

impl Board {
    pub fn from_snapshot(snapshot: &Value) -> Self {
        let list = |name: &str| snapshot[name].as_array().unwrap().clone();
        Self {
            approvals: list("approvals"),
            questions: list("questions"),
            transients: list("transients"),
            recent_approvals: list("recent_approvals"),
            recent_questions: list("recent_questions"),
        }
    }

    /// Applies one event as it comes over the wire.
    pub fn apply(&mut self, event: &Value) {
        let with = |mut row: Value, rest: Value| {
            row.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            row
        };
        let take = |from: &mut Vec<Value>, name: &str| {
            let index = from.iter().position(|row| row[name] == event[name]);
            index.map(|index| from.remove(index))
        };
        match event["kind"].as_str().unwrap() {
            "approval_added" => self.approvals.push(with(
                event.clone(),
                json!({"status": "pending", "resolved_seq": null, "resolved_at": null, "note": null, "by": null}),
            )),
            "approval_resolved" => {
                let row = take(&mut self.approvals, "id").expect("it was open");
                let rest = json!({"status": event["status"], "resolved_seq": event["seq"],
                    "resolved_at": event["resolved_at"], "note": event["note"], "by": event["by"]});
                self.recent_approvals.insert(0, with(row, rest));
                self.recent_approvals.truncate(RECENT);
            }
            "question_added" => self.questions.push(with(
                event.clone(),
                json!({"outcome": "open", "resolved_seq": null, "answer": null, "answerer": null,
                       "answered_at": null, "cancelled": false, "selected": null}),
            )),
            "question_resolved" => {
                let row = take(&mut self.questions, "id").expect("it was open");
                let rest = json!({"outcome": event["outcome"], "resolved_seq": event["seq"],
                    "answer": event["answer"], "answerer": event["answerer"], "selected": event["selected"],
                    "answered_at": event["answered_at"], "cancelled": event["cancelled"]});
                self.recent_questions.insert(0, with(row, rest));
                self.recent_questions.truncate(RECENT);
            }
            "transient_set" => {
                take(&mut self.transients, "name");
                self.transients.push(event.clone());
            }
            "transient_cleared" => {
                take(&mut self.transients, "name").expect("it was set");
            }
            _ => {}
        }
    }
}
