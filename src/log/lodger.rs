//! What lives on a log as long as it is open, which the log ends without knowing what it is.

use std::any::Any;
use std::sync::{Arc, Weak};

use crate::error::Error;
use crate::log::{Inner, Log};
use crate::sync::lock as hold;

/// What lives on a log as long as it is open: its owner starts it once, and the log ends it.
pub(crate) trait Lodger: Any + Send + Sync {
    /// Ends its threads. The log still takes appends.
    fn leave(&self);
}

/// A log that is not kept open.
#[derive(Clone)]
pub(crate) struct WeakLog(Weak<Inner>);

impl WeakLog {
    /// The log to look at for a moment; it is closed without asking who looks.
    pub(crate) fn upgrade(&self) -> Option<Log> {
        self.0.upgrade().map(|inner| Log { inner, _open: None })
    }
}

impl Log {
    /// The one lodger of this log, which is made at the first call.
    pub(crate) fn lodge<T: Lodger>(
        &self,
        make: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<Arc<T>, Error> {
        let mut lodger = hold(&self.inner.lodger);
        if self.inner.closing.is_completed() {
            return Err(Error::Closed);
        }
        let there = match &*lodger {
            Some(there) => Arc::clone(there),
            None => Arc::clone(lodger.insert(Arc::new(make(self)?))),
        };
        let there: Arc<dyn Any + Send + Sync> = there;
        there.downcast().map_err(|_| Error::Storage("something else lives on this log".into()))
    }

    pub(crate) fn downgrade(&self) -> WeakLog {
        WeakLog(Arc::downgrade(&self.inner))
    }
}
