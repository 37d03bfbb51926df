//! How much of the WAL is on disk for certain, so that a start writes no more than the rest of it once more.
//!
//! A killed process may have left frames in the WAL that were never synced. A sync at the next start alone does
//! not do: where one failed before, the system holds the pages for clean and would not write them again, so that
//! the disk lacks what everybody reads, and at a power loss all that was added behind it would go too. Written
//! once more they are on disk after the sync.
//!
//! That is due only for what no sync is known to have reached. So the writer says every [`SYNCED_FRAMES`] frames,
//! after a commit that was synced, in `PATH.synced`: up to here. The word itself needs no sync: what is on disk
//! stays there, so a word that is old is still true, and of one that is torn or gone nothing is believed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::limits::SYNCED_FRAMES;
use crate::store::open::{beside, inode_of, make_anew};

/// The header of a WAL, and of each frame in it, in bytes.
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// How much of a WAL is written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The file beside the database that says how far its WAL is on disk.
fn word_path(path: &Path) -> PathBuf {
    beside(path, ".synced")
}

/// Takes the word back where no WAL is left that it could speak of.
pub(crate) fn tidy(path: &Path) {
    if std::fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len()) == 0 {
        // A leftover is believed by nobody.
        let _gone = std::fs::remove_file(word_path(path));
    }
}

/// Where a frame begins, counted from 0.
pub(crate) const fn place(frame: u64, page_bytes: u64) -> u64 {
    WAL_HEADER + frame * (FRAME_HEADER + page_bytes)
}

/// The salts and the sum of the last one of so many frames; the sum is one over all of them.
fn proof(wal: &File, page_bytes: u64, frames: u64) -> Option<[u8; 16]> {
    let mut header = [0; FRAME_HEADER as usize];
    wal.read_exact_at(&mut header, place(frames.checked_sub(1)?, page_bytes)).ok()?;
    header.get(8..)?.first_chunk().copied()
}

/// A WAL in its file.
struct Wal<'a> {
    file: &'a File,
    header: [u8; WAL_HEADER as usize],
    page_bytes: u64,
}

impl<'a> Wal<'a> {
    /// `None`: it has no header that anybody would take for one.
    fn read(file: &'a File) -> io::Result<Option<Self>> {
        let mut header = [0; WAL_HEADER as usize];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            done => done?,
        }
        let page_bytes = header.get(8..12).and_then(<[u8]>::first_chunk).copied().map(u32::from_be_bytes);
        let page_bytes = page_bytes.filter(|bytes| bytes.is_power_of_two() && (512..=65_536).contains(bytes));
        Ok(page_bytes.map(|bytes| Self { file, header, page_bytes: bytes.into() }))
    }

    /// What tells the frames of this WAL from what an earlier one left in the file.
    fn salts(&self) -> Option<&[u8]> {
        self.header.get(16..24)
    }

    /// Puts the frames from this one on, and the header where they are all of them, into the system's hands.
    fn write_again(&self, from: u64) -> io::Result<()> {
        if from == 0 {
            self.file.write_all_at(&self.header, 0)?;
        }
        let frame_bytes = usize::try_from(FRAME_HEADER + self.page_bytes).map_err(io::Error::other)?;
        let (mut chunk, mut next) = (vec![0; CHUNK_BYTES / frame_bytes * frame_bytes], from);
        loop {
            let place = place(next, self.page_bytes);
            let bytes = read_full_at(self.file, &mut chunk, place)?;
            // Past the first one of another WAL nobody reads.
            let is_ours = |frame: &&[u8]| frame.get(8..16) == self.salts();
            let ours = chunk.get(..bytes).unwrap_or_default().chunks_exact(frame_bytes).take_while(is_ours);
            let ours = ours.count();
            let Some(frames @ [_, ..]) = chunk.get(..ours * frame_bytes) else { return Ok(()) };
            self.file.write_all_at(frames, place)?;
            next += ours as u64;
        }
    }
}

/// Reads as much as there is, up to what there is room for; gives how many bytes.
pub(crate) fn read_full_at(file: &File, into: &mut [u8], place: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place + filled as u64)? {
            0 => break,
            bytes => filled += bytes,
        }
    }
    Ok(filled)
}

/// Up to which frame a WAL is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    /// Device and inode of the WAL: a copy of the folder was not synced by the writer.
    inode: (u64, u64),
    frames: u64,
    /// See [`proof()`]: where it holds, these are the frames that were synced.
    proof: [u8; 16],
}

impl Word {
    fn of((wal, inode): &(File, (u64, u64)), page_bytes: u64, frames: u64) -> Option<Self> {
        Some(Self { inode: *inode, frames, proof: proof(wal, page_bytes, frames)? })
    }

    fn text(&self) -> String {
        let ((dev, ino), proof) = (self.inode, u128::from_be_bytes(self.proof));
        format!("{dev:016x} {ino:016x} {:016x} {proof:032x}\n", self.frames)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let (inode, frames) = ((number()?, number()?), number()?);
        let proof = u128::from_str_radix(words.next()?, 16).ok()?.to_be_bytes();
        Some(Self { inode, frames, proof })
    }

    /// Whether it speaks of this WAL as it is.
    fn holds(&self, wal: &Wal<'_>) -> bool {
        wal.file.metadata().is_ok_and(|meta| self.inode == inode_of(&meta))
            && self.proof.get(..8) == wal.salts()
            && proof(wal.file, wal.page_bytes, self.frames) == Some(self.proof)
    }
}

