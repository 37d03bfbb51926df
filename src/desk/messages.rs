//! Messages: sent, handed out, acknowledged.

use std::time::Duration;

use crate::broker::{Delivery, Recv, send_key};
use crate::desk::Desk;
use crate::draft::check_key;
use crate::error::Error;
use crate::limits::MESSAGE_LEASE_MS;
use crate::log::authority::Receipt;

/// How much is asked of an inbox at once, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    max: usize,
    lease: Duration,
}

impl Default for Receive {
    /// One message, for ten minutes.
    fn default() -> Self {
        Self { max: 1, lease: Duration::from_millis(MESSAGE_LEASE_MS.unsigned_abs()) }
    }
}

impl Receive {
    /// At most so many messages, from 1 to 100. Fewer come where there are fewer, and where together they
    /// would have more than 4 MiB of text.
    #[must_use]
    pub const fn max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// How long they stay out unacknowledged before they come back: more than nothing, at most a day; read
    /// to the millisecond.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    fn of(self, recipient: &str) -> Recv {
        Recv { recipient: recipient.into(), max: self.max, lease_ms: milliseconds(self.lease) }
    }
}

fn milliseconds(lease: Duration) -> i64 {
    i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)
}

/// Every message is handed out at least once and in the order of its inbox, until it is acknowledged; what
/// was handed out before says so.
impl Desk {
    /// Sends a message; the receipt tells its id when it is on disk. Does not block.
    ///
    /// It is in the inbox of `to` from then on, whoever runs or does not, and its event `sent` follows on the
    /// log. One may write to oneself. The receipt ends with [`Refusal::Invalid`](crate::Refusal::Invalid) for
    /// what is no name, and with [`Refusal::TooLarge`](crate::Refusal::TooLarge) for a body whose event would
    /// be larger than 1 MiB.
    pub fn send(&self, from: &str, to: &str, body: &str) -> Receipt<i64> {
        let sent = self.broker().send(from, to, body, None, None);
        Receipt::of(async move { sent.await.map(|once| once.answer) })
    }

    /// The same under an idempotency key of the sender's: repeated with the same key and content, also after
    /// a restart, the message is sent once and has the same id. Keys are remembered for 90 days.
    ///
    /// The receipt ends with [`Refusal::KeyReused`](crate::Refusal::KeyReused) where the key stands for
    /// another message.
    pub fn send_once(&self, key: &str, from: &str, to: &str, body: &str) -> Receipt<i64> {
        if let Err(refusal) = check_key(key) {
            return Receipt::failed(refusal.into());
        }
        let key = send_key(from, key, (from, to, body));
        let sent = self.broker().send(from, to, body, Some(key), None);
        Receipt::of(async move { sent.await.map(|once| once.answer) })
    }

    /// Hands out the oldest messages of an inbox that nobody has, or none: first those whose lease has lapsed,
    /// in their old place, then new ones. Does not block, and does not wait for a message.
    ///
    /// The first time that a message is handed out, its event `delivered` follows on the log. A receipt that
    /// is dropped before its turn hands out nothing; one that is dropped with its answer in it leaves the
    /// messages out until their lease ends. Ends with [`Refusal::TooManyOpen`](crate::Refusal::TooManyOpen) where 1,000 messages of the inbox
    /// are out unacknowledged.
    pub fn recv(&self, name: &str, receive: Receive) -> Receipt<Vec<Delivery>> {
        Receipt::of(self.broker().recv(&receive.of(name), None))
    }

    /// Waits until there is something to hand out, and hands it out. Needs no runtime.
    ///
    /// A message that comes back wakes it within half a second, one that is sent at once. Cancel-safe in that
    /// no message is lost: dropped in the moment in which it hands out, it gives the messages back, or at worst
    /// leaves them out until their lease ends.
    ///
    /// # Errors
    /// As [`Desk::recv`]; [`Error::Closed`] when the log is closed.
    pub async fn recv_wait(&self, name: &str, receive: Receive) -> Result<Vec<Delivery>, Error> {
        self.broker().recv_wait(&receive.of(name)).await
    }

    /// The same for a plain thread, which it blocks for at most `wait`; then it gives no message.
    ///
    /// # Errors
    /// As [`Desk::recv_wait`].
    pub fn recv_blocking(
        &self,
        name: &str,
        receive: Receive,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        self.broker().recv_blocking(&receive.of(name), wait)
    }

    /// Acknowledges a message, which is then done with. A second time is no error, nor is a late one, after
    /// its lease has lapsed or it was handed out again. Does not block.
    ///
    /// The receipt ends with [`Refusal::Unknown`](crate::Refusal::Unknown) where `name` has no such message,
    /// where it was never handed out, and where it was deleted: 30 days after it was acknowledged.
    pub fn ack(&self, name: &str, id: i64) -> Receipt<()> {
        let acked = self.broker().ack(id, Some(name), None, None);
        Receipt::of(async move { acked.await.map(drop) })
    }

    /// Lets a message stay out for so long from now on. Does not block.
    ///
    /// The receipt ends with [`Refusal::Unknown`](crate::Refusal::Unknown) where `name` has no such message
    /// out. One whose lease has lapsed is still out, as long as it was neither taken back nor handed out again.
    pub fn renew(&self, name: &str, id: i64, lease: Duration) -> Receipt<()> {
        let renewed = self.broker().renew(id, Some(name), milliseconds(lease), None, None);
        Receipt::of(async move { renewed.await.map(drop) })
    }

    /// Takes back at once all that `name` has out, and tells how many messages that were: what a harness does
    /// when it starts, since those who had them are gone. Does not block.
    pub fn requeue(&self, name: &str) -> Receipt<usize> {
        let requeued = self.broker().requeue(name, None, None);
        Receipt::of(async move { requeued.await.map(|once| once.answer) })
    }
}
