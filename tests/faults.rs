//! Every fault that a log has to survive, brought upon the real `hivelog serve`: errors of the system at each
//! call, kills at each call, power losses that drop and tear what was not synced, full disks, files that are
//! taken away, damaged files, wrong files, locks of others.
//!
//! Scaled down by default. `HIVELOG_FULL=1 cargo test --test faults -- --nocapture` (part of `.ci/full`) has the full
//! figures, `HIVELOG_SEED` repeats a run's choices, `HIVELOG_FAULTS_BIN` names another build.

mod checker;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod dice;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "crash/work.rs"]
mod work;

#[expect(dead_code, reason = "told where a test fails")]
#[path = "faults/account.rs"]
mod account;
#[path = "faults/client.rs"]
mod client;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/damage.rs"]
mod damage;
#[expect(dead_code, reason = "told where a test fails")]
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/errors.rs"]
mod errors;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/others.rs"]
mod others;
#[path = "faults/power.rs"]
mod power;
#[path = "faults/rig.rs"]
mod rig;
#[path = "faults/room.rs"]
mod room;
mod shell;
#[path = "faults/story.rs"]
mod story;
#[path = "faults/sweep.rs"]
mod sweep;
