//! The file held against the account: nothing lost, nothing twice, everything decided once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hivelog::rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::account::Account;
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
pub fn look(db: &Path, account: &Account, runs: &[Run], history: &str) -> Totals {
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
        messages: messages(&found, account),
        approvals: approvals(&found, account),
        questions: questions(&found, account),
        peer_questions: peers(&found, account),
        transients: found.of_kind("transient_set").count(),
        lapsed: transients(&found),
    }
}

fn messages(found: &Found, account: &Account) -> usize {
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
    let received = account.received.lock().unwrap();
    let sent = account.sent.lock().unwrap();
    for (id, message) in &*sent {
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
fn ends(found: &Found, (added, resolved): (&str, &str), member: &str) -> BTreeMap<i64, String> {
    let mut ends = BTreeMap::new();
    for event in found.of_kind(resolved) {
        let end = event[member].as_str().expect("an end").to_owned();
        let id = event["id"].as_i64().unwrap();
        assert!(ends.insert(id, end).is_none(), "{added} {id} ended twice");
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

fn approvals(found: &Found, account: &Account) -> usize {
    let ends = ends(found, ("approval_added", "approval_resolved"), "status");
    assert!(ends.keys().copied().eq(1..=ends.len() as i64), "the ids of approvals are not dense");
    assert_eq!(ends, *account.approvals.lock().unwrap(), "an agent was told something else");
    ends.len()
}

fn questions(found: &Found, account: &Account) -> usize {
    let ends = ends(found, ("question_added", "question_resolved"), "outcome");
    assert_eq!(ends, *account.questions.lock().unwrap(), "an agent was told something else");
    for outcome in ["answered", "cancelled", "expired"] {
        assert!(ends.values().any(|end| end == outcome), "no question was {outcome}");
    }
    ends.len()
}

fn peers(found: &Found, account: &Account) -> usize {
    let told = account.peer_questions.lock().unwrap();
    let stored = found.numbers("SELECT id FROM peer_questions");
    assert_eq!(stored, told.keys().copied().collect(), "a question between peers that nobody waited for");
    for event in found.of_kind("question_added") {
        assert!(!stored.contains(&event["id"].as_i64().unwrap()), "on the log: {event}");
    }
    let mut statement = found.conn.prepare("SELECT id, outcome FROM peer_questions").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(rows.map(Result::unwrap).collect::<BTreeMap<i64, String>>(), *told);
    told.len()
}

/// Every transient ended, or was replaced by the next; says how many lapsed.
fn transients(found: &Found) -> usize {
    let mut open = BTreeSet::new();
    let mut lapsed = 0;
    for event in &found.events {
        let name = event["name"].as_str().unwrap_or_default();
        match event["kind"].as_str() {
            Some("transient_set") => {
                open.insert(name);
            }
            Some("transient_cleared") => {
                assert!(open.remove(name), "nothing to clear: {event}");
                let reason = event["reason"].as_str().unwrap();
                assert!(matches!(reason, "done" | "lease_expired"), "{event}");
                lapsed += usize::from(reason == "lease_expired");
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "outlived their owners: {open:?}");
    assert!(lapsed > 0, "no lease lapsed");
    lapsed
}
