//! Appending and reading over HTTP, beside the plain loop and the plain scan.

use std::path::Path;
use std::time::Duration;

use hivelog::Durability;

use crate::append as through_crate;
use crate::client::Client;
use crate::history::timed;
use crate::many::Many;
use crate::payload::Sample;
use crate::raw::{self, Scan};
use crate::server::Server;
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, in_turn, rate};
use crate::wire;

const BATCH: usize = 1_000;
const HISTORY_ROWS: usize = 200_000;

pub fn section(samples: &[Sample], time: Duration, rounds: usize) {
    let mut table = Table::new("Over HTTP, the client on the same cores");
    for durability in [Durability::Full, Durability::Normal] {
        append(&mut table, samples, durability, (time, rounds));
    }
    history(&mut table, samples, rounds);
    table.print();
}

/// Appending alone.
pub fn appends_alone(samples: &[Sample], durability: Durability) {
    let mut table = Table::new("Appends over HTTP");
    append(&mut table, samples, durability, (Duration::from_millis(300), 9));
    table.print();
}

/// Single events over so many connections, a second.
pub fn posts(samples: &[Sample], path: &Path, connections: usize, time: Duration) -> f64 {
    let server = Server::start(path, Durability::Full);
    let singles = singles(samples, &server.address);
    Many::connect(&server.address, connections).run(&singles, time)
}

/// Events in bodies of a thousand lines over so many connections, a second.
pub fn lines(samples: &[Sample], path: &Path, connections: usize, time: Duration) -> f64 {
    let server = Server::start(path, Durability::Full);
    let batches = batches(samples, &server.address);
    Many::connect(&server.address, connections).run(&batches, time) * BATCH as f64
}

/// Reading alone.
pub fn history_alone(samples: &[Sample]) {
    let mut table = Table::new("History over HTTP");
    history(&mut table, samples, 5);
    table.print();
}

/// Samples as requests of one event each.
pub fn singles(samples: &[Sample], host: &str) -> Vec<Vec<u8>> {
    samples.iter().map(|sample| wire::post(host, "application/json", sample.line.as_bytes())).collect()
}

/// Samples as requests of a thousand each.
fn batches(samples: &[Sample], host: &str) -> Vec<Vec<u8>> {
    samples
        .chunks_exact(BATCH)
        .map(|batch| {
            let lines: Vec<&str> = batch.iter().map(|sample| sample.line.as_str()).collect();
            wire::post(host, "application/x-ndjson", (lines.join("\n") + "\n").as_bytes())
        })
        .collect()
}

fn append(table: &mut Table, samples: &[Sample], durability: Durability, (time, rounds): (Duration, usize)) {
    let folder = tempfile::tempdir().unwrap();
    let mut plain = raw::Writer::open(&folder.path().join("raw.db"), durability, samples);
    let server = Server::start(&folder.path().join("log.db"), durability);
    let mut client = Client::connect(&server.address);
    let mut other = Client::connect(&server.address);
    let (singles, batches) = (singles(samples, &client.host), batches(samples, &client.host));
    let mut many = Many::connect(&server.address, 64);
    let mut four = Many::connect(&server.address, 4);
    let mut plain_batch = raw::Writer::open(&folder.path().join("raw-batch.db"), durability, samples);
    let log = through_crate::open(folder.path(), "crate.db", durability);
    let (mut next, mut next_batch) = (0, 0);
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| rate(time, || plain.one())),
            Case::new(|| {
                rate(time, || {
                    next += 1;
                    client.ask(&singles[next % singles.len()]);
                    1
                })
            }),
            Case::new(|| many.run(&singles, time)),
            Case::new(|| rate(time, || plain_batch.many(BATCH))),
            Case::new(|| {
                rate(time, || {
                    next_batch += 1;
                    other.ask(&batches[next_batch % batches.len()]);
                    BATCH
                })
            }),
            Case::new(|| four.run(&batches, time) * BATCH as f64),
            Case::new(|| through_crate::in_flight(&log, samples, 1, true, time)),
            Case::new(|| through_crate::in_flight(&log, samples, 4, true, time)),
        ],
    );
    let full = matches!(durability, Durability::Full);
    let rows: [(&str, usize, &str, Option<usize>, Goal); 10] = [
        ("raw, one event a commit", 0, "", None, Goal::None),
        ("POST one event, 1 connection", 1, "raw", Some(0), Goal::Ratio(0.45)),
        ("POST one event, 64 connections", 2, "1 connection", Some(1), Goal::Ratio(8.0)),
        ("raw, 1000 events a commit", 3, "", None, Goal::None),
        ("the crate, batches of 1000, 1 in flight", 6, "raw 1000", Some(3), Goal::None),
        ("the crate, batches of 1000, 4 in flight", 7, "raw 1000", Some(3), Goal::None),
        ("POST NDJSON of 1000, 1 connection", 4, "raw 1000", Some(3), Goal::Ratio(0.7)),
        ("POST NDJSON of 1000, 4 connections", 5, "raw 1000", Some(3), Goal::Ratio(0.7)),
        ("POST NDJSON of 1000, 1 connection", 4, "the crate", Some(6), Goal::Ratio(0.9)),
        ("POST NDJSON of 1000, 4 connections", 5, "the crate", Some(7), Goal::Ratio(0.9)),
    ];
    for (what, index, name, base, goal) in rows {
        table.row(Row {
            what,
            mode: durability.as_str(),
            figures: &figures[index],
            unit: "events/s",
            beside: base.map(|base| (name, &figures[base])),
            goal: if full { goal } else { Goal::None },
        });
    }
}

