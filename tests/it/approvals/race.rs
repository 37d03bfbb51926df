//! Many deciders at once: one wins, all others learn who.

use std::sync::{Arc, Barrier};

use hivelog::event::ApprovalStatus::{Approved, Denied};
use hivelog::{Desk, Error, Log, Refusal, Resolve};

use crate::swarm::request;
use crate::{append, seq};

const RACES: i64 = 1_000;
const DECIDERS: usize = 16;

/// One of them decides: every other one through a raw append, half of them for yes.
fn decide(desk: &Desk, id: i64, number: usize) -> Result<i64, Error> {
    let status = if number / 2 % 2 == 0 { Approved } else { Denied };
    let by = format!("operator-{number}");
    if number.is_multiple_of(2) {
        let resolve = Resolve { id, status, note: None, by: Some(by) };
        return desk.resolve(resolve).wait().map(hivelog::Seq::get);
    }
    let word = status.as_str();
    append(
        desk.log(),
        &format!(
            r#"{{"kind":"approval_resolved","id":{id},"agent":"a{}","approval_kind":"spawn","status":"{word}","resolved_at":5,"by":"{by}"}}"#,
            id / 1_000
        ),
    )
}

#[test]
fn a_thousand_races_of_sixteen_have_one_winner_each() {
    let desk = Desk::of(&Log::temp().unwrap()).unwrap();
    let asked: Vec<_> = (1..=RACES).map(|id| desk.request(request(&format!("a{}", id / 1_000)))).collect();
    for (id, asked) in (1..).zip(asked) {
        assert_eq!(asked.wait().unwrap().id, id);
    }
    let start = Arc::new(Barrier::new(DECIDERS));
    let deciders: Vec<_> = (0..DECIDERS)
        .map(|number| {
            let (desk, start) = (desk.clone(), Arc::clone(&start));
            std::thread::spawn(move || -> Vec<Result<i64, Error>> {
                (1..=RACES)
                    .map(|id| {
                        start.wait();
                        decide(&desk, id, number)
                    })
                    .collect()
            })
        })
        .collect();
    let told: Vec<_> = deciders.into_iter().map(|decider| decider.join().unwrap()).collect();
    let mut wins = [0; DECIDERS];
    for race in 0..told[0].len() {
        let won: Vec<(usize, i64)> = told
            .iter()
            .enumerate()
            .filter_map(|(who, told)| Some((who, *told[race].as_ref().ok()?)))
            .collect();
        let [(who, won)] = won[..] else { panic!("race {race}: {won:?}") };
        wins[who] += 1;
        let row = desk.log().get(seq(won)).unwrap().unwrap();
        assert!(String::from_utf8_lossy(&row.line()).contains(&format!("\"by\":\"operator-{who}\"")));
        for told in told.iter().filter_map(|told| told[race].as_ref().err()) {
            match told {
                Error::Refused(Refusal::Conflict { winner, .. }) => assert_eq!(**winner, row),
                other => panic!("race {race}: {other}"),
            }
        }
    }
    assert_eq!(desk.log().tail(), seq(2 * RACES));
    let (commanded, raw) = (wins.iter().step_by(2).sum::<i64>(), wins.iter().skip(1).step_by(2).sum::<i64>());
    assert!(commanded > 0 && raw > 0, "{wins:?}");
    desk.log().close();
    assert_eq!(hivelog::check(desk.log().path()).unwrap().problems, Vec::<String>::new());
}
