//! The seam: what is asked of the one who gives seqs, and what comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::board::Intent;
use crate::draft::{Draft, check_key};
use crate::error::{Error, Refusal};
use crate::limits::{BATCH_EVENTS_MAX, COMMAND_BYTES_MAX};
use crate::log::redact::Redaction;
use crate::seq::Seq;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// A request that may be refused: to append events, all of them or none, in order, in one transaction.
#[derive(Clone, Debug)]
pub struct Command {
    pub(crate) work: Work,
    pub(crate) actor: Arc<str>,
    pub(crate) key: Option<Box<str>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) also: Option<Also>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Append these.
    Append(Vec<Draft>),
    /// Decide, in the transaction, which event comes of it. Boxed, since a command is moved at every step of
    /// its way and most of them are appends.
    Intend(Box<Intent>),
    /// Take the text out of an event.
    Redact(Box<Redaction>),
}

/// A write of a tenant's own, in the same transaction, after the command's events; none where the command is
/// refused. It may run twice.
#[derive(Clone)]
pub(crate) struct Also(pub(crate) Arc<WriteToo>);

type WriteToo = dyn Fn(&Connection) -> rusqlite::Result<()> + Send + Sync;

impl std::fmt::Debug for Also {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Also")
    }
}

impl Command {
    /// A command to append these events.
    #[must_use]
    pub fn new(drafts: Vec<Draft>) -> Self {
        Self::of(Work::Append(drafts))
    }

    /// A command that makes the event which its intent comes to.
    pub(crate) fn intend(intent: Intent) -> Self {
        Self::of(Work::Intend(Box::new(intent)))
    }

    /// A command that takes the text out of an event.
    pub(crate) fn redact(redaction: Redaction) -> Self {
        Self::of(Work::Redact(Box::new(redaction)))
    }

    fn of(work: Work) -> Self {
        Self { work, actor: Arc::default(), key: None, deadline: None, also: None }
    }

    /// The command with a write of its sender's own in the same transaction.
    pub(crate) fn also(
        mut self,
        write: impl Fn(&Connection) -> rusqlite::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.also = Some(Also(Arc::new(write)));
        self
    }

    /// The events that are known before it runs.
    pub(crate) fn drafts(&self) -> &[Draft] {
        match &self.work {
            Work::Append(drafts) => drafts,
            Work::Intend(_) | Work::Redact(_) => &[],
        }
    }

    /// Bytes that it holds while it waits.
    pub(crate) fn weight(&self) -> usize {
        match &self.work {
            Work::Append(drafts) => {
                let records = drafts.iter().filter_map(|draft| draft.record.as_ref().ok());
                records.map(|record| record.payload().len() + 64).sum()
            }
            Work::Intend(intent) => intent.weight(),
            Work::Redact(_) => 128,
        }
    }

    /// The command under one idempotency key for all of its events, as [`Draft::key`] is for one. Its drafts may not
    /// have keys of their own then.
    #[must_use]
    pub fn key(mut self, key: impl Into<Box<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The name whose idempotency keys these are.
    #[must_use]
    pub fn actor(mut self, actor: &str) -> Self {
        self.actor = if actor.is_empty() { Arc::default() } else { actor.into() };
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
        let drafts = match &self.work {
            Work::Append(drafts) => drafts,
            Work::Intend(intent) => return self.check_key().and_then(|()| intent.check()),
            Work::Redact(_) => return self.check_key(),
        };
        if drafts.is_empty() {
            return Err(Refusal::shape("there is no event to append"));
        }
        if drafts.len() > BATCH_EVENTS_MAX {
            let detail =
                format!("an append has at most {BATCH_EVENTS_MAX} events, this one {}", drafts.len());
            return Err(Refusal::TooLarge(detail.into()));
        }
        let mut bytes = 0;
        for (index, draft) in drafts.iter().enumerate() {
            match &draft.record {
                Ok(record) => bytes += record.payload().len(),
                Err(refusal) if drafts.len() == 1 => return Err(refusal.clone()),
                Err(refusal) => return Err(refusal.clone().at(index)),
            }
        }
        if bytes > COMMAND_BYTES_MAX {
            let detail = format!("an append has at most {COMMAND_BYTES_MAX} bytes of text, this one {bytes}");
            return Err(Refusal::TooLarge(detail.into()));
        }
        if self.key.is_some() && drafts.iter().any(|draft| draft.key.is_some()) {
            return Err(Refusal::invalid("key", "is given for the batch and for an event of it"));
        }
        self.check_key()
    }

    fn check_key(&self) -> Result<(), Refusal> {
        self.key.as_deref().map_or(Ok(()), check_key)
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
    /// The id that was given, where the command asked for one.
    pub id: Option<i64>,
}

/// The answer to an append, which is under way: `.await` it or `.wait()` for it.
///
/// The append has its place in the order since it was called. Dropping the receipt takes nothing
/// back.
#[must_use = "an append that is not waited for may fail unseen"]
pub struct Receipt<T>(State<T>);

enum State<T> {
    Append { answer: oneshot::Receiver<Answered>, awaited: Awaited, read: fn(Appended) -> T },
    Other(Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>),
    Known(Option<Error>),
}

impl<T> std::fmt::Debug for Receipt<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipt")
    }
}

