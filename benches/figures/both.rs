//! Reading the whole log again and again while appends run at full rate, beside the same appends alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hivelog::{Durability, Log, Options, Range};

use crate::append::runtime;
use crate::history::fill;
use crate::payload::Sample;
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, Figures, in_turn};

const ROWS: usize = 200_000;
const PRODUCERS: usize = 64;

pub fn section(samples: &Arc<[Sample]>, time: Duration, rounds: usize) {
    let mut table = Table::new("Reading while appends run at full rate");
    crate_(&mut table, samples, (time, rounds));
    table.print();
}

/// The log of a host that reads page after page on a thread of its own.
fn crate_(table: &mut Table, samples: &Arc<[Sample]>, (time, rounds): (Duration, usize)) {
    let folder = tempfile::tempdir().unwrap();
    let log =
        Log::open(folder.path().join("both.db"), Options::default().durability(Durability::Full)).unwrap();
    fill(&log, samples, ROWS);
    let runtime = runtime();
    let (mut alone, mut beside, mut read) = (Figures::default(), Figures::default(), Figures::default());
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| {
                let (rate, p99) = producers(&runtime, &log, samples, time);
                alone.0.push(p99);
                rate
            }),
            Case::new(|| {
                let ((rate, p99), rows) = while_reading(&log, || producers(&runtime, &log, samples, time));
                beside.0.push(p99);
                read.0.push(rows);
                rate
            }),
        ],
    );
    // The round that does not count.
    for figures in [&mut alone, &mut beside, &mut read] {
        figures.0.remove(0);
    }
    let mode = "full";
    let name = format!("{PRODUCERS} producers");
    let mut row = |what: &str, figures: &Figures, unit: &str, base: Option<&Figures>, goal: Goal| {
        let beside = base.map(|base| ("alone", base));
        table.row(Row { what: &format!("{name}{what}"), mode, figures, unit, beside, goal });
    };
    row(" alone", &figures[0], "events/s", None, Goal::None);
    row(", one thread reads", &figures[1], "events/s", Some(&figures[0]), Goal::Ratio(0.6));
    row(" alone: ack after send, p99", &alone, "ms", None, Goal::None);
    row(", one thread reads: p99", &beside, "ms", Some(&alone), Goal::AtMost(10.0));
    row(", one thread reads: it reads", &read, "rows/s", None, Goal::None);
}

/// What comes of something while a thread reads the log by pages, and how many rows a second that read.
fn while_reading<T>(log: &Log, work: impl FnOnce() -> T) -> (T, f64) {
    let (ends, rows, begin) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut after = 0;
            while !ends.load(Ordering::Relaxed) {
                let page =
                    log.range(&Range { after: Some(after), limit: 1_000, ..Range::default() }).unwrap();
                rows.fetch_add(page.len(), Ordering::Relaxed);
                after = if page.len() < 1_000 { 0 } else { page.next_after };
            }
        });
        let done = work();
        ends.store(true, Ordering::Relaxed);
        (done, rows.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64())
    })
}

/// Tasks that each append one event and wait for it: events a second, and the 99th percentile in ms.
fn producers(
    runtime: &tokio::runtime::Runtime,
    log: &Log,
    samples: &Arc<[Sample]>,
    time: Duration,
) -> (f64, f64) {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..PRODUCERS)
        .map(|index| {
            let (log, samples) = (log.clone(), Arc::clone(samples));
            runtime.spawn(async move {
                let (mut next, mut taken) = (index * 37, Vec::new());
                while begin.elapsed() < time {
                    let sent = Instant::now();
                    log.append(samples[next % samples.len()].draft()).await.unwrap();
                    taken.push(sent.elapsed().as_secs_f64() * 1_000.0);
                    next += 1;
                }
                taken
            })
        })
        .collect();
    let mut taken = runtime.block_on(async {
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    let rate = taken.len() as f64 / begin.elapsed().as_secs_f64();
    taken.sort_by(f64::total_cmp);
    (rate, taken[taken.len() * 99 / 100])
}
