//! What the tests of approvals, questions and transients say to a desk, and to its server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hivelog::event::ApprovalStatus;
use hivelog::{Answer, Ask, Error, Log, Options, Refusal, Request, Resolve, Row};

/// Longer than anything takes that is not broken.
pub const PATIENCE: Duration = Duration::from_mins(2);

pub fn request(agent: &str) -> Request {
    Request { agent: agent.into(), approval_kind: "spawn".into(), ..Request::default() }
}

pub fn resolve(id: i64, status: ApprovalStatus) -> Resolve {
    Resolve { id, status, note: None, by: Some("operator".into()) }
}

pub fn ask(asker: &str, question: &str) -> Ask {
    Ask { asker: asker.into(), question: question.into(), ..Ask::default() }
}

pub fn answer(id: i64, text: &str) -> Answer {
    Answer { id, answer: Some(text.into()), selected: None, answerer: "operator".into() }
}

pub fn select(id: i64, options: &[&str]) -> Answer {
    let selected = Some(options.iter().map(|option| (*option).into()).collect());
    Answer { id, answer: None, selected, answerer: "operator".into() }
}

/// A wall clock that a test sets.
#[derive(Clone)]
pub struct Hands(Arc<AtomicI64>);

impl Hands {
    pub fn at(seconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(seconds * 1_000)))
    }

    pub fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    pub fn open(&self, path: &Path) -> Log {
        let hands = Arc::clone(&self.0);
        Log::open(path, Options::default().clock(move || hands.load(Ordering::SeqCst))).unwrap()
    }
}

/// Looks again and again until there is something to see.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The event that won against what was refused.
#[track_caller]
pub fn winner<T: std::fmt::Debug>(told: Result<T, Error>) -> Row {
    match told {
        Err(Error::Refused(Refusal::Conflict { winner, .. })) => *winner,
        other => panic!("no conflict: {other:?}"),
    }
}

/// The field that a refusal names.
#[track_caller]
pub fn wrong_field<T: std::fmt::Debug>(told: Result<T, Error>) -> String {
    match told {
        Err(Error::Refused(Refusal::Invalid { field: Some(field), .. })) => field.into(),
        other => panic!("no field is wrong: {other:?}"),
    }
}
