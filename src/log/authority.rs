//! The seam: what is asked of the one who gives seqs, and what comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::draft::{Draft, check_key};
use crate::error::{Error, Refusal};
use crate::limits::{BATCH_EVENTS_MAX, COMMAND_BYTES_MAX};
use crate::seq::Seq;
use crate::sync::{AtomicBool, Ordering};

/// A request to append events: all of them or none, in order, in one transaction.
#[derive(Clone, Debug)]
pub struct Command {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) actor: Arc<str>,
    pub(crate) key: Option<Box<str>>,
    pub(crate) deadline: Option<Instant>,
}

impl Command {
    /// A command to append these events.
    #[must_use]
    pub fn new(drafts: Vec<Draft>) -> Self {
        Self { drafts, actor: "".into(), key: None, deadline: None }
    }

    /// The command under one idempotency key for all of its events. Its drafts may not have keys of
    /// their own then.
    #[must_use]
    pub fn key(mut self, key: impl Into<Box<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The name whose idempotency keys these are.
    #[must_use]
    pub fn actor(mut self, actor: &str) -> Self {
        self.actor = actor.into();
        self
    }

    /// When the caller no longer waits: past it the command is dropped if it was not begun.
    #[must_use]
    pub const fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Refuses what no log could take.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.drafts.is_empty() {
            return Err(Refusal::shape("there is no event to append"));
        }
        if self.drafts.len() > BATCH_EVENTS_MAX {
            let detail =
                format!("an append has at most {BATCH_EVENTS_MAX} events, this one {}", self.drafts.len());
            return Err(Refusal::TooLarge(detail.into()));
        }
        let mut bytes = 0;
        for (index, draft) in self.drafts.iter().enumerate() {
            match &draft.record {
                Ok(record) => bytes += record.payload.len(),
                Err(refusal) if self.drafts.len() == 1 => return Err(refusal.clone()),
                Err(refusal) => return Err(refusal.clone().at(index)),
            }
        }
        if bytes > COMMAND_BYTES_MAX {
            let detail = format!("an append has at most {COMMAND_BYTES_MAX} bytes of text, this one {bytes}");
            return Err(Refusal::TooLarge(detail.into()));
        }
        if let Some(key) = &self.key {
            check_key(key)?;
            if self.drafts.iter().any(|draft| draft.key.is_some()) {
                return Err(Refusal::invalid("key", "is given for the batch and for an event of it"));
            }
        }
        Ok(())
    }
}

impl Refusal {
    /// The same refusal, told of one event of several.
    pub(crate) fn at(self, index: usize) -> Self {
        if let Self::Invalid { field, detail } = self {
            let place = field.map_or_else(|| format!("[{index}]"), |field| format!("[{index}].{field}"));
            return Self::Invalid { field: Some(place.into()), detail };
        }
        self
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The seq of each event, in the order of the command. Events that were known by their key have
    /// the seq that they had.
    pub seqs: Vec<Seq>,
    /// How many of them are new.
    pub new: usize,
}

/// The answer to an append, which is under way: `.await` it or `.wait()` for it.
///
/// The append has its place in the order since it was called. Dropping the receipt takes nothing
/// back.
#[derive(Debug)]
#[must_use = "an append that is not waited for may fail unseen"]
pub struct Receipt<T> {
    state: State,
    read: fn(Appended) -> T,
}

#[derive(Debug)]
enum State {
    Under(oneshot::Receiver<Answered>, Arc<Lookout>),
    Known(Option<Error>),
}

/// The answer comes with the command itself, so that its text is freed by the one who made it: freed by
/// the writer, it would cost the writer a fifth of its time in the allocator's locks (measured).
pub(crate) type Answered = (Result<Appended, Error>, Command);

/// Lets one thread at a time look out for its answer instead of sleeping: a sleep and a wake cost a lone
/// producer a third of a commit. The others sleep, so at most one core is kept busy, and only while an
/// append is under way.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    taken: AtomicBool,
}

/// Longer than a commit takes on a disk that is not busy.
const LOOKOUT_MAX: Duration = Duration::from_micros(300);

impl Lookout {
    /// Looks for the answer for a while; `None` when it did not come, or another thread looks already.
    fn look<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        let begin = Instant::now();
        let mut found = look();
        while found.is_none() && begin.elapsed() < LOOKOUT_MAX {
            std::thread::yield_now();
            found = look();
        }
        self.taken.store(false, Ordering::Release);
        found
    }
}

/// The sender's half of a receipt.
pub(crate) type Answer = oneshot::Sender<Answered>;

impl<T> Receipt<T> {
    pub(crate) fn under_way(read: fn(Appended) -> T, lookout: Arc<Lookout>) -> (Answer, Self) {
        let (answer, receiver) = oneshot::channel();
        (answer, Self { state: State::Under(receiver, lookout), read })
    }

    pub(crate) const fn failed(error: Error, read: fn(Appended) -> T) -> Self {
        Self { state: State::Known(Some(error)), read }
    }

    /// Blocks until the append is on disk or has failed.
    ///
    /// In async code `.await` the receipt instead: this would hold up its thread.
    ///
    /// # Errors
    /// The append was refused, or the machine failed; see [`Error`] for what that says of the
    /// outcome.
    pub fn wait(mut self) -> Result<T, Error> {
        if let State::Under(receiver, lookout) = &mut self.state
            && let Some((answer, _command)) = lookout.look(|| receiver.try_recv().ok())
        {
            return answer.map(self.read);
        }
        futures_executor::block_on(self)
    }
}

impl<T> Future for Receipt<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let read = self.read;
        match &mut self.state {
            State::Known(error) => Poll::Ready(Err(error.take().unwrap_or(Error::Closed))),
            State::Under(receiver, _) => Pin::new(receiver).poll(cx).map(|answer| {
                // The writer answers everything it took, unless it died in the middle of it.
                let ended = |_| Err(Error::Poisoned("the writer ended".into()));
                answer.map_or_else(ended, |(answer, _command)| answer).map(read)
            }),
        }
    }
}

/// The one who gives seqs.
///
/// Today that is the writer of the local file; a replicated log has another one, which is why every
/// append goes through this one verb.
pub(crate) trait Authority: Send + Sync {
    /// Gives the command its place in the order, now, and answers when it is durable.
    fn submit(&self, command: Command, answer: Answer);
}
