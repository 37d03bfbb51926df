//! The pool of read-only connections, behind two gates: one for scans, one for short reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::limits::{POINT_READS_MAX, READERS_MAX};
use crate::store::gather;
use crate::store::lock::{Held, Reading};
use crate::store::open::beside;
use crate::store::reading;
use crate::sync::{Mutex, lock};

/// How long a read takes, which decides how many run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Microseconds: a point, a board.
    Point,
    /// Milliseconds, in slices: one less than the cores at once, so that appends keep theirs.
    Scan,
}

type Pool = r2d2::Pool<SqliteConnectionManager>;

/// Readers of one file. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Readers {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// Why there is none, once the log is closed.
    pool: Mutex<Result<Open, Error>>,
    points: Arc<Semaphore>,
    scans: Arc<Semaphore>,
}

#[derive(Clone)]
struct Open {
    // The order matters: the connections go before the descriptor that holds the lock, or that is kept for them.
    pool: Pool,
    lock: Option<Arc<Held>>,
    _reading: Option<Arc<Reading>>,
}

impl Readers {
    /// Opens the pool; the file has to be there. `lock` is held as long as a connection is open.
    pub(crate) fn open(path: &Path, lock: Option<Arc<Held>>) -> Result<Self, Error> {
        let reading = if lock.is_none() { Some(Arc::new(Reading::begin(path)?)) } else { None };
        let (name, flags) = to_read(path);
        let manager = SqliteConnectionManager::file(name).with_flags(flags).with_init(prepare);
        let pool = Pool::builder()
            .max_size(READERS_MAX)
            .min_idle(Some(1))
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(Duration::from_secs(5))
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build(manager)
            .map_err(|error| Error::Storage(format!("cannot open the file for reading: {error}").into()))?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                pool: Mutex::new(Ok(Open { pool, lock, _reading: reading })),
                points: Arc::new(Semaphore::new(POINT_READS_MAX)),
                scans: Arc::new(Semaphore::new(cores.saturating_sub(1).clamp(1, 3))),
            }),
        })
    }

    /// Reads on this thread, which it blocks.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let open = lock(&self.inner.pool).clone()?;
        let conn = open.pool.get().map_err(|error| Error::Storage(format!("no reader: {error}").into()))?;
        read(&conn)
    }

    /// Reads on this thread and on a connection of its own, for what takes so long that nobody may wait for
    /// its place in the pool.
    pub(crate) fn alone<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        // The lock is held meanwhile: see there why.
        let _open = lock(&self.inner.pool).clone()?;
        let (name, flags) = to_read(&self.inner.path);
        let mut conn = Connection::open_with_flags(name, flags).map_err(|error| reading(&error))?;
        prepare(&mut conn).map_err(|error| reading(&error))?;
        let done = read(&conn);
        drop(conn);
        done
    }

    /// Reads on a thread for blocking work, once the lane has a place. Needs no runtime. A read that was begun is
    /// carried out, and keeps its place, where its caller goes away.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = self.clone();
        self.work(lane, move || readers.with(read)).await
    }

    /// The same for work that reads by itself.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let gate = match lane {
            Lane::Point => &self.inner.points,
            Lane::Scan => &self.inner.scans,
        };
        let place = Arc::clone(gate).acquire_owned().await.map_err(|_| Error::Closed)?;
        blocking::unblock(move || {
            let _place = place;
            work()
        })
        .await
    }

    /// What holds the lock of the file, where this process has it and the log is open.
    pub(crate) fn held(&self) -> Option<Arc<Held>> {
        lock(&self.inner.pool).as_ref().ok().and_then(|open| open.lock.clone())
    }

    /// Closes the connections; one that is in use closes when it comes back. Reads fail with `why` from now
    /// on, or with the reason that was there before.
    pub(crate) fn close(&self, why: Error) {
        let mut pool = lock(&self.inner.pool);
        let open = if pool.is_ok() { std::mem::replace(&mut *pool, Err(why)).ok() } else { None };
        // Outside the lock: closing a file is not a few assignments.
        drop(pool);
        drop(open);
    }

    /// Why nothing is read any more; `None` while it is.
    pub(crate) fn ended(&self) -> Option<Error> {
        lock(&self.inner.pool).as_ref().err().cloned()
    }
}

/// The name under which a file is opened that is only read, and the flags.
///
/// Whoever reads a log keeps an index of its WAL beside it. On a medium that nobody can write there is none,
/// and none is needed where there is no WAL either: nothing there can change.
pub(crate) fn to_read(path: &Path) -> (PathBuf, OpenFlags) {
    use std::os::unix::ffi::OsStrExt as _;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let is_fixed = rustix::fs::statvfs(path)
        .is_ok_and(|medium| medium.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    let has_wal = std::fs::metadata(beside(path, "-wal")).is_ok_and(|meta| meta.len() > 0);
    if !is_fixed || has_wal {
        return (path.to_owned(), flags);
    }
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            name.push(char::from(*byte));
        } else {
            // What a URI would read otherwise.
            name.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    name.push_str("?immutable=1");
    (name.into(), flags | OpenFlags::SQLITE_OPEN_URI)
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or('0')
}

/// What every connection of ours is told, whatever the file says.
pub(crate) fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A plan does not depend on the values that are bound. Otherwise a statement with a range in it is
    // compiled anew at each run (measured: a twelfth of the writer's time).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn prepare(conn: &mut Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_secs(5))?;
    harden(conn)?;
    gather::prepare(conn)?;
    conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;")
}

/// One read transaction, so that several reads see one moment.
pub(crate) fn at_one_moment<T>(
    conn: &Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    during_one_moment(conn, |conn| read(conn).map_err(|error| reading(&error)))
}

/// The same for what fails in other ways too.
pub(crate) fn during_one_moment<T>(
    conn: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let moment = conn.unchecked_transaction().map_err(|error| reading(&error))?;
    let answer = read(&moment)?;
    moment.finish().map_err(|error| reading(&error))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::{Arc, Connection, Lane, Mutex, POINT_READS_MAX, Readers, lock};

    /// Whoever asks and goes away, again and again, has no more reads under way than who waits.
    #[test]
    fn a_read_keeps_its_place_when_its_caller_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let readers = Readers::open(&path, None).unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Arc::new(Mutex::new(may_go_on));
        let ask = || {
            let (begun, may_go_on) = (begun.clone(), Arc::clone(&may_go_on));
            readers.run(Lane::Point, move |_| {
                begun.send(()).unwrap();
                let _ended = lock(&may_go_on).recv();
                Ok(())
            })
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..POINT_READS_MAX {
            let mut read = pin!(ask());
            assert!(read.as_mut().poll(&mut cx).is_pending());
            has_begun.recv_timeout(Duration::from_secs(30)).unwrap();
        }
        let mut more = pin!(ask());
        assert!(more.as_mut().poll(&mut cx).is_pending());
        assert!(
            has_begun.recv_timeout(Duration::from_millis(200)).is_err(),
            "one more than there are places"
        );
        drop(go_on);
        pollster::block_on(more).unwrap();
    }
}
