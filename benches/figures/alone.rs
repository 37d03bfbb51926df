//! One case alone for some seconds, for a profiler: `cargo bench -- alone append-64`.

use std::sync::Arc;
use std::time::Duration;

use hivelog::{Durability, Log, Options};

use crate::payload::Sample;
use crate::turns::rate;
use crate::{append, fanout, filtered, flood, history, http, raw};

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
        "append-1" => {
            let log = log();
            let mut next = 0;
            rate(TIME, || {
                next += 1;
                log.append(samples[next % samples.len()].draft()).wait().unwrap();
                1
            })
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
        "singles" | "batches" => return append::alone(samples, case == "singles"),
        "posts" => return http::appends_alone(samples, durability),
        "post-1" => http::posts(samples, &path, 1, TIME),
        "post-64" => http::posts(samples, &path, 64, TIME),
        "lines-1" => http::lines(samples, &path, 1, TIME),
        "lines-4" => http::lines(samples, &path, 4, TIME),
        "http-history" => return http::history_alone(samples),
        "fanout-1" => return fanout::alone(samples, 1, TIME),
        "fanout-100" => return fanout::alone(samples, 100, TIME),
        "fanout-1000" => return fanout::alone(samples, 1_000, TIME),
        "plain-1000" => return fanout::alone_plain(1_000, TIME),
        "filtered" => return filtered::alone(TIME),
        "flood-100" => return flood::alone(samples, 100),
        "flood-1000" => return flood::alone(samples, 1_000),
        other => panic!("no case {other}"),
    };
    println!("{name} ({}): {figure:.0}/s", durability.as_str());
}
