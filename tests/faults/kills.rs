//! P1 to P4: a kill at each call that changes a file: while the file is made, brought up, worked on,
//! checkpointed, closed.

use crate::dice::Dice;
use crate::rig::{Blow, CHANGES, figure};
use crate::sweep::{Base, Phase};

fn check_kills(phase: Phase, points: u64) {
    let (_, mut dice) = Dice::announced(&format!("kills, {phase:?}"));
    let base = Base::new(phase);
    assert!(base.calls > 20, "{} calls", base.calls);
    let (mut kills, mut acks) = (0, 0);
    for point in 0..points {
        // Evenly over the whole work, at another place in each run.
        let at = 1 + (point * base.calls + dice.below(base.calls)) / points;
        let blow =
            [Blow::KillBefore, Blow::KillAfter, Blow::KillWithin][usize::try_from(dice.below(3)).unwrap()];
        let outcome = base.strike(at, blow, CHANGES);
        assert_eq!(outcome.struck.is_some(), outcome.ended.was_killed(), "{outcome:?}");
        kills += u64::from(outcome.ended.was_killed());
        acks += outcome.acks;
    }
    println!("{phase:?}: {kills} kills over {} calls, {acks} acks while at it, 0 violations", base.calls);
    assert!(kills * 10 >= points * 9, "only {kills} of {points} were killed");
    assert!(acks > 0);
}

#[test]
fn a_kill_at_any_call_of_a_new_file() {
    check_kills(Phase::Birth, figure(25, 515));
}

#[test]
fn a_kill_at_any_call_of_a_migration() {
    check_kills(Phase::Migrate, figure(25, 515));
}

#[test]
fn a_kill_at_any_call_of_a_steady_server() {
    check_kills(Phase::Steady, figure(25, 515));
}

#[test]
fn a_kill_at_any_call_of_a_checkpoint_and_of_the_end() {
    check_kills(Phase::Checkpoint, figure(15, 515));
}
