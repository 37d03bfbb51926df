//! The broker: a queue of messages for each recipient, with a journal of its own.
//!
//! It knows no log. What the log is to be told stands in its journal, for whoever mirrors it.

mod inbox;
pub(crate) mod journal;
pub(crate) mod peer;
mod queue;
mod sweep;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::inbox::{Bells, Listener};
use crate::broker::journal::What;
use crate::broker::queue::{Post, Wanted};
use crate::error::{Error, Refusal};
use crate::event::{Event, Message, TTL_WATCHDOG, is_name};
use crate::limits::{INTEGER_MAX, MESSAGE_LEASE_MS_MAX, PAYLOAD_BYTES_MAX, RECV_MESSAGES_MAX, UNACKED_MAX};
use crate::metrics::Metrics;
use crate::seq::Seq;
use crate::store::file::Store;
use crate::store::keys::{self, Key, Once, once};
use crate::store::reading;
use crate::store::task::{Pending, Task};
use crate::sync::Mutex;
use crate::tail::Tail;

pub use queue::Delivery;

/// The broker of one file. Cloning shares it.
///
/// Every call takes its place in the writer's order when it is made, not when it is polled.
#[derive(Clone)]
pub(crate) struct Broker {
    store: Store,
    shared: Arc<Shared>,
}

/// What a task needs after its commit.
struct Shared {
    journal: Arc<Tail>,
    inboxes: Arc<Bells>,
    /// Of questions between peers, by their ids.
    outcomes: Arc<Bells>,
    swept: Mutex<sweep::Swept>,
    metrics: Arc<Metrics>,
}

/// What is asked of an inbox.
#[derive(Clone, Debug)]
pub(crate) struct Recv {
    /// Whose inbox.
    pub(crate) recipient: Arc<str>,
    /// At most so many messages, from 1 to [`RECV_MESSAGES_MAX`].
    pub(crate) max: usize,
    /// How long they stay out unacknowledged, from 1 to [`MESSAGE_LEASE_MS_MAX`].
    pub(crate) lease_ms: i64,
}

impl Recv {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check_name("name", &self.recipient)?;
        if !(1..=RECV_MESSAGES_MAX).contains(&self.max) {
            return Err(Refusal::invalid("max", format!("is not from 1 to {RECV_MESSAGES_MAX}")));
        }
        check_lease(self.lease_ms)
    }
}

impl Broker {
    /// Reads how far the journal goes, which blocks for microseconds.
    pub(crate) fn open(store: Store) -> Result<Self, Error> {
        let head = store.readers.with(|conn| journal::head(conn).map_err(|error| reading(&error)))?;
        let shared = Shared {
            journal: Arc::new(Tail::new(head)),
            inboxes: Arc::default(),
            outcomes: Arc::default(),
            swept: Mutex::default(),
            metrics: Arc::clone(&store.metrics),
        };
        Ok(Self { store, shared: Arc::new(shared) })
    }

    /// Ends every wait. What is on its way is still written.
    pub(crate) fn close(&self) {
        self.shared.journal.close();
        self.shared.inboxes.close();
        self.shared.outcomes.close();
    }

