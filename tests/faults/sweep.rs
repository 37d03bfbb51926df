//! A fixed piece of work, struck at each of its calls in turn: by an error, or by a kill.

use std::path::PathBuf;

use crate::account::{Entry, read};
use crate::rig::{Blow, CHANGES, Ended, Orders, Rig, Server};
use crate::story::{Story, Told, pad};

/// What the work is done on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is there: the file is made.
    Birth,
    /// A file of the oldest schema is brought up.
    Migrate,
    /// A killed server left its WAL; some calls.
    Steady,
    /// So much text that checkpoints come due, and a good end.
    Checkpoint,
}

/// A folder to begin from, the story so far, and how many calls the work makes from there.
pub struct Base {
    pub phase: Phase,
    rig: Rig,
    story: Story,
    /// Of the calls that count.
    pub calls: u64,
}

/// What one strike came to.
#[derive(Debug)]
pub struct Outcome {
    pub struck: Option<Entry>,
    /// How the server ended, and whether by itself.
    pub ended: Ended,
    pub by_itself: bool,
    pub told: Vec<Told>,
    pub acks: u64,
}

impl Base {
    pub fn new(phase: Phase) -> Self {
        Self::counting(phase, CHANGES)
    }

    /// The same, where only the calls of `mask` count.
    pub fn counting(phase: Phase, mask: u32) -> Self {
        let rig = Rig::new();
        let mut story = Story::new();
        match phase {
            Phase::Birth => {}
            Phase::Migrate => {
                let old = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-1.db");
                std::fs::copy(old, rig.db()).unwrap();
                story = Story::upon(&rig.db());
            }
            Phase::Steady | Phase::Checkpoint => {
                let mut server = rig.serve(&[]).unwrap();
                for _ in 0..12 {
                    story.make_next(&server.address(), None);
                }
                server.kill();
            }
        }
        let mut base = Self { phase, rig, story, calls: 0 };
        let (outcome, _, calls) = base.work(Orders { mask, ..Orders::default() });
        assert_eq!(outcome.ended.status.code(), Some(0), "{outcome:?}");
        base.calls = calls;
        base
    }

    /// Does the work once under these orders; gives what came of it, the rig, and the calls that were counted.
    fn work(&self, orders: Orders) -> (Outcome, (Rig, Story), u64) {
        let rig = Rig::like(&self.rig.data());
        let mut story = self.story.fork();
        let acks = story.acks;
        rig.order(orders);
        let mut told = Vec::new();
        let (ended, by_itself) = match rig.serve(&[]) {
            Err(ended) => (ended, true),
            Ok(mut server) => self.live(&mut server, &mut story, &mut told),
        };
        rig.order(Orders::default());
        let entries = read(&rig.trace());
        let struck = entries.iter().find(|entry| matches!(entry, Entry::Struck { .. })).cloned();
        let calls = entries.iter().rev().find_map(|entry| match entry {
            Entry::Count(calls) => Some(*calls),
            _ => None,
        });
        let acks = story.acks - acks;
        (Outcome { struck, ended, by_itself, told, acks }, (rig, story), calls.unwrap_or(0))
    }

    fn live(&self, server: &mut Server, story: &mut Story, told: &mut Vec<Told>) -> (Ended, bool) {
        let address = server.address();
        let follower = story.subscriber.follow(&address, None, None);
        let (rounds, calls) = match self.phase {
            Phase::Checkpoint => (8, 1),
            _ => (4, 2),
        };
        for _ in 0..rounds {
            for _ in 0..calls {
                told.push(story.make_next(&address, None));
            }
            if self.phase == Phase::Checkpoint {
                pad(&address);
            }
            if server.has_ended() || matches!(told.last(), Some(Told::Failed(..) | Told::NoAnswer)) {
                break;
            }
        }
        let failed = told.iter().any(|told| matches!(told, Told::Failed(500, _) | Told::NoAnswer));
        // Who was told that the outcome is open sees the server end by itself.
        let ended = if failed { server.wait_for(std::time::Duration::from_mins(1)) } else { None };
        let by_itself = ended.is_some() || server.has_ended();
        let ended = ended.unwrap_or_else(|| if by_itself { server.wait() } else { server.stop() });
        follower.join().unwrap();
        (ended, by_itself)
    }

    /// Strikes at one call, and judges what is left.
    pub fn strike(&self, at: u64, blow: Blow, mask: u32) -> Outcome {
        let (outcome, (rig, mut story), _) =
            self.work(Orders { mask, strike: Some((at, blow)), ..Orders::default() });
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story.judge(&rig)));
        if let Err(panic) = judged {
            println!("{:?}: strike at {at} by {blow:?} (mask {mask}): {outcome:#?}", self.phase);
            std::panic::resume_unwind(panic);
        }
        outcome
    }
}
