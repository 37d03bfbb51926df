//! The events that every figure is taken with: the mix of a swarm's log, 254 bytes of payload on average.
//!
//! 70 % `sent`, 20 % `agent.read`, 9 % `agent.status`, 1 % of eight rare kinds. None of them is of a
//! board kind: a raw loop has no board, so the two would not do the same work.

use hivelog::event::{CustomEvent, Message};
use hivelog::{Custom, Draft, Event};
use serde::Serialize;

/// How many different events there are; figures go round and round over them.
pub const SAMPLES: usize = 4_096;

#[derive(Clone, Debug, Serialize)]
struct Read {
    agent: String,
    message_id: i64,
    at: i64,
    queue: String,
}

impl Custom for Read {
    const KIND: &'static str = "agent.read";
}

#[derive(Clone, Debug, Serialize)]
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
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    (0..SAMPLES).map(|_| sample(&mut dice)).collect()
}

/// The mean payload in bytes.
pub fn mean(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| sample.payload.len()).sum::<usize>() as f64 / samples.len() as f64
}

fn sample(dice: &mut Dice) -> Sample {
    let at = 1_763_829_000 + dice.below(100_000) as i64;
    let agent = format!("agent-{}", dice.below(40));
    let (typed, kind, agents, payload) = match dice.below(100) {
        0..70 => {
            let length = 60 + dice.below(350);
            let to = format!("agent-{}", 40 + dice.below(40));
            let agents = format!("{agent} {to}");
            let message = Message { from: agent, to, body: dice.words(length), at, message_id: None };
            let payload = serde_json::to_string(&message).unwrap();
            (Typed::Sent(message), "sent".into(), agents, payload)
        }
        70..90 => {
            let message_id = 1 + dice.below(1_000_000) as i64;
            let read = Read { agent: agent.clone(), message_id, at, queue: format!("{agent}/inbox") };
            let payload = serde_json::to_string(&read).unwrap();
            (Typed::Read(read), Read::KIND.into(), agent, payload)
        }
        90..99 => {
            let length = 40 + dice.below(60);
            let tokens = dice.below(200_000) as i64;
            let status = Status {
                agent: agent.clone(),
                state: "working".into(),
                task: dice.words(length),
                tokens,
                at,
            };
            let payload = serde_json::to_string(&status).unwrap();
            (Typed::Status(status), Status::KIND.into(), agent, payload)
        }
        _ => {
            let kind = format!("rare.kind{}", dice.below(8));
            let length = 300 + dice.below(600);
            let payload = format!(r#"{{"agent":"{agent}","detail":"{}","at":{at}}}"#, dice.words(length));
            let raw = serde_json::value::RawValue::from_string(payload.clone()).unwrap();
            let custom = CustomEvent { kind: kind.as_str().into(), payload: raw };
            (Typed::Rare(custom), kind, agent, payload)
        }
    };
    let line = format!(r#"{{"kind":"{kind}",{}"#, &payload[1..]);
    Sample { ready: make(&typed), typed, kind, agents, payload, line }
}

/// A small generator: the figures need variety, not chance.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn words(&mut self, length: usize) -> String {
        const WORDS: [&str; 12] = [
            "the", "build", "passes", "now", "please", "review", "branch", "merge", "test", "failed",
            "naïve", "retry",
        ];
        let mut text = String::with_capacity(length + 12);
        while text.len() < length {
            text.push_str(WORDS[self.below(WORDS.len())]);
            text.push(' ');
        }
        text
    }
}
