//! What a swarm wants of a desk, and what has to come of it.

use std::time::Duration;

use hivelog::event::{ApprovalStatus, ClearReason, TransientKind};
use hivelog::{Answer, Ask, Cancel, Desk, Error, Request, Resolve, Seq};
use proptest::prelude::*;
use serde_json::Value;

use crate::plain::{No, Plain, WHO};

/// What somebody wants.
#[derive(Clone, Debug)]
pub enum Wish {
    Request { who: usize, salt: u8 },
    Resolve { id: i64, is_approved: bool },
    Ask { who: usize, salt: u8, multi: bool, ends: bool },
    Answer { id: i64, who: usize, choice: usize },
    Cancel { id: i64, who: usize },
    Set { who: usize, is_starting: bool },
    Clear { who: usize },
}

/// Longer than any run.
const LEASE: Duration = Duration::from_secs(600);
const TTL_SECONDS: i64 = 100_000;
const CHOICES: [Option<&[&str]>; 5] =
    [None, Some(&["x"]), Some(&["y", "x"]), Some(&["z"]), Some(&["x", "x"])];

pub fn wish() -> impl Strategy<Value = Wish> {
    let (id, who) = (|| 1..8i64, || 0..WHO.len());
    prop_oneof![
        3 => (who(), any::<u8>()).prop_map(|(who, salt)| Wish::Request { who, salt }),
        3 => (id(), any::<bool>()).prop_map(|(id, is_approved)| Wish::Resolve { id, is_approved }),
        3 => (who(), any::<u8>(), any::<bool>(), any::<bool>())
            .prop_map(|(who, salt, multi, ends)| Wish::Ask { who, salt, multi, ends }),
        3 => (id(), who(), 0..CHOICES.len()).prop_map(|(id, who, choice)| Wish::Answer { id, who, choice }),
        1 => (id(), who()).prop_map(|(id, who)| Wish::Cancel { id, who }),
        3 => (who(), any::<bool>()).prop_map(|(who, is_starting)| Wish::Set { who, is_starting }),
        2 => who().prop_map(|who| Wish::Clear { who }),
    ]
}

/// The id that was given, and the seq of the event if there is one.
pub type Told = (Option<i64>, Option<i64>);

fn kind(is_starting: bool) -> TransientKind {
    if is_starting { TransientKind::Starting } else { TransientKind::Stopping }
}

fn owned(choice: usize) -> Option<Vec<String>> {
    CHOICES[choice].map(|options| options.iter().map(|option| (*option).into()).collect())
}

impl Wish {
    /// Has a desk do it.
    pub fn of(&self, desk: &Desk) -> Result<Told, Error> {
        let seq = |seq: Seq| (None, Some(seq.get()));
        let opened = |opened: hivelog::Opened| (Some(opened.id), opened.seq.map(Seq::get));
        match *self {
            Self::Request { who, salt } => {
                let (agent, description) = (WHO[who].into(), Some(format!("{salt}\n\"")));
                let request =
                    Request { agent, approval_kind: "spawn".into(), description, ..Request::default() };
                desk.request(request).wait().map(opened)
            }
            Self::Resolve { id, is_approved } => {
                let status = if is_approved { ApprovalStatus::Approved } else { ApprovalStatus::Failed };
                desk.resolve(Resolve { id, status, note: None, by: Some("operator".into()) }).wait().map(seq)
            }
            Self::Ask { who, salt, multi, ends } => {
                let ask = Ask {
                    asker: WHO[who].into(),
                    question: format!("{salt}?"),
                    options: vec!["x".into(), "y".into()],
                    multi,
                    deadline_at: None,
                    ttl_seconds: ends.then_some(TTL_SECONDS),
                };
                desk.ask(ask).wait().map(opened)
            }
            Self::Answer { id, who, choice } => {
                let selected = owned(choice);
                let answer = selected.is_none().then(|| "so\t".to_owned());
                desk.answer(Answer { id, answer, selected, answerer: WHO[who].into() }).wait().map(seq)
            }
            Self::Cancel { id, who } => desk.cancel(Cancel { id, by: WHO[who].into() }).wait().map(seq),
            Self::Set { who, is_starting } => {
                let set = desk.set(WHO[who], kind(is_starting), LEASE).wait()?;
                Ok((None, set.map(Seq::get)))
            }
            Self::Clear { who } => desk.clear(WHO[who], ClearReason::Failed).wait().map(seq),
        }
    }
}

