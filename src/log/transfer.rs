//! A log as lines of text, out of one file and into another.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::board;
use crate::board::refold;
use crate::draft::{Draft, Imported};
use crate::error::{Error, Refusal};
use crate::limits::CHUNK_BYTES;
use crate::log::Log;
use crate::log::local::hash;
use crate::row::{Builder, Style};
use crate::seq::{LogId, Seq};
use crate::store::inspect::Bracket;
use crate::store::keys::{self, Kept, Known};
use crate::store::open::{self, Durability};
use crate::store::readers::during_one_moment;
use crate::store::rows::{self, NewRow, Stretch};
use crate::store::{meta, prune, reading};

/// The first line of an export: which log it is of, and how far it goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    log_id: String,
    seq: i64,
    floor: i64,
    #[serde(default)]
    board_floor: i64,
    #[serde(default)]
    kinds: Vec<String>,
    /// What no surviving event says any more: ids that were given, times that were passed.
    #[serde(default)]
    marks: BTreeMap<String, i64>,
}

/// What is true of a log as a whole and goes with it into another file.
const MARKS: [&str; 5] =
    ["approval_id", "question_id", "approval_id_pruned", "question_id_pruned", "pruned_ms"];

/// The last id that a message was given: a new one under an old id would be taken for it.
const MESSAGE_MARK: &str = "message_id";

/// A line after the events: a key that one event's envelope cannot tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyLine {
    idempotency: KeyOfMany,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyOfMany {
    actor: String,
    key: String,
    content_hash: String,
    first_seq: i64,
    last_seq: i64,
    recorded_at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// How far an export or an import got: events done, and events in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Log {
    /// Writes the log as lines: a header, every event with its key, the keys of batches and commands, all of one
    /// moment. Blocks for as long as that takes; appends go on meanwhile and wait in the WAL, and what they add is
    /// not in it. So `out` should not be one that stands still for long.
    ///
    /// # Errors
    /// The log cannot be read, or the writer fails.
    pub fn export(&self, out: &mut dyn Write, progress: Progress<'_>) -> Result<(), Error> {
        // In parts of a moment each, what is pruned between two of them would be in one and missing in another.
        self.readers().alone(|conn| during_one_moment(conn, |conn| write(conn, self.id(), out, progress)))
    }
}

fn write(conn: &Connection, log_id: LogId, out: &mut dyn Write, progress: Progress<'_>) -> Result<(), Error> {
    let header = header(conn, log_id).map_err(|error| reading(&error))?;
    write_line(out, &header)?;
    let (mut cursor, head) = (Seq::ZERO, Seq::clamped(header.seq));
    let total = u64::try_from(header.seq - header.floor).unwrap_or(0);
    let mut done = 0;
    while cursor < head {
        let (bytes, count, upto) = chunk(conn, cursor, head)?;
        out.write_all(&bytes)?;
        cursor = upto;
        done += count;
        // Open items below the floor come on top of what the seqs count.
        progress(done.min(total), total);
    }
    for line in keys_of_many(conn, head).map_err(|error| reading(&error))? {
        write_line(out, &KeyLine { idempotency: line })?;
    }
    out.flush()?;
    Ok(())
}

fn header(conn: &Connection, log_id: LogId) -> rusqlite::Result<Header> {
    Ok(Header {
        log_id: log_id.to_string(),
        seq: rows::head(conn)?.get(),
        floor: meta::floor(conn)?.get(),
        board_floor: meta::board_floor(conn)?.get(),
        kinds: meta::kinds(conn)?,
        marks: marks(conn)?,
    })
}

fn marks(conn: &Connection) -> rusqlite::Result<BTreeMap<String, i64>> {
    let read = |name: &str| Ok((name.to_owned(), meta::integer(conn, name)?));
    let messages = std::iter::once_with(|| Ok((MESSAGE_MARK.to_owned(), rows::counter(conn, "messages")?)));
    MARKS.iter().map(|name| read(name)).chain(messages).collect()
}

fn write_line(out: &mut dyn Write, line: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, line).map_err(|error| Error::Storage(error.to_string().into()))?;
    out.write_all(b"\n")?;
    Ok(())
}

