//! The scripted swarm: a dozen agents that talk, ask and wait, at a pace that an eye can follow.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::cli::client::{self, Client};
use crate::cli::failure::Failure;
use crate::cli::poster::{append, patiently};
use crate::cli::read::ask;
use crate::cli::script::{AGENTS, CHANGES, MESSAGES, QUESTIONS};
use crate::clock::{Clock as _, SystemClock};
use crate::event::OPERATOR;

/// Steps played at once in the beginning, so that there is something to see.
const OVERTURE: usize = 24;
/// Open approvals and questions above which some are closed first.
const OPEN_MAX: usize = 5;
/// Transients at a time.
const TRANSIENTS_MAX: usize = 3;

const TRANSIENT_KINDS: [&str; 6] =
    ["spawning", "starting", "stopping", "restarting", "rebuilding", "destroying"];

/// Plays until the limit is reached, or for ever.
pub(crate) async fn play(client: &Client, rate: f64, limit: Option<usize>) -> Result<(), Failure> {
    let mut swarm = Swarm::join(client).await?;
    let pause = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
    let mut due = Instant::now();
    let mut step = 0;
    while limit.is_none_or(|limit| step < limit) {
        if step >= OVERTURE {
            sleep_until(due).await;
            due = (due + pause).max(Instant::now());
        }
        swarm.step().await?;
        step += 1;
    }
    Ok(())
}

struct Swarm<'a> {
    client: &'a Client,
    chance: u64,
    approval_id: i64,
    question_id: i64,
    /// Opening events of what is open, the oldest first.
    approvals: VecDeque<Value>,
    questions: VecDeque<Value>,
    transients: VecDeque<String>,
    undelivered: VecDeque<Value>,
}

/// Whether the log took what was posted, or somebody else was first.
#[derive(PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}

impl<'a> Swarm<'a> {
    /// Takes over what an earlier swarm left open in the file.
    async fn join(client: &'a Client) -> Result<Self, Failure> {
        let approval_id = highest_id(client, "approval_added").await?;
        let question_id = highest_id(client, "question_added").await?;
        let body = patiently(|| async { Ok(client.get("/api/state", &[]).await?) }).await?;
        let state: Value = serde_json::from_slice(&body).map_err(|error| client::not_ours(&error))?;
        let ours = |list: &str, name: &str| -> VecDeque<Value> {
            let rows = state.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            rows.iter().filter(|row| AGENTS.contains(&text(row, name))).cloned().collect()
        };
        let transients = ours("transients", "name").iter().map(|row| text(row, "name").to_owned()).collect();
        let seed = SystemClock.now_ms().unsigned_abs();
        Ok(Self {
            client,
            // A swarm with an odd seed never stands still.
            chance: seed | 1,
            approval_id,
            question_id,
            approvals: ours("approvals", "agent"),
            questions: ours("questions", "asker"),
            transients,
            undelivered: VecDeque::new(),
        })
    }

    /// The next number of a xorshift: what happens in a demo need not be hard to guess.
    fn roll(&mut self, sides: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        usize::try_from(self.chance % (sides.max(1) as u64)).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, list: &[T], otherwise: T) -> T {
        let index = self.roll(list.len());
        list.get(index).copied().unwrap_or(otherwise)
    }

