//! The figures of the log: `cargo bench`, or `cargo bench -- append http` for some of them.
//!
//! Each figure stands beside the limit that was taken in the same run, in turn with it. README.md
//! in the folder above says what each line means.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_sign_loss,
    reason = "a figure that cannot be taken ends the run; nothing here is shipped"
)]

mod alone;
mod append;
mod audience;
mod both;
mod client;
mod deep;
mod fanout;
mod filtered;
mod flood;
mod growth;
mod history;
mod http;
mod idle;
mod killed;
mod many;
mod mix;
mod payload;
mod raw;
mod reopen;
mod sender;
mod server;
mod steady;
mod subscriber;
mod swarm;
mod table;
mod turns;
mod wire;

use std::sync::Arc;
use std::time::Duration;

/// How long one sample is; the rounds make up for its shortness.
const TIME: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;
const FANOUT_TIME: Duration = Duration::from_secs(3);
const FANOUT_ROUNDS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = args.as_slice() {
        match first.as_str() {
            subscriber::ARGUMENT => return subscriber::run(rest),
            sender::ARGUMENT => return sender::run(rest, &payload::samples()),
            _ => {}
        }
    }
    // cargo adds `--bench`.
    let names: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    let samples: Arc<[payload::Sample]> = payload::samples().into();
    if let ["alone", cases @ ..] = names.as_slice() {
        for case in cases {
            alone::run(case, &samples);
        }
        return;
    }
    if wanted("raw") {
        raw::section(&samples, TIME, ROUNDS);
    }
    if wanted("append") {
        append::section(&samples, TIME, ROUNDS);
    }
    if wanted("history") {
        history::section(&samples, ROUNDS);
    }
    if wanted("http") {
        http::section(&samples, TIME, ROUNDS);
    }
    if wanted("both") {
        both::section(&samples, TIME, ROUNDS);
    }
    if wanted("swarm") {
        swarm::section(&samples, TIME, ROUNDS);
    }
    if wanted("fanout") {
        fanout::section(&samples, FANOUT_TIME, FANOUT_ROUNDS);
    }
    if wanted("killed") {
        killed::section(&samples, ROUNDS);
    }
    if wanted("filtered") {
        filtered::section(FANOUT_TIME, FANOUT_ROUNDS);
    }
    if wanted("flood") {
        flood::section(&samples);
    }
    if wanted("idle") {
        idle::section();
    }
    if wanted("reopen") {
        reopen::section(&samples, ROUNDS);
    }
    if wanted("steady") {
        steady::section(&samples);
    }
    if wanted("growth") {
        growth::section(&samples, ROUNDS);
    }
    if wanted("deep") {
        deep::section(&samples, ROUNDS);
    }
    table::print_goals();
}
