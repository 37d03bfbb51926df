//! Appending through the crate, beside the plain loop.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hivelog::{Command, Durability, Log, Options};

use crate::payload::Sample;
use crate::raw;
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, in_turn, rate};

const BATCH: usize = 1_000;

pub fn section(samples: &Arc<[Sample]>, time: Duration, rounds: usize) {
    let mut table = Table::new("Append through the crate");
    for durability in [Durability::Full, Durability::Normal] {
        let folder = tempfile::tempdir().unwrap();
        singles(&mut table, folder.path(), durability, samples, (time, rounds));
        batches(&mut table, folder.path(), durability, samples, (time, rounds));
    }
    table.print();
}

/// Half of it, for who works on the writer.
pub fn alone(samples: &Arc<[Sample]>, are_single: bool) {
    let mut table = Table::new("Append through the crate");
    let folder = tempfile::tempdir().unwrap();
    let often = (Duration::from_millis(300), 9);
    if are_single {
        singles(&mut table, folder.path(), Durability::Full, samples, often);
    } else {
        batches(&mut table, folder.path(), Durability::Full, samples, often);
    }
    table.print();
}

pub fn open(folder: &Path, name: &str, durability: Durability) -> Log {
    Log::open(folder.join(name), Options::default().durability(durability)).unwrap()
}

fn singles(
    table: &mut Table,
    folder: &Path,
    durability: Durability,
    samples: &Arc<[Sample]>,
    (time, rounds): (Duration, usize),
) {
    let mut plain = raw::Writer::open(&folder.join("raw-single.db"), durability, samples);
    let log = open(folder, "single.db", durability);
    let mut next = 0;
    let mut lone = || {
        next += 1;
        log.append(samples[next % samples.len()].draft()).wait().unwrap();
        1
    };
    let runtime = runtime();
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| rate(time, || plain.one())),
            Case::new(|| rate(time, &mut lone)),
            Case::new(|| producers(&runtime, &log, samples, 8, time)),
            Case::new(|| producers(&runtime, &log, samples, 64, time)),
            Case::new(|| producers(&runtime, &log, samples, 512, time)),
        ],
    );
    let full = matches!(durability, Durability::Full);
    let rows = [
        ("raw, one event a commit", Goal::None),
        ("1 producer (a thread)", Goal::Ratio(0.85)),
        ("8 producers (tasks)", Goal::None),
        ("64 producers (tasks)", Goal::Ratio(24.0)),
        ("512 producers (tasks)", Goal::Ratio(50.0)),
    ];
    for (index, (what, goal)) in rows.into_iter().enumerate() {
        table.row(Row {
            what,
            mode: durability.as_str(),
            figures: &figures[index],
            unit: "events/s",
            beside: (index > 0).then_some(("raw", &figures[0])),
            // The goals hold for FULL: without a sync there is nothing that a group could share.
            goal: if full { goal } else { Goal::None },
        });
    }
}

/// Two workers, as a host on this machine would have.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

/// Tasks that each append one event and wait for it, for this long.
pub fn producers(
    runtime: &tokio::runtime::Runtime,
    log: &Log,
    samples: &Arc<[Sample]>,
    count: usize,
    time: Duration,
) -> f64 {
    let acked = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let (log, acked, samples) = (log.clone(), Arc::clone(&acked), Arc::clone(samples));
            runtime.spawn(async move {
                let mut next = index * 37;
                while begin.elapsed() < time {
                    log.append(samples[next % samples.len()].draft()).await.unwrap();
                    next += 1;
                    acked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    acked.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

fn batches(
    table: &mut Table,
    folder: &Path,
    durability: Durability,
    samples: &[Sample],
    (time, rounds): (Duration, usize),
) {
    let mut plain = raw::Writer::open(&folder.join("raw-batch.db"), durability, samples);
    let log = open(folder, "batch.db", durability);
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| rate(time, || plain.many(BATCH))),
            Case::new(|| in_flight(&log, samples, 1, true, time)),
            Case::new(|| in_flight(&log, samples, 1, false, time)),
            Case::new(|| in_flight(&log, samples, 4, true, time)),
            Case::new(|| in_flight(&log, samples, 4, false, time)),
        ],
    );
    let names = [
        "raw, 1000 events a commit",
        "batches of 1000, 1 in flight, drafts ready",
        "batches of 1000, 1 in flight, drafts made in the loop",
        "batches of 1000, 4 in flight, drafts ready",
        "batches of 1000, 4 in flight, drafts made in the loop",
    ];
    for (index, what) in names.into_iter().enumerate() {
        table.row(Row {
            what,
            mode: durability.as_str(),
            figures: &figures[index],
            unit: "events/s",
            beside: (index > 0).then_some(("raw", &figures[0])),
            goal: if index > 0 && matches!(durability, Durability::Full) {
                Goal::Ratio(0.9)
            } else {
                Goal::None
            },
        });
    }
}

/// Batches with so many waiting for their answer.
pub fn in_flight(log: &Log, samples: &[Sample], depth: usize, ready: bool, time: Duration) -> f64 {
    let mut waiting = VecDeque::new();
    let mut start = 0;
    let mut done = 0;
    let begin = Instant::now();
    while begin.elapsed() < time {
        while waiting.len() < depth {
            let batch = (start..start + BATCH).map(|index| &samples[index % samples.len()]);
            let drafts = if ready {
                batch.map(|sample| sample.ready.clone()).collect()
            } else {
                batch.map(Sample::draft).collect()
            };
            start += BATCH;
            waiting.push_back(log.submit(Command::new(drafts)));
        }
        done += waiting.pop_front().unwrap().wait().unwrap().seqs.len();
    }
    while let Some(receipt) = waiting.pop_front() {
        done += receipt.wait().unwrap().seqs.len();
    }
    done as f64 / begin.elapsed().as_secs_f64()
}
