//! What lives on a log as long as it is open, which the log ends without knowing what it is.

use std::any::Any;
use std::sync::Arc;

use crate::error::Error;
use crate::log::Log;
use crate::sync::lock as hold;

/// What lives on a log as long as it is open: its owner starts it once, and the log ends it.
pub(crate) trait Lodger: Any + Send + Sync {
    /// Ends its threads. The log still takes appends.
    fn leave(&self);
}

/// Those that are there.
#[derive(Default)]
pub(super) struct Lodgers {
    all: Vec<Arc<dyn Lodger>>,
    /// The log is being closed: nobody comes any more.
    is_closed: bool,
}

impl Lodgers {
    /// Closes the door, and gives those who are to leave.
    pub(super) fn close(&mut self) -> Vec<Arc<dyn Lodger>> {
        self.is_closed = true;
        std::mem::take(&mut self.all)
    }
}

impl Log {
    /// The one lodger of this kind; or while there is none, and none can come, does this.
    pub(crate) fn lodger_or<T: Lodger, R>(&self, otherwise: impl FnOnce() -> R) -> Result<Arc<T>, R> {
        let lodgers = hold(&self.inner.lodgers);
        find(&lodgers.all).ok_or_else(otherwise)
    }

    /// The one lodger of this kind, which is made at the first call.
    pub(crate) fn lodge<T: Lodger>(
        &self,
        make: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<Arc<T>, Error> {
        let mut lodgers = hold(&self.inner.lodgers);
        if lodgers.is_closed {
            return Err(Error::Closed);
        }
        if let Some(known) = find(&lodgers.all) {
            return Ok(known);
        }
        let new = Arc::new(make(self)?);
        lodgers.all.push(Arc::<T>::clone(&new));
        Ok(new)
    }
}

fn find<T: Lodger>(lodgers: &[Arc<dyn Lodger>]) -> Option<Arc<T>> {
    lodgers.iter().find_map(|lodger| {
        let lodger: Arc<dyn Any + Send + Sync> = Arc::<dyn Lodger>::clone(lodger);
        lodger.downcast().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{Lodger, hold};
    use crate::error::Error;
    use crate::log::Log;
    use crate::sync::Mutex;

    struct Slow {
        leaves: mpsc::Sender<()>,
        may_go: Mutex<mpsc::Receiver<()>>,
    }

    impl Lodger for Slow {
        fn leave(&self) {
            self.leaves.send(()).unwrap();
            hold(&self.may_go).recv().unwrap();
        }
    }

    struct Late;

    impl Lodger for Late {
        fn leave(&self) {}
    }

    #[test]
    fn nobody_comes_while_others_leave() {
        let log = Log::temp().unwrap();
        let (leaves, is_leaving) = mpsc::channel();
        let (go, may_go) = mpsc::channel();
        log.lodge(|_| Ok(Slow { leaves, may_go: Mutex::new(may_go) })).unwrap();
        let closing = std::thread::spawn({
            let log = log.clone();
            move || log.close()
        });
        is_leaving.recv().unwrap();
        let late = log.lodge(|_| Ok(Late)).map(drop);
        go.send(()).unwrap();
        closing.join().unwrap();
        assert_eq!(late, Err(Error::Closed));
    }
}
