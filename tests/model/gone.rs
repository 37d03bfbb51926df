//! What goes out of the plain list: old events, and the text of one.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::plain::{No, Plain, Row};

const MARK: &str = "\"[redacted]\"";
const KINDS: [&str; 7] =
    ["sent", "delivered", "approval_resolved", "questions", "transients", "*", "deploy.finished"];

/// What a test wants to be pruned.
#[derive(Clone, Debug)]
pub struct Pruning {
    pub before: i64,
    pub kinds: Vec<&'static str>,
}

pub fn pruning() -> impl Strategy<Value = Pruning> {
    let kinds = prop::sample::subsequence(KINDS.to_vec(), 0..=7);
    (0..60i64, kinds).prop_map(|(before, kinds)| Pruning { before, kinds })
}

impl Plain {
    /// What is still there.
    pub fn left(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.gone)
    }

    /// Prunes; gives the floor, and how many events went.
    pub fn prune(&mut self, asked: &Pruning) -> (i64, u64) {
        let named = |kind: &str| {
            let kinds: &[&str] = if asked.kinds.is_empty() { &["sent", "delivered"] } else { &asked.kinds };
            kinds.contains(&kind)
        };
        let (mut going, mut board) = (BTreeSet::new(), 0);
        let (mut approval, mut question) = (self.pruned_approval, self.pruned_question);
        for row in self.left().filter(|row| row.seq < asked.before) {
            let value = row.value();
            let of_it = |kinds: [&str; 2], member: &str| -> Vec<i64> {
                let is_of_it = |other: &&Row| {
                    kinds.contains(&other.kind.as_str())
                        && other.value()[member] == value[member]
                        && other.seq <= row.seq
                };
                self.left().filter(is_of_it).map(|other| other.seq).collect()
            };
            let ended = match row.kind.as_str() {
                "approval_resolved" if named("approval_resolved") => {
                    approval = approval.max(value["id"].as_i64().unwrap());
                    of_it(["approval_added", "approval_resolved"], "id")
                }
                "question_resolved" if named("questions") => {
                    question = question.max(value["id"].as_i64().unwrap());
                    of_it(["question_added", "question_resolved"], "id")
                }
                "transient_cleared" if named("transients") => {
                    of_it(["transient_set", "transient_cleared"], "name")
                }
                "deploy.finished" | "declared" if named("*") || named(&row.kind) => vec![row.seq],
                "sent" | "delivered" if named(&row.kind) => vec![row.seq],
                _ => vec![],
            };
            if row.kind.contains('_') {
                board = ended.iter().copied().max().unwrap_or(0).max(board);
            }
            going.extend(ended);
        }
        (self.pruned_approval, self.pruned_question) = (approval, question);
        for seq in &going {
            self.rows[usize::try_from(seq - 1).unwrap()].gone = true;
        }
        self.floor = self.floor.max(going.iter().copied().max().unwrap_or(0));
        self.board_floor = self.board_floor.max(board);
        (self.floor, going.len() as u64)
    }

    /// Takes the text out of an event; gives the event that says so.
    pub fn redact(&mut self, seq: i64, now_ms: i64) -> Result<i64, No> {
        if !(1..=self.head()).contains(&seq) {
            return Err(No::Unknown);
        }
        let row = &self.rows[usize::try_from(seq - 1).unwrap()];
        if row.gone {
            return Err(No::Gone);
        }
        if let Some(told) = self.redacted.get(&seq) {
            return Ok(*told);
        }
        if row.kind.starts_with("transient") || row.kind == "hivelog.redacted" {
            return Err(No::Invalid);
        }
        let at_ms = self.time(now_ms);
        self.rows[usize::try_from(seq - 1).unwrap()].forget();
        for (contents, first, last) in self.keys.values_mut() {
            if (*first..=*last).contains(&seq) {
                *contents = vec![];
            }
        }
        let told = self.push(
            at_ms,
            "hivelog.redacted",
            &["carol"],
            format!(r#"{{"redacted_seq":{seq},"by":"carol"}}"#),
        );
        self.redacted.insert(seq, told);
        Ok(told)
    }
}

impl Row {
    /// Puts the mark in the place of every text.
    fn forget(&mut self) {
        let mut payload = self.payload.clone();
        let mut put = |member: &str, next: &str, text: &str| {
            let begin = payload.find(&format!("\"{member}\":")).unwrap() + member.len() + 3;
            let end = begin + payload[begin..].find(next).unwrap();
            if &payload[begin..end] != "null" {
                payload.replace_range(begin..end, text);
            }
        };
        match self.kind.as_str() {
            "sent" | "delivered" => put("body", ",\"at\":", MARK),
            "approval_added" => {
                put("diff", ",\"description\":", MARK);
                put("description", "}", MARK);
            }
            "approval_resolved" => {
                put("note", ",\"description\":", MARK);
                put("description", ",\"by\":", MARK);
            }
            "question_added" => {
                put("question", ",\"options\":", MARK);
                put("options", ",\"multi\":", r#"["[redacted] 1","[redacted] 2"]"#);
            }
            "question_resolved" if self.payload.contains("\"outcome\":\"answered\"") => {
                put("answer", ",\"answerer\":", MARK);
                put("selected", "}", "null");
            }
            "question_resolved" => {}
            "deploy.finished" => {
                let agent = self.value()["agent"].as_str().unwrap().to_owned();
                payload = format!(r#"{{"agent":"{agent}","redacted":true}}"#);
            }
            "declared" => payload = r#"{"redacted":true}"#.into(),
            other => panic!("what is the text of {other}?"),
        }
        self.payload = payload;
    }
}
