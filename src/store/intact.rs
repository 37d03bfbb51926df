//! Whether the files under the writer are still those that it writes.
//!
//! `SQLite` keeps its descriptors and does not look: a file that was removed, replaced, cut or overwritten
//! under it takes commits as before, and they are gone with it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::store::checkpoint;
use crate::store::inspect;
use crate::store::lock::Held;
use crate::store::open::{self, beside, inode};
use crate::store::settled::{self, Said};

/// How often, and how long apart, a short file is looked at before it is called cut: another program may be
/// in the middle of a checkpoint, which lengthens it.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What the first byte of a page says where it leads to other pages of a table like `meta`.
const INNER_PAGE: u8 = 2;

/// The files of one log, as they were when it was opened. It holds the lock: the connection goes first.
pub(crate) struct Intact {
    path: PathBuf,
    lock: Arc<Held>,
    wal_path: PathBuf,
    /// A descriptor of our own, with its device and inode; there are no locks of `SQLite` on this file that closing
    /// it could drop.
    wal: Option<(File, (u64, u64))>,
    page_bytes: u64,
    /// Frames in the WAL after the last commit.
    frames: i64,
    /// Says how far the WAL is on disk; `None` where a commit is not synced.
    said: Option<Said>,
    /// How long the file was at the last look, in bytes.
    length: u64,
    name: Option<Name>,
}

/// The log's name, and where in the file it stands.
struct Name {
    /// The first page of its table.
    root: u64,
    /// The page that holds it.
    place: u64,
    text: Box<str>,
}

impl Intact {
    /// Takes note of the files behind a connection that has them open.
    pub(crate) fn new(
        conn: &Connection,
        path: &Path,
        lock: Arc<Held>,
        log_id: &str,
    ) -> rusqlite::Result<Self> {
        let wal_path = beside(path, "-wal");
        let mut intact = Self {
            path: path.to_owned(),
            lock,
            wal: open::identified(&wal_path),
            wal_path,
            page_bytes: inspect::page_bytes(conn)?,
            frames: checkpoint::frames(conn)?,
            said: inspect::syncs_commits(conn)?.then(|| Said::new(path)),
            length: 0,
            name: None,
        };
        intact.length = intact.lock.file().metadata().map_or(0, |meta| meta.len());
        // In a file that was copied half it may stand elsewhere; then nothing is concluded from it.
        let root = intact.root_of_meta(conn)?;
        let place = intact.find_name(root, log_id);
        intact.name = place.map(|place| Name { root, place, text: log_id.into() });
        Ok(intact)
    }

    fn root_of_meta(&self, conn: &Connection) -> rusqlite::Result<u64> {
        Ok(inspect::root_page(conn, "meta")?.saturating_sub(1) * self.page_bytes)
    }

    fn has_name(&self, place: u64, name: &str) -> bool {
        self.page(place).is_some_and(|page| page.windows(name.len()).any(|bytes| bytes == name.as_bytes()))
    }

    /// Where the name stands: on the first page of its table, or on one that this leads to where the table has grown,
    /// as it does by a row for each redaction.
    fn find_name(&self, root: u64, name: &str) -> Option<u64> {
        if self.has_name(root, name) {
            return Some(root);
        }
        let page = self.page(root)?;
        children(&page)
            .map(|page| page.saturating_sub(1) * self.page_bytes)
            .find(|place| self.has_name(*place, name))
    }

    fn page(&self, place: u64) -> Option<Vec<u8>> {
        let mut page = vec![0; usize::try_from(self.page_bytes).ok()?];
        self.lock.file().read_exact_at(&mut page, place).ok()?;
        Some(page)
    }

    /// Before a commit is shown or answered: it and the one before it are in the files that the names lead to.
    /// Costs two looks at names and four bytes, and now and then a word of how far the WAL is on disk.
    pub(crate) fn after_commit(&mut self, conn: &Connection, frames: i64) -> Result<(), String> {
        let before = std::mem::replace(&mut self.frames, frames);
        self.check_names()?;
        // What was cut off behind an earlier commit came back as zeros when this one was written.
        if frames > before {
            self.keeps_frame(conn, before)?;
        }
        if let (Some(said), Some(wal), Ok(frames)) = (&mut self.said, &self.wal, frames.try_into()) {
            said.note(wal, self.page_bytes, frames);
        }
        Ok(())
    }

    /// Looks at everything, once in a while.
    pub(crate) fn look(&mut self, conn: &Connection) -> Result<(), String> {
        self.check_names()?;
        if !self.keeps_frame(conn, self.frames)? {
            self.frames = 0;
        }
        self.check_length()?;
        self.check_name(conn)
    }

