//! The bounded queue between those who append and the one who writes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{COMMIT_BYTES_MAX, COMMIT_JOBS_MAX, QUEUE_BYTES_MAX, QUEUE_JOBS_MAX};
use crate::store::turn::Job;
use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, lock, wait_for};

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Full,
    Closed,
}

/// What the writer finds.
pub(crate) enum Taken {
    /// Jobs, in the order in which they were given.
    Jobs,
    /// Nothing for a while: time to look after the file.
    Idle,
    /// Nothing, and nothing will come.
    Closed,
}

/// A mutex and a bell rather than a channel: the writer takes everything at once under one lock,
/// and a bound in bytes needs the lock anyway. Its owner is the log; closing ends it.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bell: Condvar,
    /// Told without the lock to a writer that looks again before it sleeps.
    waiting: AtomicBool,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn Job>>,
    bytes: usize,
    closed: bool,
    writer_sleeps: bool,
}

impl Queue {
    /// Gives the job its place in the order, or gives it back.
    pub(crate) fn push(&self, job: Box<dyn Job>) -> Result<(), (Box<dyn Job>, NotTaken)> {
        let weight = job.weight();
        let mut state = lock(&self.state);
        if state.closed {
            return Err((job, NotTaken::Closed));
        }
        let too_heavy = state.bytes + weight > QUEUE_BYTES_MAX && !state.jobs.is_empty();
        if state.jobs.len() >= QUEUE_JOBS_MAX || too_heavy {
            return Err((job, NotTaken::Full));
        }
        state.bytes += weight;
        state.jobs.push_back(job);
        self.waiting.store(true, Ordering::Release);
        if state.writer_sleeps {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// Takes jobs for one commit, waiting for the first of them for at most `idle`.
    ///
    /// `spin` is how long to look again before sleeping: a sleep and a wake cost some 50 µs, a
    /// third of a commit.
    pub(crate) fn take(&self, batch: &mut Vec<Box<dyn Job>>, spin: Duration, idle: Duration) -> Taken {
        if !spin.is_zero() && !self.waiting.load(Ordering::Acquire) {
            let begin = Instant::now();
            while !self.waiting.load(Ordering::Acquire) && begin.elapsed() < spin {
                std::hint::spin_loop();
            }
        }
        let mut state = lock(&self.state);
        if state.jobs.is_empty() && !state.closed {
            state.writer_sleeps = true;
            state = wait_for(&self.bell, state, idle);
            state.writer_sleeps = false;
        }
        if state.jobs.is_empty() {
            return if state.closed { Taken::Closed } else { Taken::Idle };
        }
        let mut weight = 0;
        while batch.len() < COMMIT_JOBS_MAX && weight < COMMIT_BYTES_MAX {
            let Some(job) = state.jobs.pop_front() else { break };
            weight += job.weight();
            batch.push(job);
        }
        state.bytes = state.bytes.saturating_sub(weight);
        self.waiting.store(!state.jobs.is_empty(), Ordering::Release);
        Taken::Jobs
    }

    /// Takes no more jobs; what is there is still given out.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.bell.notify_one();
    }

    /// Takes no more jobs, and gives back those that are there.
    pub(crate) fn close_and_drain(&self) -> Vec<Box<dyn Job>> {
        let mut state = lock(&self.state);
        state.closed = true;
        state.bytes = 0;
        std::mem::take(&mut state.jobs).into()
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.state).jobs.len()
    }
}