/// Puts the WAL that another process left on disk, before anybody is shown what is in it. Nobody may write
/// meanwhile.
pub(crate) fn settle(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(beside(path, "-wal"))?;
    if let Some(wal) = Wal::read(&file)? {
        wal.write_again(known(path, &wal))?;
    }
    file.sync_all()
}

/// How many frames are known to be on disk.
fn known(path: &Path, wal: &Wal<'_>) -> u64 {
    let word = std::fs::read_to_string(word_path(path)).ok().and_then(|text| Word::parse(&text));
    word.filter(|word| word.holds(wal)).map_or(0, |word| word.frames)
}

/// The writer's side: says how far the WAL is on disk.
pub(crate) struct Said {
    path: PathBuf,
    file: Option<File>,
    frames: u64,
}

impl Said {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: word_path(path), file: None, frames: 0 }
    }

    /// After a commit that was synced, with all the frames that the WAL, known with its device and inode, has by now.
    pub(crate) fn note(&mut self, wal: &(File, (u64, u64)), page_bytes: u64, frames: u64) {
        if frames < self.frames {
            // It began anew, and what was said holds no more.
            self.frames = 0;
        }
        if frames - self.frames >= SYNCED_FRAMES {
            self.frames = frames;
            // What was said last is true all the same, and where nothing is, a start takes its time.
            let _may_fail = Word::of(wal, page_bytes, frames).map(|word| self.say(&word));
        }
    }

    fn say(&mut self, word: &Word) -> io::Result<()> {
        let file = if let Some(file) = &self.file {
            file
        } else {
            // An older word is of no more use: at the start all that it speaks of was settled.
            self.file.insert(make_anew(&self.path, 0o600)?)
        };
        // In place, and always of one length.
        file.write_all_at(word.text().as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::{Path, PathBuf};

    use rusqlite::Connection;

    use super::{Said, Wal, known, settle, word_path};
    use crate::store::checkpoint::frames;
    use crate::store::open::{beside, identified};

    struct Place {
        folder: tempfile::TempDir,
        conn: Connection,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let conn = Connection::open(folder.path().join("log.db")).unwrap();
            conn.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x BLOB)",
            )
            .unwrap();
            Self { folder, conn }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("log.db")
        }

        fn write(&self, pages: u32) -> u64 {
            self.conn.execute("INSERT INTO t VALUES (randomblob(?1 * 4096))", [pages]).unwrap();
            frames(&self.conn).unwrap().unsigned_abs()
        }

        fn say(&self, said: &mut Said, frames: u64) {
            said.note(&identified(&beside(&self.path(), "-wal")).unwrap(), 4_096, frames);
        }
    }

    fn known_of(path: &Path) -> u64 {
        let file = File::open(beside(path, "-wal")).unwrap();
        known(path, &Wal::read(&file).unwrap().unwrap())
    }

    #[test]
    fn a_word_is_believed_of_the_frames_that_it_was_said_of() {
        let (place, mut said) = (Place::new(), Said::new(Path::new("nowhere")));
        let path = place.path();
        said.path = word_path(&path);
        let few = place.write(5);
        place.say(&mut said, few);
        assert_eq!(known_of(&path), 0, "nothing is said of so few");
        let first = place.write(100);
        place.say(&mut said, first);
        assert_eq!(known_of(&path), first);
        // What comes behind it changes nothing.
        let second = place.write(5);
        place.say(&mut said, second);
        assert_eq!(known_of(&path), first);
        let third = place.write(60);
        place.say(&mut said, third);
        assert_eq!(known_of(&path), third);

        // A copy was never synced by the one who said it.
        let copy = place.folder.path().join("copy.db");
        for ending in ["-wal", ".synced"] {
            std::fs::copy(beside(&path, ending), beside(&copy, ending)).unwrap();
        }
        assert_eq!(known_of(&copy), 0);

        // Torn, or of another frame, it is none.
        let text = std::fs::read_to_string(word_path(&path)).unwrap();
        for torn in
            [&text[..text.len() - 2], &text.replace(&format!("{third:016x}"), &format!("{first:016x}"))]
        {
            std::fs::write(word_path(&path), torn).unwrap();
            assert_eq!(known_of(&path), 0, "{torn}");
        }
        std::fs::write(word_path(&path), &text).unwrap();
        assert_eq!(known_of(&path), third);

        // A WAL that began anew is another one, however many frames it has.
        place.conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        let fourth = place.write(300);
        assert!(fourth > third);
        assert_eq!(known_of(&path), 0);
        place.say(&mut said, fourth);
        assert_eq!(known_of(&path), fourth);
    }

    #[test]
    fn a_word_is_not_written_through_a_link() {
        let (place, target) = (Place::new(), tempfile::NamedTempFile::new().unwrap());
        let path = place.path();
        std::os::unix::fs::symlink(target.path(), word_path(&path)).unwrap();
        let mut said = Said::new(&path);
        let frames = place.write(100);
        place.say(&mut said, frames);
        assert_eq!((known_of(&path), target.as_file().metadata().unwrap().len()), (frames, 0));
    }

    #[test]
    fn what_is_written_again_is_what_was_there() {
        let place = Place::new();
        place.write(700);
        place.conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        place.write(500);
        let wal = beside(&place.path(), "-wal");
        let before = std::fs::read(&wal).unwrap();
        settle(&place.path()).unwrap();
        assert!(std::fs::read(&wal).unwrap() == before, "the WAL was changed");
        std::fs::write(&wal, [1; 20]).unwrap();
        settle(&place.path()).unwrap();
        assert_eq!(std::fs::read(&wal).unwrap(), [1; 20]);
    }
}
