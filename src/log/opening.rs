//! How a log is opened: by the one that writes it, or by one that only reads.

use std::path::Path;
use std::sync::{Arc, Once};

use crate::clock::{Steady, SystemClock};
use crate::error::Error;
use crate::limits::{RECENT_BYTES, REPLAYS_KEPT};
use crate::log::local::Local;
use crate::log::options::{Options, declare};
use crate::log::positions::Positions;
use crate::log::recent::Recent;
use crate::log::replay::Replay;
use crate::log::retention::Retention;
use crate::log::show::show;
use crate::log::watch::Watcher;
use crate::log::{Inner, Log, Shared, Source};
use crate::metrics::Metrics;
use crate::store::open::{self, Durability};
use crate::store::readers::Readers;
use crate::store::writer::{Surroundings, Writer};
use crate::store::{lock, meta, reading, rows};
use crate::sync::{Mutex, RwLock};
use crate::tail::Tail;

impl Log {
    /// Opens the log at `path`, which is made where it is not there.
    ///
    /// Blocks for some milliseconds, whatever the size of the log.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it open, [`Error::NotALog`] and [`Error::Newer`]
    /// where the file is something else (it is left as it is), [`Error::NotFound`] where it is not there and
    /// [`Options::create`] says no, [`Error::Refused`] for a kind that cannot be declared (nothing is made then),
    /// [`Error::Storage`] where the disk fails.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        Self::open_in(path.as_ref(), options, None)
    }

    /// Opens a new log in a temporary folder, which goes with the last clone.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn temp() -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("hivelog.db");
        Self::open_in(&path, Options::default(), Some(folder))
    }

    fn open_in(path: &Path, options: Options, folder: Option<tempfile::TempDir>) -> Result<Self, Error> {
        options.check()?;
        let opened = open::writable(path, options.create, options.durability)?;
        let log_id = meta::log_id(&opened.conn)?;
        let kinds = declare(&opened, &options)?;
        let readers = Readers::open(&opened.path, Some(Arc::clone(&opened.lock)))?;
        let path = opened.path.clone();
        let steady = Steady::start(&*options.clock);
        let shared = Arc::new(Shared {
            log_id,
            tail: Arc::new(Tail::new(opened.head)),
            recent: Recent::new(RECENT_BYTES),
            replay: Replay::new(REPLAYS_KEPT),
            readers,
            metrics: Arc::new(Metrics::default()),
            positions: Positions::default(),
            clock: Arc::clone(&options.clock),
            board: Mutex::default(),
            wipe: Arc::default(),
            hints: RwLock::default(),
        });
        let around = Surroundings {
            tail: Arc::clone(&shared.tail),
            metrics: Arc::clone(&shared.metrics),
            clock: options.clock,
            show: show(&shared),
            wal: options.wal,
        };
        let writer = Arc::new(Writer::start(opened, around)?);
        lock::write_holder(&path, None)?;
        let authority = Arc::new(Local::new(Arc::clone(&writer)));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                source: Source::Own { writer, authority, lookout: Arc::default() },
                path,
                durability: options.durability,
                kinds,
                retention: options.retention,
                steady,
                lodgers: Mutex::default(),
                closing: Once::new(),
                _folder: folder,
            }),
        })
    }

    /// Opens a log to read it while another process may be writing it.
    ///
    /// Its followers see what that process commits within some 10 ms. It goes on over restarts of that process.
    /// Where the file is replaced, as by a restore, reads and followers end with [`Error::Replaced`]: opened
    /// again, the new one tells a follower that comes with its old position `reset`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotALog`], [`Error::Newer`], [`Error::Storage`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = open::readable(path.as_ref())?;
        let inode = open::inode(&path);
        let readers = Readers::open(&path, None)?;
        let (log_id, head, kinds) = readers.with(|conn| {
            let head = rows::head(conn).map_err(|error| reading(&error))?;
            let kinds = meta::kinds(conn).map_err(|error| reading(&error))?;
            Ok((meta::log_id(conn)?, head, kinds))
        })?;
        let shared = Arc::new(Shared {
            log_id,
            tail: Arc::new(Tail::new(head)),
            recent: Recent::new(0),
            replay: Replay::new(0),
            readers,
            metrics: Arc::new(Metrics::default()),
            positions: Positions::default(),
            clock: Arc::new(SystemClock),
            board: Mutex::default(),
            wipe: Arc::default(),
            hints: RwLock::default(),
        });
        let watcher = Watcher::start(&shared, (path.clone(), inode))?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                source: Source::Foreign(watcher),
                path,
                durability: Durability::Full,
                kinds: kinds.into_iter().map(Into::into).collect(),
                retention: Retention::forever(),
                steady: Steady::start(&SystemClock),
                lodgers: Mutex::default(),
                closing: Once::new(),
                _folder: None,
            }),
        })
    }
}
