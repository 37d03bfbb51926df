//! The checker of histories is held to account itself: every kind of fault is planted and has to
//! be found.

#[path = "checker/mod.rs"]
mod checker;

use checker::{Call, File, History, Outcome, Received, Run, Stored, content, hash, line};

/// A history of four calls that keeps every promise: one batch, one retry, one lost answer.
fn good() -> History {
    let payloads: Vec<String> = (1..=5).map(|n| format!("{{\"n\":{n}}}")).collect();
    let contents: Vec<u64> = payloads.iter().map(|payload| content("a.b", payload)).collect();
    let call = |number, key: Option<&str>, contents: &[u64], outcome| Call {
        number,
        key: key.map(Into::into),
        contents: contents.to_vec(),
        outcome,
    };
    let rows: Vec<Stored> = (1..)
        .zip(&payloads)
        .map(|(seq, payload)| Stored {
            seq,
            recorded_at_ms: 1_000 + seq,
            content: content("a.b", payload),
            line: hash(line(seq, 1_000 + seq, "a.b", payload).as_bytes()),
        })
        .collect();
    let run = |seqs: std::ops::RangeInclusive<i64>, resumed_at: i64| Run {
        after: *seqs.start() - 1,
        received: seqs
            .map(|seq| Received {
                seq,
                line: rows[usize::try_from(seq).unwrap() - 1].line,
                connection: u64::from(seq >= resumed_at),
            })
            .collect(),
    };
    History {
        calls: vec![
            call(1, Some("one"), &contents[..1], Outcome::Acked(vec![1])),
            call(2, Some("many"), &contents[1..4], Outcome::Unknown),
            call(3, Some("many"), &contents[1..4], Outcome::Acked(vec![2, 3, 4])),
            call(4, None, &contents[4..], Outcome::Unknown),
            call(5, Some("never"), &[7], Outcome::Unknown),
            call(6, Some("no"), &[8], Outcome::Refused),
        ],
        subscribers: [("whole".to_owned(), run(1..=5, 3)), ("part".to_owned(), run(3..=4, 9))].into(),
        file: File { rows, keys: vec![("one".into(), 1, 1), ("many".into(), 2, 4)] },
    }
}

/// Plants a fault in the good history; the checker has to name it.
fn check_finds(word: &str, plant: impl FnOnce(&mut History)) {
    let mut history = good();
    plant(&mut history);
    let found = history.violations();
    assert!(found.iter().any(|violation| violation.contains(word)), "{word:?} is not among {found:#?}");
}

#[test]
fn a_good_history_passes() {
    assert_eq!(good().violations(), Vec::<String>::new());
}

#[test]
fn a_real_file_is_read_as_the_crate_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let log = hivelog::Log::open(&path, hivelog::Options::default()).unwrap();
    for text in [r#"{"kind":"a.b"}"#, r#"{"kind":"a.b","n":[1, "é"]}"#] {
        let draft = hivelog::Draft::from_json(text).unwrap().key(format!("k{}", text.len()));
        log.append(draft).wait().unwrap();
    }
    let page = log.range(&hivelog::Range::default()).unwrap();
    let file = File::read(&path).unwrap();
    let lines: Vec<u64> = page.rows().map(|row| hash(&row.line())).collect();
    assert_eq!(file.rows.iter().map(|row| row.line).collect::<Vec<_>>(), lines);
    assert_eq!(file.rows[0].content, content("a.b", "{}"));
    assert_eq!(file.keys, [("k14".to_owned(), 1, 1), ("k28".to_owned(), 2, 2)]);
}

#[test]
fn an_acknowledged_event_that_is_gone_is_found() {
    check_finds("lost", |history| {
        history.calls.push(Call {
            number: 9,
            key: None,
            contents: vec![9],
            outcome: Outcome::Acked(vec![6]),
        });
    });
    check_finds("lost", |history| {
        history.file.rows.remove(0);
    });
}

#[test]
fn a_seq_that_changed_its_meaning_is_found() {
    check_finds("changed", |history| history.file.rows[0].content = history.file.rows[4].content);
    check_finds("changed", |history| history.calls[2].outcome = Outcome::Acked(vec![2, 4, 3]));
    check_finds("seqs for", |history| history.calls[2].outcome = Outcome::Acked(vec![2, 3]));
}

#[test]
fn a_hole_or_a_double_in_the_file_is_found() {
    check_finds("hole", |history| {
        history.file.rows.remove(3);
    });
    check_finds("hole", |history| {
        history.file.rows.remove(0);
    });
    check_finds("hole", |history| {
        let row = history.file.rows[2];
        history.file.rows.insert(2, row);
    });
}

#[test]
fn a_time_that_goes_back_is_found() {
    check_finds("time goes back", |history| history.file.rows[3].recorded_at_ms = 1);
}

#[test]
fn an_event_that_nobody_sent_is_found() {
    check_finds("from nowhere", |history| history.file.rows[4].content = 77);
    check_finds("from nowhere", |history| history.calls[3].outcome = Outcome::Refused);
}

#[test]
fn a_key_stored_twice_is_found() {
    check_finds("stored twice", |history| {
        let mut again = history.file.rows[0];
        again.seq = 6;
        again.recorded_at_ms = 2_000;
        history.file.rows.push(again);
    });
}

#[test]
fn a_key_that_forgot_is_found() {
    check_finds("not remembered", |history| {
        history.file.keys.remove(0);
    });
    check_finds("stands for", |history| history.file.keys[1] = ("many".into(), 1, 3));
    check_finds("was told", |history| {
        let mut again = history.calls[0].clone();
        again.outcome = Outcome::Acked(vec![5]);
        history.calls.push(again);
    });
}

#[test]
fn a_torn_batch_is_found() {
    check_finds("torn", |history| {
        history.file.rows.truncate(3);
    });
}

#[test]
fn a_ghost_is_found() {
    check_finds("ghost", |history| {
        let run = history.subscribers.get_mut("whole").unwrap();
        run.received.push(Received { seq: 6, line: 0, connection: 2 });
    });
    check_finds("saw another", |history| {
        history.subscribers.get_mut("part").unwrap().received[1].line ^= 1;
    });
}

#[test]
fn a_gap_or_a_double_of_a_subscriber_is_found() {
    // Within a connection, over a resume, and at the very start.
    for index in [1, 2, 0] {
        check_finds("gap: whole", |history| {
            history.subscribers.get_mut("whole").unwrap().received.remove(index);
        });
    }
    for index in [0, 2] {
        check_finds("double: whole", |history| {
            let received = &mut history.subscribers.get_mut("whole").unwrap().received;
            received.insert(index, received[index]);
        });
    }
    check_finds("double: whole", |history| history.subscribers.get_mut("whole").unwrap().received.swap(3, 4));
}