impl Plain {
    /// What has to come of it, by the clock of the log.
    pub fn wish(&mut self, wish: &Wish, clock_ms: i64) -> Result<Told, No> {
        let at_ms = self.time(clock_ms);
        // What it is told of is when it was by the clock, which may have gone back.
        let now = clock_ms / 1_000;
        match *wish {
            Wish::Request { who, salt } => {
                let (id, who) = (self.last_id("approval_added") + 1, WHO[who]);
                let payload = format!(
                    r#"{{"id":{id},"agent":"{who}","approval_kind":"spawn","sha_short":null,"diff":null,"description":"{salt}\n\""}}"#
                );
                Ok((Some(id), Some(self.push(at_ms, "approval_added", &[who], payload))))
            }
            Wish::Resolve { id, is_approved } => {
                let opened = self.open("approval", id)?;
                let status = if is_approved { "approved" } else { "failed" };
                let (agent, description) = (&opened["agent"], &opened["description"]);
                let payload = format!(
                    r#"{{"id":{id},"agent":{agent},"approval_kind":"spawn","sha_short":null,"status":"{status}","resolved_at":{now},"note":null,"description":{description},"by":"operator"}}"#
                );
                let agents = [agent.as_str().unwrap(), "operator"];
                Ok((None, Some(self.push(at_ms, "approval_resolved", &agents, payload))))
            }
            Wish::Ask { who, salt, multi, ends } => {
                let (id, who) = (self.last_id("question_added") + 1, WHO[who]);
                let deadline = if ends { (now + TTL_SECONDS).to_string() } else { "null".into() };
                let payload = format!(
                    r#"{{"id":{id},"asker":"{who}","question":"{salt}?","options":["x","y"],"multi":{multi},"asked_at":{now},"deadline_at":{deadline}}}"#
                );
                Ok((Some(id), Some(self.push(at_ms, "question_added", &[who], payload))))
            }
            Wish::Answer { id, who, choice } => {
                let selected = owned(choice);
                if CHOICES[choice] == Some(&["x", "x"]) {
                    return Err(No::Invalid);
                }
                let opened = self.open("question", id)?;
                if opened["asker"] == WHO[who] {
                    return Err(No::Forbidden);
                }
                if let Some(chosen) = &selected
                    && (!chosen.is_empty() && opened["question"] == "[redacted]"
                        || chosen.iter().any(|one| one == "z")
                        || (chosen.len() > 1 && opened["multi"] == false))
                {
                    return Err(No::Invalid);
                }
                let answer = selected.as_ref().map_or("so\t".into(), |chosen| chosen.join("\n"));
                let (answer, selected) = (Value::from(answer), Value::from(selected));
                Ok((
                    None,
                    Some(self.close(at_ms, id, (WHO[who], now), &format!("{answer}"), "answered", &selected)),
                ))
            }
            Wish::Cancel { id, who } => {
                self.open("question", id)?;
                let by = (WHO[who], now);
                Ok((None, Some(self.close(at_ms, id, by, "\"[cancelled]\"", "cancelled", &Value::Null))))
            }
            Wish::Set { who, is_starting } => {
                let (who, word) = (WHO[who], kind(is_starting).as_str());
                let is_renewal = self.transient(who).is_some_and(|set| set["transient_kind"] == word);
                let set = (!is_renewal).then(|| {
                    let end = now + 600;
                    let payload = format!(
                        r#"{{"name":"{who}","transient_kind":"{word}","since_unix":{now},"expires_at":{end}}}"#
                    );
                    self.push(at_ms, "transient_set", &[who], payload)
                });
                self.held.insert(who.into());
                Ok((None, set))
            }
            Wish::Clear { who } => {
                self.transient(WHO[who]).ok_or(No::Unknown)?;
                Ok((None, Some(self.clear(at_ms, WHO[who], "failed"))))
            }
        }
    }

    /// The end of a transient.
    pub fn clear(&mut self, at_ms: i64, name: &str, reason: &str) -> i64 {
        let payload = format!(r#"{{"name":"{name}","reason":"{reason}"}}"#);
        self.push(at_ms, "transient_cleared", &[name], payload)
    }

    fn close(
        &mut self,
        at_ms: i64,
        id: i64,
        (who, now): (&str, i64),
        answer: &str,
        outcome: &str,
        selected: &Value,
    ) -> i64 {
        let asker = self.find("question_added", "id", &id.into()).unwrap().value()["asker"].clone();
        let cancelled = outcome == "cancelled";
        let payload = format!(
            r#"{{"id":{id},"answer":{answer},"answerer":"{who}","answered_at":{now},"cancelled":{cancelled},"outcome":"{outcome}","selected":{selected}}}"#
        );
        let mut agents = vec![who];
        agents.extend(asker.as_str().filter(|asker| *asker != who));
        self.push(at_ms, "question_resolved", &agents, payload)
    }

    /// The opening event of what is open.
    fn open(&self, entity: &str, id: i64) -> Result<Value, No> {
        let id = Value::from(id);
        let opened = self.find(&format!("{entity}_added"), "id", &id).ok_or(No::Unknown)?;
        match self.find(&format!("{entity}_resolved"), "id", &id) {
            Some(first) => Err(No::Conflict(first.seq)),
            None => Ok(opened.value()),
        }
    }

    fn last_id(&self, kind: &str) -> i64 {
        let ids =
            self.rows.iter().filter(|row| row.kind == kind).map(|row| row.value()["id"].as_i64().unwrap());
        ids.max().unwrap_or(0)
    }

    fn transient(&self, name: &str) -> Option<Value> {
        let of_it =
            |row: &&crate::plain::Row| row.kind.starts_with("transient") && row.value()["name"] == name;
        let last = self.rows.iter().rev().find(of_it)?;
        (last.kind == "transient_set").then(|| last.value())
    }
}
