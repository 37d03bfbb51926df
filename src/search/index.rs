//! The index in its file: words to seqs, and who was seen.
//!
//! The words go in as this crate divides them; the tokenizer of the file only takes them apart at the spaces
//! between them. No text is kept: a hit is looked up in the log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction};

use crate::error::Error;
use crate::limits::INDEX_BROAD_EVENTS;
use crate::query::{Filter, Order};
use crate::row::RowRef;
use crate::search::AgentRow;
use crate::seq::{LogId, Seq};
use crate::store::readers::harden;
use crate::store::reading;
use crate::store::rows::Stretch;
use crate::words::{PREFIX_CHARS, Words, each_word};

/// What the file looks like; one of another look is built anew.
const FORMAT: i64 = 1;

/// `prefix` is [`PREFIX_CHARS`](crate::words::PREFIX_CHARS): the beginnings that are looked for most.
const SCHEMA: &str = "
    CREATE TABLE about (name TEXT PRIMARY KEY NOT NULL, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE agents (
        name               TEXT PRIMARY KEY NOT NULL,
        first_seq          INTEGER NOT NULL,
        last_seq           INTEGER NOT NULL,
        last_at_ms         INTEGER NOT NULL,
        last_message_at_ms INTEGER,
        events             INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX agents_by_last ON agents (last_seq);
    CREATE VIRTUAL TABLE words USING fts5(
        text, content='', contentless_delete=1, detail=none, prefix='3', tokenize=\"ascii tokenchars '@#._-'\"
    );";

/// What the index knows of the log as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The last seq that was taken up.
    pub(super) upto: Seq,
    /// The floor when pruned rows were last taken out.
    pub(super) floor: Seq,
    /// How many redactions there were when the file was begun: text that was taken up before one may be in it.
    pub(super) redactions: i64,
}

/// What is known of one agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    first_seq: i64,
    last_seq: i64,
    last_at_ms: i64,
    last_message_at_ms: Option<i64>,
    events: i64,
}

impl Seen {
    pub(super) fn row(self, name: String) -> AgentRow {
        let Self { first_seq, last_seq, last_at_ms, last_message_at_ms, events } = self;
        AgentRow { name, first_seq, last_seq, last_at_ms, last_message_at_ms, events }
    }
}

/// Counts an event for everyone whom it concerns.
pub(super) fn see(seen: &mut BTreeMap<String, Seen>, row: &RowRef<'_>) {
    let (seq, at) = (row.seq.get(), row.recorded_at_ms);
    let message = matches!(row.kind, "sent" | "delivered").then_some(at);
    for name in row.agents.split(' ').filter(|name| !name.is_empty()) {
        if let Some(known) = seen.get_mut(name) {
            (known.last_seq, known.last_at_ms) = (seq, at);
            known.last_message_at_ms = message.or(known.last_message_at_ms);
            known.events += 1;
            continue;
        }
        let (first_seq, last_seq) = (seq, seq);
        let new = Seen { first_seq, last_seq, last_at_ms: at, last_message_at_ms: message, events: 1 };
        seen.insert(name.to_owned(), new);
    }
}

/// Events that are to be taken up together.
#[derive(Default)]
pub(super) struct Batch {
    texts: Vec<(Seq, String)>,
    seen: BTreeMap<String, Seen>,
    bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, row: &RowRef<'_>) {
        let mut text = String::with_capacity(row.payload.len());
        each_word(row.payload, |word| {
            text.push_str(word);
            text.push(' ');
        });
        for name in row.agents.split(' ').filter(|name| !name.is_empty()) {
            // Writing to a String does not fail.
            let _infallible = write!(text, "@{name} ");
        }
        let _infallible = write!(text, "#{}", row.kind);
        self.bytes += text.len();
        self.texts.push((row.seq, text));
        see(&mut self.seen, row);
    }

    pub(super) const fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The file, written by one thread.
pub(super) struct Index {
    conn: Connection,
    pub(super) known: Known,
}

/// Where the index of a log is.
pub(super) fn path(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".search");
    name.into()
}

/// How far the index file of this log goes; `None` where there is none that can be gone on with.
pub(super) fn state(log: &Path, log_id: LogId) -> Option<Seq> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path(log), flags).ok()?;
    harden(&conn).ok()?;
    Index::known(&conn, log_id).ok().flatten().map(|known| known.upto)
}

impl Index {
    /// Opens the index of this log, or begins a new one where there is none that can be gone on with.
    pub(super) fn open(path: &Path, log_id: LogId, head: Seq, redactions: i64) -> Result<Self, Error> {
        if let Some(index) = Self::there(path, log_id).ok().flatten()
            && index.known.upto <= head
            && index.known.redactions == redactions
        {
            return Ok(index);
        }
        remove(path)?;
        // As private as the log: the words of a text say what it is about.
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut conn = connect(path).map_err(|error| reading(&error))?;
        let known = Known { redactions, ..Known::default() };
        begin(&mut conn, log_id, &known).map_err(|error| reading(&error))?;
        Ok(Self { conn, known })
    }

