//! The limit: the best plain loop over SQLite with the log's own table, index and triggers.
//!
//! One thread, one connection, a cached statement, explicit checkpoints at the log's rhythm. The
//! file's settings are SQLite's own where the log's would cost something (no `auto_vacuum`, no
//! `secure_delete`): what those cost belongs to the log.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use hivelog::Durability;
use hivelog::rusqlite::{Connection, OpenFlags};

use crate::payload::Sample;
use crate::table::{Goal, Row, Table, number};
use crate::turns::{Case, Figures, in_turn, rate};

/// Pages in the WAL after which the loop checkpoints, as the log does.
const CHECKPOINT_PAGES: i32 = 2_000;
const INSERT: &str = "INSERT INTO events (recorded_at_ms, kind, agents, payload) VALUES (?1, ?2, ?3, ?4)";

thread_local! {
    static WAL_PAGES: Cell<i32> = const { Cell::new(0) };
}

/// A plain writer.
pub struct Writer<'a> {
    conn: Connection,
    samples: &'a [Sample],
    next: usize,
}

impl<'a> Writer<'a> {
    pub fn open(path: &Path, durability: Durability, samples: &'a [Sample]) -> Self {
        Self::open_with(path, durability, samples, "")
    }

    /// With more settings, to see what they cost.
    pub fn open_with(path: &Path, durability: Durability, samples: &'a [Sample], settings: &str) -> Self {
        let conn = Connection::open(path).unwrap();
        let synchronous = durability.as_str();
        conn.execute_batch(&format!(
            "PRAGMA page_size = 4096; {settings}; PRAGMA journal_mode = WAL;
             PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0;"
        ))
        .unwrap();
        conn.execute_batch(include_str!("../../migrations/01-log/up.sql")).unwrap();
        conn.wal_hook(Some(|_, pages| {
            WAL_PAGES.with(|cell| cell.set(pages));
            Ok(())
        }));
        Self { conn, samples, next: 0 }
    }

    /// One event in one commit.
    pub fn one(&mut self) -> usize {
        let mut statement = self.conn.prepare_cached(INSERT).unwrap();
        let sample = &self.samples[self.next % self.samples.len()];
        self.next += 1;
        statement.execute((0, &sample.kind, &sample.agents, &sample.payload)).unwrap();
        drop(statement);
        self.checkpoint();
        1
    }

    /// Several events in one commit.
    pub fn many(&mut self, count: usize) -> usize {
        self.conn.prepare_cached("BEGIN IMMEDIATE").unwrap().execute([]).unwrap();
        let mut statement = self.conn.prepare_cached(INSERT).unwrap();
        for _ in 0..count {
            let sample = &self.samples[self.next % self.samples.len()];
            self.next += 1;
            statement.execute((0, &sample.kind, &sample.agents, &sample.payload)).unwrap();
        }
        drop(statement);
        self.conn.prepare_cached("COMMIT").unwrap().execute([]).unwrap();
        self.checkpoint();
        count
    }

    fn checkpoint(&self) {
        if WAL_PAGES.with(Cell::get) >= CHECKPOINT_PAGES {
            let mut statement = self.conn.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
            statement.query_row([], |_| Ok(())).unwrap();
        }
    }
}

/// A plain reader.
pub struct Scan {
    conn: Connection,
}

impl Scan {
    pub fn open(path: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self { conn: Connection::open_with_flags(path, flags).unwrap() }
    }

    /// Pastes a page of payloads into the buffer; the last seq and how many there were.
    pub fn page(&self, after: i64, limit: usize, into: &mut Vec<u8>) -> (i64, usize) {
        let sql = "SELECT seq, payload FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut statement = self.conn.prepare_cached(sql).unwrap();
        let mut rows = statement.query((after, limit as i64)).unwrap();
        let (mut last, mut count) = (after, 0);
        into.clear();
        while let Some(row) = rows.next().unwrap() {
            last = row.get(0).unwrap();
            into.extend_from_slice(row.get_ref(1).unwrap().as_bytes().unwrap());
            count += 1;
        }
        (last, count)
    }

    /// The whole table once by pages: rows and bytes.
    pub fn all(&self, limit: usize) -> (usize, usize) {
        let (mut after, mut rows, mut bytes) = (0, 0, 0);
        let mut buffer = Vec::with_capacity(1 << 20);
        loop {
            let (last, count) = self.page(after, limit, &mut buffer);
            if count == 0 {
                return (rows, bytes);
            }
            after = last;
            rows += count;
            bytes += buffer.len();
        }
    }
}

/// Section 1: the plain loops by themselves, beside the figures that were measured for the design.
pub fn section(samples: &[Sample], time: Duration, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::new("Raw SQLite: the limit, beside what was measured for the design");
    for durability in [Durability::Full, Durability::Normal] {
        let mode = durability.as_str();
        let open = |name: &str, settings: &str| {
            let path = folder.path().join(format!("{mode}-{name}.db"));
            Writer::open_with(&path, durability, samples, settings)
        };
        let (mut single, mut batch) = (open("single", ""), open("batch", ""));
        let mut ours = open("ours", "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA secure_delete = ON");
        let figures = in_turn(
            rounds,
            &mut [
                Case::new(|| rate(time, || single.one())),
                Case::new(|| rate(time, || batch.many(1_000))),
                Case::new(|| rate(time, || ours.many(1_000))),
            ],
        );
        let (one, thousand) = match durability {
            Durability::Full => (7_293.0, 634_235.0),
            Durability::Normal => (57_165.0, 692_222.0),
        };
        let rows = [
            ("one event a commit", &figures[0], Some(("design", one))),
            ("1000 events a commit", &figures[1], Some(("design", thousand))),
        ];
        for (what, figures, noted) in rows {
            let noted = noted.map(|(name, value)| (name, Figures(vec![value; rounds])));
            let beside = noted.as_ref().map(|(name, figures)| (*name, figures));
            table.row(Row { what, mode, figures, unit: "events/s", beside, goal: Goal::None });
        }
        table.row(Row {
            what: "the same with the log's file settings",
            mode,
            figures: &figures[2],
            unit: "events/s",
            beside: Some(("1000 a commit", &figures[1])),
            goal: Goal::None,
        });
    }
    table.print();
    let bytes = number(crate::payload::mean(samples));
    println!(
        "\nMean payload {bytes} bytes. The design's figures were taken without the agents column and the index."
    );
}
