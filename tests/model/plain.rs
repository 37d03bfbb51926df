//! The log as a plain list: what it has to answer to every step, without a file or a thread.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::board::Board;

/// An event that a test wants to append.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Which shape, the last ones malformed.
    pub shape: u8,
    pub id: i64,
    pub who: u8,
    pub salt: u8,
    pub key: Option<u8>,
}

pub const SHAPES: u8 = 16;
pub const WHO: [&str; 3] = ["alice", "bob", "carol"];

impl Spec {
    fn who(&self) -> &'static str {
        WHO[usize::from(self.who) % WHO.len()]
    }

    /// Kind, payload, and the names that it says itself.
    fn parts(&self) -> (&'static str, String, Vec<&'static str>) {
        let (id, who, salt) = (self.id, self.who(), self.salt);
        match self.shape {
            0 => (
                "sent",
                format!(r#"{{"from":"{who}","to":"bob","body":"{salt}","at":{id},"message_id":null}}"#),
                vec![who, "bob"],
            ),
            1 => (
                "delivered",
                format!(r#"{{"from":"bob","to":"{who}","body":"\u00e9{salt}","at":{id},"message_id":{id}}}"#),
                vec!["bob", who],
            ),
            2 | 3 => (
                "approval_added",
                format!(
                    r#"{{"id":{id},"agent":"{who}","approval_kind":"spawn","sha_short":null,"diff":"-{salt}","description":null}}"#
                ),
                vec![who],
            ),
            4 | 5 => (
                "approval_resolved",
                format!(
                    r#"{{"id":{id},"agent":"{who}","approval_kind":"spawn","sha_short":null,"status":"denied","resolved_at":5,"note":"{salt}","description":null,"by":"operator"}}"#
                ),
                vec![who, "operator"],
            ),
            6 | 7 => (
                "question_added",
                format!(
                    r#"{{"id":{id},"asker":"{who}","question":"{salt}?","options":["x","y"],"multi":false,"asked_at":1,"deadline_at":null}}"#
                ),
                vec![who],
            ),
            8 | 9 => {
                let selected = ["null", r#"["x"]"#, r#"["z"]"#, r#"["x","y"]"#][usize::from(salt) % 4];
                (
                    "question_resolved",
                    format!(
                        r#"{{"id":{id},"answer":"{salt}","answerer":"{who}","answered_at":7,"cancelled":false,"outcome":"answered","selected":{selected}}}"#
                    ),
                    vec![who],
                )
            }
            10 => (
                "transient_set",
                format!(
                    r#"{{"name":"{who}","transient_kind":"starting","since_unix":{salt},"expires_at":null}}"#
                ),
                vec![who],
            ),
            11 => ("transient_cleared", format!(r#"{{"name":"{who}","reason":"failed"}}"#), vec![who]),
            12 => (
                "deploy.finished",
                format!(r#"{{"agent":"{who}","n":[{id},{{"salt":{salt}}}],"name":"No Name"}}"#),
                vec![who],
            ),
            13 => ("declared", format!(r#"{{"salt":{salt}}}"#), vec![]),
            14 => ("undeclared", "{}".into(), vec![]),
            _ => (
                "sent",
                format!(r#"{{"from":"Not A Name","to":"{who}","body":"","at":0,"message_id":null}}"#),
                vec![who],
            ),
        }
    }

    /// The text that is given to the log, with white space that it has to drop.
    pub fn text(&self) -> String {
        let (kind, payload, _) = self.parts();
        let members = payload.strip_prefix('{').unwrap();
        let comma = if members == "}" { "" } else { ", " };
        let key = self.key.map_or(String::new(), |key| format!("\"key\" : \"k{key}\","));
        format!("{{ {key} \"kind\":\t\"{kind}\"{comma}{members}")
    }

    const fn is_malformed(&self) -> bool {
        self.shape > 14
    }
}

#[derive(Clone, Debug)]
pub struct Row {
    pub seq: i64,
    pub at_ms: i64,
    pub kind: String,
    pub agents: Vec<String>,
    pub payload: String,
    pub gone: bool,
}

impl Row {
    pub fn line(&self) -> String {
        let (seq, at, kind) = (self.seq, self.at_ms, &self.kind);
        let members = self.payload.strip_prefix('{').unwrap();
        let comma = if members == "}" { "" } else { "," };
        format!("{{\"seq\":{seq},\"recorded_at_ms\":{at},\"kind\":\"{kind}\"{comma}{members}")
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

/// Why the model says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    Invalid,
    UnknownKind,
    Unknown,
    /// The seq that won.
    Conflict(i64),
    KeyReused,
    Forbidden,
    Gone,
}

#[derive(Clone, Debug, Default)]
pub struct Plain {
    pub rows: Vec<Row>,
    /// What a key stands for: the contents, first and last seq.
    pub keys: BTreeMap<String, (Vec<String>, i64, i64)>,
    pub floor: i64,
    pub board_floor: i64,
    /// The highest ids that were pruned.
    pub pruned_approval: i64,
    pub pruned_question: i64,
    /// Which event says of which that its text is gone.
    pub redacted: BTreeMap<i64, i64>,
    /// Whose transients this opening of the log holds: the next one ends them.
    pub held: BTreeSet<String>,
}

impl Plain {
    pub fn head(&self) -> i64 {
        i64::try_from(self.rows.len()).unwrap()
    }

    /// Appends all of them, or says why none; `now_ms` is what the clock shows.
    pub fn append(&mut self, specs: &[Spec], key: Option<u8>, now_ms: i64) -> Result<(Vec<i64>, usize), No> {
        if specs.is_empty() || specs.iter().any(Spec::is_malformed) {
            return Err(No::Invalid);
        }
        if key.is_some() && specs.iter().any(|spec| spec.key.is_some()) {
            return Err(No::Invalid);
        }
        if specs.iter().any(|spec| spec.shape == 14) {
            return Err(No::UnknownKind);
        }
        let mut after = self.clone();
        let at_ms = self.time(now_ms);
        let content = |spec: &Spec| format!("{} {}", spec.parts().0, spec.parts().1);
        let done = match key {
            Some(key) => {
                let contents: Vec<String> = specs.iter().map(content).collect();
                after.under(&format!("k{key}"), contents, |model| {
                    specs.iter().map(|spec| model.take(spec, at_ms)).collect::<Result<_, _>>()
                })
            }
            None => {
                let mut seqs = Vec::new();
                let mut new = 0;
                let each = specs.iter().try_for_each(|spec| {
                    let (one, count) = match spec.key {
                        None => (vec![after.take(spec, at_ms)?], 1),
                        Some(key) => after.under(&format!("k{key}"), vec![content(spec)], |model| {
                            Ok(vec![model.take(spec, at_ms)?])
                        })?,
                    };
                    seqs.extend(one);
                    new += count;
                    Ok(())
                });
                each.map(|()| (seqs, new))
            }
        };
        let done = done.map_err(|no| match no {
            // An event of the same append won, and goes with it.
            No::Conflict(seq) if seq > self.head() => No::Invalid,
            no => no,
        })?;
        *self = after;
        Ok(done)
    }

    fn under(
        &mut self,
        key: &str,
        contents: Vec<String>,
        store: impl FnOnce(&mut Self) -> Result<Vec<i64>, No>,
    ) -> Result<(Vec<i64>, usize), No> {
        if let Some((known, first, last)) = self.keys.get(key) {
            // Of what was redacted nobody knows any more what was sent.
            let count = usize::try_from(last - first + 1).unwrap();
            return if *known == contents || (known.is_empty() && count == contents.len()) {
                Ok(((*first..=*last).collect(), 0))
            } else {
                Err(No::KeyReused)
            };
        }
        let seqs = store(self)?;
        self.keys.insert(key.into(), (contents, seqs[0], seqs[seqs.len() - 1]));
        Ok((seqs.clone(), seqs.len()))
    }

    /// When something happens now, by a clock that may have gone back.
    pub fn time(&self, now_ms: i64) -> i64 {
        self.rows.last().map_or(now_ms, |last| last.at_ms.max(now_ms))
    }

    pub fn find(&self, kind: &str, member: &str, value: &Value) -> Option<&Row> {
        self.left().rev().find(|row| row.kind == kind && row.value()[member] == *value)
    }

    fn take(&mut self, spec: &Spec, at_ms: i64) -> Result<i64, No> {
        let (kind, payload, names) = spec.parts();
        let mut agents: Vec<String> = Vec::new();
        for name in names {
            if !agents.iter().any(|known| known == name) {
                agents.push(name.into());
            }
        }
        let event: Value = serde_json::from_str(&payload).unwrap();
        if let Some(entity) = kind.strip_suffix("_added") {
            if let Some(first) = self.find(kind, "id", &event["id"]) {
                return Err(No::Conflict(first.seq));
            }
            let pruned = if entity == "approval" { self.pruned_approval } else { self.pruned_question };
            assert!(matches!(entity, "approval" | "question"));
            if event["id"].as_i64().unwrap() <= pruned {
                return Err(No::Invalid);
            }
        }
        if let Some(entity) = kind.strip_suffix("_resolved") {
            let Some(opened) = self.find(&format!("{entity}_added"), "id", &event["id"]) else {
                return Err(No::Unknown);
            };
            if let Some(first) = self.find(kind, "id", &event["id"]) {
                return Err(No::Conflict(first.seq));
            }
            let opened = opened.value();
            if entity == "approval" && opened["agent"] != event["agent"] {
                return Err(No::Invalid);
            }
            if entity == "question" {
                let selected = event["selected"].as_array();
                let most = if opened["multi"] == true { 2 } else { 1 };
                let is_known = opened["question"] != "[redacted]";
                if is_known
                    && selected.is_some_and(|list| list.len() > most || list.iter().any(|one| one == "z"))
                {
                    return Err(No::Invalid);
                }
                let asker = opened["asker"].as_str().unwrap().to_owned();
                if !agents.contains(&asker) {
                    agents.push(asker);
                }
            }
        }
        if kind == "transient_cleared" {
            let last = self
                .rows
                .iter()
                .rev()
                .find(|row| row.kind.starts_with("transient") && row.value()["name"] == event["name"]);
            if last.is_none_or(|row| row.kind == kind) {
                return Err(No::Unknown);
            }
        }
        let agents: Vec<&str> = agents.iter().map(String::as_str).collect();
        Ok(self.push(at_ms, kind, &agents, payload))
    }

    pub fn push(&mut self, at_ms: i64, kind: &str, agents: &[&str], payload: String) -> i64 {
        let seq = self.head() + 1;
        let agents = agents.iter().map(|name| (*name).to_owned()).collect();
        let row = Row { seq, at_ms, kind: kind.into(), agents, payload, gone: false };
        if kind.starts_with("transient") {
            // What is set anew, or ended, is nobody's until a desk says so.
            self.held.remove(row.value()["name"].as_str().unwrap());
        }
        self.rows.push(row);
        seq
    }

    /// The board after the first `upto` events.
    pub fn board(&self, upto: i64) -> Board {
        let mut board = Board::default();
        for row in self.left().filter(|row| row.seq <= upto) {
            board.apply(&row.value());
        }
        board
    }
}
