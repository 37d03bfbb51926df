//! hivelog beside Redis Streams and PostgreSQL: the same events, the same client, in turn.
//!
//! It starts the three servers itself, on loopback, with their data in one folder, each so that an
//! answer means "on disk", and ends them whatever happens. It installs nothing.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- [CASE…]
//!     CASE   history append-1 append-8 append-64 batches; syncs: what each server syncs, by strace. None: all
//!     HIVELOG_BIN      the binary to measure; without it target/release/hivelog
//!     HIVELOG_PEERS    where the data goes for a while; without it the system's folder for such things
//! ```

mod answer;
mod connect;
mod folder;
mod hive;
mod load;
mod measure;
#[path = "../../figures/mix.rs"]
mod mix;
mod peer;
mod postgres;
mod process;
mod redis;
mod report;
mod stop;
mod syncs;
#[path = "../../figures/turns.rs"]
#[allow(dead_code, reason = "of the figures' arithmetic it needs only that of a case's rounds")]
mod turns;
#[path = "../../figures/wire.rs"]
#[allow(dead_code, reason = "of the figures' HTTP it needs only requests and the number of a member")]
mod wire;

use std::process::ExitCode;

use crate::folder::Folder;
use crate::measure::Case;
use crate::peer::Peer;

fn main() -> ExitCode {
    stop::on_signals();
    // Unwinding ends what was started, for a signal as for a failure.
    match std::panic::catch_unwind(run) {
        Ok(code) => code,
        Err(_) if stop::is_asked() => ExitCode::from(130),
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let known = |name: &str| name == "syncs" || Case::ALL.iter().any(|case| case.name() == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        eprintln!("no case {name}: history append-1 append-8 append-64 batches syncs");
        return ExitCode::from(2);
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|asked| asked == name);

    let folder = Folder::make();
    let texts = mix::texts();
    let mut peers: Vec<Option<Box<dyn Peer>>> = vec![Some(Box::new(hive::Hive::start(&folder)))];
    peers.push(redis::Redis::start(&folder).map(|redis| Box::new(redis) as Box<dyn Peer>));
    peers.push(postgres::Postgres::start(&folder).map(|postgres| Box::new(postgres) as Box<dyn Peer>));
    report::absent(&peers);
    report::surroundings(&peers, &folder);

    let cases: Vec<Case> = Case::ALL.into_iter().filter(|case| wanted(case.name())).collect();
    if !cases.is_empty() {
        let results: Vec<_> = cases.iter().map(|case| (*case, case.measure(&peers, &texts))).collect();
        report::figures(&results);
        report::cpu(&results);
    }
    if wanted("syncs") {
        syncs::count(&peers, &texts, &folder);
    }
    // Servers first: they have files in the folder.
    drop(peers);
    drop(folder);
    ExitCode::SUCCESS
}
