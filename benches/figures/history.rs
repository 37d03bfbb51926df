//! Reading history through the crate, beside a plain scan of the same file.

use std::time::{Duration, Instant};

use hivelog::{Command, Durability, Log, Options, Range};

use crate::payload::Sample;
use crate::raw::Scan;
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, Figures, in_turn};

const ROWS: usize = 200_000;

pub fn section(samples: &[Sample], rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let log = Log::open(&path, Options::default().durability(Durability::Full)).unwrap();
    fill(&log, samples, ROWS);
    let scan = Scan::open(&path);
    let mut bytes = (0, 0);
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| {
                timed(|| {
                    let (rows, total) = scan.all(1_000);
                    bytes.0 = total;
                    rows
                })
            }),
            Case::new(|| {
                timed(|| {
                    let (rows, total) = pages(&log, 1_000);
                    bytes.1 = total;
                    rows
                })
            }),
            Case::new(|| timed(|| newest(&log, 1_000))),
        ],
    );
    let mut table = Table::new("History through the crate, pages of 1000");
    let names = ["raw scan", "pages, oldest first", "pages, newest first backwards"];
    for (index, what) in names.into_iter().enumerate() {
        table.row(Row {
            what,
            mode: "full",
            figures: &figures[index],
            unit: "rows/s",
            beside: (index > 0).then_some(("raw", &figures[0])),
            goal: Goal::None,
        });
    }
    let scaled = |figures: &Figures, bytes: usize| {
        Figures(figures.0.iter().map(|rate| rate * bytes as f64 / ROWS as f64 / 1e6).collect())
    };
    let (raw, crate_) = (scaled(&figures[0], bytes.0), scaled(&figures[1], bytes.1));
    table.row(Row {
        what: "the same in bytes (with envelopes)",
        mode: "full",
        figures: &crate_,
        unit: "MB/s",
        beside: Some(("raw payload", &raw)),
        goal: Goal::None,
    });
    table.print();
}

/// Appends so many events in batches, a few in flight.
pub fn fill(log: &Log, samples: &[Sample], rows: usize) {
    let mut waiting = std::collections::VecDeque::new();
    for start in (0..rows).step_by(1_000) {
        let drafts =
            (start..rows.min(start + 1_000)).map(|index| samples[index % samples.len()].ready.clone());
        waiting.push_back(log.submit(Command::new(drafts.collect())));
        if waiting.len() >= 4 {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    for receipt in waiting {
        receipt.wait().unwrap();
    }
}

/// Rows a second of something that tells how many it read.
pub fn timed(read: impl FnOnce() -> usize) -> f64 {
    let begin = Instant::now();
    let rows = read();
    rows as f64 / begin.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

/// The whole log by pages: rows and bytes of their lines.
pub fn pages(log: &Log, limit: usize) -> (usize, usize) {
    let (mut after, mut rows, mut bytes) = (0, 0, 0);
    loop {
        let page = log.range(&Range { after: Some(after), limit, ..Range::default() }).unwrap();
        if page.is_empty() {
            return (rows, bytes);
        }
        after = page.next_after;
        rows += page.len();
        bytes += page.rows().map(|row| row.line().len()).sum::<usize>();
    }
}

fn newest(log: &Log, limit: usize) -> usize {
    let (mut before, mut rows) = (None, 0);
    loop {
        let page = log.range(&Range { before, limit, ..Range::default() }).unwrap();
        if page.is_empty() {
            return rows;
        }
        before = Some(page.next_before);
        rows += page.len();
    }
}