    /// The id of the last row of the journal, and the means to wait for more.
    pub(crate) fn journal(&self) -> &Arc<Tail> {
        &self.shared.journal
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Puts a message into the inbox of `to`; tells its id.
    ///
    /// A message to oneself is a message as any other. One whose `sent` event would be larger than an event
    /// may be is refused here, so that the mirror never has to.
    pub(crate) fn send(
        &self,
        from: &str,
        to: &str,
        body: &str,
        key: Option<Key>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<Once<i64>, Error>> + Send + 'static {
        let pending = match check_message(from, to, body) {
            Ok(()) => self.post(from, to, body, key, deadline),
            Err(refusal) => Pending::failed(refusal.into()),
        };
        async move { pending.await.map(|(once, _)| once) }
    }

    /// The task of sending: its answer says too which row of the journal tells of it.
    fn post(
        &self,
        from: &str,
        to: &str,
        body: &str,
        key: Option<Key>,
        deadline: Option<Instant>,
    ) -> Pending<(Once<i64>, Option<i64>)> {
        let (from, to, body): (Box<str>, Arc<str>, Box<str>) = (from.into(), to.into(), body.into());
        let (shared, recipient, weight) = (Arc::clone(&self.shared), Arc::clone(&to), body.len());
        let task = Task::new(move |turn| {
            let (at, mut journal_id) = (turn.now_ms / 1_000, None);
            let done = once(turn, key.as_ref(), || {
                let post = Post { from: &from, to: &to, body: &body, at, question_id: None };
                let id = queue::insert(turn.conn, &post)?;
                fail::fail_point!("broker.send");
                journal_id = Some(journal::note(turn.conn, What::Sent, id, at)?);
                Ok(Ok(id))
            })?;
            Ok(done.map(|once| (once, journal_id)))
        });
        let task = task.after(move |(_, journal_id)| {
            if let Some(journal_id) = *journal_id {
                fail::fail_point!("broker.sent");
                shared.metrics.messages.sent.inc();
                shared.inboxes.ring(&recipient);
                shared.journal.publish(Seq::clamped(journal_id));
            }
        });
        self.store.write(task.weight(weight).deadline(deadline))
    }

    /// Hands out the oldest messages of an inbox that nobody has, or none. Does not wait for any.
    ///
    /// Nothing is handed out once the future is dropped, and what was handed out on its behalf in that moment
    /// is put back, `redelivered`. Refused with [`Refusal::TooManyOpen`] where [`UNACKED_MAX`] messages of the inbox are out.
    pub(crate) fn recv(
        &self,
        asked: &Recv,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<Vec<Delivery>, Error>> + Send + 'static + use<> {
        let pending = match asked.check() {
            Ok(()) => self.take(asked, deadline),
            Err(refusal) => Pending::failed(refusal.into()),
        };
        async move { pending.await.map(|taken| taken.deliveries) }
    }

    fn take(&self, asked: &Recv, deadline: Option<Instant>) -> Pending<Taken> {
        let (shared, recipient) = (Arc::clone(&self.shared), Arc::clone(&asked.recipient));
        let (asked, steady) = (asked.clone(), self.store.steady);
        let task = Task::new(move |turn| {
            let Recv { recipient, max, lease_ms } = &asked;
            let wanted = Wanted { recipient, max: *max, lease_ms: *lease_ms, now_ms: steady.now_ms() };
            let found = queue::look(turn.conn, &wanted)?;
            // Also where nothing is handed out: it is what lets something be handed out one day.
            queue::shorten(turn.conn, &found)?;
            if found.is_full() {
                let detail = format!("{recipient} has {UNACKED_MAX} messages out that are not acknowledged");
                return Ok(Err(Refusal::TooManyOpen(detail.into())));
            }
            let deliveries = queue::hand_out(turn.conn, &wanted, &found)?;
            fail::fail_point!("broker.recv");
            let mut journal_id = None;
            for delivery in &deliveries {
                if !delivery.redelivered && delivery.question_id.is_none() {
                    let at = turn.now_ms / 1_000;
                    journal_id = Some(journal::note(turn.conn, What::Delivered, delivery.id, at)?);
                }
            }
            let until_ms = wanted.now_ms.saturating_add(*lease_ms);
            let own_ms = (!found.is_empty()).then_some(until_ms);
            let lapse_ms = found.lapse_ms.into_iter().chain(own_ms).min();
            Ok(Ok(Taken { deliveries, until_ms, journal_id, lapse_ms }))
        });
        let task = task.after(move |taken: &Taken| {
            fail::fail_point!("broker.received");
            shared.count(&taken.deliveries);
            if let Some(lapse_ms) = taken.lapse_ms {
                shared.inboxes.ring_at(&recipient, lapse_ms);
            }
            if let Some(journal_id) = taken.journal_id {
                shared.journal.publish(Seq::clamped(journal_id));
            }
        });
        let broker = self.clone();
        let task = task.unheard(move |taken| broker.put_back(taken));
        self.store.write(task.deadline(deadline).only_while_awaited())
    }

    /// Puts back what was handed out to a caller that went away meanwhile: nobody has it.
    fn put_back(&self, taken: Taken) {
        let Some(recipient) = taken.deliveries.first().map(|delivery| Arc::<str>::from(&*delivery.to)) else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let task = Task::new(move |turn| {
            for delivery in &taken.deliveries {
                queue::put_back(turn.conn, delivery.id, taken.until_ms)?;
            }
            Ok(Ok(()))
        });
        // Where it cannot be written, they come back when their lease ends.
        drop(self.store.write(task.after(move |()| shared.inboxes.ring(&recipient))));
    }

    /// A place at the bell of an inbox, to be taken before the first look into it.
    pub(crate) fn listen(&self, recipient: &str) -> Listener {
        self.shared.inboxes.listen(recipient)
    }

    /// Waits until there is something to hand out, and hands it out.
    ///
    /// Dropped, it hands out nothing, as [`Broker::recv`].
    pub(crate) async fn recv_wait(&self, asked: &Recv) -> Result<Vec<Delivery>, Error> {
        let mut bell = self.listen(&asked.recipient);
        loop {
            let deliveries = self.recv(asked, None).await?;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            bell.heard().await?;
        }
    }

    /// The same on a plain thread, for at most this long; what is handed out is never lost on the way.
    pub(crate) fn recv_blocking(&self, asked: &Recv, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now().checked_add(wait);
        let mut bell = self.listen(&asked.recipient);
        loop {
            let deliveries = pollster::block_on(self.recv(asked, None))?;
            if !deliveries.is_empty() || !bell.heard_by(until)? {
                return Ok(deliveries);
            }
        }
    }

    /// Acknowledges a message, also a second time or after its lease has lapsed.
    ///
    /// Refused with [`Refusal::Unknown`] where it is another's than `recipient`'s (`None` is anybody), where
    /// it was never handed out, and where there is none: it may have been deleted since it was acknowledged.
    pub(crate) fn ack(
        &self,
        id: i64,
        recipient: Option<&str>,
        key: Option<Key>,
        deadline: Option<Instant>,
    ) -> Pending<Once<bool>> {
        let (shared, recipient) = (Arc::clone(&self.shared), recipient.map(Box::<str>::from));
        let task = Task::new(move |turn| {
            once(turn, key.as_ref(), || {
                let acked = queue::ack(turn.conn, id, recipient.as_deref(), turn.now_ms / 1_000)?;
                fail::fail_point!("broker.ack");
                Ok(acked)
            })
        });
        let task = task.after(move |acked| {
            fail::fail_point!("broker.acked");
            if acked.is_new && acked.answer {
                shared.metrics.messages.acked.inc();
            }
        });
        self.store.write(task.deadline(deadline))
    }

    /// Lets a message that is out stay out for so long from now on.
    ///
    /// One whose lease has lapsed is out as long as it was not taken back or handed out again. Refused with
    /// [`Refusal::Unknown`] where it is another's, acknowledged or back in its inbox.
    pub(crate) fn renew(
        &self,
        id: i64,
        recipient: Option<&str>,
        lease_ms: i64,
        key: Option<Key>,
        deadline: Option<Instant>,
    ) -> Pending<Once<()>> {
        if let Err(refusal) = check_lease(lease_ms) {
            return Pending::failed(refusal.into());
        }
        let (shared, recipient, steady) =
            (Arc::clone(&self.shared), recipient.map(Box::<str>::from), self.store.steady);
        let task = Task::new(move |turn| {
            once(turn, key.as_ref(), || {
                let until_ms = steady.now_ms().saturating_add(lease_ms);
                let lease = (lease_ms, until_ms);
                let renewed = queue::renew(turn.conn, id, recipient.as_deref(), lease)?;
                Ok(renewed.map(|recipient| {
                    // A shorter lease than before: a bell that rings too early only costs a look.
                    shared.inboxes.ring_at(&recipient, until_ms);
                }))
            })
        });
        self.store.write(task.deadline(deadline))
    }

    /// Takes back at once all that a recipient has out; tells how many messages that were.
    pub(crate) fn requeue(
        &self,
        recipient: &str,
        key: Option<Key>,
        deadline: Option<Instant>,
    ) -> Pending<Once<usize>> {
        if let Err(refusal) = check_name("name", recipient) {
            return Pending::failed(refusal.into());
        }
        let (shared, steady) = (Arc::clone(&self.shared), self.store.steady);
        let recipient: Arc<str> = recipient.into();
        let whose = Arc::clone(&recipient);
        let task = Task::new(move |turn| {
            once(turn, key.as_ref(), || Ok(Ok(queue::requeue(turn.conn, &whose, steady.now_ms())?)))
        });
        let task = task.after(move |_| shared.inboxes.ring(&recipient));
        self.store.write(task.deadline(deadline))
    }

    /// Wakes those who wait for a message whose lease has lapsed. To be called every now and then: a message
    /// comes back that much late. Costs a glance at each waiting call.
    pub(crate) fn ring_due(&self) {
        if self.store.failure().is_some() {
            // They learn from their next look that nothing will come.
            self.shared.inboxes.ring_all();
        } else {
            self.shared.inboxes.ring_due(self.store.steady.now_ms());
        }
    }
}

impl Shared {
    fn count(&self, deliveries: &[Delivery]) {
        let messages = &self.metrics.messages;
        messages.handed_out.inc_by(deliveries.len() as u64);
        let again = deliveries.iter().filter(|delivery| delivery.redelivered).count();
        messages.redelivered.inc_by(again as u64);
    }
}

/// What was handed out, and what is to be done about it after the commit.
struct Taken {
    deliveries: Vec<Delivery>,
    until_ms: i64,
    journal_id: Option<i64>,
    lapse_ms: Option<i64>,
}

/// Takes the text of a message out of the broker, if it is one of this broker's: a raw append may speak of another's.
pub(crate) fn forget(conn: &rusqlite::Connection, message: &Message) -> rusqlite::Result<()> {
    if let Some(id) = message.message_id
        && let Some(at) = queue::forget(conn, id, message)?
    {
        let Message { from, to, body, .. } = message;
        keys::forget_sent(conn, (SEND, &(from, to, body)), at)?;
    }
    Ok(())
}

/// The call that sends, among those that have keys.
const SEND: &str = "send";

/// The key of a sending: `message` is who it is from, who it is for, what it says.
pub(crate) fn send_key(actor: &str, key: &str, message: (&str, &str, &str)) -> Key {
    Key::new(actor, key, SEND, &message)
}

fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    if is_name(name) {
        Ok(())
    } else {
        Err(Refusal::invalid(field, "is not a name: expected [a-z0-9][a-z0-9._-]{0,63}"))
    }
}