    fn agent(&mut self) -> &'static str {
        self.pick(&AGENTS, OPERATOR)
    }

    async fn step(&mut self) -> Result<(), Failure> {
        if self.undelivered.len() > self.roll(3)
            && let Some(mut message) = self.undelivered.pop_front()
        {
            set(&mut message, "kind", "delivered".into());
            self.post(&message).await?;
        }
        match self.roll(100) {
            0..45 => self.talk().await,
            45..60 if self.approvals.len() < OPEN_MAX => self.request().await,
            45..72 => self.decide().await,
            72..82 if self.questions.len() < OPEN_MAX => self.ask().await,
            72..90 => self.answer().await,
            _ if self.transients.len() < TRANSIENTS_MAX => self.begin().await,
            _ => self.finish().await,
        }
    }

    async fn post(&self, event: &Value) -> Result<Taken, Failure> {
        match append(self.client, &event.to_string()).await {
            Ok(()) => Ok(Taken::Yes),
            Err(fault) if fault.is_conflict() || fault.is_not_found() => Ok(Taken::No),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn talk(&mut self) -> Result<(), Failure> {
        let (from, to) = (self.agent(), self.agent());
        if from == to {
            return Ok(());
        }
        let body = self.pick(&MESSAGES, "hello");
        let message = json!({"kind": "sent", "from": from, "to": to, "body": body, "at": now()});
        self.post(&message).await?;
        self.undelivered.push_back(message);
        Ok(())
    }

    async fn request(&mut self) -> Result<(), Failure> {
        let agent = self.agent();
        self.approval_id += 1;
        // In turn, so that no two of those that are open are the same.
        let Some(change) = in_turn(&CHANGES, self.approval_id) else { return Ok(()) };
        let sha = format!("{:012x}", self.chance & 0xffff_ffff_ffff);
        let event = json!({
            "kind": "approval_added", "id": self.approval_id, "agent": agent, "approval_kind": "apply_commit",
            "sha_short": sha, "diff": change.diff, "description": change.description,
        });
        // An id that somebody else took is left to them; the next step tries the next one.
        if self.post(&event).await? == Taken::Yes {
            self.approvals.push_back(event);
        }
        Ok(())
    }

    async fn decide(&mut self) -> Result<(), Failure> {
        let Some(open) = self.approvals.pop_front() else { return Ok(()) };
        let (status, note) = match self.roll(10) {
            0 => ("denied", Some("please split this into two changes")),
            1 => ("failed", Some("does not apply on the current main")),
            _ => ("approved", None),
        };
        let event = json!({
            "kind": "approval_resolved", "id": open.get("id"), "agent": open.get("agent"),
            "approval_kind": open.get("approval_kind"), "sha_short": open.get("sha_short"), "status": status,
            "resolved_at": now(), "note": note, "description": open.get("description"), "by": OPERATOR,
        });
        // Where an operator was faster there is nothing left to do.
        self.post(&event).await.map(drop)
    }

    async fn ask(&mut self) -> Result<(), Failure> {
        let asker = self.agent();
        self.question_id += 1;
        let Some(wanted) = in_turn(&QUESTIONS, self.question_id) else { return Ok(()) };
        let event = json!({
            "kind": "question_added", "id": self.question_id, "asker": asker, "question": wanted.question,
            "options": wanted.options, "multi": wanted.multi, "asked_at": now(),
        });
        if self.post(&event).await? == Taken::Yes {
            self.questions.push_back(event);
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<(), Failure> {
        let Some(open) = self.questions.pop_front() else { return Ok(()) };
        let options = open.get("options").and_then(Value::as_array).cloned().unwrap_or_default();
        let index = self.roll(options.len());
        let chosen = options.get(index).and_then(Value::as_str);
        let mut event = json!({
            "kind": "question_resolved", "id": open.get("id"), "answerer": OPERATOR, "answered_at": now(),
            "answer": chosen.unwrap_or("whatever you think is best"), "cancelled": false,
            "outcome": "answered", "selected": chosen.map(|option| [option]),
        });
        if self.roll(8) == 0 {
            set(&mut event, "answer", "[cancelled]".into());
            set(&mut event, "answerer", open.get("asker").cloned().unwrap_or_default());
            set(&mut event, "cancelled", true.into());
            set(&mut event, "outcome", "cancelled".into());
            set(&mut event, "selected", Value::Null);
        }
        self.post(&event).await.map(drop)
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let name = self.agent();
        if self.transients.iter().any(|busy| busy == name) {
            return Ok(());
        }
        let kind = self.pick(&TRANSIENT_KINDS, "starting");
        let event =
            json!({"kind": "transient_set", "name": name, "transient_kind": kind, "since_unix": now()});
        if self.post(&event).await? == Taken::Yes {
            self.transients.push_back(name.to_owned());
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        let Some(name) = self.transients.pop_front() else { return Ok(()) };
        let reason = if self.roll(6) == 0 { "failed" } else { "done" };
        self.post(&json!({"kind": "transient_cleared", "name": name, "reason": reason})).await.map(drop)
    }
}

/// The highest id of the newest openings of this kind: ids before them are used.
async fn highest_id(client: &Client, kind: &str) -> Result<i64, Failure> {
    let query = [("kind", kind.to_owned()), ("order", "desc".to_owned()), ("limit", "200".to_owned())];
    let page = patiently(|| ask(client, &query)).await?;
    let ids = page.events.iter().map(|event| {
        let event: Value = serde_json::from_slice(event).unwrap_or_default();
        event.get("id").and_then(Value::as_i64).unwrap_or_default()
    });
    Ok(ids.max().unwrap_or(0))
}

fn in_turn<T>(list: &[T], id: i64) -> Option<&T> {
    list.get(usize::try_from(id).unwrap_or_default() % list.len().max(1))
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn set(event: &mut Value, name: &str, value: Value) {
    if let Some(event) = event.as_object_mut() {
        event.insert(name.to_owned(), value);
    }
}

fn now() -> i64 {
    SystemClock.now_ms() / 1_000
}
