//! Moving the WAL's pages into the database: explicit, so that its errors are seen.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Row};

use crate::error::Error;
use crate::limits::{
    CHECKPOINT_PAGES, LOCK_WAIT, PAGE_BYTES, WAL_BYTES_KEPT, WAL_BYTES_MAX, WAL_HELD_TOLD, WAL_PATIENCE,
    WRITER_TICK,
};
use crate::metrics::Metrics;
use crate::store::{holders, inspect, readers, reading};

thread_local! {
    /// Pages in the WAL after this thread's last commit. SQLite calls the hook on the thread that
    /// commits and gives it no state, so the number waits here for the writer that made it.
    static WAL_PAGES: Cell<i64> = const { Cell::new(0) };
}

/// Who moves the WAL's pages into the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpoints {
    /// The log's own writer, every 8 MB.
    #[default]
    Own,
    /// Another program that copies the WAL first, such as Litestream. Only past the bound of the WAL does the
    /// writer do it all the same, so that the end of that program is not the end of appends.
    External,
}

impl Checkpoints {
    /// The word of the command line and of every report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::External => "external",
        }
    }
}

/// How the WAL is looked after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) by: Checkpoints,
    /// The size past which appends are refused.
    pub(crate) bytes_max: i64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { by: Checkpoints::Own, bytes_max: WAL_BYTES_MAX }
    }
}

impl Plan {
    /// Pages between two checkpoints: twice as many reach the bound at most.
    const fn pages(&self) -> i64 {
        let half = self.bytes_max / PAGE_BYTES / 2;
        if half < CHECKPOINT_PAGES { half } else { CHECKPOINT_PAGES }
    }
}

/// Lets commits on this connection leave the number of WAL pages for [`pages`].
///
/// To be called after `wal_autocheckpoint` was set: that pragma takes the same hook.
pub(crate) fn watch(conn: &Connection) {
    conn.wal_hook(Some(|_, pages| {
        WAL_PAGES.with(|cell| cell.set(pages.into()));
        Ok(())
    }));
}

/// Pages in the WAL after this thread's last commit.
pub(crate) fn pages() -> i64 {
    WAL_PAGES.with(Cell::get)
}

/// What a checkpoint left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Whether somebody was in the way of what was asked.
    is_busy: bool,
    /// Pages in the WAL.
    wal: i64,
    /// How many of them are in the database too.
    moved: i64,
}

impl Left {
    /// Whether a reader keeps pages from being moved.
    const fn is_held(self) -> bool {
        self.moved < self.wal
    }
}

/// Moves what readers allow, without waiting for them.
pub(crate) fn passive(conn: &Connection) -> rusqlite::Result<Left> {
    conn.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], left)
}

/// Moves a WAL that is short. A long one, which a reader held, would keep the first append waiting for as long as
/// that takes: the writer moves it within a second.
pub(crate) fn at_start(conn: &Connection) -> rusqlite::Result<()> {
    if frames(conn)? < CHECKPOINT_PAGES { passive(conn).map(drop) } else { Ok(()) }
}

/// Moves everything and empties the WAL; says whether it could, or readers were in the way for so long.
pub(crate) fn empty(conn: &Connection, wait: Duration) -> rusqlite::Result<bool> {
    truncate(conn, wait).map(|left| !left.is_busy)
}

/// Moves what readers allow, and empties the WAL where for so long none is in it.
fn truncate(conn: &Connection, wait: Duration) -> rusqlite::Result<Left> {
    conn.busy_timeout(wait)?;
    let done = conn.prepare_cached("PRAGMA wal_checkpoint(TRUNCATE)")?.query_row([], left);
    conn.busy_timeout(LOCK_WAIT)?;
    let left = done?;
    if !left.is_busy {
        WAL_PAGES.with(|cell| cell.set(0));
    }
    Ok(left)
}

