//! A job made of two closures: what it writes, and what it does once that is on disk.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::error::{Error, Refusal};
use crate::store::fault::Failure;
use crate::store::turn::{Job, Turn};

/// What a write came to: an answer, a refusal that came before the first change, or a failure.
pub(crate) type Done<T> = Result<Result<T, Refusal>, Failure>;

type Write<T> = Box<dyn FnMut(&Turn<'_>) -> Done<T> + Send>;

/// Something to be written that is no append: it may run twice, as every job.
pub(crate) struct Task<T> {
    write: Write<T>,
    after: Box<dyn FnOnce(&T) + Send>,
    unheard: Box<dyn FnOnce(T) + Send>,
    weight: usize,
    deadline: Option<Instant>,
    needs_caller: bool,
}

impl<T: Send + 'static> Task<T> {
    /// A task that writes this.
    pub(crate) fn new(write: impl FnMut(&Turn<'_>) -> Done<T> + Send + 'static) -> Self {
        Self {
            write: Box::new(write),
            after: Box::new(|_| {}),
            unheard: Box::new(drop),
            weight: 128,
            deadline: None,
            needs_caller: false,
        }
    }

    /// Does this after the commit and before the answer, on the writer's thread: it has to be short.
    pub(crate) fn after(mut self, after: impl FnOnce(&T) + Send + 'static) -> Self {
        self.after = Box::new(after);
        self
    }

    /// Does this with what was written where nobody waits for the answer any more, on the writer's thread.
    pub(crate) fn unheard(mut self, unheard: impl FnOnce(T) + Send + 'static) -> Self {
        self.unheard = Box::new(unheard);
        self
    }

    /// Holds this many bytes of text while it waits.
    pub(crate) fn weight(mut self, bytes: usize) -> Self {
        self.weight += bytes;
        self
    }

    /// Is dropped unless it was begun by then.
    pub(crate) fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Is not run once nobody waits for its answer.
    pub(crate) fn only_while_awaited(mut self) -> Self {
        self.needs_caller = true;
        self
    }

    /// The job, and where its answer comes.
    pub(crate) fn into_job(self) -> (Box<dyn Job>, Pending<T>) {
        let (answer, pending) = oneshot::channel();
        (Box::new(Run { task: self, done: None, answer }), Pending(State::Under(pending)))
    }
}

struct Run<T> {
    task: Task<T>,
    done: Option<Result<T, Refusal>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T: Send + 'static> Job for Run<T> {
    fn weight(&self) -> usize {
        self.task.weight
    }

    fn deadline(&self) -> Option<Instant> {
        self.task.deadline
    }

    fn run(&mut self, turn: &Turn<'_>) -> Result<(), Failure> {
        // What an earlier run came to was taken back with its transaction.
        self.done = None;
        if self.task.needs_caller && self.answer.is_closed() {
            return Ok(());
        }
        self.done = Some((self.task.write)(turn)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        let Self { task, done, answer } = *self;
        let Task { after, unheard, .. } = task;
        let done = match (outcome, done) {
            (Ok(()), Some(Ok(done))) => {
                after(&done);
                Ok(done)
            }
            (Ok(()), Some(Err(refusal))) => Err(refusal.into()),
            (Ok(()), None) => Err(Error::Expired),
            (Err(error), _) => Err(error),
        };
        if let Err(Ok(done)) = answer.send(done) {
            unheard(done);
        }
    }
}

/// The answer to a task that is under way.
#[derive(Debug)]
pub(crate) struct Pending<T>(State<T>);

#[derive(Debug)]
enum State<T> {
    Under(oneshot::Receiver<Result<T, Error>>),
    Known(Option<Error>),
}

impl<T> Pending<T> {
    pub(crate) const fn failed(error: Error) -> Self {
        Self(State::Known(Some(error)))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(error) => Poll::Ready(Err(error.take().unwrap_or(Error::Closed))),
            State::Under(answer) => Pin::new(answer).poll(cx).map(|answer| {
                // The writer answers everything it took, unless it died in the middle of it.
                answer.unwrap_or_else(|_| Err(Error::Poisoned("the writer ended".into())))
            }),
        }
    }
}

// Nothing in it is pinned: a moved answer is the same answer.
impl<T> Unpin for Pending<T> {}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use rusqlite::Connection;

    use super::Task;
    use crate::clock::SystemClock;
    use crate::error::Error;
    use crate::seq::Seq;
    use crate::store::checkpoint::Plan;
    use crate::store::open::{Durability, writable};
    use crate::store::turn::Turn;
    use crate::store::writer::{Surroundings, Writer};
    use crate::sync::{AtomicUsize, Mutex, Ordering, lock};
    use crate::tail::Tail;

    /// The first run was rolled back, and before the second one its caller left.
    #[test]
    fn what_was_taken_back_is_not_told_as_done() {
        let told = Arc::<AtomicUsize>::default();
        let count = |told: &Arc<AtomicUsize>| {
            let told = Arc::clone(told);
            move || {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (after, unheard) = (count(&told), count(&told));
        let task = Task::new(|_| Ok(Ok(7))).only_while_awaited();
        let (mut job, pending) = task.after(move |_| after()).unheard(move |_| unheard()).into_job();
        let conn = Connection::open_in_memory().unwrap();
        let turn = Turn::new(&conn, 0, (Seq::ZERO, 0));
        job.run(&turn).unwrap();
        drop(pending);
        job.run(&turn).unwrap();
        job.answer(Ok(()));
        assert_eq!(told.load(Ordering::Relaxed), 0);
    }

    /// A guilty job has each of its commit run alone, while somebody takes the write lock.
    #[test]
    fn a_held_lock_is_waited_for_once_by_those_who_run_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let opened = writable(&path, true, Durability::Full).unwrap();
        let around = Surroundings {
            tail: Arc::new(Tail::new(opened.head)),
            metrics: Arc::default(),
            clock: Arc::new(SystemClock),
            show: Box::new(|_| {}),
            wal: Plan::default(),
        };
        let writer = Writer::start(opened, around).unwrap();
        let (entered, has_entered) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (job, _before) = Task::new(move |_| {
            entered.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok(Ok(()))
        })
        .into_job();
        writer.submit(job);
        has_entered.recv().unwrap();
        let held = Arc::<Mutex<Option<Connection>>>::default();
        let (job, first) = Task::new(|_| Ok(Ok(())))
            .after({
                let held = Arc::clone(&held);
                move |()| {
                    let conn = Connection::open(path).unwrap();
                    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
                    *lock(&held) = Some(conn);
                }
            })
            .into_job();
        writer.submit(job);
        let mut others = Vec::new();
        for is_guilty in [true, false, false, false] {
            let fails =
                move || if is_guilty { Err(rusqlite::Error::InvalidQuery.into()) } else { Ok(Ok(())) };
            let (job, other) = Task::<()>::new(move |_| fails()).into_job();
            writer.submit(job);
            others.push(other);
        }
        go_on.send(()).unwrap();
        assert_eq!(pollster::block_on(first), Ok(()));
        let begin = Instant::now();
        for other in others {
            assert_eq!(pollster::block_on(other), Err(Error::Busy));
        }
        assert!(begin.elapsed() < Duration::from_secs(12), "each waited by itself: {:?}", begin.elapsed());
        lock(&held).take();
    }
}
