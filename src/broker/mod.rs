//! The broker: a queue of messages for each recipient, with a journal of its own.

use std::sync::Arc;

use crate::error::Error;
use crate::store::file::Store;
use crate::tail::Tail;

/// The broker of one file. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Broker {
    store: Store,
    journal: Arc<Tail>,
}

impl Broker {
    pub(crate) fn open(store: Store) -> Result<Self, Error> {
        Ok(Self { store, journal: Arc::default() })
    }

    pub(crate) fn close(&self) {
        self.journal.close();
    }
}
