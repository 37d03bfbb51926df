//! P2, P3: an error of the system at each call: EIO wherever a file is changed or read, and the errors of a
//! disk without room wherever something is written.

use std::collections::BTreeMap;

use crate::account::Entry;
use crate::dice::Dice;
use crate::rig::{Blow, CHANGES, EDQUOT, EFBIG, EIO, ENOSPC, READ, SYNC, WRITE, figure};
use crate::story::Told;
use crate::sweep::{Base, Outcome, Phase};

fn class(outcome: &Outcome) -> Option<u32> {
    match &outcome.struck {
        Some(Entry::Struck { class, .. }) => Some((*class).into()),
        _ => None,
    }
}

/// After an error the server either goes on, or ends and says why on its last line; it never goes on after it
/// said that an append's outcome is open.
fn check_manners(outcome: &Outcome) {
    let code = outcome.ended.status.code();
    assert!(code.is_some(), "it died of a signal: {outcome:#?}");
    let failed = outcome.told.iter().any(|told| matches!(told, Told::Failed(..) | Told::NoAnswer));
    if failed {
        assert!(
            outcome.by_itself && code != Some(0),
            "an append failed and the server went on: {outcome:#?}"
        );
    }
    if code != Some(0) {
        // 75 says "try later": a start that met a full disk.
        assert!(matches!(code, Some(1 | 75)), "{outcome:#?}");
        let last = outcome.ended.last_line();
        assert!(last.starts_with("hivelog: ") && last.len() > 20, "no cause on the last line: {outcome:#?}");
    }
    assert!(!outcome.ended.stderr.contains("panicked"), "{outcome:#?}");
}

/// What a sweep saw.
#[derive(Debug, Default)]
struct Seen {
    injected: u64,
    ended: u64,
    acks: u64,
    later: u64,
    classes: BTreeMap<u32, u64>,
}

fn sweep(
    phase: Phase,
    points: u64,
    mask: u32,
    blow: impl Fn(&mut Dice) -> Blow,
    check: impl Fn(&Outcome),
) -> Seen {
    let (_, mut dice) = Dice::announced(&format!("errors, {phase:?}, mask {mask}"));
    let base = Base::counting(phase, mask);
    assert!(base.calls >= 10, "{} calls", base.calls);
    let mut seen = Seen::default();
    for point in 0..points {
        // Evenly over the whole work, at another place in each run.
        let at = 1 + (point * base.calls + dice.below(base.calls)) / points;
        let outcome = base.strike(at, blow(&mut dice), mask);
        check_manners(&outcome);
        check(&outcome);
        seen.injected += u64::from(outcome.struck.is_some());
        seen.ended += u64::from(outcome.ended.status.code() != Some(0));
        seen.acks += outcome.acks;
        seen.later += outcome.told.iter().filter(|told| matches!(told, Told::Later(..))).count() as u64;
        if let Some(class) = class(&outcome) {
            *seen.classes.entry(class).or_default() += 1;
        }
    }
    println!("{phase:?}: errors over {} calls: {seen:?}, 0 violations", base.calls);
    assert!(seen.injected * 10 >= points * 8, "only {} of {points} errors were met", seen.injected);
    assert!(seen.acks > 0);
    seen
}

/// What was told of the appends says that the writer stopped where a write or a sync of the WAL failed.
fn check_stops(outcome: &Outcome) {
    let goes_on = outcome.told.len() >= 8
        && outcome.told.iter().all(|told| matches!(told, Told::Acked | Told::Refused));
    if !goes_on && outcome.ended.status.code() != Some(0) && !outcome.told.is_empty() {
        let last = outcome.ended.last_line();
        assert!(last.contains("takes no more appends: "), "{outcome:#?}");
    }
}

fn check_eio(phase: Phase, points: u64) {
    let seen = sweep(phase, points, CHANGES, |_| Blow::Fail(EIO, 1), check_stops);
    assert!(seen.ended > 0 && seen.later == 0, "{seen:?}");
    assert!(seen.classes.contains_key(&WRITE), "{seen:?}");
}

#[test]
fn an_io_error_at_any_call_of_a_new_file() {
    check_eio(Phase::Birth, figure(12, 120));
}

#[test]
fn an_io_error_at_any_call_of_a_migration() {
    check_eio(Phase::Migrate, figure(10, 120));
}

#[test]
fn an_io_error_at_any_call_of_a_steady_server() {
    check_eio(Phase::Steady, figure(12, 120));
}

#[test]
fn an_io_error_at_any_call_of_a_checkpoint_and_of_the_end() {
    check_eio(Phase::Checkpoint, figure(8, 120));
}

#[test]
fn a_sync_that_fails_stops_the_writer_whatever_the_error() {
    let error = |dice: &mut Dice| [EIO, ENOSPC, EDQUOT][usize::try_from(dice.below(3)).unwrap()];
    let seen = sweep(
        Phase::Steady,
        figure(8, 40),
        SYNC,
        |dice| Blow::Fail(error(dice), 1),
        |outcome| {
            check_stops(outcome);
            let is_at_work = outcome.told.iter().any(|told| !matches!(told, Told::Acked | Told::Refused));
            if is_at_work {
                assert!(outcome.ended.last_line().contains("sync"), "{outcome:#?}");
            }
        },
    );
    assert!(seen.ended > 0 && seen.later == 0, "{seen:?}");
}

#[test]
fn a_disk_without_room_at_any_write_is_told_and_ends_nothing() {
    // A failed write, then the look whether there is room, then what SQLite tries meanwhile.
    let blow = |dice: &mut Dice| match dice.below(4) {
        0 => Blow::Fail(ENOSPC, 1),
        1 => Blow::Short(ENOSPC),
        2 => Blow::Fail(EDQUOT, 2),
        _ => Blow::Fail(EFBIG, 2),
    };
    for phase in [Phase::Steady, Phase::Checkpoint] {
        let seen = sweep(phase, figure(8, 60), WRITE, blow, |outcome| {
            if !outcome.told.is_empty() {
                assert_eq!(
                    outcome.ended.status.code(),
                    Some(0),
                    "a full disk ended the server: {outcome:#?}"
                );
            }
            for told in &outcome.told {
                let is_due = matches!(told, Told::Acked | Told::Refused)
                    || *told == Told::Later(507, "disk-full".into());
                assert!(is_due, "{outcome:#?}");
            }
        });
        if phase == Phase::Steady {
            assert!(seen.later > 0, "{seen:?}");
        }
    }
}

#[test]
fn an_error_at_any_read_is_told_and_changes_nothing() {
    let seen = sweep(Phase::Steady, figure(10, 100), READ, |_| Blow::Fail(EIO, 1), |_| {});
    assert!(seen.ended > 0, "{seen:?}");
}
