//! Questions between peers: a message, an answer, and not a word on the log.

use std::time::Duration;

use hivelog::{Answer, Ask, Cancel, Desk, Log, Refusal};

use super::{LONG, desk, is_unknown, send, take};
use crate::{Place, lines, refusal};

fn ask(question: &str) -> Ask {
    Ask { asker: "alice".into(), question: question.into(), ..Ask::default() }
}

fn put(desk: &Desk, ask: Ask) -> i64 {
    let opened = desk.ask_peer(ask, "bob").wait().unwrap();
    assert_eq!(opened.seq, None);
    opened.id
}

fn says(id: i64, words: &str, answerer: &str) -> Answer {
    Answer { id, answer: Some(words.into()), answerer: answerer.into(), ..Answer::default() }
}

fn selects(id: i64, options: &[&str]) -> Answer {
    let selected = options.iter().map(|option| (*option).to_owned()).collect();
    Answer { id, selected: Some(selected), answerer: "bob".into(), ..Answer::default() }
}

#[test]
fn a_question_is_a_message_and_its_answer_an_ack() {
    let place = Place::new();
    let log = place.open();
    let desk = desk(&log);
    let mut asked = ask("left or right?");
    asked.options = vec!["left".into(), "right".into()];
    let id = put(&desk, asked);
    let message = take(&desk, "bob", 1, LONG).remove(0);
    assert_eq!((message.question_id, message.from.as_str()), (Some(id), "alice"));
    assert_eq!(message.body, "left or right?");
    assert_eq!(desk.questions_put_to("bob").unwrap().len(), 1);
    desk.answer_peer(selects(id, &["left"])).wait().unwrap();
    let row = desk.peer_question(id).unwrap();
    assert!(row.is_answered());
    assert_eq!((row.answer.as_deref(), row.answerer.as_deref()), (Some("left"), Some("bob")));
    assert_eq!(row.selected, Some(vec!["left".to_owned()]));
    assert_eq!(desk.questions_put_to("bob").unwrap().len(), 0);
    assert_eq!(desk.requeue("bob").wait(), Ok(0), "the message is done with");
    // Answered before it was even handed out.
    let id = put(&desk, ask("well?"));
    desk.answer_peer(says(id, "well", "bob")).wait().unwrap();
    assert_eq!(take(&desk, "bob", 1, LONG), []);
    // Not on the log, then or ever.
    send(&desk, "carol", "the one event");
    log.close();
    assert_eq!(lines(&place.open()).len(), 1);
}

#[test]
fn only_the_peer_answers_only_the_asker_cancels_and_only_once() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let id = put(&desk, ask("?"));
    assert!(matches!(refusal(desk.answer_peer(says(id, "!", "alice")).wait()), Refusal::Forbidden(_)));
    assert!(is_unknown(desk.answer_peer(says(id, "!", "carol")).wait()));
    assert!(is_unknown(desk.answer_peer(says(99, "!", "bob")).wait()));
    assert!(is_unknown(desk.cancel_peer(&Cancel { id, by: "bob".into() }).wait()));
    for nothing in [says(id, "", "bob"), Answer { id, answerer: "bob".into(), ..Answer::default() }] {
        assert!(matches!(refusal(desk.answer_peer(nothing).wait()), Refusal::Invalid { .. }));
    }
    assert!(matches!(refusal(desk.answer_peer(selects(id, &["no option"])).wait()), Refusal::Invalid { .. }));
    desk.cancel_peer(&Cancel { id, by: "alice".into() }).wait().unwrap();
    for late in [
        desk.answer_peer(says(id, "!", "bob")).wait(),
        desk.cancel_peer(&Cancel { id, by: "alice".into() }).wait(),
    ] {
        let Refusal::Closed { row, .. } = refusal(late) else { panic!("not closed") };
        let row: serde_json::Value = serde_json::from_str(&row).unwrap();
        assert_eq!(row["outcome"], "cancelled");
        assert_eq!((&row["answer"], &row["answerer"]), (&"[cancelled]".into(), &"alice".into()));
        assert_eq!((&row["cancelled"], &row["to"]), (&true.into(), &"bob".into()));
        assert_eq!(row.get("seq"), None);
    }
    assert_eq!(take(&desk, "bob", 1, LONG), [], "what was taken back is not delivered");
}

