//! How soon a server answers the first append after one was killed with a large WAL.
//!
//! A reader held the WAL, so that nothing of it was moved into the file. It may be there still, or be gone.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hivelog::Durability;
use hivelog::rusqlite::config::DbConfig;
use hivelog::rusqlite::{Connection, OpenFlags};

use crate::client::Client;
use crate::payload::Sample;
use crate::server::Server;
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, in_turn};
use crate::wire;

const WAL_BYTES: u64 = 64 << 20;

pub fn section(samples: &[Sample], rounds: usize) {
    let mut table = Table::new("Killed with a WAL of 64 MiB: from the start to the first answer");
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| raw_ms(samples)),
            Case::new(|| first_ack_ms(samples, 0, false)),
            Case::new(|| first_ack_ms(samples, WAL_BYTES, true)),
            Case::new(|| first_ack_ms(samples, WAL_BYTES, false)),
        ],
    );
    let rows = [
        ("raw: recover the WAL, one commit, no process", Goal::None),
        ("server, a WAL of a few pages", Goal::None),
        ("server, 64 MiB, the reader still there", Goal::AtMost(100.0)),
        ("server, 64 MiB, the reader gone", Goal::AtMost(100.0)),
    ];
    for (index, (what, goal)) in rows.into_iter().enumerate() {
        let beside = (index > 0).then_some(("raw", &figures[0]));
        table.row(Row { what, mode: "full", figures: &figures[index], unit: "ms", beside, goal });
    }
    table.print();
}

/// What a killed server leaves.
struct Left {
    folder: tempfile::TempDir,
    reader: Option<Connection>,
}

impl Left {
    fn path(&self) -> PathBuf {
        self.folder.path().join("killed.db")
    }
}

fn kill(samples: &[Sample], wal_bytes: u64, keeps_reader: bool) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let mut left = Left { folder, reader: None };
    let path = left.path();
    let server = Server::start(&path, Durability::Full);
    let mut client = Client::connect(&server.address);
    client.ask(&wire::post(&client.host, "application/json", samples[0].line.as_bytes()));
    let reader = hold(&path);
    let wal = path.with_extension("db-wal");
    let mut start = 0;
    while std::fs::metadata(&wal).unwrap().len() < wal_bytes {
        let lines: Vec<&str> =
            (start..start + 1_000).map(|index| samples[index % samples.len()].line.as_str()).collect();
        start += 1_000;
        client.ask(&wire::post(&client.host, "application/x-ndjson", lines.join("\n").as_bytes()));
    }
    drop(server);
    left.reader = keeps_reader.then_some(reader);
    left
}

/// A reader with a snapshot, which leaves the WAL as it is when it goes.
fn hold(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags).unwrap();
    reader.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    reader
}

fn first_ack_ms(samples: &[Sample], wal_bytes: u64, keeps_reader: bool) -> f64 {
    let left = kill(samples, wal_bytes, keeps_reader);
    let begin = Instant::now();
    let server = Server::start(&left.path(), Durability::Full);
    let mut client = Client::connect(&server.address);
    client.ask(&wire::post(&client.host, "application/json", samples[0].line.as_bytes()));
    let passed = begin.elapsed().as_secs_f64() * 1_000.0;
    drop(left.reader);
    passed
}

/// The same file opened by a plain connection: it recovers the WAL and commits.
fn raw_ms(samples: &[Sample]) -> f64 {
    let left = kill(samples, WAL_BYTES, false);
    let begin = Instant::now();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(left.path(), flags).unwrap();
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE first (n)")
        .unwrap();
    begin.elapsed().as_secs_f64() * 1_000.0
}