fn history(table: &mut Table, samples: &[Sample], rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let server = Server::start(&path, Durability::Full);
    let mut client = Client::connect(&server.address);
    let batches = batches(samples, &client.host);
    for index in 0..HISTORY_ROWS / BATCH {
        client.ask(&batches[index % batches.len()]);
    }
    let scan = Scan::open(&path);
    let mut second = Client::connect(&server.address);
    indexed(&mut client);
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| timed(|| scan.all(1_000).0)),
            Case::new(|| timed(|| pages(&mut client))),
            Case::new(|| timed(|| stream(&mut second))),
        ],
    );
    let rows = [
        ("raw scan, pages of 1000", Goal::None),
        ("GET /api/history, pages of 1000", Goal::Ratio(0.45)),
        ("GET /api/history as NDJSON, the whole range", Goal::Ratio(0.6)),
    ];
    for (index, (what, goal)) in rows.into_iter().enumerate() {
        table.row(Row {
            what,
            mode: "full",
            figures: &figures[index],
            unit: "rows/s",
            beside: (index > 0).then_some(("raw", &figures[0])),
            goal,
        });
    }
}

/// Waits until the search index has taken up what was appended: it does that on these two cores.
pub fn indexed(client: &mut Client) {
    let request = wire::get(&client.host, "/metrics", "text/plain");
    loop {
        let text = String::from_utf8_lossy(client.ask(&request)).into_owned();
        let gauge =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let (head, indexed) = (gauge("hivelog_head_seq "), gauge("hivelog_search_seq "));
        if head.unwrap() == indexed.unwrap() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn pages(client: &mut Client) -> usize {
    let (mut after, mut rows) = (0, 0);
    while rows < HISTORY_ROWS {
        let path = format!("/api/history?after={after}&limit={BATCH}");
        let request = wire::get(&client.host, &path, "application/json");
        let body = client.ask(&request);
        // The cursors stand at the end, where no event can be taken for them.
        let end = &body[body.len().saturating_sub(64)..];
        let next = wire::member(end, "\"next_after\":").unwrap();
        assert!(next > after, "the cursor does not move: {}", String::from_utf8_lossy(end));
        rows += usize::try_from(next - after).unwrap();
        after = next;
    }
    rows
}

fn stream(client: &mut Client) -> usize {
    let request = wire::get(&client.host, "/api/history", "application/x-ndjson");
    let mut rows = 0;
    client.stream(&request, |data| {
        rows += memchr::memchr_iter(b'\n', data).count();
        true
    });
    assert_eq!(rows, HISTORY_ROWS);
    rows
}
