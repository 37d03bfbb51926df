//! What is left of an event of each kind.

use hivelog::Log;
use serde_json::Value;

use super::{SECRET, check_gone, redact, says};
use crate::transfer::export;
use crate::{Place, append, lines, seq};

/// Every fixed kind with text in it, and what is left of it.
const KINDS: &[(&str, &str)] = &[
    (
        r#"{"kind":"sent","from":"alice","to":"bob","body":"§","at":1,"message_id":7}"#,
        r#"sent {"from":"alice","to":"bob","body":"[redacted]","at":1,"message_id":7}"#,
    ),
    (
        r#"{"kind":"delivered","from":"alice","to":"bob","body":"§","at":1}"#,
        r#"delivered {"from":"alice","to":"bob","body":"[redacted]","at":1,"message_id":null}"#,
    ),
    (
        r#"{"kind":"approval_added","id":1,"agent":"alice","approval_kind":"spawn","sha_short":"§","diff":"-§","description":"§"}"#,
        r#"approval_added {"id":1,"agent":"alice","approval_kind":"spawn","sha_short":"[redacted]","diff":"[redacted]","description":"[redacted]"}"#,
    ),
    (
        r#"{"kind":"approval_added","id":2,"agent":"alice","approval_kind":"spawn","description":"§"}"#,
        r#"approval_added {"id":2,"agent":"alice","approval_kind":"spawn","sha_short":null,"diff":null,"description":"[redacted]"}"#,
    ),
    (
        r#"{"kind":"approval_resolved","id":1,"agent":"alice","approval_kind":"spawn","status":"denied","resolved_at":1,"note":"§","by":"carol"}"#,
        r#"approval_resolved {"id":1,"agent":"alice","approval_kind":"spawn","sha_short":null,"status":"denied","resolved_at":1,"note":"[redacted]","description":null,"by":"carol"}"#,
    ),
    (
        r#"{"kind":"question_added","id":1,"asker":"alice","question":"§?","options":["§","b"],"multi":true,"asked_at":1}"#,
        r#"question_added {"id":1,"asker":"alice","question":"[redacted]","options":["[redacted] 1","[redacted] 2"],"multi":true,"asked_at":1,"deadline_at":null}"#,
    ),
    (
        r#"{"kind":"question_added","id":2,"asker":"alice","question":"§?","options":["§","b"],"multi":true,"asked_at":1}"#,
        r#"question_added {"id":2,"asker":"alice","question":"[redacted]","options":["[redacted] 1","[redacted] 2"],"multi":true,"asked_at":1,"deadline_at":null}"#,
    ),
    (
        r#"{"kind":"question_resolved","id":1,"answer":"§\nb","answerer":"carol","answered_at":1,"cancelled":false,"selected":["§","b"]}"#,
        r#"question_resolved {"id":1,"answer":"[redacted]","answerer":"carol","answered_at":1,"cancelled":false,"outcome":"answered","selected":null}"#,
    ),
    (
        r#"{"kind":"app.note","by":"No § name","agent":"alice","at":5,"§":{"x":"§"},"pin":1234}"#,
        r#"app.note {"agent":"alice","redacted":true}"#,
    ),
];

#[test]
fn each_is_a_valid_one_of_its_kind_without_its_text() {
    let place = Place::new();
    let log = place.open();
    for (event, _) in KINDS {
        append(&log, &event.replace('§', SECRET)).unwrap();
    }
    let agents = |log: &Log, at| -> Vec<String> {
        log.get(seq(at)).unwrap().unwrap().agents().map(str::to_owned).collect()
    };
    let count = i64::try_from(KINDS.len()).unwrap();
    let before: Vec<_> = (1..=count).map(|at| agents(&log, at)).collect();
    for (at, (_, left)) in (1..).zip(KINDS) {
        assert_eq!(redact(&log, at), Ok(count + at));
        assert_eq!(says(&log, at), *left);
        let row = log.get(seq(at)).unwrap().unwrap();
        assert_eq!(row.event().unwrap().kind(), row.kind());
        assert_eq!(agents(&log, at), before[usize::try_from(at).unwrap() - 1]);
    }
    check_gone(&log);
    let board: Value = log.snapshot().unwrap().decode().unwrap();
    assert_eq!(board["approvals"][0]["description"], "[redacted]");
    assert_eq!(board["recent_approvals"][0]["note"], "[redacted]");
    assert_eq!(board["questions"][0]["options"][1], "[redacted] 2");
    assert_eq!(board["recent_questions"][0]["answer"], "[redacted]");
    // A copy of what is left can be made, and gone on with.
    let other = Place::new();
    hivelog::import(other.path(), &mut export(&log).as_bytes(), &mut |_, _| {}).unwrap();
    let copy = other.open();
    assert_eq!(lines(&copy), lines(&log));
    check_gone(&copy);
    append(&copy, r#"{"kind":"approval_resolved","id":2,"agent":"alice","approval_kind":"spawn","status":"denied","resolved_at":1}"#)
        .unwrap();
    check_gone(&copy);
}

#[test]
fn an_answer_outlives_the_text_of_its_question() {
    let place = Place::new();
    let log = place.open();
    append(&log, r#"{"kind":"question_added","id":1,"asker":"alice","question":"?","options":["a","b"],"multi":false,"asked_at":1}"#)
        .unwrap();
    append(&log, r#"{"kind":"question_resolved","id":1,"answer":"b","answerer":"carol","answered_at":1,"cancelled":false,"selected":["b"]}"#)
        .unwrap();
    assert_eq!(redact(&log, 1), Ok(3));
    let other = Place::new();
    hivelog::import(other.path(), &mut export(&log).as_bytes(), &mut |_, _| {}).unwrap();
    assert_eq!(lines(&other.open()), lines(&log));
}

#[test]
fn what_is_open_weighs_what_is_left_of_it() {
    let log = Log::temp().unwrap();
    // Eight megabytes are as much as one agent may have open.
    for id in 1..=8 {
        let diff = "x".repeat(1_000_000);
        let text = format!(
            r#"{{"kind":"approval_added","id":{id},"agent":"alice","approval_kind":"spawn","diff":"{diff}"}}"#
        );
        append(&log, &text).unwrap();
    }
    let big = format!(
        r#"{{"kind":"approval_added","id":9,"agent":"alice","approval_kind":"spawn","diff":"{}"}}"#,
        "x".repeat(900_000)
    );
    crate::refusal(append(&log, &big));
    assert_eq!(redact(&log, 3), Ok(9));
    assert_eq!(append(&log, &big).unwrap(), 10);
    check_gone(&log);
}
