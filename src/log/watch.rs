//! Watching a file that another process writes.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::limits::FOREIGN_POLL;
use crate::log::Shared;
use crate::store::{reading, rows};
use crate::sync::{Condvar, Mutex, lock, wait_for};

/// A thread that moves the tail of a read-only log along with the file.
///
/// It polls: no file event tells of a commit before it is visible. Closing the log ends it.
pub(crate) struct Watcher {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, Error> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (watched, stopped) = (Arc::clone(shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("hivelog-watcher".into()).spawn(move || {
            let (flag, bell) = &*stopped;
            let mut is_over = lock(flag);
            while !*is_over {
                let head = watched.readers.with(|conn| rows::head(conn).map_err(|error| reading(&error)));
                // A file that cannot be read now may be readable again; its readers are told by their
                // own reads.
                if let Ok(head) = head
                    && head > watched.tail.head()
                {
                    watched.tail.publish(head);
                }
                is_over = wait_for(bell, is_over, FOREIGN_POLL);
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn close(&self) {
        *lock(&self.stop.0) = true;
        self.stop.1.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ended = thread.join();
        }
    }
}
