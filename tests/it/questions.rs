//! P11: questions through the crate: asked, answered or taken back or expired, once.

mod expiry;

use std::sync::mpsc;

use futures_executor::block_on;
use hivelog::{Answer, Ask, Cancel, Desk, Error, Log, QuestionRow, Refusal};
use serde_json::{Value, json};

use crate::swarm::{Hands, PATIENCE, answer, ask, select, winner, wrong_field};
use crate::{Place, append, lines, refusal, seq};

fn desk() -> Desk {
    Desk::of(&Log::temp().unwrap()).unwrap()
}

fn choice(options: &[&str], multi: bool) -> Ask {
    Ask { options: options.iter().map(|option| (*option).into()).collect(), multi, ..ask("alice", "which?") }
}

fn cancel(id: i64, by: &str) -> Cancel {
    Cancel { id, by: by.into() }
}

#[test]
fn a_question_goes_from_open_to_answered() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    let asked = Ask { ttl_seconds: Some(60), ..choice(&["a", "b\nc", "d"], true) };
    let opened = desk.ask(asked).wait().unwrap();
    assert_eq!((opened.id, opened.seq), (1, Some(seq(1))));
    let row = desk.question(1).unwrap();
    assert_eq!((row.asked_at, row.deadline_at, &*row.outcome), (1_000, Some(1_060), "open"));
    assert_eq!((row.options.len(), row.multi, row.is_answered()), (3, true, false));
    hands.forward(2);
    assert_eq!(desk.answer(select(1, &["d", "b\nc"])).wait().unwrap(), seq(2));
    let row = block_on(desk.outcome(1)).unwrap();
    assert!(row.is_answered());
    assert_eq!((row.answer.as_deref(), row.answered_at), (Some("d\nb\nc"), Some(1_002)));
    assert_eq!(row.selected, Some(vec!["d".into(), "b\nc".into()]));
    let event: Value = serde_json::from_str(&lines(desk.log())[1]).unwrap();
    let due = json!({"seq": 2, "recorded_at_ms": 1_002_000, "kind": "question_resolved", "id": 1,
        "answer": "d\nb\nc", "answerer": "operator", "answered_at": 1_002, "cancelled": false,
        "outcome": "answered", "selected": ["d", "b\nc"]});
    assert_eq!(event, due);
    // The asker is concerned too.
    let row = desk.log().get(seq(2)).unwrap().unwrap();
    assert_eq!(row.agents().collect::<Vec<_>>(), ["operator", "alice"]);
}

#[test]
fn what_has_no_answer_is_not_asked() {
    let desk = desk();
    let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let most = Ask { options: many[..64].to_vec(), ..ask("alice", "?") };
    let cases = [
        ("question", ask("alice", "")),
        ("question", ask("alice", " \n\t")),
        ("asker", ask("No Name", "?")),
        ("asker", ask("", "?")),
        ("options", Ask { options: many, ..ask("alice", "?") }),
        ("options", choice(&["a", "b", "a"], true)),
        ("options", choice(&["a", ""], true)),
        ("ttl_seconds", Ask { ttl_seconds: Some(0), ..ask("alice", "?") }),
        ("ttl_seconds", Ask { ttl_seconds: Some(-1), ..ask("alice", "?") }),
        ("ttl_seconds", Ask { ttl_seconds: Some(i64::MAX), ..ask("alice", "?") }),
        ("ttl_seconds", Ask { ttl_seconds: Some(9), deadline_at: Some(1 << 40), ..ask("alice", "?") }),
        ("deadline_at", Ask { deadline_at: Some(1), ..ask("alice", "?") }),
        ("deadline_at", Ask { deadline_at: Some(-1), ..ask("alice", "?") }),
        ("deadline_at", Ask { deadline_at: Some(1 << 53), ..ask("alice", "?") }),
    ];
    for (field, asked) in cases {
        assert_eq!(wrong_field(desk.ask(asked.clone()).wait()), field, "{asked:?}");
    }
    assert_eq!(desk.log().tail(), seq(0));
    assert_eq!(desk.ask(most).wait().unwrap().id, 1);
}

