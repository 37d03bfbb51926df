//! The file held against the account: nothing lost, nothing twice, everything decided once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hivelog::rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::account::{Told, approval_end, question_end};
use crate::dashboard::Run;

/// What is left to do, as a line for people; nothing, when all is done.
pub fn left(db: &Path) -> Option<String> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let sql = "SELECT (SELECT count(*) FROM messages WHERE acked_at IS NULL),
                      (SELECT count(*) FROM journal),
                      (SELECT count(*) FROM approvals WHERE resolved_seq IS NULL),
                      (SELECT count(*) FROM questions WHERE resolved_seq IS NULL),
                      (SELECT count(*) FROM peer_questions WHERE outcome = 'open'),
                      (SELECT count(*) FROM transients)";
    let counts: [i64; 6] = conn
        .query_row(sql, [], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?])
        })
        .unwrap();
    (counts != [0; 6])
        .then(|| format!("messages, journal, approvals, questions, peers, transients: {counts:?}"))
}

/// What the file holds.
struct Found {
    conn: Connection,
    events: Vec<Value>,
}

impl Found {
    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["kind"] == kind)
    }

    fn numbers(&self, sql: &str) -> BTreeSet<i64> {
        let mut statement = self.conn.prepare(sql).unwrap();
        let numbers = statement.query_map([], |row| row.get(0)).unwrap();
        numbers.map(Result::unwrap).collect()
    }
}

/// Numbers for a report.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "they are printed as they are")]
pub struct Totals {
    pub events: usize,
    pub messages: usize,
    pub approvals: usize,
    pub questions: usize,
    pub peer_questions: usize,
    pub transients: usize,
    pub lapsed: usize,
}

/// Looks at the file of a server that was stopped. `history` is what an operator prints of it.
pub fn look(db: &Path, told: &Told, runs: &[Run], history: &str) -> Totals {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let events: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = Found { conn, events };
    let dense =
        found.events.iter().map(|event| event["seq"].as_i64().unwrap()).eq(1..=found.events.len() as i64);
    assert!(dense, "the log has a hole");
    for run in runs {
        assert!(run.seqs.iter().copied().eq(1..=found.events.len() as i64), "a dashboard missed or doubled");
        assert!(run.lines.iter().map(String::as_str).eq(history.lines()), "a dashboard saw something else");
        assert!(run.connections > 1, "a dashboard was never cut off");
    }
    Totals {
        events: found.events.len(),
        messages: messages(&found, told),
        approvals: approvals(&found, told),
        questions: questions(&found, told),
        peer_questions: peers(&found, told),
        transients: found.of_kind("transient_set").count(),
        lapsed: transients(&found, told),
    }
}

fn messages(found: &Found, told: &Told) -> usize {
    let stored = found.numbers("SELECT id FROM messages WHERE question_id IS NULL");
    for kind in ["sent", "delivered"] {
        let mirrored: Vec<i64> =
            found.of_kind(kind).map(|event| event["message_id"].as_i64().expect("an id")).collect();
        assert_eq!(mirrored.len(), stored.len(), "{kind}: not exactly once");
        assert_eq!(mirrored.iter().copied().collect::<BTreeSet<_>>(), stored, "{kind}: others");
    }
    // In the order of sending; and for each recipient in the order of its inbox.
    assert!(found.of_kind("sent").map(|event| event["message_id"].as_i64()).is_sorted());
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for event in found.of_kind("delivered") {
        let (to, id) = (event["to"].as_str().unwrap(), event["message_id"].as_i64().unwrap());
        assert!(last.insert(to, id).is_none_or(|before| before < id), "handed out of order: {event}");
    }
    let by_id: BTreeMap<i64, &Value> =
        found.of_kind("sent").map(|event| (event["message_id"].as_i64().unwrap(), event)).collect();
    let Told { sent, received, .. } = told;
    for (id, message) in sent {
        let event = by_id[id];
        assert_eq!(
            (event["from"].as_str(), event["to"].as_str(), event["body"].as_str()),
            (Some(&*message.from), Some(&*message.to), Some(&*message.body)),
            "message {id}"
        );
        assert_eq!(
            received.get(&(message.to.clone(), *id)),
            Some(&message.body),
            "message {id} was not received"
        );
    }
    // Each send has an answer in the end, so nothing is there that nobody knows of.
    assert_eq!(sent.keys().copied().collect::<BTreeSet<_>>(), stored);
    sent.len()
}

