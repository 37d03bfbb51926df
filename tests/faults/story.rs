//! All that was told about one file over its many servers, and the verdict on it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::account::Pen;
use crate::checker::{self, Call, File, History, Outcome, Run};
use crate::client::{Subscriber, append, get};
use crate::rig::Rig;
use crate::work;

/// What became of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Acked,
    Refused,
    /// 429, 503, 507: not stored. With the stable name of the reason.
    Later(u16, String),
    /// An error that leaves the outcome open.
    Failed(u16, String),
    NoAnswer,
}

#[derive(Clone)]
pub struct Story {
    pub calls: BTreeMap<u64, Vec<Outcome>>,
    pub next_call: u64,
    pub subscriber: Subscriber,
    pub acks: u64,
    pub unknown: u64,
    /// What the file held before the first call.
    given: Vec<Call>,
}

impl Story {
    pub fn new() -> Self {
        Self {
            calls: BTreeMap::new(),
            next_call: 1,
            subscriber: Subscriber::new(0, Run::default()),
            acks: 0,
            unknown: 0,
            given: Vec::new(),
        }
    }

    /// Begins with a file that holds something already.
    pub fn upon(db: &Path) -> Self {
        let given = File::read(db).unwrap().rows.into_iter().map(|row| {
            let outcome = Outcome::Acked(vec![row.seq]);
            Call { number: 0, key: None, contents: vec![row.content], outcome }
        });
        Self { given: given.collect(), ..Self::new() }
    }

    /// A story of its own that goes on from this one.
    pub fn fork(&self) -> Self {
        let run = self.subscriber.run.lock().unwrap().clone();
        Self { subscriber: Subscriber::new(0, run), ..self.clone() }
    }

    /// Makes the next call that was not made yet.
    pub fn make_next(&mut self, address: &str, pen: Option<&Pen>) -> Told {
        let number = self.next_call;
        self.next_call += 1;
        self.make(address, number, pen)
    }

    pub fn make(&mut self, address: &str, number: u64, pen: Option<&Pen>) -> Told {
        let told = ask(address, number, pen);
        self.note(number, told)
    }

    /// Writes down what a client was told.
    pub fn note(&mut self, number: u64, (told, seqs): (Told, Vec<i64>)) -> Told {
        let outcomes = self.calls.entry(number).or_default();
        match &told {
            Told::Acked => {
                self.acks += 1;
                outcomes.push(Outcome::Acked(seqs));
            }
            Told::Refused | Told::Later(..) => outcomes.push(Outcome::Refused),
            Told::Failed(..) | Told::NoAnswer => {
                self.unknown += 1;
                outcomes.push(Outcome::Unknown);
            }
        }
        told
    }

    fn open_calls(&self) -> Vec<u64> {
        let is_open = |outcomes: &Vec<Outcome>| outcomes.last() == Some(&Outcome::Unknown);
        self.calls.iter().filter(|(_, outcomes)| is_open(outcomes)).map(|(number, _)| *number).collect()
    }

    /// A call whose outcome is open.
    pub fn first_open_call(&self) -> Option<u64> {
        self.open_calls().first().copied()
    }

    /// Repeats the calls whose outcome is open, and some of those that were acknowledged: each is stored once.
    pub fn repeat_open_calls(&mut self, address: &str, pen: Option<&Pen>) {
        let acked = |outcomes: &Vec<Outcome>| matches!(outcomes.last(), Some(Outcome::Acked(_)));
        let known: Vec<u64> =
            self.calls.iter().filter(|(_, outcomes)| acked(outcomes)).map(|(number, _)| *number).collect();
        for number in self.open_calls().into_iter().chain(known.into_iter().rev().take(3)) {
            let told = self.make(address, number, pen);
            assert!(matches!(told, Told::Acked | Told::Refused), "call {number} again: {told:?}");
        }
    }