    fn there(path: &Path, log_id: LogId) -> rusqlite::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let conn = connect(path)?;
        Ok(Self::known(&conn, log_id)?.map(|known| Self { conn, known }))
    }

    /// What a file says of itself; `None` where it is the index of another log, or of another look.
    fn known(conn: &Connection, log_id: LogId) -> rusqlite::Result<Option<Known>> {
        let number = |name: &str| -> rusqlite::Result<Option<i64>> {
            conn.query_row("SELECT value FROM about WHERE name = ?1", [name], |row| row.get(0)).optional()
        };
        let of: Option<String> = conn
            .query_row("SELECT value FROM about WHERE name = 'log_id'", [], |row| row.get(0))
            .optional()?;
        if number("format")? != Some(FORMAT) || of.as_deref() != Some(log_id.as_str()) {
            return Ok(None);
        }
        Ok(Some(Known {
            upto: Seq::clamped(number("upto")?.unwrap_or(0)),
            floor: Seq::clamped(number("floor")?.unwrap_or(0)),
            redactions: number("redactions")?.unwrap_or(-1),
        }))
    }

    /// Takes events up, which reach to `upto`; none of them where it is not to go on.
    pub(super) fn add(
        &mut self,
        batch: Batch,
        upto: Seq,
        goes_on: impl Fn() -> bool,
    ) -> Result<ControlFlow<()>, Error> {
        let turn = self.conn.transaction().map_err(|error| reading(&error))?;
        if take_up(&turn, batch, upto, goes_on).map_err(|error| reading(&error))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        turn.commit().map_err(|error| reading(&error))?;
        self.known.upto = upto;
        Ok(ControlFlow::Continue(()))
    }

    /// The seqs up to `floor` that are in the index, after one, some at a time.
    pub(super) fn below(&self, after: Seq, floor: Seq) -> Result<Vec<Seq>, Error> {
        let read = || {
            let mut statement = self.conn.prepare_cached(
                "SELECT id FROM words_docsize WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT 1000",
            )?;
            statement
                .query_map([after.get(), floor.get()], |row| row.get(0).map(Seq::clamped))?
                .collect::<rusqlite::Result<Vec<Seq>>>()
        };
        read().map_err(|error| reading(&error))
    }

    /// Takes out what the log does not have any more.
    pub(super) fn take_out(&mut self, gone: &[Seq]) -> Result<(), Error> {
        self.write(|turn| {
            let mut delete = turn.prepare_cached("DELETE FROM words WHERE rowid = ?1")?;
            gone.iter().try_for_each(|seq| delete.execute([seq.get()]).map(drop))
        })
    }

    pub(super) fn set_floor(&mut self, floor: Seq) -> Result<(), Error> {
        self.write(|turn| set(turn, "floor", floor.get()))?;
        self.known.floor = floor;
        Ok(())
    }

    fn write(&mut self, write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<(), Error> {
        let turn = self.conn.transaction().map_err(|error| reading(&error))?;
        write(&turn).and_then(|()| turn.commit()).map_err(|error| reading(&error))
    }
}

fn take_up(
    turn: &Transaction<'_>,
    batch: Batch,
    upto: Seq,
    goes_on: impl Fn() -> bool,
) -> rusqlite::Result<ControlFlow<()>> {
    let mut insert = turn.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
    for (seq, text) in batch.texts {
        if !goes_on() {
            return Ok(ControlFlow::Break(()));
        }
        insert.execute((seq.get(), text))?;
    }
    let mut count = turn.prepare_cached(
        "INSERT INTO agents (name, first_seq, last_seq, last_at_ms, last_message_at_ms, events)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET
             last_seq = excluded.last_seq, last_at_ms = excluded.last_at_ms,
             last_message_at_ms = coalesce(excluded.last_message_at_ms, last_message_at_ms),
             events = events + excluded.events",
    )?;
    for (name, seen) in batch.seen {
        count.execute((
            name,
            seen.first_seq,
            seen.last_seq,
            seen.last_at_ms,
            seen.last_message_at_ms,
            seen.events,
        ))?;
    }
    set(turn, "upto", upto.get())?;
    Ok(ControlFlow::Continue(()))
}

/// Deletes the file, which can be built anew.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        match fs::remove_file(PathBuf::from(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Not what somebody's link leads to.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags)?;
    harden(&conn)?;
    // What a power loss takes is taken up again; what it tears is not, so the WAL is synced before a checkpoint.
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 16777216;",
    )?;
    Ok(conn)
}