fn chunk(conn: &Connection, after: Seq, head: Seq) -> Result<(bytes::Bytes, u64, Seq), Error> {
    let mut builder = Builder::with_capacity(Style::Lines, CHUNK_BYTES + (4 << 10));
    let mut upto = head;
    let mut failed = None;
    rows::scan_whole(conn, Stretch::upto(after, head), |row| {
        match keys::of_one(conn, row.seq) {
            Ok(key) => builder.push_with(row, key.as_deref()),
            Err(error) => failed = Some(error),
        }
        if failed.is_some() || builder.weight() >= CHUNK_BYTES {
            upto = row.seq;
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    })
    .map_err(|error| reading(&error))?;
    if let Some(error) = failed {
        Err(reading(&error))
    } else {
        let count = builder.len() as u64;
        Ok((builder.finish().bytes().clone(), count, upto))
    }
}

fn keys_of_many(conn: &Connection, head: Seq) -> rusqlite::Result<Vec<KeyOfMany>> {
    let found = keys::of_many(conn, head)?;
    let line = |Kept { actor, key, known, recorded_at_ms, answer }: Kept| KeyOfMany {
        actor,
        key,
        content_hash: hex(&known.content_hash),
        first_seq: known.first.get(),
        last_seq: known.last.get(),
        recorded_at_ms,
        answer,
    };
    Ok(found.into_iter().map(line).collect())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The new log's name.
    pub log_id: LogId,
    /// Events taken in by this call.
    pub events: u64,
    /// Events that an earlier call had taken in.
    pub resumed: u64,
    /// The head of the new log.
    pub head: Seq,
}

/// Commits of an import: a few milliseconds each, so that a broken one loses little.
const IMPORT_CHUNK: u64 = 2_000;

/// Makes a log at `path` out of the lines of an export. It keeps seqs, times, keys and the floor, and
/// gets a name of its own. Called again after a break it goes on where it stopped. Blocks. The new file is for
/// its owner only; called by root, that is the owner of the folder.
///
/// # Errors
/// [`Error::Refused`] names the line that is not one of an export; a log that is there already is
/// refused too.
pub fn import(
    path: impl AsRef<Path>,
    input: &mut dyn BufRead,
    progress: Progress<'_>,
) -> Result<ImportReport, Error> {
    let mut lines = Lines { input, number: 0, text: String::new() };
    let header: Header = match lines.next()? {
        Some(text) => serde_json::from_str(text).map_err(|error| lines.wrong(&error.to_string()))?,
        None => return Err(lines.wrong("the export is empty")),
    };
    let source: LogId = header.log_id.parse().map_err(|_| lines.wrong("`log_id` is not a log id"))?;
    let path = open::resolve(path.as_ref(), true)?;
    // So that the new file has the owner that a restored one would have.
    let holds_place = !path.exists() && open::hold_place(&path).is_ok();
    let opened = open::writable(&path, true, Durability::Full).inspect_err(|_| {
        if holds_place && std::fs::metadata(&path).is_ok_and(|meta| meta.len() == 0) {
            let _gone = std::fs::remove_file(&path);
        }
    })?;
    let conn = &opened.conn;
    let resumed = begin(conn, source, opened.head)?;
    let total = u64::try_from(header.seq - header.floor).unwrap_or(0);
    let mut intake =
        Intake { conn, floor: header.floor, last: resumed, last_ms: opened.last_ms, new: 0, known: 0 };
    bracket(conn, Bracket::Begin)?;
    while let Some(text) = lines.next()? {
        intake.line(text).map_err(|error| lines.located(error))?;
        if intake.new > 0 && intake.new.is_multiple_of(IMPORT_CHUNK) {
            bracket(conn, Bracket::Commit)?;
            crate::store::checkpoint::passive(conn).map_err(|error| reading(&error))?;
            progress((intake.new + intake.known).min(total), total);
            bracket(conn, Bracket::Begin)?;
        }
    }
    bracket(conn, Bracket::Commit)?;
    let (new, known) = (intake.new, intake.known);
    let log_id = end(conn, &header)?;
    progress(total, total);
    Ok(ImportReport { log_id, events: new, resumed: known, head: Seq::clamped(header.seq) })
}

/// Marks the file as one in the making; gives the seq that an earlier call got to.
fn begin(conn: &Connection, source: LogId, head: Seq) -> Result<Seq, Error> {
    let failed = |error: rusqlite::Error| reading(&error);
    match meta::text(conn, "importing").map_err(failed)? {
        Some(mark) if mark == source.as_str() => Ok(head),
        Some(mark) => Err(Refusal::shape(format!("the file is an unfinished import of log {mark}")).into()),
        None if head > Seq::ZERO => {
            Err(Refusal::shape("the file holds a log already: import into a new one").into())
        }
        None => {
            bracket(conn, Bracket::Begin)?;
            meta::set_text(conn, "importing", source.as_str()).map_err(failed)?;
            meta::remove(conn, "log_id").map_err(failed)?;
            bracket(conn, Bracket::Commit)?;
            Ok(Seq::ZERO)
        }
    }
}

/// Checks the whole, and gives the log its name last.
fn end(conn: &Connection, header: &Header) -> Result<LogId, Error> {
    let failed = |error: rusqlite::Error| reading(&error);
    let (head, floor) = (Seq::clamped(header.seq), Seq::clamped(header.floor));
    let log_id = LogId::mint().map_err(|error| Error::Storage(error.to_string().into()))?;
    bracket(conn, Bracket::Begin)?;
    rows::set_head(conn, head).map_err(failed)?;
    meta::set_integer(conn, "floor", floor.get()).map_err(failed)?;
    meta::set_integer(conn, "board_floor", header.board_floor).map_err(failed)?;
    for mark in MARKS {
        prune::raise(conn, mark, header.marks.get(mark).copied().unwrap_or(0)).map_err(failed)?;
    }
    let last_message = match header.marks.get(MESSAGE_MARK) {
        Some(id) => *id,
        // Of an older version: the events say it.
        None => rows::last_message(conn).map_err(failed)?,
    };
    rows::raise_counter(conn, "messages", last_message).map_err(failed)?;
    for kind in &header.kinds {
        meta::set_integer(conn, &format!("kind.{kind}"), 1).map_err(failed)?;
    }
    let count = rows::count_above(conn, floor).map_err(failed)?;
    let due = head.get() - floor.get();
    if count != due {
        bracket(conn, Bracket::RollBack)?;
        let detail =
            format!("the export is cut off: {count} of {due} events are here; call again with all of it");
        return Err(Refusal::shape(detail).into());
    }
    meta::set_text(conn, "log_id", log_id.as_str()).map_err(failed)?;
    meta::remove(conn, "importing").map_err(failed)?;
    bracket(conn, Bracket::Commit)?;
    let different = refold::differences(conn, head).map_err(failed)?;
    if different.is_empty() {
        Ok(log_id)
    } else {
        Err(Error::Storage(format!("the board of the new log differs from its events: {different:?}").into()))
    }
}

fn bracket(conn: &Connection, bracket: Bracket) -> Result<(), Error> {
    bracket.run(conn).map_err(|error| reading(&error))
}

struct Lines<'a> {
    input: &'a mut dyn BufRead,
    number: u64,
    text: String,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<&str>, Error> {
        self.text.clear();
        self.number += 1;
        if self.input.read_line(&mut self.text)? == 0 {
            return Ok(None);
        }
        Ok(Some(self.text.trim_end()))
    }

    fn wrong(&self, detail: &str) -> Error {
        Refusal::shape(format!("line {}: {detail}", self.number)).into()
    }

    fn located(&self, error: Error) -> Error {
        if let Error::Refused(refusal) = error {
            return self.wrong(&refusal.to_string());
        }
        error
    }
}

