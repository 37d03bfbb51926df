//! Redaction: the text of an event goes, from everywhere.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::broker;
use crate::error::{Error, Refusal};
use crate::event::{Event, FREQUENT_KINDS, Message};
use crate::limits::WIPE_PATIENCE;
use crate::log::Log;
use crate::log::authority::{Appended, Command};
use crate::log::redact::Redaction;
use crate::query::{Filter, Order};
use crate::search;
use crate::seq::Seq;
use crate::store::file::Store;
use crate::store::readers::at_one_moment;
use crate::store::rows::{self, Stretch};
use crate::store::wipe::Came;
use crate::store::{meta, reading};
use crate::sync::lock;

/// What is asked for: that the text of one event goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    /// The event.
    pub seq: Seq,
    /// Who wants it, which the log keeps.
    pub by: Option<String>,
    /// Of a message that was both sent and delivered, both events.
    pub both: bool,
}

impl Log {
    /// Takes the text of an event out of the log and everything made of it: the event keeps its seq, its kind, its
    /// time and the names in it, and says `[redacted]` where text was. Gives the seq of the event
    /// `hivelog.redacted` that says so; called again it gives the same.
    ///
    /// What lies in the file's WAL, in its empty pages, in the broker, among the idempotency keys, in memory and in the
    /// search index goes too. Blocks until that is so, as long as it takes to read the file once. What was
    /// exported, backed up or sent before is elsewhere and stays.
    ///
    /// # Errors
    /// [`Error::Pending`] where the event is redacted, but a reader holds old pages of the file: called again once
    /// that reader is gone, it ends well. [`Error::Gone`] and [`Refusal::Unknown`] where there is no such event,
    /// [`Refusal::Invalid`] where it has no text; as every write.
    pub fn redact(&self, asked: &Redact) -> Result<Seq, Error> {
        self.redact_under(asked, None)
    }

    /// The same, the first of its events under an idempotency key of this actor.
    pub(crate) fn redact_under(&self, asked: &Redact, key: Option<(&str, &str)>) -> Result<Seq, Error> {
        let store = self.store()?;
        let seq = asked.seq;
        let row = self.get(seq)?.ok_or_else(|| Refusal::Unknown(format!("event {seq}").into()))?;
        let message = if asked.both
            && let Event::Sent(message) | Event::Delivered(message) = row.event()?
        {
            Some(message)
        } else {
            None
        };
        let looked = self.tail();
        let mut other =
            message.as_ref().map_or(Ok(None), |message| self.other_copy(seq, message, Seq::ZERO))?;
        fail::fail_point!("redact.looked");
        // First, so that nothing is gone where the key stands for something else; called again it goes on from here.
        let told = self.redact_one(seq, asked, key)?;
        if let (Some(message), None) = (&message, other) {
            // It may have been handed out while the log was looked through; from now on the broker has no text either.
            other = self.other_copy(seq, message, looked)?;
        }
        if let Some(other) = other {
            self.redact_one(other, asked, None)?;
        }
        let begin = Instant::now();
        wipe(&store, begin)?;
        let redactions =
            store.readers.with(|conn| meta::integer(conn, "redactions").map_err(|error| reading(&error)))?;
        if search::forget(self, redactions, WIPE_PATIENCE)? { Ok(told) } else { Err(Error::Pending) }
    }

    fn redact_one(&self, seq: Seq, asked: &Redact, key: Option<(&str, &str)>) -> Result<Seq, Error> {
        let by = asked.by.as_deref().map(Into::into);
        let mut command = Command::redact(Redaction { seq, both: asked.both, by, also: broker::forget });
        if let Some((actor, key)) = key {
            command = command.actor(actor).key(key);
        }
        let appended: Appended = self.submit(command).wait()?;
        self.shared_to_write()?.metrics.redacted.inc_by(appended.new as u64);
        appended.seqs.first().copied().ok_or(Error::Closed)
    }

    /// The event after a seq that tells of the same message. Reads the log in slices.
    fn other_copy(&self, seq: Seq, message: &Message, after: Seq) -> Result<Option<Seq>, Error> {
        if message.message_id.is_none() {
            return Ok(None);
        }
        let filter = FREQUENT_KINDS.iter().try_fold(Filter::default(), |filter, kind| filter.kind(kind))?;
        let mut rest = Stretch::upto(after, self.tail());
        let mut found = None;
        while found.is_none() && !rest.is_empty() {
            let scanned = self
                .readers()
                .with(|conn| at_one_moment(conn, |conn| scan(conn, rest, &filter, (seq, message))))?;
            (found, rest.after) = scanned;
        }
        Ok(found)
    }
}

/// Looks through some events for the other one of a message; says how far it came.
fn scan(
    conn: &Connection,
    stretch: Stretch,
    filter: &Filter,
    (seq, message): (Seq, &Message),
) -> rusqlite::Result<(Option<Seq>, Seq)> {
    let (mut found, mut upto, mut count) = (None, Seq::clamped(stretch.before - 1), 0_u32);
    let mark = message.message_id.map_or_else(String::new, |id| format!("\"message_id\":{id}}}"));
    rows::scan(conn, stretch, Order::Asc, filter, |at, row| {
        let told = row.filter(|row| at != seq && row.payload.ends_with(mark.as_bytes())).and_then(|row| {
            let payload = std::str::from_utf8(row.payload).ok()?;
            Event::read(row.kind, payload).ok()
        });
        if let Some(Event::Sent(other) | Event::Delivered(other)) = told
            && (&other.from, &other.to) == (&message.from, &message.to)
        {
            found = Some(at);
        }
        count += 1;
        if found.is_some() || count >= 50_000 {
            upto = at;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok((found, upto))
}

/// Goes all the way to a file without a trace of what was redacted, unless readers are in the way for too long.
fn wipe(store: &Store, begin: Instant) -> Result<(), Error> {
    loop {
        let came = lock(&store.wipe).step(store)?;
        match came {
            Came::Through => return Ok(()),
            Came::On => {}
            Came::Nowhere if begin.elapsed() >= WIPE_PATIENCE => return Err(Error::Pending),
            Came::Nowhere => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
