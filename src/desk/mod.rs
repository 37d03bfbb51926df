//! The swarm's desk: requests, questions, transients and messages on a log.

mod decisions;
mod guard;
mod messages;
mod peers;
pub(crate) mod wait;

use std::sync::Arc;
use std::time::Duration;

use crate::access::credentials::Credentials;
use crate::board::Intent;
use crate::board::transient::Set;
use crate::broker::Broker;
use crate::error::Error;
use crate::event::TransientKind;
use crate::forward::Forwarder;
use crate::keeper::Keeper;
use crate::log::Log;
use crate::log::authority::{Appended, Command, Receipt};
use crate::log::lodger::Lodger;
use crate::seq::{LogId, Seq};

pub use decisions::{ApprovalRow, Opened, QuestionRow};
pub use guard::TransientGuard;
pub use messages::Receive;

/// What a swarm does on a log: requests, questions, transients, messages.
///
/// Clones share it. There is one for each open log; it ends with the log. Its calls take their place in the
/// log's order when they are made, not when their receipt is polled; dropping a receipt takes nothing back.
///
/// ```
/// use hivelog::{Answer, Ask, Desk, Log, Receive};
///
/// let log = Log::temp()?;
/// let desk = Desk::of(&log)?;
/// let ask = Ask { asker: "alice".into(), question: "ship it?".into(), ..Ask::default() };
/// let id = desk.ask(ask).wait()?.id;
/// let yes = Answer { id, answer: Some("yes".into()), answerer: "operator".into(), ..Answer::default() };
/// desk.answer(yes.clone()).wait()?;
/// assert!(desk.answer(yes).wait().is_err(), "it is closed");
/// assert!(desk.question(id)?.is_answered());
///
/// desk.send("alice", "bob", "we ship").wait()?;
/// for message in desk.recv("bob", Receive::default()).wait()? {
///     assert_eq!(message.body, "we ship");
///     desk.ack("bob", message.id).wait()?;
/// }
/// # Ok::<(), hivelog::Error>(())
/// ```
#[derive(Clone)]
pub struct Desk {
    log: Log,
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) broker: Broker,
    credentials: Credentials,
    forwarder: Forwarder,
    keeper: Keeper,
    /// A random word for this opening of the file, by which a later one knows whose transients are orphans.
    owner: Arc<str>,
}

impl Lodger for Inner {
    fn leave(&self) {
        self.keeper.close();
        self.broker.close();
        self.forwarder.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.leave();
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Desk {
    /// The desk of this log. The first call starts what runs for it: the forwarder of messages, and the
    /// keeper of deadlines and leases. It blocks for milliseconds: transients that a process which is gone
    /// had set through the crate are cleared.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for a log that was opened to be read, [`Error::Closed`] for one that was closed.
    pub fn of(log: &Log) -> Result<Self, Error> {
        let inner = log.lodge(|log| {
            let mint = LogId::mint().map_err(|error| Error::Storage(error.to_string().into()))?;
            let owner: Arc<str> = mint.as_str().into();
            let broker = Broker::open(log.store()?)?;
            let forwarder = Forwarder::start(log, &broker)?;
            let keeper = Keeper::start(log, &broker, &owner)?;
            let credentials = Credentials::open(log.store()?)?;
            Ok(Inner { broker, credentials, forwarder, keeper, owner })
        })?;
        Ok(Self { log: log.clone(), inner })
    }

    /// The log that it works on.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Who may come in.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.inner.broker
    }

    /// The intent to begin a lifecycle action, or to renew its lease from now on. `is_ours` ties it to this
    /// process: its end clears the transient.
    pub(crate) fn set_intent(
        &self,
        name: &str,
        transient_kind: TransientKind,
        lease: Duration,
        is_ours: bool,
    ) -> Result<Intent, Error> {
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let until_ms = self.log.store()?.steady.now_ms().saturating_add(lease_ms);
        let owner = is_ours.then(|| Arc::clone(&self.inner.owner));
        Ok(Intent::Set(Set { name: name.into(), transient_kind, lease_ms, until_ms, owner }))
    }

    fn submit<T: 'static>(&self, intent: Intent, read: fn(Appended) -> T) -> Receipt<T> {
        self.log.submit_as(Command::intend(intent), read)
    }
}

/// The seq of what makes one event, if it made one.
fn seq(appended: Appended) -> Option<Seq> {
    appended.seqs.into_iter().next()
}