struct Intake<'a> {
    conn: &'a Connection,
    floor: i64,
    last: Seq,
    last_ms: i64,
    new: u64,
    known: u64,
}

impl Intake<'_> {
    fn line(&mut self, text: &str) -> Result<(), Error> {
        if text.starts_with("{\"idempotency\":") {
            let line: KeyLine =
                serde_json::from_str(text).map_err(|error| Refusal::shape(error.to_string()))?;
            return self.key(&line.idempotency);
        }
        let imported = Draft::imported(text)?;
        if imported.seq <= self.last {
            self.known += 1;
            return self.compare(&imported);
        }
        let is_next = imported.seq == self.last.next() || imported.seq.get() <= self.floor;
        if !is_next && self.last.get() >= self.floor {
            return Err(Refusal::invalid("seq", format!("{} follows {}", imported.seq, self.last)).into());
        }
        if imported.recorded_at_ms < self.last_ms {
            return Err(Refusal::invalid("recorded_at_ms", "goes back").into());
        }
        (self.last, self.last_ms) = (imported.seq, imported.recorded_at_ms);
        self.take(&imported)?;
        self.new += 1;
        Ok(())
    }

    /// Refuses to go on with a later export, in which this event is not what an earlier call took in.
    fn compare(&self, imported: &Imported) -> Result<(), Error> {
        let Imported { seq, recorded_at_ms, record, .. } = imported;
        let is_same = rows::get(self.conn, *seq, |row| {
            row.recorded_at_ms == *recorded_at_ms
                && row.kind == record.kind()
                && row.payload == record.payload().as_bytes()
        });
        if is_same.map_err(|error| reading(&error))? == Some(true) {
            return Ok(());
        }
        let detail = format!("{seq} is not what this file has of an earlier export: import into a new one");
        Err(Refusal::invalid("seq", detail).into())
    }

    fn take(&self, imported: &Imported) -> Result<(), Error> {
        let failed = |error: rusqlite::Error| reading(&error);
        let record = &imported.record;
        let step = record.event.as_deref().and_then(board::step);
        let mut agents = record.agents().to_string();
        if let Some(step) = step {
            match board::decide(self.conn, step, record.payload().len()).map_err(failed)? {
                Ok(Some(other)) if !agents.split(' ').any(|name| name == other) => {
                    agents = format!("{agents} {other}");
                }
                // The log that this is a copy of had let it in.
                Ok(_) | Err(Refusal::TooManyOpen(_)) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let row = NewRow {
            seq: imported.seq,
            recorded_at_ms: imported.recorded_at_ms,
            kind: record.kind(),
            agents: &agents,
            payload: record.payload(),
        };
        rows::insert(self.conn, std::iter::once(row)).map_err(failed)?;
        if let Some(step) = step {
            board::fold(self.conn, step, imported.seq, record.payload().len()).map_err(failed)?;
            board::count_id(self.conn, step).map_err(failed)?;
        }
        if let Some(key) = &imported.key {
            let known = Known { content_hash: hash(record), first: imported.seq, last: imported.seq };
            keys::insert(self.conn, ("", key), known, imported.recorded_at_ms).map_err(failed)?;
        }
        Ok(())
    }

    fn key(&self, line: &KeyOfMany) -> Result<(), Error> {
        // An export of an older version has them: they count the rows of a journal that is not here.
        if line.actor == keys::MIRROR {
            return Ok(());
        }
        let mut content_hash = [0u8; 32];
        let digits = line.content_hash.as_bytes();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        for (byte, pair) in content_hash.iter_mut().zip(pairs) {
            let parsed = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            *byte = parsed.ok_or_else(|| Refusal::invalid("content_hash", "is not 64 hex digits"))?;
        }
        let known =
            Known { content_hash, first: Seq::clamped(line.first_seq), last: Seq::clamped(line.last_seq) };
        let is_there = keys::find(self.conn, &line.actor, &line.key).map_err(|error| reading(&error))?;
        if is_there.is_none() {
            let failed = |error: rusqlite::Error| reading(&error);
            let KeyOfMany { actor, key, recorded_at_ms, answer, .. } = line;
            keys::insert(self.conn, (actor, key), known, *recorded_at_ms).map_err(failed)?;
            if let Some(answer) = answer {
                keys::set_answer_text(self.conn, actor, key, answer).map_err(failed)?;
            }
        }
        Ok(())
    }
}