#[test]
fn what_could_not_be_answered_is_not_asked() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    for to in ["alice", "operator", "ttl-watchdog", "B"] {
        assert!(matches!(refusal(desk.ask_peer(ask("?"), to).wait()), Refusal::Invalid { .. }), "{to}");
    }
    let wrong = [
        ask(" "),
        Ask { deadline_at: Some(1), ..ask("?") },
        Ask { options: vec!["a".into(), "a".into()], ..ask("?") },
        Ask { asker: "A".into(), ..ask("?") },
    ];
    for wrong in wrong {
        assert!(matches!(refusal(desk.ask_peer(wrong, "bob").wait()), Refusal::Invalid { .. }));
    }
    assert!(matches!(refusal(desk.ask_peer(ask(&"x".repeat(1 << 20)), "bob").wait()), Refusal::TooLarge(_)));
    let asked: Vec<_> = (0..1_000).map(|_| desk.ask_peer(ask("?"), "bob")).collect();
    for (number, asked) in asked.into_iter().enumerate() {
        assert_eq!(asked.wait().unwrap().id, i64::try_from(number).unwrap() + 1, "a refusal takes no id");
    }
    assert!(matches!(refusal(desk.ask_peer(ask("?"), "bob").wait()), Refusal::TooManyOpen(_)));
    desk.cancel_peer(&Cancel { id: 7, by: "alice".into() }).wait().unwrap();
    // One counter for both kinds of questions.
    assert_eq!(desk.ask(ask("for the operator")).wait().unwrap().id, 1_001);
    assert_eq!(put(&desk, ask("?")), 1_002);
}

#[test]
fn several_may_be_chosen_where_that_was_asked() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let options = vec!["a".to_owned(), "b".to_owned()];
    let one = put(&desk, Ask { options: options.clone(), ..ask("one") });
    let many = put(&desk, Ask { options, multi: true, ..ask("many") });
    assert!(matches!(refusal(desk.answer_peer(selects(one, &["a", "b"])).wait()), Refusal::Invalid { .. }));
    desk.answer_peer(selects(many, &["a", "b"])).wait().unwrap();
    assert_eq!(desk.peer_question(many).unwrap().answer.as_deref(), Some("a\nb"));
}

#[test]
fn the_asker_is_woken_by_every_end() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let ends: [fn(&Desk, i64); 3] = [
        |desk, id| desk.answer_peer(says(id, "yes", "bob")).wait().unwrap(),
        |desk, id| desk.cancel_peer(&Cancel { id, by: "alice".into() }).wait().unwrap(),
        // The keeper sees to the third.
        |_, _| {},
    ];
    for (end, outcome) in ends.into_iter().zip(["answered", "cancelled", "expired"]) {
        let ttl_seconds = (outcome == "expired").then_some(1);
        let id = put(&desk, Ask { ttl_seconds, ..ask("?") });
        let waiting = std::thread::spawn({
            let desk = desk.clone();
            move || futures_executor::block_on(desk.peer_outcome(id)).unwrap()
        });
        std::thread::sleep(Duration::from_millis(5));
        end(&desk, id);
        let row = waiting.join().unwrap();
        assert_eq!(row.outcome, outcome);
        if outcome == "expired" {
            assert_eq!(
                (row.answer.as_deref(), row.answerer.as_deref()),
                (Some("[expired]"), Some("ttl-watchdog"))
            );
        }
    }
    assert!(is_unknown(futures_executor::block_on(desk.peer_outcome(99))));
    let id = put(&desk, ask("never answered"));
    let waiting = std::thread::spawn({
        let desk = desk.clone();
        move || futures_executor::block_on(desk.peer_outcome(id))
    });
    std::thread::sleep(Duration::from_millis(5));
    log.close();
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn an_id_of_a_question_between_peers_is_not_taken_by_a_raw_append() {
    let log = Log::temp().unwrap();
    let desk = desk(&log);
    let id = put(&desk, ask("between us"));
    let added = |id: i64| {
        crate::append(
            &log,
            &format!(
                r#"{{"kind":"question_added","id":{id},"asker":"carol","question":"?","options":[],"multi":false,"asked_at":1}}"#
            ),
        )
    };
    let taken = crate::refusal(added(id));
    assert!(matches!(taken, Refusal::Invalid { field: Some(field), .. } if &*field == "id"));
    assert!(added(id + 1).is_ok());
    // The counter has jumped past it.
    assert_eq!(put(&desk, ask("another")), id + 2);
}