#[test]
fn a_deadline_that_is_now_has_passed() {
    let place = Place::new();
    let desk = Desk::of(&Hands::at(1_000).open(&place.path())).unwrap();
    let due = |at| Ask { deadline_at: Some(at), ..ask("alice", "?") };
    assert_eq!(wrong_field(desk.ask(due(1_000)).wait()), "deadline_at");
    desk.ask(due(1_001)).wait().unwrap();
    desk.ask(Ask { ttl_seconds: Some(1), ..ask("alice", "?") }).wait().unwrap();
    assert_eq!(desk.question(2).unwrap().deadline_at, Some(1_001));
    desk.ask(ask("alice", "?")).wait().unwrap();
    assert_eq!(desk.question(3).unwrap().deadline_at, None);
}

#[test]
fn options_bind_who_chooses_and_nobody_else() {
    let desk = desk();
    for multi in [false, true] {
        desk.ask(choice(&["yes", "no", "später"], multi)).wait().unwrap();
    }
    desk.ask(ask("alice", "open?")).wait().unwrap();
    let both = Answer { answer: Some("yes".into()), ..select(1, &["yes"]) };
    let neither = Answer { selected: None, ..select(1, &[]) };
    for (field, told) in [
        ("selected", select(1, &["maybe"])),
        ("selected", select(1, &["yes", "no"])),
        ("selected", select(1, &["Yes"])),
        ("selected", select(1, &[""])),
        ("selected", select(1, &[])),
        ("selected", select(2, &["yes", "maybe"])),
        ("selected", select(2, &["yes", "yes"])),
        ("selected", select(3, &["yes"])),
        ("selected", both),
        ("answer", neither),
        ("answer", answer(1, "")),
        ("answerer", Answer { answerer: "No Name".into(), ..answer(1, "yes") }),
        ("answerer", Answer { answerer: "ttl-watchdog".into(), ..answer(1, "yes") }),
    ] {
        assert_eq!(wrong_field(desk.answer(told.clone()).wait()), field, "{told:?}");
    }
    assert_eq!(desk.log().tail(), seq(3));
    // Free text is always allowed, and is not taken for a choice.
    desk.answer(answer(1, "maybe")).wait().unwrap();
    assert_eq!(desk.question(1).unwrap().selected, None);
    desk.answer(select(2, &["no", "später", "yes"])).wait().unwrap();
    assert_eq!(desk.question(2).unwrap().answer.as_deref(), Some("no\nspäter\nyes"));
    desk.answer(answer(3, "\r\n \u{0} ")).wait().unwrap();
    assert_eq!(desk.question(3).unwrap().answer.as_deref(), Some("\r\n \u{0} "));
}

#[test]
fn nobody_answers_a_question_of_their_own() {
    let desk = desk();
    desk.ask(ask("alice", "may I?")).wait().unwrap();
    let own = Answer { answerer: "alice".into(), ..answer(1, "yes") };
    assert!(matches!(refusal(desk.answer(own.clone()).wait()), Refusal::Forbidden(_)));
    assert_eq!(desk.question(1).unwrap().outcome, "open");
    let peer = Answer { answerer: "bob".into(), ..answer(1, "yes") };
    desk.answer(peer).wait().unwrap();
    assert_eq!(winner(desk.answer(own).wait()).seq(), seq(2));
}