/// The ends of a kind by id, each exactly one.
fn ends(
    found: &Found,
    told: &Told,
    (added, resolved): (&str, &str),
    end: fn(&Value) -> String,
) -> BTreeMap<i64, String> {
    let mut ends = BTreeMap::new();
    let mut seqs = BTreeMap::new();
    for event in found.of_kind(resolved) {
        let id = event["id"].as_i64().unwrap();
        assert!(ends.insert(id, end(event)).is_none(), "{added} {id} ended twice");
        seqs.insert(event["seq"].as_i64().unwrap(), id);
    }
    // Whoever decided, or came too late, was told the event that is there.
    for (seq, (_, id)) in told.closed.iter().filter(|(_, (kind, _))| kind == resolved) {
        assert_eq!(seqs.get(seq), Some(id), "{resolved}: another end than the operator was told");
    }
    let ids: Vec<i64> = found.of_kind(added).map(|event| event["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>().len(), ids.len(), "{added}: an id twice");
    assert_eq!(
        ids.into_iter().collect::<BTreeSet<_>>(),
        ends.keys().copied().collect(),
        "{added} without an end"
    );
    ends
}

fn approvals(found: &Found, told: &Told) -> usize {
    let ends = ends(found, told, ("approval_added", "approval_resolved"), approval_end);
    assert!(ends.keys().copied().eq(1..=ends.len() as i64), "the ids of approvals are not dense");
    assert_eq!(ends, told.approvals, "an agent was told something else");
    for status in ["approved", "denied", "failed"] {
        assert!(ends.values().any(|end| end.contains(status)), "no approval was {status}");
    }
    ends.len()
}

fn questions(found: &Found, told: &Told) -> usize {
    let ends = ends(found, told, ("question_added", "question_resolved"), question_end);
    assert_eq!(ends, told.questions, "an agent was told something else");
    for outcome in ["answered", "cancelled", "expired"] {
        let begin = format!("\"{outcome}\"");
        assert!(ends.values().any(|end| end.starts_with(&begin)), "no question was {outcome}");
    }
    ends.len()
}

fn peers(found: &Found, told: &Told) -> usize {
    let told = &told.peer_questions;
    let stored = found.numbers("SELECT id FROM peer_questions");
    assert_eq!(stored, told.keys().copied().collect(), "a question between peers that nobody waited for");
    for event in found.of_kind("question_added") {
        assert!(!stored.contains(&event["id"].as_i64().unwrap()), "on the log: {event}");
    }
    // An approval's diff is a real repository's, which may say anything, even this.
    let between = |event: &&Value| event["diff"].is_null() && event.to_string().contains("between us?");
    assert_eq!(found.events.iter().find(between), None, "a question between peers is on the log");
    let sql = "SELECT id, json_object('outcome', outcome, 'answer', answer, 'answerer', answerer,
                      'answered_at', answered_at, 'selected', json(selected)) FROM peer_questions";
    let mut statement = found.conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).unwrap();
    let ends = rows.map(Result::unwrap).map(|(id, row)| {
        let row: Value = serde_json::from_str(&row).unwrap();
        (id, question_end(&row))
    });
    assert_eq!(ends.collect::<BTreeMap<i64, String>>(), *told, "an agent was told something else");
    told.len()
}

/// Every transient ended, or was replaced by the next; says how many lapsed.
fn transients(found: &Found, told: &Told) -> usize {
    let mut open = BTreeMap::new();
    let mut lapsed = 0;
    for event in &found.events {
        let name = event["name"].as_str().unwrap_or_default();
        match event["kind"].as_str() {
            Some("transient_set") => {
                open.insert(name, event["expires_at"].as_i64().expect("a lease"));
            }
            Some("transient_cleared") => {
                let expires_at = open.remove(name).unwrap_or_else(|| panic!("nothing to clear: {event}"));
                let reason = event["reason"].as_str().unwrap();
                let said = told.cleared.get(&event["seq"].as_i64().unwrap());
                if reason == "lease_expired" {
                    // The second that `expires_at` names is cut to a whole one.
                    let now = event["recorded_at_ms"].as_i64().unwrap();
                    assert!(now >= expires_at * 1_000, "before its lease ended at {expires_at}: {event}");
                    assert_eq!(said, None, "{event}");
                    lapsed += 1;
                } else {
                    assert_eq!(said, Some(&(name.to_owned(), reason.to_owned())), "{event}");
                }
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "outlived their owners: {open:?}");
    assert!(lapsed > 0, "no lease lapsed");
    lapsed
}