fn left(row: &Row<'_>) -> rusqlite::Result<Left> {
    Ok(Left {
        is_busy: row.get::<_, i64>(0)? != 0,
        // Both are -1 where nobody could even look.
        wal: row.get::<_, i64>(1)?.max(0),
        moved: row.get::<_, i64>(2)?.max(0),
    })
}

/// Moves the WAL of a file that nobody writes into it. False: a reader keeps some of it from being moved.
pub(crate) fn all(path: &Path) -> Result<bool, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| reading(&error))?;
    readers::harden(&conn).map_err(|error| reading(&error))?;
    // The first read takes in a journal that a crash left, too.
    let left = inspect::schema(&conn).and_then(|_| passive(&conn)).map_err(|error| reading(&error))?;
    Ok(!left.is_held())
}

/// The writer's duty to the WAL.
pub(crate) struct Duty {
    plan: Plan,
    path: PathBuf,
    metrics: Arc<Metrics>,
    /// Pages at the last look: fewer now means that the WAL begins anew.
    seen: i64,
    /// Pages from which on a checkpoint is worth its syncs.
    next: i64,
    /// Since when every checkpoint was held back.
    held_since: Option<Instant>,
    is_told: bool,
    /// When short reads were last waited for.
    waited_at: Option<Instant>,
    /// Whether the file is larger than it has to be, whatever of it is in use.
    is_swollen: bool,
    /// Whether what was in the WAL at the start was looked at.
    has_begun: bool,
}

impl Duty {
    pub(crate) const fn new(plan: Plan, path: PathBuf, metrics: Arc<Metrics>) -> Self {
        Self {
            plan,
            path,
            metrics,
            seen: 0,
            next: plan.pages(),
            held_since: None,
            is_told: false,
            waited_at: None,
            is_swollen: false,
            has_begun: false,
        }
    }

    /// Whether the WAL has so many pages that a checkpoint of ours is worth it.
    pub(crate) fn is_near(&self) -> bool {
        self.plan.by == Checkpoints::Own && pages() >= self.next
    }

    /// Whether it has as many as it may.
    pub(crate) fn is_at_bound(&self) -> bool {
        self.is_over(pages())
    }

    const fn is_over(&self, pages: i64) -> bool {
        pages.saturating_mul(PAGE_BYTES) >= self.plan.bytes_max
    }

