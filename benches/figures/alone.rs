//! One case alone for some seconds, for a profiler: `cargo bench -- alone append-64`.

use std::sync::Arc;
use std::time::Duration;

use hivelog::{Durability, Log, Options};

use crate::payload::Sample;
use crate::turns::rate;
use crate::{append, fanout, history, http, raw};

const TIME: Duration = Duration::from_secs(4);

pub fn run(name: &str, samples: &Arc<[Sample]>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alone.db");
    let durability = if name.ends_with("-normal") { Durability::Normal } else { Durability::Full };
    let log = || Log::open(&path, Options::default().durability(durability)).unwrap();
    let case = name.trim_end_matches("-normal");
    let figure = match case {
        "raw-1" => {
            let mut writer = raw::Writer::open(&path, durability, samples);
            rate(TIME, || writer.one())
        }
        "raw-1000" => {
            let mut writer = raw::Writer::open(&path, durability, samples);
            rate(TIME, || writer.many(1_000))
        }
        "append-8" => append::producers(&append::runtime(), &log(), samples, 8, TIME),
        "append-64" => append::producers(&append::runtime(), &log(), samples, 64, TIME),
        "append-512" => append::producers(&append::runtime(), &log(), samples, 512, TIME),
        "batch-1" => append::in_flight(&log(), samples, 1, true, TIME),
        "batch-4" => append::in_flight(&log(), samples, 4, true, TIME),
        "batch-4-made" => append::in_flight(&log(), samples, 4, false, TIME),
        "scan" | "pages" => {
            let log = log();
            history::fill(&log, samples, 200_000);
            let scan = raw::Scan::open(&path);
            let pages = || if case == "scan" { scan.all(1_000).0 } else { history::pages(&log, 1_000).0 };
            rate(TIME, pages)
        }
        "http-history" => return http::history_alone(samples),
        "fanout-1000" => return fanout::alone(samples, 1_000, TIME),
        other => panic!("no case {other}"),
    };
    println!("{name} ({}): {figure:.0}/s", durability.as_str());
}
