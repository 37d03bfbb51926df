//! Where a stream starts: resumed, told to reload, or refused, never silently somewhere else.

use serde_json::{Value, json};

use crate::Place;
use crate::client::Reply;
use crate::server::{Server, check_problem};
use crate::sse::{Frame, Stream};

const HEAD: i64 = 5;

async fn five() -> Server {
    let server = Server::start().await;
    let events: Vec<Value> =
        (1..=HEAD).map(|number| json!({"kind": "test.note", "number": number})).collect();
    server.append_all(&events).await;
    server
}

/// What a stream does with the position that it is given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It goes on after this seq.
    From(i64),
    /// It tells the client to reload, and goes on from the head.
    Reset(&'static str),
    Refused,
}

/// The first frames of a stream: hello, perhaps a reset, the events after the position, caught up; then
/// what is live.
async fn check_fate(server: &Server, query: &str, headers: &[(&str, &str)], fate: Fate) {
    let what = format!("{query} {headers:?}");
    let head = server.head().await;
    let mut stream = Stream::try_open(server, query, headers).await;
    if fate == Fate::Refused {
        assert_eq!(stream.head.status, 400, "{what}");
        let body = stream.bytes_to_end().await;
        check_problem(&Reply { body, ..stream.head }, 400, "");
        return;
    }
    assert_eq!(stream.head.status, 200, "{what}");
    let log_id = server.log.id().to_string();
    assert!(stream.next().await.retry.is_some());
    let hello = stream.next().await;
    assert!(hello.is("hello"), "{what}: {hello:?}");
    assert_eq!(hello.json(), json!({"log_id": log_id, "seq": head, "floor": 0}));
    let start = match fate {
        Fate::From(seq) => seq,
        Fate::Reset(_) | Fate::Refused => head,
    };
    if let Fate::From(seq) = fate {
        assert_eq!(hello.seq(), seq, "{what}: hello has the position that the stream starts from");
    }
    if let Fate::Reset(reason) = fate {
        // Cut off right after the hello, a client comes back with its id: it is told all the same.
        let id = hello.id.clone().expect("an id");
        let mut again = Stream::try_open(server, "", &[("Last-Event-ID", id.as_str())]).await;
        let _retry = again.next().await;
        let _hello = again.next().await;
        assert_eq!(again.next().await.json()["reason"], reason, "{what}: {id}");
        let reset = stream.next().await;
        assert!(reset.is("reset"), "{what}: {reset:?}");
        assert_eq!(reset.json(), json!({"reason": reason, "log_id": log_id, "seq": head, "floor": 0}));
        assert_eq!(reset.seq(), head);
    }
    for seq in start + 1..=head {
        check_event(&stream.next().await, seq, &what);
    }
    let caught_up = stream.next().await;
    assert!(caught_up.is("caught_up"), "{what}: {caught_up:?}");
    assert_eq!((caught_up.json(), caught_up.seq()), (json!({"seq": head}), head));
    server.append(r#"{"kind":"test.live"}"#).await;
    check_event(&stream.next().await, head + 1, &what);
}

fn check_event(frame: &Frame, seq: i64, what: &str) {
    assert_eq!((frame.seq(), &frame.event), (seq, &None), "{what}: {frame:?}");
    assert_eq!(frame.json()["seq"], seq, "{what}");
}

#[tokio::test]
async fn every_position_has_its_fate() {
    let server = five().await;
    let log_id = server.log.id().to_string();
    let long = "1".repeat(10 << 10);
    let other = format!("{}{}", if log_id.starts_with('0') { '1' } else { '0' }, &log_id[1..]);
    let own = |seq: &str| format!("{log_id}-{seq}");
    let table: Vec<(String, Fate)> = vec![
        ("0".into(), Fate::From(0)),
        ("3".into(), Fate::From(3)),
        ("003".into(), Fate::From(3)),
        (own("0"), Fate::From(0)),
        (own("3"), Fate::From(3)),
        ("9007199254740991".into(), Fate::Reset("future")),
        ("9007199254740992".into(), Fate::Reset("future")),
        ("9223372036854775807".into(), Fate::Reset("future")),
        (own("9223372036854775807"), Fate::Reset("future")),
        (format!("{other}-3"), Fate::Reset("other_log")),
        (format!("{other}-9007199254740992"), Fate::Reset("other_log")),
        ("9223372036854775808".into(), Fate::Refused),
        ("18446744073709551616".into(), Fate::Refused),
        (own("9223372036854775808"), Fate::Refused),
        ("-1".into(), Fate::Refused),
        ("1.5".into(), Fate::Refused),
        (String::new(), Fate::Refused),
        ("1e1".into(), Fate::Refused),
        ("null".into(), Fate::Refused),
        (own(""), Fate::Refused),
        (own("-1"), Fate::Refused),
        (log_id.clone(), Fate::Refused),
        (format!("{}-3", log_id.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")), Fate::Refused),
        (format!("{log_id}0-3"), Fate::Refused),
        (long, Fate::Refused),
    ];
    for (id, fate) in &table {
        check_fate(&server, &format!("?after={id}"), &[], *fate).await;
        check_fate(&server, "", &[("Last-Event-ID", id)], *fate).await;
        // The header wins, whatever the query says.
        check_fate(&server, "?after=1", &[("Last-Event-ID", id)], *fate).await;
        check_fate(&server, "?after=9007199254740992", &[("Last-Event-ID", id)], *fate).await;
    }
    // At the head and right above it, which moves with every stream that was looked at.
    let head = server.head().await;
    check_fate(&server, &format!("?after={head}"), &[], Fate::From(head)).await;
    let head = server.head().await;
    check_fate(&server, &format!("?after={}", head + 1), &[], Fate::Reset("future")).await;
    // None: from now on.
    let head = server.head().await;
    check_fate(&server, "", &[], Fate::From(head)).await;
    for query in [
        "?after=%00",
        "?after=3%00",
        "?after=%2B3",
        "?after=%203",
        "?after=1&after=1",
        "?last=1",
        "?after=%FF",
        "?kind=",
        "?kind=A",
        "?agent=A%20b",
        "?wait=1",
        "?limit=1",
    ] {
        check_fate(&server, query, &[], Fate::Refused).await;
    }
    let twice = [("Last-Event-ID", "1"), ("Last-Event-ID", "1")];
    check_fate(&server, "", &twice, Fate::Refused).await;
    check_fate(&server, "", &[("Last-Event-ID", "\u{e9}")], Fate::Refused).await;
}

#[tokio::test]
async fn a_filtered_stream_gives_what_matches_and_moves_on() {
    let server = Server::start().await;
    let event = |kind: &str, agent: &str| json!({"kind": kind, "agent": agent});
    let events: Vec<Value> = (0..40)
        .map(|number| event(["test.a", "test.b", "test.c"][number % 3], ["ann", "bob"][number % 2]))
        .collect();
    server.append_all(&events).await;
    let wants = |query: &str, line: &str| match query {
        "&kind=test.a" => line.contains("test.a"),
        "&kind=test.a&kind=test.b" => !line.contains("test.c"),
        "&agent=bob" => line.contains("bob"),
        "&kind=test.c&agent=ann" => line.contains("test.c") && line.contains("ann"),
        _ => false,
    };
    for query in [
        "&kind=test.a",
        "&kind=test.a&kind=test.b",
        "&agent=bob",
        "&kind=test.c&agent=ann",
        "&kind=test.never",
    ] {
        let before = server.lines().await;
        let expected: Vec<&String> = before.iter().filter(|line| wants(query, line)).collect();
        let mut stream = Stream::open(&server, &format!("?after=0{query}"), &[]).await;
        let mut seen = Vec::new();
        let caught_up = loop {
            let frame = stream.next().await;
            match frame.line() {
                Some(line) => seen.push(line.to_owned()),
                None if frame.is("caught_up") => break frame,
                None => {}
            }
        };
        assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{query}");
        // The position is past what was skipped.
        assert_eq!(caught_up.seq(), i64::try_from(before.len()).expect("few"), "{query}");
        server.append_all(&events).await;
        let all = server.lines().await;
        let live: Vec<&String> = all[before.len()..].iter().filter(|line| wants(query, line)).collect();
        assert_eq!(stream.lines(live.len()).await.iter().collect::<Vec<_>>(), live, "{query}");
    }
}

/// What is damaged hides nothing that comes before it, and who comes back for it is told why there is no more.
#[tokio::test]
async fn a_damaged_event_ends_a_stream_there_and_is_told() {
    let place = Place::new();
    let log = place.open();
    for number in 1..=10 {
        crate::note(&log, number);
    }
    log.close();
    crate::store::damage(&place, 7, "\"n\":7", "\"n\":8");
    // Nothing of it is in memory: it is read from the file.
    let server = Server::serve(place.open(), "127.0.0.1:0".parse().expect("an address")).await;
    let mut stream = Stream::open(&server, "?after=0", &[]).await;
    assert_eq!(stream.lines(6).await.len(), 6);
    while let Some(frame) = stream.try_next().await {
        assert_eq!(frame.line(), None, "past the damage");
    }
    let mut stream = Stream::try_open(&server, "?after=6", &[]).await;
    assert_eq!(stream.head.status, 500);
    let body = stream.bytes_to_end().await;
    check_problem(&Reply { body, ..stream.head }, 500, "storage");
    assert_eq!(Stream::open(&server, "?after=7", &[]).await.lines(3).await.len(), 3);
}