fn begin(conn: &mut Connection, log_id: LogId, known: &Known) -> rusqlite::Result<()> {
    let turn = conn.transaction()?;
    turn.execute_batch(SCHEMA)?;
    turn.execute("INSERT INTO about (name, value) VALUES ('log_id', ?1)", [log_id.as_str()])?;
    let numbers = [("format", FORMAT), ("upto", 0), ("floor", 0), ("redactions", known.redactions)];
    for (name, value) in numbers {
        turn.execute("INSERT INTO about (name, value) VALUES (?1, ?2)", (name, value))?;
    }
    turn.commit()
}

fn set(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE about SET value = ?2 WHERE name = ?1")?.execute((name, value)).map(drop)
}

/// The agents that were seen last, and up to where.
pub(super) fn agents(conn: &Connection, most: usize) -> rusqlite::Result<(Seq, Vec<(String, Seen)>)> {
    let upto: i64 = conn.query_row("SELECT value FROM about WHERE name = 'upto'", [], |row| row.get(0))?;
    let mut statement = conn.prepare_cached(
        "SELECT name, first_seq, last_seq, last_at_ms, last_message_at_ms, events
         FROM agents ORDER BY last_seq DESC LIMIT ?1",
    )?;
    let listed = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| {
        let seen = Seen {
            first_seq: row.get(1)?,
            last_seq: row.get(2)?,
            last_at_ms: row.get(3)?,
            last_message_at_ms: row.get(4)?,
            events: row.get(5)?,
        };
        Ok((row.get(0)?, seen))
    })?;
    Ok((Seq::clamped(upto), listed.collect::<rusqlite::Result<_>>()?))
}

/// Gives the seqs of a stretch at which all of this may be found, in order.
///
/// The index has the beginnings of three letters by themselves and reads on in them; those of a longer one it
/// has to gather first, of the whole log (measured: half a second for five million). So the first seqs are those
/// of three letters: where the longer beginning is frequent they fill a page, where it is rare little is gathered.
pub(super) fn find(
    conn: &Connection,
    (words, filter): (Option<&Words>, &Filter),
    stretch: Stretch,
    order: Order,
    each: &mut dyn FnMut(Seq) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let (broad, exact) = (question(words, filter, PREFIX_CHARS), question(words, filter, usize::MAX));
    let mut rest = stretch;
    if broad != exact {
        let Some(last) = ask(conn, &broad, (rest, order), INDEX_BROAD_EVENTS, each)? else { return Ok(()) };
        match order {
            Order::Asc => rest.after = last,
            Order::Desc => rest.before = last.get(),
        }
    }
    ask(conn, &exact, (rest, order), usize::MAX, each).map(drop)
}

/// Gives so many of the seqs that answer a question; the last one of them, where there may be more.
fn ask(
    conn: &Connection,
    question: &str,
    (stretch, order): (Stretch, Order),
    most: usize,
    each: &mut dyn FnMut(Seq) -> Result<ControlFlow<()>, Error>,
) -> Result<Option<Seq>, Error> {
    let sql = match order {
        Order::Asc => {
            "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid >= ?2 AND rowid <= ?3 ORDER BY rowid"
        }
        Order::Desc => {
            "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid >= ?2 AND rowid <= ?3 ORDER BY rowid DESC"
        }
    };
    let failed = |error: rusqlite::Error| reading(&error);
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let bounds = (question, stretch.after.get() + 1, stretch.before - 1);
    let (mut rows, mut count) = (statement.query(bounds).map_err(failed)?, 0);
    while let Some(row) = rows.next().map_err(failed)? {
        let seq = Seq::clamped(row.get(0).map_err(failed)?);
        if each(seq)?.is_break() {
            return Ok(None);
        }
        count += 1;
        if count == most {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}

/// What is asked, in the words of the index. Words are letters and digits, names and kinds were checked: none of
/// them can end its quotes.
/// Beginnings are asked for by this many letters.
fn question(words: Option<&Words>, filter: &Filter, prefix_chars: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for word in words.into_iter().flat_map(Words::iter).filter(|word| word.is_selective()) {
        let end = word.text.char_indices().nth(prefix_chars).map(|(end, _)| end).filter(|_| word.is_prefix);
        let text = end.and_then(|end| word.text.get(..end)).unwrap_or(&word.text);
        parts.push(format!("\"{text}\"{}", if word.is_prefix { " *" } else { "" }));
    }
    let any = |mark: char, names: &[Box<str>]| {
        let names: Vec<String> = names.iter().map(|name| format!("\"{mark}{name}\"")).collect();
        format!("({})", names.join(" OR "))
    };
    if !filter.agents().is_empty() {
        parts.push(any('@', filter.agents()));
    }
    if !filter.kinds().is_empty() {
        parts.push(any('#', filter.kinds()));
    }
    parts.join(" AND ")
}
