//! `GET /api/history`: parameters, bounds, waits, lines, bytes, times.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hivelog::{Log, Options};
use serde_json::{Value, json};

use crate::client::{BEFORE_A_STALL, BEFORE_A_TIMEOUT, PATIENCE, Reply, soon, within};
use crate::server::{Server, check_problem};

const LINES: (&str, &str) = ("Accept", "application/x-ndjson");

/// The seqs of a page.
async fn seqs(server: &Server, query: &str) -> Vec<i64> {
    let page = server.read(&format!("/api/history{query}")).await;
    let events = page["events"].as_array().expect("events");
    events.iter().filter_map(|event| event["seq"].as_i64()).collect()
}

/// The same question asked for lines.
async fn lines(server: &Server, query: &str) -> Reply {
    let reply = server.call("GET", &format!("/api/history{query}"), &[LINES], b"").await;
    assert_eq!(reply.status, 200, "{query}");
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    reply
}

fn notes(count: i64) -> Vec<Value> {
    (1..=count).map(|number| json!({"kind": "test.note", "agent": "alice", "number": number})).collect()
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let server = Server::start().await;
    server.append_all(&notes(3)).await;
    let integers = ["", "-1", "1.5", "%2B1", "1e3", "0x1", "9223372036854775808", "one", "%20", "1%00"];
    let mut table: Vec<(&str, String)> = Vec::new();
    for name in ["after", "before", "limit"] {
        table.extend(integers.map(|bad| (name, bad.to_owned())));
    }
    table.extend(["0", "10001", "9223372036854775807"].map(|bad| ("limit", bad.to_owned())));
    table.extend(["", "ASC", "up", "desc%20"].map(|bad| ("order", bad.to_owned())));
    table.extend(["", "A", "a..b", "a%0Ab", "a%20b", "%22"].map(|bad| ("kind", bad.to_owned())));
    table.extend(["", "A", "a%0Ab", "a%20b", "%27--", "%00"].map(|bad| ("agent", bad.to_owned())));
    table.extend(["kind", "agent"].map(|name| (name, "a".repeat(65))));
    for name in ["since", "until"] {
        let bad =
            ["", "-1", "1.5", "yesterday", "2026-02-30T00:00:00Z", "2026-01-01", "99999999999999999999"];
        table.extend(bad.map(|bad| (name, bad.to_owned())));
    }
    table.extend(
        ["", "-1", "61", "61s", "1m", "1.5", "s", "30S", "9999999999999999999"]
            .map(|bad| ("wait", bad.to_owned())),
    );
    table.extend(["x", "Limit", "", "%61fter%00"].map(|name| (name, "1".to_owned())));
    for (name, bad) in table {
        let path = format!("/api/history?{name}={bad}");
        let reply = within(BEFORE_A_TIMEOUT, &path, server.get(&path)).await;
        assert_eq!(reply.status, 400, "{path}");
        check_problem(&reply, 400, "query");
        if !name.contains('%') {
            assert_eq!(reply.json()["field"], name, "{path}");
        }
    }
    for name in ["after", "before", "limit", "order", "since", "until", "wait"] {
        let value = if name == "order" { "asc" } else { "1" };
        check_problem(
            &server.get(&format!("/api/history?{name}={value}&{name}={value}")).await,
            400,
            "query",
        );
    }
    let too_many: String = (0..65).map(|number| format!("&kind=test.k{number}")).collect();
    check_problem(&server.get(&format!("/api/history?after=0{too_many}")).await, 400, "query");
    check_problem(&server.get("/api/history?kind=%FF%FE").await, 400, "query");
    // The same in the form of lines: an error is never half a stream.
    check_problem(&server.call("GET", "/api/history?after=-1", &[LINES], b"").await, 400, "query");
}

#[tokio::test]
async fn bounds_far_outside_are_fine() {
    let server = Server::start().await;
    server.append_all(&notes(3)).await;
    let table: [(&str, &[i64]); 10] = [
        ("?after=3", &[]),
        ("?after=4", &[]),
        ("?after=9223372036854775807", &[]),
        ("?before=0", &[]),
        ("?before=1", &[]),
        ("?before=9223372036854775807", &[1, 2, 3]),
        ("?after=2&before=1", &[]),
        ("?after=9007199254740992&order=desc", &[]),
        ("?after=0&limit=2", &[1, 2]),
        ("?limit=2", &[2, 3]),
    ];
    for (query, expected) in table {
        assert_eq!(seqs(&server, query).await, expected, "{query}");
        let page = server.read(&format!("/api/history{query}")).await;
        for cursor in ["next_after", "next_before"] {
            let cursor = page[cursor].as_i64().expect("a cursor");
            assert!((0..=(1 << 53)).contains(&cursor), "{query}: {cursor}");
        }
    }
}

