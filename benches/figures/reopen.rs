//! What grows with the log and what does not: opening, snapshots, memory under an export.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hivelog::{Command, Draft, Durability, Log, Options};

use crate::client::Client;
use crate::history::fill;
use crate::payload::Sample;
use crate::server::{Server, program};
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, Figures, in_turn};
use crate::wire;

const SMALL: usize = 10_000;

pub fn section(samples: &[Sample], rounds: usize) {
    let is_long = std::env::var_os("HIVELOG_BENCH_LONG").is_some();
    let large = if is_long { 10_000_000 } else { 1_000_000 };
    let folder = tempfile::tempdir().unwrap();
    let (small_path, large_path) = (folder.path().join("small.db"), folder.path().join("large.db"));
    build(&small_path, samples, SMALL);
    build(&large_path, samples, large);
    let opened =
        in_turn(rounds, &mut [Case::new(|| open_ms(&small_path)), Case::new(|| open_ms(&large_path))]);
    let (small_log, large_log) = (open(&small_path), open(&large_path));
    let looked =
        in_turn(rounds, &mut [Case::new(|| snapshot_ms(&small_log)), Case::new(|| snapshot_ms(&large_log))]);
    drop((small_log, large_log));
    let mut table = Table::new("A log of ten thousand rows and a large one");
    let names = [format!("{SMALL} rows"), format!("{large} rows")];
    for (verb, figures, goal) in
        [("open", &opened, Goal::AtMost(50.0)), ("snapshot", &looked, Goal::RatioAtMost(2.0))]
    {
        for (index, name) in names.iter().enumerate() {
            table.row(Row {
                what: &format!("{verb}, {name}"),
                mode: "full",
                figures: &figures[index],
                unit: "ms",
                beside: (index > 0).then_some((names[0].as_str(), &figures[0])),
                goal: if index > 0 { goal } else { Goal::None },
            });
        }
    }
    // A first start builds the text index.
    for path in [&small_path, &large_path] {
        ready_ms(path);
    }
    let ready =
        in_turn(rounds, &mut [Case::new(|| ready_ms(&small_path)), Case::new(|| ready_ms(&large_path))]);
    for (index, name) in names.iter().enumerate() {
        table.row(Row {
            what: &format!("start of a server to ready, {name}"),
            mode: "full",
            figures: &ready[index],
            unit: "ms",
            beside: (index > 0).then_some((names[0].as_str(), &ready[0])),
            goal: Goal::AtMost(50.0),
        });
    }
    let (rss, peak, idle) = memory(&large_path, large);
    let mut row = |what: &str, value: f64, goal: Goal| {
        let what = format!("server {what}, {} exported", names[1]);
        let figures = Figures(vec![value]);
        table.row(Row { what: &what, mode: "full", figures: &figures, unit: "MiB", beside: None, goal });
    };
    row("VmRSS before the export", idle, Goal::None);
    row("VmRSS at most", rss, Goal::AtMost(64.0));
    row("VmHWM", peak, Goal::AtMost(64.0));
    if let Some(stripped) = stripped_mib(folder.path()) {
        let figures = Figures(vec![stripped]);
        let (what, goal) = ("the binary, stripped", Goal::AtMost(15.0));
        table.row(Row { what, mode: "", figures: &figures, unit: "MiB", beside: None, goal });
    }
    table.print();
}

/// From the start of the process until `/readyz` says yes.
fn ready_ms(path: &Path) -> f64 {
    let begin = Instant::now();
    let server = Server::start(path, Durability::Full);
    let mut client = Client::connect(&server.address);
    let request = wire::get(&server.address, "/readyz", "application/json");
    while client.head_of(&request).0 != 200 {}
    let passed = begin.elapsed().as_secs_f64() * 1_000.0;
    server.stop();
    passed
}

/// The binary without its symbols; `None` where there is no `strip`.
fn stripped_mib(folder: &Path) -> Option<f64> {
    let stripped = folder.join("stripped");
    let mut strip = std::process::Command::new("strip");
    let status = strip.arg("-o").arg(&stripped).arg(program()).status().ok()?;
    let bytes = status.success().then(|| std::fs::metadata(&stripped).unwrap().len())?;
    Some(bytes as f64 / f64::from(1 << 20))
}

fn open(path: &Path) -> Log {
    Log::open(path, Options::default().durability(Durability::Full)).unwrap()
}

/// A log with the same board in it whatever its size, spread from its first row to its last.
fn build(path: &Path, samples: &[Sample], rows: usize) {
    let log = open(path);
    let board: Vec<Draft> = board().iter().map(|line| Draft::from_json(line).unwrap()).collect();
    let part = rows / 10;
    for drafts in board.chunks(board.len().div_ceil(10)) {
        fill(&log, samples, part - drafts.len());
        log.submit(Command::new(drafts.to_vec())).wait().unwrap();
    }
    log.close();
}

fn board() -> Vec<String> {
    let mut lines = Vec::new();
    for id in 1..=100 {
        lines.push(format!(
            r#"{{"kind":"approval_added","id":{id},"agent":"agent-{}","approval_kind":"apply_commit","sha_short":"abc1234","diff":"{}","description":"a change"}}"#,
            id % 40,
            "+ a line of a diff\\n".repeat(50)
        ));
    }
    for id in 1..=60 {
        lines.push(format!(
            r#"{{"kind":"approval_resolved","id":{id},"agent":"agent-{}","approval_kind":"apply_commit","sha_short":"abc1234","status":"approved","resolved_at":1763829000,"by":"operator"}}"#,
            id % 40
        ));
    }
    for id in 1..=20 {
        lines.push(format!(
            r#"{{"kind":"question_added","id":{id},"asker":"agent-{id}","question":"which one?","options":["a","b"],"multi":false,"asked_at":1763829000}}"#
        ));
    }
    lines
}

fn open_ms(path: &Path) -> f64 {
    let begin = Instant::now();
    let log = open(path);
    let passed = begin.elapsed().as_secs_f64() * 1_000.0;
    log.close();
    passed
}

/// One out of many: a snapshot is too short to be timed alone.
fn snapshot_ms(log: &Log) -> f64 {
    const TIMES: u32 = 50;
    let begin = Instant::now();
    for _ in 0..TIMES {
        assert!(!log.snapshot().unwrap().json().is_empty());
    }
    begin.elapsed().as_secs_f64() * 1_000.0 / f64::from(TIMES)
}

/// The server's memory in MiB while the whole log is exported and one subscriber follows: the most
/// that was seen, the peak that the kernel kept, and what it was before.
fn memory(path: &Path, rows: usize) -> (f64, f64, f64) {
    let server = Server::start(path, Durability::Full);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(&wire::get(&server.address, "/api/stream", "text/event-stream")).unwrap();
    let follower = std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    std::thread::sleep(Duration::from_millis(200));
    let idle = server.memory_mib("VmRSS");
    let mut client = Client::connect(&server.address);
    let request = wire::get(&client.host, "/api/history", "application/x-ndjson");
    let (mut seen, mut most, mut looked) = (0, idle, Instant::now());
    client.stream(&request, |data| {
        seen += memchr::memchr_iter(b'\n', data).count();
        if looked.elapsed() > Duration::from_millis(20) {
            looked = Instant::now();
            most = most.max(server.memory_mib("VmRSS"));
        }
        true
    });
    assert_eq!(seen, rows, "the export is not whole");
    let peak = server.memory_mib("VmHWM");
    drop(server);
    // It ends with its connection, in good order or not.
    let _ended = follower.join();
    (most, peak, idle)
}
