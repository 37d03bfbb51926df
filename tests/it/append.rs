//! P1 order, P3 outcome: idempotency, all or nothing, and every malformed input refused.

use hivelog::{Command, Draft, Error, Event, Log, Options, Refusal};

use crate::{Place, append, approval, batch, lines, note, refusal, seq};

/// The text is refused, nothing is stored, and the next good one is taken.
fn check_refused(text: &str, field: Option<&str>) {
    let log = Log::temp().unwrap();
    let told = refusal(append(&log, text));
    match told {
        Refusal::Invalid { field: named, .. } => assert_eq!(named.as_deref(), field, "{text}"),
        Refusal::Malformed(_) => assert_eq!(field, None, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
    assert_eq!(lines(&log), Vec::<String>::new());
    assert_eq!(note(&log, 1), 1);
}

/// The text is stored, and comes back with these payload bytes.
fn check_stored(text: &str, payload: &str) {
    let log = Log::temp().unwrap();
    let seq_told = append(&log, text).unwrap();
    let row = log.get(seq(seq_told)).unwrap().unwrap();
    assert_eq!(row.payload(), payload, "{text}");
    let line: serde_json::Value = serde_json::from_slice(&row.line()).unwrap();
    assert_eq!(line["seq"], seq_told);
}

#[test]
fn malformed_json_is_refused() {
    for text in [
        "",
        " ",
        "nonsense",
        "[]",
        "1",
        "null",
        "\"a\"",
        "{",
        r#"{"kind":"a.b"} x"#,
        r#"{"kind":"a.b"}{}"#,
        r#"{"kind":"a.b",}"#,
        r#"{kind:"a.b"}"#,
        r#"{"kind":"a.b","x":01}"#,
        r#"{"kind":"a.b","x":NaN}"#,
        r#"{"kind":"a.b","x":1,"x":2}"#,
        r#"{"kind":"a.b","x":1,"\u0078":2}"#,
        r#"{"kind":"a.b","kind":"a.b"}"#,
        "{\"kind\":\"a.b\",\"x\":\"\u{1}\"}",
        r#"{"kind":"a.b","\ud800":1}"#,
        "\u{feff}{\"kind\":\"a.b\"}",
    ] {
        check_refused(text, None);
    }
}

#[test]
fn what_readers_understand_differently_is_refused_at_any_depth() {
    for value in [
        r#"{"y":1,"y":2}"#,
        r#"[[{"y":1,"\u0079":2}]]"#,
        "1e999",
        "-1e999",
        "[[1e400]]",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#"["\ud800\u0041"]"#,
        r#"{"\udfff":1}"#,
        r#"[{"a":{"b":"\ud83d"}}]"#,
    ] {
        check_refused(&format!(r#"{{"kind":"a.b","x":{value}}}"#), Some("x"));
    }
}

#[test]
fn depth_has_a_bound() {
    // The object itself is the first level.
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let text = |depth: usize| format!(r#"{{"kind":"a.b","x":{}}}"#, nested(depth));
    check_stored(&text(64), &format!(r#"{{"x":{}}}"#, nested(64)));
    check_refused(&text(65), Some("x"));
    check_refused(&text(100_000), Some("x"));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64));
    check_refused(&format!(r#"{{"kind":"a.b","x":{objects}}}"#), Some("x"));
}

#[test]
fn fixed_kinds_are_strict() {
    let sent = |rest: &str| format!(r#"{{"kind":"sent","from":"a","to":"b","body":"","at":1{rest}}}"#);
    check_stored(&sent(""), r#"{"from":"a","to":"b","body":"","at":1,"message_id":null}"#);
    check_refused(&sent(r#","extra":1"#), Some("extra"));
    check_refused(&sent(r#","message_id":0"#), Some("message_id"));
    check_refused(&sent(r#","message_id":1.5"#), Some("message_id"));
    check_refused(&sent(r#","message_id":"1""#), Some("message_id"));
    check_refused(r#"{"kind":"sent","to":"b","body":"","at":1}"#, Some("from"));
    check_refused(r#"{"kind":"sent","from":"A B","to":"b","body":"","at":1}"#, Some("from"));
    check_refused(r#"{"kind":"sent","from":"","to":"b","body":"","at":1}"#, Some("from"));
    check_refused(r#"{"kind":"sent","from":"a","to":"b","body":null,"at":1}"#, Some("body"));
    check_refused(r#"{"kind":"sent","from":"a","to":"b","body":"\ud800","at":1}"#, Some("body"));
    check_refused(
        r#"{"kind":"transient_set","name":"a","transient_kind":"sleeping","since_unix":1}"#,
        Some("transient_kind"),
    );
    let long = "a".repeat(65);
    check_refused(&format!(r#"{{"kind":"sent","from":"{long}","to":"b","body":"","at":1}}"#), Some("from"));
}

#[test]
fn integers_end_at_two_to_the_53() {
    let sent = |at: &str| format!(r#"{{"kind":"sent","from":"a","to":"b","body":"","at":{at}}}"#);
    let last = "9007199254740991";
    let payload = format!(r#"{{"from":"a","to":"b","body":"","at":{last},"message_id":null}}"#);
    check_stored(&sent(last), &payload);
    for at in ["9007199254740992", "9223372036854775807", "9223372036854775808", "-1", "1e3", "1.0", "1e999"]
    {
        check_refused(&sent(at), Some("at"));
    }
    for id in ["0", "-1", "9007199254740992"] {
        check_refused(&approval(7, "a").replace(":7,", &format!(":{id},")), Some("id"));
    }
}

#[test]
fn names_of_the_log_are_refused() {
    for name in ["seq", "recorded_at_ms"] {
        check_refused(&format!(r#"{{"kind":"a.b","{name}":1}}"#), Some(name));
    }
    check_refused(r#"{"x":1}"#, Some("kind"));
    check_refused(r#"{"kind":7}"#, Some("kind"));
    check_refused(r#"{"kind":"hivelog.redacted","redacted_seq":1,"by":"x"}"#, Some("kind"));
    for kind in ["", ".", "a.", ".b", "A.b", "a..b", "a b", "1a.b", "a.b\\n", "_a.b"] {
        check_refused(&format!(r#"{{"kind":"{kind}"}}"#), Some("kind"));
    }
    check_refused(&format!(r#"{{"kind":"a.{}"}}"#, "b".repeat(63)), Some("kind"));
    check_refused(r#"{"kind":"a.b","key":""}"#, Some("key"));
    check_refused(r#"{"kind":"a.b","key":"two words"}"#, Some("key"));
    check_refused(r#"{"kind":"a.b","key":7}"#, Some("key"));
    check_refused(&format!(r#"{{"kind":"a.b","key":"{}"}}"#, "k".repeat(257)), Some("key"));
}

#[test]
fn an_undeclared_kind_without_a_dot_is_a_typo() {
    let log = Log::temp().unwrap();
    assert_eq!(refusal(append(&log, r#"{"kind":"snet"}"#)), Refusal::UnknownKind("snet".into()));
    assert_eq!(lines(&log).len(), 0);
}

#[test]
fn declared_kinds_are_kept_in_the_file() {
    let place = Place::new();
    let options = Options::default().kind("container_state_changed");
    let log = Log::open(place.path(), options).unwrap();
    append(&log, r#"{"kind":"container_state_changed","up":true}"#).unwrap();
    log.close();
    append(&place.open(), r#"{"kind":"container_state_changed","up":false}"#).unwrap();
    for kind in ["sent", "hivelog.mine", "No", "a b", ""] {
        refusal(Log::open(place.path(), Options::default().kind(kind)));
        refusal(Log::open(place.beside("none.db"), Options::default().kind(kind)));
        assert!(!place.beside("none.db").exists());
    }
    assert_eq!(lines(&place.open()).len(), 2);
}

#[test]
fn bytes_come_back_as_they_came_without_white_space() {
    check_stored("{ \"kind\" : \"a.b\" }", "{}");
    check_stored(
        "\n{\"b\" : 1.50e+1 , \"kind\":\"a.b\",\t\"a\":[ 1 ,\r\n 2 ], \"\\u00e9 \\\"\": \"\\u00e9 \\/ x \" }",
        "{\"b\":1.50e+1,\"a\":[1,2],\"\\u00e9 \\\"\":\"\\u00e9 \\/ x \"}",
    );
    check_stored(
        r#"{"kind":"a.b","n":18446744073709551616,"z":-0.0}"#,
        r#"{"n":18446744073709551616,"z":-0.0}"#,
    );
    check_stored(r#"{"kind":"\u0061.b","":{"":[]}}"#, r#"{"":{"":[]}}"#);
}

#[test]
fn large_events_are_refused_as_large() {
    let log = Log::temp().unwrap();
    let of_size = |bytes: usize| format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(bytes - 8));
    append(&log, &of_size(1 << 20)).unwrap();
    assert!(matches!(refusal(append(&log, &of_size((1 << 20) + 1))), Refusal::TooLarge(_)));
    let many = vec![r#"{"kind":"a.b"}"#; 1_001];
    assert!(matches!(refusal(batch(&log, None, &many)), Refusal::TooLarge(_)));
    batch(&log, None, &many[1..]).unwrap();
    let large = of_size(1 << 20);
    assert!(matches!(refusal(batch(&log, None, &[large.as_str(); 17])), Refusal::TooLarge(_)));
    assert_eq!(log.tail(), seq(1_001));
}

#[test]
fn a_key_stores_once() {
    let place = Place::new();
    let log = place.open();
    let keyed = r#"{"kind":"a.b","key":"k","n":1}"#;
    assert_eq!(append(&log, keyed).unwrap(), 1);
    note(&log, 2);
    assert_eq!(append(&log, keyed).unwrap(), 1);
    // White space is not content, order is.
    assert_eq!(append(&log, r#"{"kind":"a.b", "n": 1, "key":"k"}"#).unwrap(), 1);
    log.close();
    let log = place.open();
    assert_eq!(append(&log, keyed).unwrap(), 1);
    assert_eq!(lines(&log).len(), 2);
    let other = r#"{"kind":"a.b","key":"k","n":2}"#;
    assert_eq!(refusal(append(&log, other)), Refusal::KeyReused("k".into()));
    assert_eq!(refusal(batch(&log, Some("k"), &[r#"{"kind":"a.b","n":2}"#])), Refusal::KeyReused("k".into()));
    assert_eq!(lines(&log).len(), 2);
}

#[test]
fn keys_belong_to_an_actor() {
    let log = Log::temp().unwrap();
    let by = |actor: &str, n: i64| {
        let draft = Draft::from_json(&format!(r#"{{"kind":"a.b","n":{n}}}"#)).unwrap();
        log.submit(Command::new(vec![draft]).actor(actor).key("k")).wait()
    };
    assert_eq!(by("alice", 1).unwrap().seqs, [seq(1)]);
    assert_eq!(by("bob", 2).unwrap().seqs, [seq(2)]);
    assert_eq!(by("alice", 1).unwrap().new, 0);
    assert!(matches!(refusal(by("bob", 1)), Refusal::KeyReused(_)));
}

#[test]
fn a_batch_under_a_key_stores_once() {
    let log = Log::temp().unwrap();
    let events = [r#"{"kind":"a.b","n":1}"#, r#"{"kind":"a.b","n":2}"#];
    assert_eq!(batch(&log, Some("k"), &events).unwrap(), (vec![1, 2], 2));
    note(&log, 3);
    assert_eq!(batch(&log, Some("k"), &events).unwrap(), (vec![1, 2], 0));
    assert!(matches!(refusal(batch(&log, Some("k"), &events[..1])), Refusal::KeyReused(_)));
    assert!(matches!(refusal(batch(&log, Some("k"), &[events[1], events[0]])), Refusal::KeyReused(_)));
    let keyed = r#"{"kind":"a.b","key":"own"}"#;
    assert!(matches!(refusal(batch(&log, Some("new"), &[events[0], keyed])), Refusal::Invalid { .. }));
    assert_eq!(log.tail(), seq(3));
}

#[test]
fn known_events_of_a_batch_keep_their_seq() {
    let log = Log::temp().unwrap();
    let keyed = |n: i64| format!(r#"{{"kind":"a.b","key":"k{n}","n":{n}}}"#);
    append(&log, &keyed(1)).unwrap();
    append(&log, &keyed(3)).unwrap();
    let texts: Vec<String> = [1, 2, 3, 4, 2].into_iter().map(keyed).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(batch(&log, None, &texts).unwrap(), (vec![1, 3, 2, 4, 3], 2));
    assert_eq!(batch(&log, None, &texts).unwrap(), (vec![1, 3, 2, 4, 3], 0));
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let log = Log::temp().unwrap();
    append(&log, &approval(1, "a")).unwrap();
    let before = log.snapshot().unwrap().json();
    let good = r#"{"kind":"a.b","key":"good"}"#;
    let told = refusal(batch(&log, None, &[good, &approval(2, "a"), &approval(1, "b")]));
    assert!(matches!(told, Refusal::Conflict { winner, .. } if winner.seq() == seq(1)));
    assert_eq!(log.snapshot().unwrap().json(), before);
    assert!(matches!(refusal(batch(&log, None, &[])), Refusal::Invalid { field: None, .. }));
    // The key of the event that was taken back is free again, and so is its seq.
    assert_eq!(batch(&log, None, &[good]).unwrap(), (vec![2], 1));
}

#[test]
fn a_batch_that_contradicts_itself_names_no_winner() {
    let log = Log::temp().unwrap();
    let told = refusal(batch(&log, None, &[&approval(1, "a"), &approval(1, "b")]));
    assert!(matches!(&told, Refusal::Invalid { field: Some(field), .. } if **field == *"[1]"), "{told:?}");
    assert!(matches!(
        refusal(batch(&log, Some("k"), &[&approval(1, "a"), &approval(1, "b")])),
        Refusal::Invalid { .. }
    ));
    assert_eq!(lines(&log).len(), 0);
}

#[test]
fn the_order_is_that_of_the_calls_not_of_the_waits() {
    let log = Log::temp().unwrap();
    let receipts: Vec<_> = (0..500)
        .map(|n| log.append(Draft::from_json(&format!(r#"{{"kind":"a.b","n":{n}}}"#)).unwrap()))
        .collect();
    for (receipt, due) in receipts.into_iter().zip(1..501_i32).rev() {
        assert_eq!(receipt.wait().unwrap().get(), i64::from(due));
    }
    for (line, n) in lines(&log).iter().zip(0..) {
        assert!(line.ends_with(&format!(",\"n\":{n}}}")), "{line}");
    }
}

#[test]
fn dropping_receipts_takes_nothing_back() {
    let log = Log::temp().unwrap();
    for n in 0..100 {
        drop(log.append(Draft::from_json(&format!(r#"{{"kind":"a.b","n":{n}}}"#)).unwrap()));
    }
    assert_eq!(note(&log, 0), 101);
}

#[test]
fn appends_of_many_threads_and_repeated_keys_stay_dense() {
    let log = Log::temp().unwrap();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let log = log.clone();
            // Every thread sends the same keys: the first one of each wins, the others learn its seq.
            std::thread::spawn(move || {
                let text = |n: i64| format!(r#"{{"kind":"a.b","key":"k{n}","n":{n}}}"#);
                (0..60).map(|n| append(&log, &text(n)).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    let told: Vec<Vec<i64>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(told.iter().all(|seqs| *seqs == told[0]));
    assert_eq!(lines(&log).len(), 60);
    assert_eq!(log.tail(), seq(60));
}

#[test]
fn a_late_append_is_dropped_before_it_begins() {
    let log = Log::temp().unwrap();
    let draft = Draft::from_json(r#"{"kind":"a.b"}"#).unwrap();
    let past = std::time::Instant::now().checked_sub(std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(log.submit(Command::new(vec![draft]).deadline(past)).wait(), Err(Error::Expired));
    assert_eq!(note(&log, 1), 1);
}

#[test]
fn typed_events_and_custom_types_are_drafts() {
    #[derive(serde::Serialize)]
    struct Deployed {
        agent: &'static str,
    }
    impl hivelog::Custom for Deployed {
        const KIND: &'static str = "deploy.finished";
    }
    let log = Log::temp().unwrap();
    log.append(Draft::custom(&Deployed { agent: "alice" })).wait().unwrap();
    let migrating = serde_json::json!({"seq": 77, "kind": "deploy.begun", "agent": "bob"});
    log.append(Draft::of(&migrating)).wait().unwrap();
    let row = log.get(seq(2)).unwrap().unwrap();
    assert_eq!((row.kind(), row.payload().as_str()), ("deploy.begun", r#"{"agent":"bob"}"#));
    assert_eq!(row.agents().collect::<Vec<_>>(), ["bob"]);
    assert!(matches!(row.event().unwrap(), Event::Custom(custom) if &*custom.kind == "deploy.begun"));
    let unfit = log.append(Draft::of(&[1])).wait();
    assert!(matches!(refusal(unfit), Refusal::Invalid { field: None, .. }));
}
