//! The scripted swarm: a dozen agents that talk, ask and wait, at a pace that an eye can follow.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::cli::client::{self, Client};
use crate::cli::failure::Failure;
use crate::cli::poster::patiently;
use crate::cli::script::{AGENTS, CHANGES, MESSAGES, QUESTIONS};
use crate::clock::{Clock as _, SystemClock};
use crate::event::OPERATOR;

/// Steps played at once in the beginning, so that there is something to see.
const OVERTURE: usize = 24;
/// Open approvals and questions above which some are closed first.
const OPEN_MAX: usize = 5;
/// Steps for which an approval or question is left to whoever looks on, before the swarm closes it itself: a minute
/// at the pace that is the default.
const PATIENCE: u32 = 120;
/// Transients at a time.
const TRANSIENTS_MAX: usize = 3;

const TRANSIENT_KINDS: [&str; 6] =
    ["spawning", "starting", "stopping", "restarting", "rebuilding", "destroying"];

/// Plays until the limit is reached, or for ever.
pub(crate) async fn play(client: &Client, rate: f64, limit: Option<usize>) -> Result<(), Failure> {
    let pause = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
    let mut swarm = Swarm::join(client, pause * PATIENCE).await?;
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
    turn: usize,
    /// How long what is open is left to somebody else.
    patience: Duration,
    /// What is open, the oldest first.
    approvals: VecDeque<Approval>,
    questions: VecDeque<Question>,
    transients: VecDeque<String>,
    /// Who has mail.
    inboxes: VecDeque<&'static str>,
}

struct Approval {
    id: i64,
    since: Instant,
}

struct Question {
    id: i64,
    since: Instant,
    asker: String,
    options: Vec<String>,
}