    /// Checkpoints where that is due. `is_idle`: there is time to look closer.
    pub(crate) fn look(&mut self, conn: &Connection, is_idle: bool) -> rusqlite::Result<()> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.begin(frames(conn)?);
        }
        let pages = pages();
        self.metrics.wal_bytes.set(pages * PAGE_BYTES);
        if pages < self.seen {
            self.next = self.plan.pages();
            if self.plan.by == Checkpoints::External {
                self.let_go();
            }
        }
        self.seen = pages;
        let is_due = match self.plan.by {
            Checkpoints::Own => self.is_near() || (is_idle && self.held_since.is_some()),
            Checkpoints::External => false,
        };
        if is_due {
            fail::fail_point!("writer.before-checkpoint");
            let left = self.count(passive(conn))?;
            self.next = pages + self.plan.pages();
            self.judge(conn, left)?;
            fail::fail_point!("writer.after-checkpoint");
        }
        // What a reader or a flood has let grow is given back as soon as there is time.
        self.is_swollen |= pages * PAGE_BYTES > WAL_BYTES_KEPT;
        let is_due = is_idle && self.is_swollen && self.held_since.is_none();
        if is_due && self.plan.by == Checkpoints::Own {
            let left = self.count(truncate(conn, Duration::ZERO))?;
            self.judge(conn, left)?;
            self.is_swollen = left.is_busy;
        }
        Ok(())
    }

    /// Takes over what an earlier process left in the WAL. What is long was held by a reader, and is looked at as that
    /// is: when there is time.
    fn begin(&mut self, frames: i64) {
        WAL_PAGES.with(|cell| cell.set(frames));
        if frames >= CHECKPOINT_PAGES {
            self.next = frames + self.plan.pages();
            self.held_since = Some(Instant::now());
        }
    }

    /// Whether a commit has to be refused: at its bound, a reader keeps the WAL there.
    pub(crate) fn is_held(&mut self, conn: &Connection) -> rusqlite::Result<bool> {
        if self.plan.by == Checkpoints::External && !self.is_told {
            tracing::warn!(
                wal_bytes = pages() * PAGE_BYTES,
                "checkpoints were left to another program, which makes none: this log makes one, and that \
                 program has to begin with a new copy"
            );
        }
        let wait = self.patience().unwrap_or(Duration::ZERO);
        let left = self.count(truncate(conn, wait))?;
        if left.is_held() {
            self.tell(left);
        } else {
            self.let_go();
        }
        Ok(left.is_held())
    }

    fn count<T>(&self, done: rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.metrics.checkpoints.inc();
        if done.is_err() {
            self.metrics.checkpoint_errors.inc();
        }
        done
    }

    /// How long a checkpoint may wait for readers, now and then: a short read, as that of the search index, ends
    /// meanwhile, and one that stays costs no append more than this.
    fn patience(&mut self) -> Option<Duration> {
        let pause = if self.is_told { WAL_HELD_TOLD } else { WRITER_TICK };
        let is_time = self.waited_at.is_none_or(|at| at.elapsed() >= pause);
        is_time.then(|| {
            self.waited_at = Some(Instant::now());
            WAL_PATIENCE
        })
    }

    /// What follows from a checkpoint that waited for nobody: where readers are in its way for long, or the WAL
    /// is large, they are waited for, and told of if they stay. Reads of this process are short by design, but on
    /// a busy machine the search index, which gives way to all else, may take its time: that is told later.
    fn judge(&mut self, conn: &Connection, left: Left) -> rusqlite::Result<()> {
        if !left.is_held() {
            self.let_go();
            return Ok(());
        }
        let since = *self.held_since.get_or_insert_with(Instant::now);
        let is_long = since.elapsed() >= WAL_HELD_TOLD || left.wal * PAGE_BYTES >= WAL_BYTES_KEPT;
        if is_long && let Some(wait) = self.patience() {
            let left = self.count(truncate(conn, wait))?;
            if !left.is_held() {
                self.let_go();
            } else if since.elapsed() >= WAL_HELD_TOLD || !holders::are_own(&holders::readers(&self.path)) {
                self.tell(left);
            }
        }
        Ok(())
    }

    fn let_go(&mut self) {
        if std::mem::take(&mut self.is_told) {
            self.is_swollen = true;
            tracing::info!("the reader let go of the WAL");
        }
        self.held_since = None;
        self.metrics.wal_held.set(0);
    }

    /// Says who holds the WAL back: once.
    fn tell(&mut self, left: Left) {
        self.held_since.get_or_insert_with(Instant::now);
        self.metrics.wal_held.set(1);
        if !std::mem::replace(&mut self.is_told, true) {
            let by = holders::told(&holders::readers(&self.path)).unwrap_or_else(|| "a reader".into());
            tracing::warn!(
                wal_bytes = left.wal * PAGE_BYTES,
                wal_bytes_max = self.plan.bytes_max,
                %by,
                "a reader holds back the WAL, which grows; past its bound appends are refused: end that reader"
            );
        }
    }

    /// A clean end: the WAL goes into the database, so that the file can be copied alone.
    pub(crate) fn leave(&self, conn: &Connection) {
        if self.plan.by == Checkpoints::External {
            return;
        }
        match self.count(truncate(conn, Duration::ZERO)) {
            Ok(left) if !left.is_held() => {}
            Ok(_) => tracing::info!("a reader holds the WAL: the next start goes on from it"),
            Err(error) => tracing::warn!(%error, "the WAL stays: the next start goes on from it"),
        }
    }
}

/// Frames in the WAL as all programs on the file know them. Moves nothing.
pub(crate) fn frames(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))
}