    /// Opens the file once more under a good server, lets everybody finish, and compares all accounts.
    pub fn judge(&mut self, rig: &Rig) -> History {
        let mut server = rig.serve_plainly();
        let address = server.address();
        self.repeat_open_calls(&address, None);
        let told = self.make_next(&address, None);
        assert!(matches!(told, Told::Acked | Told::Refused), "the server does not go on: {told:?}");
        let head = get(&address, "/readyz").unwrap().json()["seq"].as_i64().unwrap();
        let fresh = Subscriber::new(1, Run::default());
        if head > 0 {
            for subscriber in [&self.subscriber, &fresh] {
                subscriber.follow(&address, None, Some(head)).join().unwrap();
            }
        }
        let ended = server.stop();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        self.compare(&rig.db(), fresh)
    }

    fn compare(&self, db: &Path, fresh: Subscriber) -> History {
        let report = hivelog::check(db).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let file = File::read(db).unwrap();
        let run = |subscriber: &Subscriber| {
            assert_eq!(*subscriber.wrong.lock().unwrap(), Vec::<String>::new());
            let run = subscriber.run.lock().unwrap().clone();
            let last = run.received.last().map_or(0, |received| received.seq);
            assert_eq!(last, report.head, "subscriber {} did not come to the end", subscriber.name);
            run
        };
        let subscribers =
            [("old".to_owned(), run(&self.subscriber)), ("fresh".to_owned(), run(&fresh))].into();
        let calls = calls(&self.calls).into_iter().chain(self.given.iter().cloned()).collect();
        let history = History { calls, subscribers, file };
        assert_eq!(history.violations(), Vec::<String>::new());
        history
    }
}

/// The calls as the checker wants them.
pub fn calls(told: &BTreeMap<u64, Vec<Outcome>>) -> Vec<Call> {
    let mut calls = Vec::new();
    for (number, outcomes) in told {
        let call = work::call(*number);
        let contents: Vec<u64> =
            call.events.iter().map(|(kind, payload)| checker::content(kind, payload)).collect();
        // A call may have been cut off before it was answered, as often as it was made.
        let cut_off = outcomes.iter().all(|outcome| *outcome == Outcome::Refused);
        for outcome in outcomes.iter().cloned().chain((!cut_off).then_some(Outcome::Unknown)) {
            let (key, contents) = (Some(call.key.clone()), contents.clone());
            calls.push(Call { number: *number, key, contents, outcome });
        }
    }
    let (kind, payload) = work::padding();
    let contents = vec![checker::content(kind, &payload)];
    calls.push(Call { number: 0, key: None, contents, outcome: Outcome::Unknown });
    calls
}

/// The text of a call's events as a client sends them.
fn body(number: u64) -> (String, String) {
    let call = work::call(number);
    let events: Vec<String> = call
        .events
        .iter()
        .map(|(kind, payload)| {
            let members = payload.strip_prefix('{').unwrap();
            let comma = if members == "}" { "" } else { "," };
            format!("{{\"kind\":\"{kind}\"{comma}{members}")
        })
        .collect();
    let body = if events.len() == 1 { events.concat() } else { format!("[{}]", events.join(",")) };
    (call.key, body)
}

/// Makes a call and gives what was told: also the seqs, where it was acknowledged.
pub fn ask(address: &str, number: u64, pen: Option<&Pen>) -> (Told, Vec<i64>) {
    let (key, body) = body(number);
    let Some(reply) = append(address, Some(&key), &body) else { return (Told::NoAnswer, Vec::new()) };
    let json = reply.json();
    match reply.status {
        200 | 201 => {
            let seqs: Vec<i64> = match json["seqs"].as_array() {
                Some(seqs) => seqs.iter().filter_map(serde_json::Value::as_i64).collect(),
                None => json["seq"].as_i64().into_iter().collect(),
            };
            if let Some(pen) = pen {
                pen.acked(number, &seqs);
            }
            (Told::Acked, seqs)
        }
        404 | 409 | 422 => (Told::Refused, Vec::new()),
        status @ (429 | 503 | 507) => (Told::Later(status, reply.problem()), Vec::new()),
        status => (Told::Failed(status, reply.problem()), Vec::new()),
    }
}

/// Fills the WAL by some hundred pages, so that a checkpoint comes due.
pub fn pad(address: &str) -> u16 {
    let (kind, payload) = work::padding();
    let event = format!("{{\"kind\":\"{kind}\",{}", payload.strip_prefix('{').unwrap());
    let body = format!("[{}]", vec![event; 24].join(","));
    append(address, None, &body).map_or(0, |reply| reply.status)
}
