//! Deadlines: met by the keeper, also those that passed while nobody was there, and raced by answers.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use hivelog::event::TransientKind;
use hivelog::{Ask, Desk, Error, Refusal};

use crate::swarm::{Hands, answer, ask, until, winner};
use crate::{Place, append, lines, seq};

const MET: Duration = Duration::from_millis(1_500);
const LOOKS: usize = 4;

fn due_in(seconds: i64) -> Ask {
    Ask { ttl_seconds: Some(seconds), ..ask("alice", "?") }
}

#[test]
fn a_deadline_is_met_within_a_second() {
    // What is asked is how often it is looked, not what else this machine does: one quiet look in some is enough.
    let late: Vec<_> = (0..LOOKS).map(|_| met_after()).take_while(|late| *late >= MET).collect();
    assert!(late.len() < LOOKS, "{late:?}");
}

/// How long after their deadlines questions expire, which none does before.
fn met_after() -> Duration {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    let asked: Vec<_> = [10, 11, 12].map(|seconds| desk.ask(due_in(seconds))).into();
    for asked in asked {
        asked.wait().unwrap();
    }
    desk.ask(ask("alice", "without an end")).wait().unwrap();
    hands.forward(11);
    let begin = Instant::now();
    for id in [1, 2] {
        let row = block_on(desk.outcome(id)).unwrap();
        assert_eq!((&*row.outcome, row.answered_at), ("expired", Some(1_011)));
    }
    let late = begin.elapsed();
    // A second early is too early, though the keeper has looked again: it clears what it finds.
    desk.set("w-1", TransientKind::Starting, Duration::from_millis(1)).wait().unwrap();
    until("the keeper has looked", || (desk.log().tail() >= seq(8)).then_some(()));
    let open: Vec<i64> = desk.open_questions(None).unwrap().iter().map(|row| row.id).collect();
    assert_eq!(open, [3, 4]);
    hands.forward(1);
    assert_eq!(block_on(desk.outcome(3)).unwrap().answered_at, Some(1_012));
    assert_eq!(lines(desk.log()).len(), 9);
    late
}

#[test]
fn what_fell_due_while_the_log_was_closed_expires_when_it_opens() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    // More than one look of the keeper takes.
    let asked: Vec<_> = (0..600).map(|_| desk.ask(due_in(10))).collect();
    for asked in asked {
        asked.wait().unwrap();
    }
    desk.ask(due_in(10_000)).wait().unwrap();
    desk.log().close();
    hands.forward(3_600);
    let log = hands.open(&place.path());
    assert_eq!(log.tail(), seq(601), "nobody keeps a log without a desk");
    let desk = Desk::of(&log).unwrap();
    until("all have expired", || (desk.open_questions(None).unwrap().len() == 1).then_some(()));
    assert_eq!(desk.log().tail(), seq(1_201));
    assert_eq!(desk.question(600).unwrap().answerer.as_deref(), Some("ttl-watchdog"));
    assert_eq!(desk.question(601).unwrap().outcome, "open");
}

#[test]
fn an_answer_after_the_deadline_wins_until_the_end_is_on_the_log() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let mut late_answers = 0;
    // Only the first look of the keeper, which comes at once, is in the way of the answer.
    for _ in 0..20 {
        let log = hands.open(&place.path());
        let desk = Desk::of(&log).unwrap();
        let id = desk.ask(due_in(10)).wait().unwrap().id;
        hands.forward(60);
        match desk.answer(answer(id, "late")).wait() {
            Ok(_) => {
                late_answers += 1;
                let row = desk.question(id).unwrap();
                assert!(row.answered_at.unwrap() > row.deadline_at.unwrap());
            }
            told => assert!(String::from_utf8_lossy(&winner(told).line()).contains("\"expired\"")),
        }
        log.close();
    }
    assert!(late_answers > 0);
}

#[test]
fn an_answer_races_the_deadline() {
    const ROUNDS: i64 = 40;
    const QUESTIONS: i64 = 32;
    let place = Place::new();
    let hands = Hands::at(1_000);
    let (mut answered, mut expired) = (0, 0);
    for round in 0..ROUNDS {
        let log = hands.open(&place.path());
        let desk = Desk::of(&log).unwrap();
        let asked: Vec<_> = (0..QUESTIONS).map(|_| desk.ask(due_in(10))).collect();
        let ids: Vec<i64> = asked.into_iter().map(|asked| asked.wait().unwrap().id).collect();
        desk.log().close();
        // The keeper of the next opening looks at once: it is the other side of the race.
        hands.forward(11);
        let log = hands.open(&place.path());
        let start = Arc::new(Barrier::new(2));
        let answering = {
            let (log, start, ids) = (log.clone(), Arc::clone(&start), ids.clone());
            std::thread::spawn(move || -> Vec<Result<i64, Error>> {
                start.wait();
                // Raw, so that it needs no desk to begin with; later ones come later into the race.
                ids.iter()
                    .map(|id| {
                        append(
                            &log,
                            &format!(
                                r#"{{"kind":"question_resolved","id":{id},"answer":"yes","answerer":"operator","answered_at":5,"cancelled":false}}"#
                            ),
                        )
                    })
                    .collect()
            })
        };
        start.wait();
        let desk = Desk::of(&log).unwrap();
        for (id, told) in ids.iter().zip(answering.join().unwrap()) {
            let row = block_on(desk.outcome(*id)).unwrap();
            match told {
                Ok(_) => {
                    assert_eq!(row.outcome, "answered");
                    answered += 1;
                }
                Err(Error::Refused(Refusal::Conflict { winner, .. })) => {
                    assert_eq!(row.outcome, "expired");
                    assert!(String::from_utf8_lossy(&winner.line()).contains("\"outcome\":\"expired\""));
                    expired += 1;
                }
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        log.close();
    }
    println!("{answered} answered, {expired} expired");
    assert!(answered > 0 && expired > 0, "{answered} answered, {expired} expired: that was no race");
    let log = hands.open(&place.path());
    assert_eq!(log.tail(), seq(2 * ROUNDS * QUESTIONS), "one end each");
}

/// Deadlines are of the clock on the wall, also where that was set back and the log's times stand still.
#[test]
fn a_deadline_is_met_after_the_clock_went_back() {
    let place = Place::new();
    let hands = Hands::at(200_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    append(desk.log(), r#"{"kind":"a.note"}"#).unwrap();
    hands.forward(-86_400);
    desk.ask(due_in(10)).wait().unwrap();
    let at = Ask { deadline_at: Some(200_000 - 86_400 + 3_600), ..ask("alice", "in an hour") };
    desk.ask(at).wait().unwrap();
    hands.forward(11);
    until("it has expired", || (desk.question(1).unwrap().outcome == "expired").then_some(()));
    assert_eq!(desk.question(2).unwrap().outcome, "open");
}
