//! The swarm's desk: requests, questions, transients and messages on a log.

use std::sync::Arc;

use crate::access::credentials::Credentials;
use crate::broker::Broker;
use crate::error::Error;
use crate::forward::Forwarder;
use crate::log::{Lodger, Log};

/// What a swarm does on a log: requests, questions, transients, messages.
///
/// Clones share it. There is one for each open log; it ends with the log.
#[derive(Clone)]
pub struct Desk {
    log: Log,
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) broker: Broker,
    credentials: Credentials,
    forwarder: Forwarder,
}

impl Lodger for Inner {
    fn leave(&self) {
        self.broker.close();
        self.forwarder.close();
    }
}

impl Desk {
    /// The desk of this log. The first call starts what runs for it: the forwarder of messages, and the
    /// keeper of deadlines and leases.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for a log that was opened to be read.
    pub fn of(log: &Log) -> Result<Self, Error> {
        let inner = log.lodge(|log| {
            let broker = Broker::open(log.store()?)?;
            let forwarder = Forwarder::start(log, &broker)?;
            Ok(Inner { broker, forwarder, credentials: Credentials::open(log.store()?)? })
        })?;
        Ok(Self { log: log.clone(), inner })
    }

    /// Who may come in.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }
}
