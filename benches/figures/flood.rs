//! Everybody comes back at once: a long replay to many subscribers.

use hivelog::{Durability, Log, Options};

use crate::audience::Audience;
use crate::history::fill;
use crate::payload::Sample;
use crate::sender::Sender;
use crate::server::Server;
use crate::table::{Goal, Row, Table};
use crate::turns::Figures;

const EVENTS: usize = 100_000;
const SUBSCRIBERS: usize = 1_000;

pub fn section(samples: &[Sample]) {
    let rounds = if std::env::var_os("HIVELOG_BENCH_LONG").is_some() { 3 } else { 1 };
    let mut table = Table::new("A replay of 100,000 events to 1000 subscribers at once");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    fill(&Log::open(&path, Options::default()).unwrap(), samples, EVENTS);
    let (mut plain, mut server, mut memory) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..rounds {
        plain.0.push(send(SUBSCRIBERS));
        let (rate, mib) = replay(&path, SUBSCRIBERS);
        server.0.push(rate);
        memory.0.push(mib);
    }
    let mut row = |what: &str, figures: &Figures, unit: &str, beside, goal: Goal| {
        table.row(Row { what, mode: "full", figures, unit, beside, goal });
    };
    row("plain sender", &plain, "frames/s", None, Goal::None);
    row("replay", &server, "frames/s", Some(("plain sender", &plain)), Goal::Ratio(0.6));
    row("server VmHWM", &memory, "MiB", None, Goal::None);
    table.print();
}

/// One run alone.
pub fn alone(samples: &[Sample], subscribers: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    fill(&Log::open(&path, Options::default()).unwrap(), samples, EVENTS);
    let (rate, mib) = replay(&path, subscribers);
    println!("replay to {subscribers}: {rate:.0} frames/s, {mib:.0} MiB; sender {:.0}", send(subscribers));
}

fn send(subscribers: usize) -> f64 {
    let mut sender = Sender::flood(subscribers, EVENTS);
    let audience = Audience::drain(&sender.address, subscribers, "/", EVENTS as i64);
    let _sent = sender.go();
    (EVENTS * subscribers) as f64 / audience.drained()
}

fn replay(path: &std::path::Path, subscribers: usize) -> (f64, f64) {
    let server = Server::start(path, Durability::Full);
    let audience = Audience::drain(&server.address, subscribers, "/api/stream?after=0", EVENTS as i64);
    let rate = (EVENTS * subscribers) as f64 / audience.drained();
    (rate, server.memory_mib("VmHWM"))
}