impl<'a> Swarm<'a> {
    /// Takes over what an earlier swarm left open in the file.
    async fn join(client: &'a Client, patience: Duration) -> Result<Self, Failure> {
        let state = state(client).await?;
        let ours = |list: &str, name: &str| -> Vec<Value> {
            let rows = state.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            rows.iter().filter(|row| AGENTS.contains(&text(row, name))).cloned().collect()
        };
        let seed = SystemClock.now_ms().unsigned_abs();
        Ok(Self {
            client,
            // A swarm with an odd seed never stands still.
            chance: seed | 1,
            turn: 0,
            patience,
            approvals: ours("approvals", "agent").iter().map(approval).collect(),
            questions: ours("questions", "asker").iter().map(question).collect(),
            transients: ours("transients", "name").iter().map(|row| text(row, "name").to_owned()).collect(),
            inboxes: AGENTS.into(),
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

    /// The next of a list, so that no two that are open at once are the same.
    fn in_turn<T>(&mut self, list: &'static [T]) -> Option<&'static T> {
        self.turn += 1;
        list.get(self.turn % list.len().max(1))
    }

    async fn step(&mut self) -> Result<(), Failure> {
        if self.inboxes.len() > self.roll(3) {
            self.take().await?;
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

    /// Makes a call until it has an answer; none, where somebody else was faster.
    async fn call(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, Failure> {
        patiently(|| async {
            match self.client.command(method.clone(), path, body).await {
                Ok(answer) => Ok(Some(answer)),
                Err(fault) if fault.is_conflict() || fault.is_not_found() => Ok(None),
                Err(fault) => Err(fault.into()),
            }
        })
        .await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Option<Value>, Failure> {
        self.call(&Method::POST, path, Some(body)).await
    }

    async fn talk(&mut self) -> Result<(), Failure> {
        let (from, to) = (self.agent(), self.agent());
        if from == to {
            return Ok(());
        }
        let body = self.pick(&MESSAGES, "hello");
        self.post("/api/messages", &json!({"from": from, "to": to, "body": body})).await?;
        self.inboxes.push_back(to);
        Ok(())
    }

    /// Somebody reads a message, and says so.
    async fn take(&mut self) -> Result<(), Failure> {
        let Some(name) = self.inboxes.pop_front() else { return Ok(()) };
        let taken =
            self.call(&Method::POST, &format!("/api/agents/{name}/recv"), None).await?.unwrap_or_default();
        for message in taken.get("messages").and_then(Value::as_array).into_iter().flatten() {
            self.call(&Method::POST, &format!("/api/messages/{}/ack", id(message)), None).await?;
        }
        Ok(())
    }

    async fn request(&mut self) -> Result<(), Failure> {
        let agent = self.agent();
        let Some(change) = self.in_turn(&CHANGES) else { return Ok(()) };
        let sha = format!("{:012x}", self.chance & 0xffff_ffff_ffff);
        let body = json!({
            "agent": agent, "approval_kind": "apply_commit", "sha_short": sha, "diff": change.diff,
            "description": change.description,
        });
        let opened = self.post("/api/approvals", &body).await?;
        self.approvals.extend(opened.as_ref().map(approval));
        Ok(())
    }

    async fn decide(&mut self) -> Result<(), Failure> {
        let is_due = |first: &mut Approval| first.since.elapsed() >= self.patience;
        let Some(Approval { id, .. }) = self.approvals.pop_front_if(is_due) else { return self.look().await };
        let (status, note) = match self.roll(10) {
            0 => ("denied", Some("please split this into two changes")),
            1 => ("failed", Some("does not apply on the current main")),
            _ => ("approved", None),
        };
        let body = json!({"status": status, "note": note});
        self.post(&format!("/api/approvals/{id}/resolve"), &body).await.map(drop)
    }

    /// Forgets what somebody else has closed.
    async fn look(&mut self) -> Result<(), Failure> {
        let state = state(self.client).await?;
        let open = |list: &str| -> Vec<i64> {
            state.get(list).and_then(Value::as_array).into_iter().flatten().map(id).collect()
        };
        let (approvals, questions) = (open("approvals"), open("questions"));
        self.approvals.retain(|approval| approvals.contains(&approval.id));
        self.questions.retain(|question| questions.contains(&question.id));
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), Failure> {
        let asker = self.agent();
        let Some(wanted) = self.in_turn(&QUESTIONS) else { return Ok(()) };
        let body = json!({
            "asker": asker, "question": wanted.question, "options": wanted.options, "multi": wanted.multi,
        });
        if let Some(opened) = self.post("/api/questions", &body).await? {
            let options = wanted.options.iter().map(ToString::to_string).collect();
            let (id, since) = (id(&opened), Instant::now());
            self.questions.push_back(Question { id, since, asker: asker.into(), options });
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<(), Failure> {
        let is_due = |first: &mut Question| first.since.elapsed() >= self.patience;
        let first = self.questions.pop_front_if(is_due);
        let Some(Question { id, asker, options, .. }) = first else { return self.look().await };
        if self.roll(8) == 0 {
            let by = json!({"by": asker});
            return self.post(&format!("/api/questions/{id}/cancel"), &by).await.map(drop);
        }
        let index = self.roll(options.len());
        let body = match options.get(index) {
            Some(option) => json!({"selected": [option]}),
            None => json!({"answer": "whatever you think is best"}),
        };
        self.post(&format!("/api/questions/{id}/answer"), &body).await.map(drop)
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let name = self.agent();
        if self.transients.iter().any(|busy| busy == name) {
            return Ok(());
        }
        let kind = self.pick(&TRANSIENT_KINDS, "starting");
        let path = format!("/api/transients/{name}");
        self.call(&Method::PUT, &path, Some(&json!({"transient_kind": kind}))).await?;
        self.transients.push_back(name.to_owned());
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        let Some(name) = self.transients.pop_front() else { return Ok(()) };
        let reason = if self.roll(6) == 0 { "failed" } else { "done" };
        let path = format!("/api/transients/{name}");
        self.call(&Method::DELETE, &path, Some(&json!({"reason": reason}))).await.map(drop)
    }
}

async fn state(client: &Client) -> Result<Value, Failure> {
    let body = patiently(|| async { Ok(client.get("/api/state", &[]).await?) }).await?;
    Ok(serde_json::from_slice(&body).map_err(|error| client::not_ours(&error))?)
}

fn approval(row: &Value) -> Approval {
    Approval { id: id(row), since: Instant::now() }
}

fn question(row: &Value) -> Question {
    let options = row.get("options").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let options = options.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    Question { id: id(row), since: Instant::now(), asker: text(row, "asker").into(), options }
}

fn id(row: &Value) -> i64 {
    row.get("id").and_then(Value::as_i64).unwrap_or_default()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}