#[test]
fn each_end_is_told_apart_from_the_others() {
    let place = Place::new();
    let hands = Hands::at(1_000);
    let desk = Desk::of(&hands.open(&place.path())).unwrap();
    for _ in 0..4 {
        desk.ask(ask("alice", "?")).wait().unwrap();
    }
    desk.ask(Ask { ttl_seconds: Some(5), ..ask("alice", "?") }).wait().unwrap();
    // Words that look like an end are words.
    desk.answer(answer(1, "[expired]")).wait().unwrap();
    desk.answer(answer(2, "[cancelled]")).wait().unwrap();
    desk.cancel(cancel(3, "alice")).wait().unwrap();
    desk.cancel(cancel(4, "operator")).wait().unwrap();
    hands.forward(10);
    let told: Vec<QuestionRow> = (1..=5).map(|id| block_on(desk.outcome(id)).unwrap()).collect();
    let seen: Vec<(&str, &str, &str)> = told
        .iter()
        .map(|row| (&*row.outcome, row.answer.as_deref().unwrap(), row.answerer.as_deref().unwrap()))
        .collect();
    let due = [
        ("answered", "[expired]", "operator"),
        ("answered", "[cancelled]", "operator"),
        ("cancelled", "[cancelled]", "alice"),
        ("cancelled", "[cancelled]", "operator"),
        ("expired", "[expired]", "ttl-watchdog"),
    ];
    assert_eq!(seen, due);
    let state: Value = desk.log().snapshot().unwrap().decode().unwrap();
    let cancelled: Vec<&Value> =
        state["recent_questions"].as_array().unwrap().iter().map(|row| &row["cancelled"]).collect();
    assert_eq!(cancelled, [false, true, true, false, false].map(Value::Bool).iter().collect::<Vec<_>>());
    for id in 1..=5 {
        let first = desk.question(id).unwrap();
        assert_eq!(winner(desk.answer(answer(id, "late")).wait()).kind(), "question_resolved");
        assert_eq!(winner(desk.cancel(cancel(id, "operator")).wait()).kind(), "question_resolved");
        assert_eq!(desk.question(id).unwrap(), first);
    }
    assert_eq!(desk.log().tail(), seq(10));
    let unknown = desk.cancel(cancel(6, "operator")).wait();
    assert!(matches!(refusal(unknown), Refusal::Unknown(_)));
}

#[test]
fn an_outcome_wakes_whoever_waits_and_outlives_the_log() {
    let place = Place::new();
    let desk = Desk::of(&place.open()).unwrap();
    let waiting = |desk: &Desk| {
        let (send, told) = mpsc::channel();
        let desk = desk.clone();
        std::thread::spawn(move || send.send(block_on(desk.outcome(1))).unwrap());
        told
    };
    assert!(matches!(refusal(block_on(desk.outcome(1))), Refusal::Unknown(_)));
    desk.ask(ask("alice", "?")).wait().unwrap();
    desk.ask(ask("alice", "?")).wait().unwrap();
    let told = waiting(&desk);
    desk.log().close();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(Error::Closed));
    let desk = Desk::of(&place.open()).unwrap();
    let told = waiting(&desk);
    desk.answer(answer(2, "another's")).wait().unwrap();
    assert!(told.try_recv().is_err());
    let raw = r#"{"kind":"question_resolved","id":1,"answer":"raw","answerer":"bob","answered_at":1,"cancelled":false}"#;
    append(desk.log(), raw).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap().answer.as_deref(), Some("raw"));
    assert_eq!(desk.open_questions(None).unwrap(), []);
}

#[test]
fn ids_of_questions_are_their_own() {
    let place = Place::new();
    let desk = Desk::of(&place.open()).unwrap();
    let asked: Vec<_> = (0..100).map(|_| desk.ask(ask("alice", "?"))).collect();
    let ids: Vec<i64> = asked.into_iter().map(|asked| asked.wait().unwrap().id).collect();
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    let raw = r#"{"kind":"question_added","id":7000,"asker":"bob","question":"?","options":[],"multi":false,"asked_at":1}"#;
    append(desk.log(), raw).unwrap();
    assert_eq!(desk.request(crate::swarm::request("alice")).wait().unwrap().id, 1);
    desk.log().close();
    let desk = Desk::of(&place.open()).unwrap();
    assert_eq!(desk.ask(ask("alice", "?")).wait().unwrap().id, 7_001);
    let mine: Vec<i64> = desk.open_questions(Some("bob")).unwrap().iter().map(|row| row.id).collect();
    assert_eq!(mine, [7_000]);
    assert_eq!(desk.open_questions(None).unwrap().len(), 102);
}