    /// The reason to stop, with what was done to the files where that is behind it.
    pub(crate) fn explain(&mut self, conn: &Connection, reason: String) -> String {
        match self.look(conn) {
            Err(why) if !reason.contains(&why) => format!("{why} ({reason})"),
            Ok(()) | Err(_) => reason,
        }
    }

    fn check_names(&mut self) -> Result<(), String> {
        if inode(&self.path) != Some(self.lock.inode()) {
            return Err(format!("{} was removed or replaced", self.path.display()));
        }
        if self.wal.as_ref().is_some_and(|(_, held)| inode(&self.wal_path) != Some(*held)) {
            // SQLite itself removes the WAL of a file that was emptied.
            self.check_length()?;
            return Err(format!("{} was removed or replaced", self.wal_path.display()));
        }
        Ok(())
    }

    /// Whether the WAL still has this frame. False: another program emptied it in good order, which the index of
    /// the WAL then knows; looked at again, since that may happen between the two looks.
    fn keeps_frame(&self, conn: &Connection, number: i64) -> Result<bool, String> {
        for _ in 0..LOOKS {
            if self.has_frame(number) {
                return Ok(true);
            }
            if checkpoint::frames(conn).map_err(|error| error.to_string())? < number {
                return Ok(false);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Err(format!("{} was truncated by another program", self.wal_path.display()))
    }

    /// Whether the frame with this number is there: none has page number 0.
    fn has_frame(&self, number: i64) -> bool {
        let (Some((wal, _)), Ok(number @ 1..)) = (&self.wal, u64::try_from(number)) else { return true };
        let mut page = [0; 4];
        let place = settled::place(number - 1, self.page_bytes);
        wal.read_exact_at(&mut page, place).is_ok() && page != [0; 4]
    }

    /// The file is as long as its own header says, or at least as it was: a checkpoint that met a full disk has
    /// written the header and not yet the rest. No checkpoint here: it would make a cut file look whole.
    fn check_length(&mut self) -> Result<(), String> {
        let mut before = None;
        for _ in 0..LOOKS {
            let length = self.lock.file().metadata().map_err(|error| error.to_string())?.len();
            let is_whole = self.length_due().is_some_and(|due| length >= due.min(self.length));
            if is_whole || before.is_some_and(|before| length > before) {
                self.length = length;
                return Ok(());
            }
            before = Some(length);
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Err(format!("{} was truncated or overwritten by another program", self.path.display()))
    }

    /// How long the file is by its header; `None` where it has none any more.
    fn length_due(&self) -> Option<u64> {
        let mut header = [0; 32];
        self.lock.file().read_exact_at(&mut header, 0).ok()?;
        let (mark, rest) = header.split_at(16);
        let pages = u32::from_be_bytes(rest.last_chunk::<4>().copied()?);
        (mark == b"SQLite format 3\0").then_some(u64::from(pages) * self.page_bytes)
    }

    /// The page with the log's name still has it: a copy of another log over this one is not this one.
    fn check_name(&mut self, conn: &Connection) -> Result<(), String> {
        let Some(Name { root, place, text }) = &self.name else { return Ok(()) };
        let (root, old, text) = (*root, *place, text.clone());
        // A checkpoint of another program may be in the middle of writing those pages.
        for look in 0..LOOKS {
            if self.has_name(old, &text) {
                return Ok(());
            }
            // The table grows, and a VACUUM moves its pages.
            let root = self.root_of_meta(conn).map_err(|error| error.to_string())?;
            if let Some(place) = self.find_name(root, &text) {
                self.name = Some(Name { root, place, text });
                return Ok(());
            }
            if look + 1 < LOOKS {
                std::thread::sleep(BETWEEN_LOOKS);
            }
        }
        if self.root_of_meta(conn).map_err(|error| error.to_string())? == root {
            return Err(format!("{} was overwritten by another program", self.path.display()));
        }
        self.name = None;
        Ok(())
    }
}

/// The numbers of the pages that a page leads to.
fn children(page: &[u8]) -> impl Iterator<Item = u64> {
    let number = |at: usize| page.get(at..)?.first_chunk().copied().map(u32::from_be_bytes).map(u64::from);
    let short = |at: usize| page.get(at..)?.first_chunk().copied().map(u16::from_be_bytes).map(usize::from);
    let cells = if page.first() == Some(&INNER_PAGE) { short(3) } else { None };
    let last = cells.and_then(|_| number(8));
    let others = (0..cells.unwrap_or(0)).filter_map(move |cell| number(short(12 + 2 * cell)?));
    others.chain(last)
}
