//! The events of `mix` in every form that a case needs.

use hivelog::event::{CustomEvent, Message};
use hivelog::{Custom, Draft, Event};
use serde::{Deserialize, Serialize};

use crate::mix::{self, Text};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Read {
    agent: String,
    message_id: i64,
    at: i64,
    queue: String,
}

impl Custom for Read {
    const KIND: &'static str = "agent.read";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Status {
    agent: String,
    state: String,
    task: String,
    tokens: i64,
    at: i64,
}

impl Custom for Status {
    const KIND: &'static str = "agent.status";
}

#[derive(Clone, Debug)]
enum Typed {
    Sent(Message),
    Read(Read),
    Status(Status),
    Rare(CustomEvent),
}

/// One event in every form that a case needs.
#[derive(Clone, Debug)]
pub struct Sample {
    typed: Typed,
    /// As the raw loop stores it.
    pub kind: String,
    pub agents: String,
    pub payload: String,
    /// As a client posts it.
    pub line: String,
    /// As the crate takes it, made beforehand.
    pub ready: Draft,
}

impl Sample {
    /// A new draft, with all the work that an application has with it.
    pub fn draft(&self) -> Draft {
        make(&self.typed)
    }
}

fn make(typed: &Typed) -> Draft {
    match typed {
        Typed::Sent(message) => Event::Sent(message.clone()).into(),
        Typed::Read(read) => Draft::custom(read),
        Typed::Status(status) => Draft::custom(status),
        Typed::Rare(custom) => Event::Custom(custom.clone()).into(),
    }
}

/// The samples, the same ones in every run.
pub fn samples() -> Vec<Sample> {
    mix::texts().into_iter().map(sample).collect()
}

/// The mean payload in bytes.
pub fn mean(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| sample.payload.len()).sum::<usize>() as f64 / samples.len() as f64
}

fn sample(text: Text) -> Sample {
    let typed = match text.kind.as_str() {
        "sent" => Typed::Sent(read(&text.payload)),
        Read::KIND => Typed::Read(read(&text.payload)),
        Status::KIND => Typed::Status(read(&text.payload)),
        kind => {
            let payload = serde_json::value::RawValue::from_string(text.payload.clone()).unwrap();
            Typed::Rare(CustomEvent { kind: kind.into(), payload })
        }
    };
    let line = text.line();
    let Text { kind, agents, payload } = text;
    Sample { ready: make(&typed), typed, kind, agents, payload, line }
}

/// The raw loop and the crate have to store the same bytes.
fn read<T: Serialize + serde::de::DeserializeOwned>(payload: &str) -> T {
    let typed = serde_json::from_str(payload).unwrap();
    assert_eq!(serde_json::to_string(&typed).unwrap(), payload);
    typed
}