#[tokio::test]
async fn a_page_ends_at_four_mebibytes() {
    let server = Server::start().await;
    let text = "x".repeat(900_000);
    for number in 0..12 {
        let body = json!({"kind": "test.large", "number": number, "text": text}).to_string();
        assert_eq!(server.append(body).await.status, 201);
    }
    for order in ["&order=asc", "&order=desc"] {
        let (mut seen, mut cursor) = (Vec::new(), if order.ends_with("asc") { 0 } else { 13 });
        while seen.len() < 12 {
            let bound = if order.ends_with("asc") { "after" } else { "before" };
            let reply = server.get(&format!("/api/history?limit=10000&{bound}={cursor}{order}")).await;
            assert!(reply.body.len() <= (4 << 20) + (1 << 20), "{} bytes", reply.body.len());
            let page = reply.json();
            let events = page["events"].as_array().expect("events");
            assert!(!events.is_empty(), "a page without progress");
            seen.extend(events.iter().filter_map(|event| event["seq"].as_i64()));
            cursor =
                page[if bound == "after" { "next_after" } else { "next_before" }].as_i64().expect("a cursor");
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=12).collect::<Vec<_>>());
    }
    // The newest, oldest first.
    let newest = seqs(&server, "?limit=10000").await;
    assert!((1..=5).contains(&newest.len()), "{newest:?}");
    assert_eq!(newest.last(), Some(&12));
    assert!(newest.is_sorted());
}

