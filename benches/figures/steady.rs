//! Two thousand events a second, come what may: how long each takes from when it was due.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use hivelog::{Durability, Log, Options, Receipt, Seq};

use crate::payload::Sample;
use crate::raw;
use crate::table::{Goal, Row, Table};
use crate::turns::Figures;

const EVENTS_A_SECOND: u32 = 2_000;
const ROUNDS: u32 = 4;
/// A sleep is this much too long: the rest of the time is waited for awake, so that the figure is the log's and
/// not the timer's.
const AWAKE: Duration = Duration::from_micros(120);

pub fn section(samples: &[Sample]) {
    let is_long = std::env::var_os("HIVELOG_BENCH_LONG").is_some();
    let time = Duration::from_secs(if is_long { 600 } else { 20 }) / ROUNDS;
    let folder = tempfile::tempdir().unwrap();
    let full = Durability::Full;
    let mut plain = raw::Writer::open(&folder.path().join("raw.db"), full, samples);
    let log = Log::open(folder.path().join("log.db"), Options::default().durability(full)).unwrap();
    let [mut one, mut beside, mut ours] = [(); 3].map(|()| Latencies::default());
    for _ in 0..ROUNDS {
        one.add(&closed(time / 10, || assert_eq!(plain.one(), 1)));
        beside.add(&open_raw(time / 4, &mut plain));
        ours.add(&open_log(time, &log, samples));
    }
    let mut table = Table::new("2,000 events a second through the crate, from when each was due");
    let mut row = |what: &str, figures: &Figures, beside: Option<(&str, &Figures)>, goal: Goal| {
        table.row(Row { what, mode: "full", figures, unit: "ms", beside, goal });
    };
    row("raw, one commit after another, p50", &one.p50, None, Goal::None);
    row("raw, p99", &one.p99, Some(("its p50", &one.p50)), Goal::None);
    row("raw, 2,000 a second, p50", &beside.p50, Some(("raw p50", &one.p50)), Goal::None);
    row("raw, 2,000 a second, p99", &beside.p99, Some(("its p50", &beside.p50)), Goal::None);
    row("the log, p50", &ours.p50, Some(("raw p50", &one.p50)), Goal::RatioAtMost(2.0));
    row("the log, p99", &ours.p99, Some(("its p50", &ours.p50)), Goal::RatioAtMost(3.0));
    row("the log, p99.9", &ours.p999, Some(("its p50", &ours.p50)), Goal::None);
    row("the log, the longest", &ours.most, None, Goal::None);
    table.print();
}

/// In milliseconds, a figure for each round.
#[derive(Default)]
struct Latencies {
    p50: Figures,
    p99: Figures,
    p999: Figures,
    most: Figures,
}

impl Latencies {
    fn add(&mut self, times: &[Duration]) {
        let mut times = times.to_vec();
        times.sort_unstable();
        let at = |part: f64| {
            let index = (times.len() as f64 * part) as usize;
            times[index.min(times.len() - 1)].as_secs_f64() * 1_000.0
        };
        self.p50.0.push(at(0.5));
        self.p99.0.push(at(0.99));
        self.p999.0.push(at(0.999));
        self.most.0.push(at(1.0));
    }
}

fn closed(time: Duration, mut work: impl FnMut()) -> Vec<Duration> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < time {
        let start = Instant::now();
        work();
        times.push(start.elapsed());
    }
    times
}

/// Calls `each` whenever an event is due, with that time; late where the one before took long.
fn pace(time: Duration, mut each: impl FnMut(Instant)) {
    let (begin, gap) = (Instant::now(), Duration::from_secs(1) / EVENTS_A_SECOND);
    let mut due = begin;
    while due - begin < time {
        let early = due.saturating_duration_since(Instant::now());
        std::thread::sleep(early.saturating_sub(AWAKE));
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        each(due);
        due += gap;
    }
}

fn open_raw(time: Duration, plain: &mut raw::Writer<'_>) -> Vec<Duration> {
    let mut times = Vec::new();
    pace(time, |due| {
        plain.one();
        times.push(due.elapsed());
    });
    times
}

/// One thread appends, another one waits for what comes of it, in order.
fn open_log(time: Duration, log: &Log, samples: &[Sample]) -> Vec<Duration> {
    let (send, receipts) = mpsc::channel::<(Instant, Receipt<Seq>)>();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let mut times = Vec::new();
            for (due, receipt) in receipts {
                receipt.wait().unwrap();
                times.push(due.elapsed());
            }
            times
        });
        let mut next = 0;
        pace(time, |due| {
            next += 1;
            send.send((due, log.append(samples[next % samples.len()].draft()))).unwrap();
        });
        drop(send);
        waiting.join().unwrap()
    })
}
