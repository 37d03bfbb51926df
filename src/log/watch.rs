//! Watching a file that another process writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::error::Error;
use crate::limits::FOREIGN_POLL;
use crate::log::Shared;
use crate::seq::{LogId, Seq};
use crate::store::readers::{Readers, during_one_moment};
use crate::store::{inspect, meta, open, reading, rows};
use crate::sync::{Condvar, Mutex, lock, wait_for};
use crate::tail::Tail;

/// A thread that moves the tail of a read-only log along with the file.
///
/// It polls: no file event tells of a commit before it is visible. Closing the log ends it.
pub(crate) struct Watcher {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    /// `inode` is that of the file at the path that the log was opened on.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        (path, inode): (PathBuf, Option<(u64, u64)>),
    ) -> Result<Self, Error> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let watch = Watch {
            path,
            inode,
            log_id: shared.log_id,
            tail: Arc::clone(&shared.tail),
            readers: shared.readers.clone(),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("hivelog-watcher".into()).spawn(move || watch.run())?;
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

/// What the thread owns.
struct Watch {
    path: PathBuf,
    inode: Option<(u64, u64)>,
    log_id: LogId,
    tail: Arc<Tail>,
    readers: Readers,
    stop: Arc<(Mutex<bool>, Condvar)>,
}

impl Watch {
    fn run(&self) {
        // On a connection of its own: what tells of a commit is told to each connection for itself. One that
        // cannot be opened now may be opened later.
        let mut is_over = false;
        while !is_over {
            let watched = self.readers.alone(|conn| Ok(self.follow(conn)));
            is_over = watched.unwrap_or_else(|_| self.is_other() && self.give_up()) || self.rest();
        }
    }

    /// Follows the file until the log is closed, or the file is another one.
    fn follow(&self, conn: &Connection) -> bool {
        let mut known = None;
        loop {
            if self.is_other() {
                return self.give_up();
            }
            // A file that cannot be read now may be readable again; its readers are told by their own reads.
            if let Ok(version) = inspect::data_version(conn)
                && known != Some(version)
                && let Ok((log_id, head)) = look(conn)
            {
                known = Some(version);
                // A copy that was opened got a name of its own; a file that was written over may have less in
                // it than before.
                if log_id != Some(self.log_id) || head < self.tail.head() {
                    return self.give_up();
                }
                self.tail.publish(head);
            }
            if self.rest() {
                return true;
            }
        }
    }

    fn is_other(&self) -> bool {
        open::inode(&self.path) != self.inode
    }

    /// Ends what is read: it would be the old file for ever, and nobody would know.
    fn give_up(&self) -> bool {
        self.readers.close(Error::Replaced);
        self.tail.close();
        true
    }

    /// Waits for the next look; says whether there is none.
    fn rest(&self) -> bool {
        let (flag, bell) = &*self.stop;
        let is_over = lock(flag);
        *is_over || *wait_for(bell, is_over, FOREIGN_POLL)
    }
}

/// The name of the log and its head, of one moment.
fn look(conn: &Connection) -> Result<(Option<LogId>, Seq), Error> {
    during_one_moment(conn, |conn| {
        let head = rows::head(conn).map_err(|error| reading(&error))?;
        let log_id = meta::text(conn, "log_id").map_err(|error| reading(&error))?;
        Ok((log_id.and_then(|text| text.parse().ok()), head))
    })
}
