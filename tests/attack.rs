//! The server under those who mean it no good, as a process of its own: requests that are none, crowds, slow peers.
//!
//! `HIVELOG_FULL=1` takes the figures that were promised (`cargo test --release --test attack -- --nocapture`),
//! `HIVELOG_ATTACK_BIN` names another build, `HIVELOG_SEED` repeats a run's choices.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "a test fails by panicking"
)]

mod checker;
#[path = "attack/crowd.rs"]
mod crowd;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod dice;
#[path = "attack/hoard.rs"]
mod hoard;
#[path = "attack/malformed.rs"]
mod malformed;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod nasty;
#[path = "attack/publisher.rs"]
mod publisher;
#[path = "attack/raw.rs"]
mod raw;
#[path = "attack/requests.rs"]
mod requests;
#[path = "attack/server.rs"]
mod server;
mod shell;
#[path = "attack/slow.rs"]
mod slow;
#[path = "attack/subscriber.rs"]
mod subscriber;
#[path = "attack/targets.rs"]
mod targets;
#[expect(dead_code, reason = "the figures use the rest of it")]
#[path = "../benches/figures/wire.rs"]
mod wire;