#[tokio::test]
async fn a_wait_ends_with_the_event_or_with_nothing() {
    let server = Server::start().await;
    // Something is there: no wait.
    server.append_all(&notes(1)).await;
    let begin = Instant::now();
    assert_eq!(seqs(&server, "?after=0&wait=60").await, [1]);
    assert!(begin.elapsed() < PATIENCE);
    // Nothing comes: an empty list at its end.
    let begin = Instant::now();
    let page = server.read("/api/history?after=1&wait=1s").await;
    assert_eq!((&page["events"], &page["seq"], &page["next_after"]), (&json!([]), &json!(1), &json!(1)));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert!(begin.elapsed() < PATIENCE);
    // A page that nothing can enter does not wait.
    let begin = Instant::now();
    assert_eq!(seqs(&server, "?after=0&before=1&wait=30").await, [0i64; 0]);
    assert!(begin.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_wait_sees_each_event_at_once() {
    let server = Server::start().await;
    let (mut cursor, mut took) = (0, Vec::new());
    for number in 1..=20 {
        let path = format!("/api/history?after={cursor}&wait=30&kind=test.wanted");
        let waiting = server.read(&path);
        let appending = async {
            // The first one does not match: the wait goes on.
            server.append(r#"{"kind":"test.other"}"#).await;
            let body = json!({"kind": "test.wanted", "number": number}).to_string();
            let reply = server.append(body).await;
            (reply.json()["seq"].as_i64().expect("a seq"), Instant::now())
        };
        let ((page, woken), (seq, acked)) =
            soon("a wait", async { tokio::join!(async { (waiting.await, Instant::now()) }, appending) })
                .await;
        took.push(woken.saturating_duration_since(acked));
        assert_eq!(page["events"][0]["number"], number);
        assert_eq!(page["next_after"], seq);
        cursor = seq;
    }
    // The median, as this machine may pause.
    took.sort_unstable();
    assert!(took[10] < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_append_ends_a_hundred_waits() {
    let server = Server::start().await;
    let waits = futures_util::future::join_all((0..100).map(|_| server.read("/api/history?after=0&wait=60")));
    let appending = async {
        server.head().await;
        server.append_all(&notes(1)).await
    };
    let (pages, _) = soon("waits", async { tokio::join!(waits, appending) }).await;
    assert!(pages.iter().all(|page| page["events"][0]["seq"] == 1 && page["next_after"] == 1));
}

#[tokio::test]
async fn a_stopping_server_ends_waits() {
    let server = Server::start().await;
    let path = server.bytes("GET", "/api/history?after=0&wait=60", &[], b"");
    let mut conn = crate::client::Conn::open(server.addr).await;
    conn.send(&path).await.expect("sent");
    // The next request on another connection is answered after the wait began.
    server.head().await;
    assert!(server.stop().await < BEFORE_A_STALL);
    let reply = soon("the answer", conn.reply()).await.expect("an answer");
    assert_eq!((reply.status, &reply.json()["events"]), (200, &json!([])));
}

#[tokio::test]
async fn a_long_page_goes_out_in_parts_and_is_the_same_page() {
    let server = Server::start().await;
    let text = "t".repeat(200);
    let events: Vec<Value> =
        (0..1_500).map(|number| json!({"kind": "test.note", "number": number, "text": text})).collect();
    server.append_all(&events).await;
    for (order, from, next) in [("asc", "after=200", "next_after"), ("desc", "before=1300", "next_before")] {
        let long = server.get(&format!("/api/history?{from}&limit=1000&order={order}")).await;
        assert_eq!((long.status, long.header("content-length")), (200, None));
        let long = long.json();
        let (mut from, mut pieced) = (from.to_owned(), Vec::new());
        while pieced.len() < 1_000 {
            let short = server.get(&format!("/api/history?{from}&limit=100&order={order}")).await;
            assert_eq!(short.header("content-length"), Some(short.body.len().to_string().as_str()));
            let short = short.json();
            pieced.extend(short["events"].as_array().expect("events").clone());
            let name = next.strip_prefix("next_").expect("a cursor");
            from = format!("{name}={}", short[next]);
        }
        assert_eq!(long["events"].as_array(), Some(&pieced), "{order}");
        let last = &pieced[999]["seq"];
        assert_eq!((&long[next], &long["seq"]), (last, &json!(1_500)));
    }
}

#[tokio::test]
async fn lines_are_the_pages_byte_for_byte() {
    let server = Server::start().await;
    let events: Vec<Value> = (0..2_500)
        .map(|number| {
            let kind = if number % 10 == 0 { "test.rare" } else { "test.note" };
            json!({"kind": kind, "agent": "alice", "number": number, "text": "t".repeat(number % 700)})
        })
        .collect();
    server.append_all(&events).await;
    for (mut after, rest) in [(0, ""), (0, "&kind=test.rare"), (100, "&before=2000&agent=alice")] {
        let whole = lines(&server, &format!("?after={after}{rest}")).await;
        let mut paged = String::new();
        loop {
            let reply = server.get(&format!("/api/history?after={after}{rest}&limit=300")).await;
            let (_, events) = reply.text().split_once("\"events\":[").expect("events");
            let (events, _) = events.rsplit_once("],\"floor\":").expect("the end");
            if events.is_empty() {
                break;
            }
            paged.push_str(&events.replace("},{\"seq\"", "}\n{\"seq\""));
            paged.push('\n');
            after = reply.json()["next_after"].as_i64().expect("a cursor");
        }
        assert!(paged.lines().count() > 200);
        assert_eq!(whole.text(), paged, "{rest}");
    }
    // From the start of the range without a limit; with one, its first lines; in either order.
    assert_eq!(lines(&server, "").await.text().lines().count(), 2_500);
    let first = lines(&server, "?limit=2").await;
    assert_eq!(first.text().lines().count(), 2);
    assert!(first.text().starts_with("{\"seq\":1,"));
    let last = lines(&server, "?limit=3000&order=desc").await;
    assert_eq!(last.text().lines().count(), 2_500);
    assert!(last.text().starts_with("{\"seq\":2500,"));
    assert_eq!(lines(&server, "?after=2500").await.body, b"");
}

#[tokio::test]
async fn what_comes_in_goes_out() {
    let server = Server::start().await;
    let members = [
        r#""n":1.50"#,
        r#""n":1e2,"m":1E+2,"o":-0,"p":-0.0,"q":0.1e-7"#,
        r#""n":123456789012345678901234567890.000"#,
        r#""t":"\u0041\/\"\\\b\f\n\r\t\u00e4\ud83d\ude00""#,
        "\"t\":\"\u{e4}\u{1f600}\u{2028}\u{7f}\u{feff}\"",
        r#""z":1,"a":2,"M":3,"":4,"\u0061b":5,"__proto__":6"#,
        r#""o":{"z":[],"a":{},"b":[1,[2,{"c":null}]]},"t":" spaces  stay ""#,
    ];
    for (index, members) in members.iter().enumerate() {
        let reply = server.append(format!("{{\"kind\":\"test.raw\",{members}}}")).await;
        assert_eq!(reply.status, 201, "{members}: {}", reply.text());
        let line = server.get(&format!("/api/history/{}", index + 1)).await;
        assert!(line.text().ends_with(&format!("\"kind\":\"test.raw\",{members}}}")), "{}", line.text());
    }
    // White space outside strings goes.
    let loose = "{ \"kind\" : \"test.raw\" ,\r\n\t\"o\" : { \"a\" : [ 1 , 2 ] } , \"t\" : \" x \" }";
    server.append(loose).await;
    let line = server.get(&format!("/api/history/{}", members.len() + 1)).await;
    assert!(line.text().ends_with(r#""kind":"test.raw","o":{"a":[1,2]},"t":" x "}"#), "{}", line.text());
    // A fixed kind has its fields in its order, what is absent is null.
    server.append(r#"{"at":1,"body":"\u0041","kind":"sent","to":"b","from":"a"}"#).await;
    let line = server.get(&format!("/api/history/{}", members.len() + 2)).await;
    let expected = r#""kind":"sent","from":"a","to":"b","body":"\u0041","at":1,"message_id":null}"#;
    assert!(line.text().ends_with(expected), "{}", line.text());
}

#[tokio::test]
async fn times_bound_a_range() {
    let now = Arc::new(AtomicI64::new(0));
    let clock = {
        let now = Arc::clone(&now);
        move || now.load(Ordering::SeqCst)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(folder.path().join("log.db"), Options::default().clock(clock)).expect("a log");
    let server = Server::serve(log, "127.0.0.1:0".parse().expect("an address")).await;
    // 2026-01-01T00:00:00Z and on: one event each second, the fourth by a clock that was set back.
    let base = 1_767_225_600_000;
    for offset in [0, 1_000, 2_000, 500, 3_000] {
        now.store(base + offset, Ordering::SeqCst);
        server.append_all(&notes(1)).await;
    }
    let table: [(&str, &[i64]); 12] = [
        ("?since=1767225600", &[1, 2, 3, 4, 5]),
        ("?since=1767225601", &[2, 3, 4, 5]),
        ("?since=2026-01-01T00:00:01Z", &[2, 3, 4, 5]),
        ("?since=2026-01-01T01:00:01%2B01:00", &[2, 3, 4, 5]),
        ("?since=2026-01-01T00:00:01.001Z", &[3, 4, 5]),
        ("?until=1767225602", &[1, 2]),
        ("?until=2026-01-01T00:00:02Z", &[1, 2]),
        ("?until=2026-01-01T00:00:02.001Z", &[1, 2, 3, 4]),
        ("?since=1767225601&until=1767225603", &[2, 3, 4]),
        ("?since=1767225603&until=1767225601", &[]),
        ("?since=1767225601&after=2&limit=2", &[3, 4]),
        ("?since=1767225600&order=desc&limit=2", &[5, 4]),
    ];
    for (query, expected) in table {
        assert_eq!(seqs(&server, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_page_is_pinned_to_a_snapshot() {
    let server = Server::start().await;
    server.append_all(&notes(10)).await;
    let state = server.read("/api/state").await;
    server.append_all(&notes(5)).await;
    let before = state["seq"].as_i64().expect("a seq") + 1;
    assert_eq!(seqs(&server, &format!("?before={before}&limit=3")).await, [8, 9, 10]);
}

#[tokio::test]
async fn one_event_is_there_or_not() {
    let server = Server::start().await;
    server.append_all(&notes(2)).await;
    let event = server.read("/api/history/2").await;
    assert_eq!((&event["seq"], &event["number"]), (&json!(2), &json!(2)));
    for seq in ["0", "3", "9007199254740991", "9007199254740992", "9223372036854775807"] {
        check_problem(&server.get(&format!("/api/history/{seq}")).await, 404, "not-found");
    }
    for seq in ["-1", "1.5", "x", "%FF", "1%00", "9223372036854775808", "%20"] {
        let reply = server.get(&format!("/api/history/{seq}")).await;
        assert!(matches!(reply.status, 400 | 404), "{seq}: {}", reply.status);
        check_problem(&reply, reply.status, "");
    }
    check_problem(&server.get("/api/history/").await, 404, "not-found");
}