/// Who has an inbox: any agent and the operator, but not the watchdog.
fn check_recipient(to: &str) -> Result<(), Refusal> {
    check_name("to", to)?;
    if to == TTL_WATCHDOG {
        return Err(Refusal::invalid("to", "is a name of the log's own, which reads no messages"));
    }
    Ok(())
}

fn check_lease(lease_ms: i64) -> Result<(), Refusal> {
    if (1..=MESSAGE_LEASE_MS_MAX).contains(&lease_ms) {
        Ok(())
    } else {
        Err(Refusal::invalid("lease_seconds", "is not more than 0 and at most a day"))
    }
}

fn check_message(from: &str, to: &str, body: &str) -> Result<(), Refusal> {
    check_name("from", from)?;
    check_recipient(to)?;
    // Written in full only where it could be too large: an escape takes six bytes for one.
    if body.len() < PAYLOAD_BYTES_MAX / 8 {
        return Ok(());
    }
    let message = Message {
        from: from.into(),
        to: to.into(),
        body: body.into(),
        at: INTEGER_MAX,
        message_id: Some(INTEGER_MAX),
    };
    let length = Event::Sent(message).payload().map_or(usize::MAX, |payload| payload.len());
    if length <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("the event of a message has at most {PAYLOAD_BYTES_MAX} bytes, this one {length}");
    Err(Refusal::TooLarge(detail.into()))
}
