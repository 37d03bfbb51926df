//! The bounded queue between those who append and the one who writes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{COMMIT_BYTES_MAX, COMMIT_JOBS_MAX, QUEUE_BYTES_MAX, QUEUE_JOBS_MAX};
use crate::store::turn::Job;
use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, lock, wait_for};

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Full,
    Closed,
}

/// How long the writer waits for those whom it has just answered: about the sync that it saves. Without it
/// a lone producer pays for a sleep and a wake, and some dozens come in two commits instead of one.
const LINGER_MAX: Duration = Duration::from_micros(200);
/// The wait where nobody came the last few times.
const LINGER_MIN: Duration = Duration::from_micros(20);
/// With so many there is no need to wait for more: their sync is shared already.
const COMPANY: usize = 64;

/// How long to wait for company, learnt from whether it came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Linger {
    time: Duration,
}

impl Linger {
    fn learn(&mut self, came: bool) {
        self.time = if came { LINGER_MAX } else { (self.time / 2).max(LINGER_MIN) };
    }
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
    /// How many jobs there are, for a look without the lock.
    len: AtomicUsize,
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
        self.len.store(state.jobs.len(), Ordering::Release);
        if state.writer_sleeps {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// Takes jobs for one commit, waiting for the first of them for at most `idle`.
    ///
    /// First it lingers for the `answered` whom the last commit served: they are about to come back, and a
    /// commit for each few of them costs a sync each.
    pub(crate) fn take(
        &self,
        batch: &mut Vec<Box<dyn Job>>,
        (answered, linger): (usize, &mut Linger),
        idle: Duration,
    ) -> Taken {
        let begin = Instant::now();
        let expected = (self.len.load(Ordering::Acquire) + answered).min(COMPANY);
        while self.len.load(Ordering::Acquire) < expected && begin.elapsed() < linger.time {
            // Not a spin: on few cores those who are about to come need this one.
            std::thread::yield_now();
        }
        let taken = self.take_now(batch, idle);
        linger.learn(answered > 0 && batch.len() >= expected);
        taken
    }

    fn take_now(&self, batch: &mut Vec<Box<dyn Job>>, idle: Duration) -> Taken {
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
        self.len.store(state.jobs.len(), Ordering::Release);
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
