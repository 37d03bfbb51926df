//! What the figures are taken with, as text: the mix of a swarm's log, 257 bytes of payload on average.
//!
//! 70 % `sent`, 20 % `agent.read`, 9 % `agent.status`, 1 % of eight rare kinds. None of them is of a
//! board kind: a raw loop has no board, so the two would not do the same work. It knows nothing of the
//! log, so that what other systems are measured with is the same.

/// How many different events there are; figures go round and round over them.
pub const SAMPLES: usize = 4_096;

/// One event as text.
#[derive(Clone, Debug)]
pub struct Text {
    pub kind: String,
    /// The names that it concerns, as the log keeps them beside it.
    pub agents: String,
    pub payload: String,
}

impl Text {
    /// As a client posts it.
    pub fn line(&self) -> String {
        format!(r#"{{"kind":"{}",{}"#, self.kind, &self.payload[1..])
    }
}

/// The texts, the same ones in every run.
pub fn texts() -> Vec<Text> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    (0..SAMPLES).map(|_| text(&mut dice)).collect()
}

fn text(dice: &mut Dice) -> Text {
    let at = 1_763_829_000 + dice.below(100_000);
    let agent = format!("agent-{}", dice.below(40));
    match dice.below(100) {
        0..70 => {
            let length = 60 + dice.below(350);
            let to = format!("agent-{}", 40 + dice.below(40));
            let body = dice.words(length);
            let payload =
                format!(r#"{{"from":"{agent}","to":"{to}","body":"{body}","at":{at},"message_id":null}}"#);
            Text { kind: "sent".into(), agents: format!("{agent} {to}"), payload }
        }
        70..90 => {
            let id = 1 + dice.below(1_000_000);
            let payload =
                format!(r#"{{"agent":"{agent}","message_id":{id},"at":{at},"queue":"{agent}/inbox"}}"#);
            Text { kind: "agent.read".into(), agents: agent, payload }
        }
        90..99 => {
            let length = 40 + dice.below(60);
            let tokens = dice.below(200_000);
            let task = dice.words(length);
            let payload = format!(
                r#"{{"agent":"{agent}","state":"working","task":"{task}","tokens":{tokens},"at":{at}}}"#
            );
            Text { kind: "agent.status".into(), agents: agent, payload }
        }
        _ => {
            let kind = format!("rare.kind{}", dice.below(8));
            let length = 300 + dice.below(600);
            let detail = dice.words(length);
            let payload = format!(r#"{{"agent":"{agent}","detail":"{detail}","at":{at}}}"#);
            Text { kind, agents: agent, payload }
        }
    }
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