// Nothing in it is pinned in place: what is pinned is in a box.
impl<T> Unpin for Receipt<T> {}

/// The answer comes with the command itself, so that its text is freed by the one who made it: freed by
/// the writer, it would cost the writer a fifth of its time in the allocator's locks (measured).
pub(crate) type Answered = (Result<Appended, Error>, Command);

/// Lets one thread at a time look out for its answer instead of sleeping: a sleep and a wake cost a lone
/// producer a third of a commit. The others sleep, so at most one core is kept busy, and only while an
/// append is under way.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    taken: AtomicBool,
    /// How many appends are waited for.
    awaited: AtomicUsize,
}

/// Longer than a commit takes on a disk that is not busy.
const LOOKOUT_MAX: Duration = Duration::from_micros(300);

impl Lookout {
    /// Looks for the answer for a while; `None` when it did not come, or another thread looks already, or it is
    /// to be looked for only as long as no other append is waited for, and one is.
    fn look<T>(&self, only_alone: bool, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let is_worth_it = || !only_alone || self.awaited.load(Ordering::Relaxed) == 1;
        if !is_worth_it() || self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        let begin = Instant::now();
        let mut found = look();
        while found.is_none() && is_worth_it() && begin.elapsed() < LOOKOUT_MAX {
            std::thread::yield_now();
            found = look();
        }
        self.taken.store(false, Ordering::Release);
        found
    }
}

/// One append that is waited for.
struct Awaited(Arc<Lookout>);

impl Awaited {
    fn new(lookout: Arc<Lookout>) -> Self {
        lookout.awaited.fetch_add(1, Ordering::Relaxed);
        Self(lookout)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The sender's half of a receipt.
pub(crate) type Answer = oneshot::Sender<Answered>;

impl<T> Receipt<T> {
    pub(crate) fn under_way(read: fn(Appended) -> T, lookout: Arc<Lookout>) -> (Answer, Self) {
        let (sender, answer) = oneshot::channel();
        (sender, Self(State::Append { answer, awaited: Awaited::new(lookout), read }))
    }

    pub(crate) const fn failed(error: Error) -> Self {
        Self(State::Known(Some(error)))
    }

    /// The receipt of something that ends with an answer of this type.
    pub(crate) fn of(answer: impl Future<Output = Result<T, Error>> + Send + 'static) -> Self {
        Self(State::Other(Box::pin(answer)))
    }

    /// Blocks until the append is on disk or has failed.
    ///
    /// In async code `.await` the receipt instead: this would hold up its thread.
    ///
    /// # Errors
    /// The append was refused, or the machine failed; see [`Error`] for what that says of the
    /// outcome.
    pub fn wait(mut self) -> Result<T, Error> {
        if let State::Append { answer, awaited, read } = &mut self.0
            && let Some((answer, _command)) = awaited.0.look(false, || answer.try_recv().ok())
        {
            return answer.map(*read);
        }
        pollster::block_on(self)
    }

    /// Waits for the answer in a task of a server, and gives it with the command, for the caller to let go of when
    /// it suits. Alone it holds its thread for a commit, 0.3 ms at most, and gives the core to whoever can use it:
    /// the thread would be asleep otherwise, and waking it costs a quarter of the commit.
    pub(crate) async fn soon(mut self) -> (Result<T, Error>, Option<Command>) {
        let State::Append { answer, awaited, read } = &mut self.0 else { return (self.await, None) };
        let answered = match awaited.0.look(true, || answer.try_recv().ok()) {
            Some(answered) => answered,
            None => match answer.await {
                Ok(answered) => answered,
                Err(_) => return (Err(ended()), None),
            },
        };
        (answered.0.map(*read), Some(answered.1))
    }
}

/// The writer answers everything it took, unless it died in the middle of it.
fn ended() -> Error {
    Error::Poisoned("the writer ended".into())
}

impl<T> Future for Receipt<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(error) => Poll::Ready(Err(error.take().unwrap_or(Error::Closed))),
            State::Other(answer) => answer.as_mut().poll(cx),
            State::Append { answer, read, .. } => {
                let read = *read;
                let answered = Pin::new(answer).poll(cx);
                answered.map(|answered| {
                    answered.map_or_else(|_| Err(ended()), |(answer, _command)| answer).map(read)
                })
            }
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

/// The one way into a log for what lives on it: unlike a handle of the log it does not keep it open, so that
/// the last handle's end closes the log there and then.
pub(crate) struct Inlet {
    authority: Arc<dyn Authority>,
    lookout: Arc<Lookout>,
}

impl Inlet {
    pub(crate) fn new(authority: Arc<dyn Authority>, lookout: Arc<Lookout>) -> Self {
        Self { authority, lookout }
    }

    /// Appends events of fixed kinds.
    pub(crate) fn submit(&self, command: Command) -> Receipt<Appended> {
        if let Err(refusal) = command.check() {
            return Receipt::failed(refusal.into());
        }
        let (answer, receipt) = Receipt::under_way(|appended| appended, Arc::clone(&self.lookout));
        self.authority.submit(command, answer);
        receipt
    }
}
