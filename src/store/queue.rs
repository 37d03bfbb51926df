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

/// One commit's jobs as they come: how many are likely to, and for how long they are waited for.
///
/// Those whom the last commit served are about to come back, and a commit for each few of them costs a sync
/// each. What is there is run meanwhile, so the wait costs little.
#[derive(Debug)]
pub(crate) struct Gathering {
    begin: Instant,
    /// Learnt from whether they came.
    time: Duration,
    /// How many jobs the last commit served.
    served: usize,
    /// How many are likely to come for this one.
    expected: usize,
    /// What those that came hold, in bytes.
    weight: usize,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { begin: Instant::now(), time: Duration::ZERO, served: 0, expected: 0, weight: 0 }
    }
}

impl Gathering {
    fn begin(&mut self, queued: usize) {
        self.begin = Instant::now();
        self.expected = self.served + queued;
        self.weight = 0;
    }

    /// Notes how many jobs the commit has in the end.
    pub(crate) fn end(&mut self, jobs: usize) {
        let came = self.served > 0 && jobs >= self.expected.min(COMPANY);
        self.time = if came { LINGER_MAX } else { (self.time / 2).max(LINGER_MIN) };
        self.served = jobs;
    }

    /// Gives the core to others until there are jobs in the queue, or it is not worth it any more.
    fn linger(&self, queue: &Queue) {
        while queue.len.load(Ordering::Acquire) == 0 && self.begin.elapsed() < self.time {
            // Not a spin: on few cores those who are about to come need this one.
            std::thread::yield_now();
        }
    }
}

/// What the writer finds.
pub(crate) enum Taken {
    /// Jobs, in the order in which they were given. None of them waits for longer than since then.
    Jobs(Instant),
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
    /// When the queue was last empty no longer. One look at the clock for all that wait.
    filled_at: Option<Instant>,
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
        if state.jobs.is_empty() {
            state.filled_at = Some(Instant::now());
        }
        state.bytes += weight;
        state.jobs.push_back(job);
        self.len.store(state.jobs.len(), Ordering::Release);
        if state.writer_sleeps {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// Takes the first jobs of a commit, waiting for them for at most `idle`.
    pub(crate) fn take(
        &self,
        batch: &mut Vec<Box<dyn Job>>,
        gathering: &mut Gathering,
        idle: Duration,
    ) -> Taken {
        gathering.begin(self.len.load(Ordering::Acquire));
        if gathering.served > 0 {
            gathering.linger(self);
        }
        let mut state = lock(&self.state);
        if state.jobs.is_empty() && !state.closed {
            state.writer_sleeps = true;
            state = wait_for(&self.bell, state, idle);
            state.writer_sleeps = false;
        }
        if state.jobs.is_empty() {
            // Those who were answered last did not come back, and are expected no longer.
            gathering.end(0);
            return if state.closed { Taken::Closed } else { Taken::Idle };
        }
        self.give(&mut state, batch, gathering);
        Taken::Jobs(state.filled_at.unwrap_or_else(Instant::now))
    }

    /// Takes more jobs for the same commit, waiting a little for those that are likely to come. False: nothing more
    /// belongs into it.
    pub(crate) fn take_more(&self, batch: &mut Vec<Box<dyn Job>>, gathering: &mut Gathering) -> bool {
        if batch.len() >= gathering.expected {
            return false;
        }
        if batch.len() < COMPANY {
            gathering.linger(self);
        }
        if self.len.load(Ordering::Acquire) == 0 {
            return false;
        }
        let before = batch.len();
        self.give(&mut lock(&self.state), batch, gathering);
        batch.len() > before
    }

    fn give(&self, state: &mut State, batch: &mut Vec<Box<dyn Job>>, gathering: &mut Gathering) {
        let before = gathering.weight;
        while batch.len() < COMMIT_JOBS_MAX && gathering.weight < COMMIT_BYTES_MAX {
            let Some(job) = state.jobs.pop_front() else { break };
            gathering.weight += job.weight();
            batch.push(job);
        }
        state.bytes = state.bytes.saturating_sub(gathering.weight - before);
        self.len.store(state.jobs.len(), Ordering::Release);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Gathering, Queue, Taken};
    use crate::error::Error;
    use crate::store::fault::Failure;
    use crate::store::turn::{Job, Turn};

    struct Nothing;

    impl Job for Nothing {
        fn weight(&self) -> usize {
            1
        }

        fn run(&mut self, _: &Turn<'_>) -> Result<(), Failure> {
            Ok(())
        }

        fn answer(self: Box<Self>, _: Result<(), Error>) {}
    }

    #[test]
    fn who_comes_while_a_commit_runs_belongs_to_it_as_far_as_it_is_expected() {
        let (queue, mut gathering) = (Queue::default(), Gathering::default());
        let come = || assert!(queue.push(Box::new(Nothing)).is_ok());
        let take = |gathering: &mut Gathering| {
            let mut batch = Vec::new();
            let taken = queue.take(&mut batch, gathering, Duration::ZERO);
            (batch, matches!(taken, Taken::Idle))
        };
        come();
        let (mut batch, _) = take(&mut gathering);
        come();
        assert!(!queue.take_more(&mut batch, &mut gathering), "nobody else was expected");
        gathering.end(batch.len());
        // The one who was answered, and the one who waits already.
        let (mut batch, _) = take(&mut gathering);
        assert_eq!(batch.len(), 1);
        come();
        assert!(queue.take_more(&mut batch, &mut gathering));
        assert_eq!(batch.len(), 2);
        come();
        assert!(!queue.take_more(&mut batch, &mut gathering), "all who were expected came");
        gathering.end(batch.len());
        assert_eq!(take(&mut gathering).0.len(), 1);
        // After a while without anybody, nobody is expected.
        assert!(take(&mut gathering).1);
        come();
        let (mut batch, _) = take(&mut gathering);
        come();
        assert!(!queue.take_more(&mut batch, &mut gathering));
    }
}
