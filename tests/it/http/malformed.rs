//! Bodies that are no events: each gets one answer in one shape, and leaves no trace.

use std::time::Duration;

use serde_json::json;

use crate::client::within;
use crate::server::{JSON, NDJSON, Server, check_problem};

const SENT: &str = r#""kind":"sent","from":"a","to":"b","body":"","at":1"#;
const APPROVAL: &str = r#""kind":"approval_added","agent":"a","approval_kind":"spawn""#;
const QUESTION: &str =
    r#""kind":"question_added","id":1,"asker":"a","question":"?","multi":false,"asked_at":1"#;
const TRANSIENT: &str = r#""kind":"transient_set","name":"a","since_unix":1"#;

/// Not JSON, or not UTF-8: 400.
fn broken() -> Vec<Vec<u8>> {
    let texts: Vec<String> = vec![
        String::new(),
        " ".into(),
        "{".into(),
        "[".into(),
        "[{}".into(),
        "}".into(),
        "nul".into(),
        "{\"kind\"}".into(),
        "{\"kind\":}".into(),
        "{\"kind\":\"test.a\",}".into(),
        "{'kind':'test.a'}".into(),
        "{kind:\"test.a\"}".into(),
        "{\"kind\":\"test.a\"} x".into(),
        "{\"kind\":\"test.a\"}{\"kind\":\"test.a\"}".into(),
        "[{\"kind\":\"test.a\"},]".into(),
        "[{\"kind\":\"test.a\"} {\"kind\":\"test.a\"}]".into(),
        "{\"kind\":\"test.a\" /* why */}".into(),
        "{\"kind\":\"test.a\",\"x\":NaN}".into(),
        "{\"kind\":\"test.a\",\"x\":Infinity}".into(),
        "{\"kind\":\"test.a\",\"x\":+1}".into(),
        "{\"kind\":\"test.a\",\"x\":01}".into(),
        "{\"kind\":\"test.a\",\"x\":1.}".into(),
        "{\"kind\":\"test.a\",\"x\":.5}".into(),
        "{\"kind\":\"test.a\",\"x\":0x10}".into(),
        "{\"kind\":\"test.a\",\"x\":\"\\q\"}".into(),
        "{\"kind\":\"test.a\",\"x\":\"line\nbreak\"}".into(),
        "{\"kind\":\"test.a\",\"x\":\"\0\"}".into(),
        "\0{\"kind\":\"test.a\"}".into(),
        "\u{feff}{\"kind\":\"test.a\"}".into(),
        "\u{a0}{\"kind\":\"test.a\"}".into(),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        format!("{{\"kind\":\"test.a\",\"x\":{}", "[".repeat(100_000)),
        "x=1&y=2".into(),
    ];
    let mut bodies: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    bodies.push(b"{\"kind\":\"test.a\",\"x\":\"\xff\"}".to_vec());
    bodies.push(b"{\"kind\":\"test.a\",\"x\":\"\xed\xa0\x80\"}".to_vec());
    bodies.push(b"\xff\xfe{\0}\0".to_vec());
    bodies.push(vec![0; 1 << 20]);
    bodies
}

/// JSON, but no event: 422.
fn shapeless() -> Vec<String> {
    let nested =
        |depth: usize| format!("{{\"kind\":\"test.a\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let many_fields: String = (0..20_000).map(|number| format!(",\"f{}\":1", number % 19_999)).collect();
    let mut bodies: Vec<String> = [
        "null",
        "true",
        "1",
        "\"test.a\"",
        "{}",
        "[null]",
        "[1]",
        "[[]]",
        "[{}]",
        r#"{"body":"no kind"}"#,
        r#"{"kind":null}"#,
        r#"{"kind":7}"#,
        r#"{"kind":["test.a"]}"#,
        r#"{"kind":"test.a","kind":"test.a"}"#,
        r#"{"kind":"test.a","x":1,"x":1}"#,
        r#"{"kind":"test.a","x":1,"\u0078":1}"#,
        r#"{"kind":"test.a","x":{"y":1,"y":2}}"#,
        r#"{"kind":"test.a","x":[{"y":{"z":1,"z":1}}]}"#,
        r#"{"kind":"test.a","x":1e999}"#,
        r#"{"kind":"test.a","x":[{"y":-1e999}]}"#,
        r#"{"kind":"test.a","x":"\ud800"}"#,
        r#"{"kind":"test.a","x":"\udc00\ud800"}"#,
        r#"{"kind":"test.a","x":{"\ud83d":1}}"#,
        r#"{"kind":"test.a","seq":1}"#,
        r#"{"kind":"test.a","recorded_at_ms":1}"#,
        r#"{"kind":"test.a","key":7}"#,
        r#"{"kind":"hivelog.redacted","redacted_seq":1,"by":"a"}"#,
        r#"{"kind":"hivelog.anything"}"#,
        r#"{"kind":"typo"}"#,
        r#"{"kind":"Test.a"}"#,
        r#"{"kind":"test..a"}"#,
        r#"{"kind":".a"}"#,
        r#"{"kind":"test."}"#,
        r#"{"kind":"test.1"}"#,
        r#"{"kind":"test.a\n"}"#,
        r#"{"kind":"test.a\r\ndata: x"}"#,
        r#"{"kind":"test.\u0000"}"#,
        r#"{"kind":""}"#,
    ]
    .map(str::to_owned)
    .to_vec();
    bodies.extend([
        nested(64),
        nested(100_000),
        format!("{{\"kind\":\"test.a\"{many_fields}}}"),
        format!("{{\"kind\":\"test.{}\"}}", "a".repeat(60)),
        format!("{{{SENT},\"extra\":1}}"),
        format!("{{{SENT},\"message_id\":0}}"),
        format!("{{{SENT},\"message_id\":9007199254740992}}"),
        format!("{{{SENT},\"message_id\":\"1\"}}"),
        r#"{"kind":"sent","from":"a","to":"b","at":1}"#.into(),
        r#"{"kind":"sent","from":"a","to":"b","body":null,"at":1}"#.into(),
        r#"{"kind":"sent","from":"a","to":"b","body":"\ud800","at":1}"#.into(),
    ]);
    let names = ["", "A", "-a", ".a", "a b", "a/b", "\u{e4}", "a\\n", &"a".repeat(65)].map(str::to_owned);
    bodies.extend(
        names.iter().map(|name| format!(r#"{{"kind":"sent","from":"{name}","to":"b","body":"","at":1}}"#)),
    );
    let integers =
        ["-1", "1.5", "1.0", "1e3", "9007199254740992", "9223372036854775808", "1e999", "null", "true"];
    bodies.extend(integers.map(|number| format!("{{{APPROVAL},\"id\":{number}}}")));
    bodies.extend(integers.map(|at| format!(r#"{{"kind":"sent","from":"a","to":"b","body":"","at":{at}}}"#)));
    bodies.extend([
        format!("{{{APPROVAL},\"id\":0}}"),
        format!("{{{APPROVAL},\"id\":1,\"by\":\"a\"}}"),
        r#"{"kind":"approval_added","id":1,"agent":"a","approval_kind":""}"#.into(),
        r#"{"kind":"approval_added","id":1,"agent":"a","approval_kind":"two words"}"#.into(),
        r#"{"kind":"approval_resolved","id":1,"agent":"a","approval_kind":"spawn","status":"pending","resolved_at":1}"#.into(),
        format!("{{{QUESTION}}}"),
        format!("{{{QUESTION},\"options\":\"yes\"}}"),
        format!("{{{QUESTION},\"options\":[1]}}"),
        format!("{{{QUESTION},\"options\":[],\"deadline_at\":-1}}"),
        format!("{{{TRANSIENT}}}"),
        format!("{{{TRANSIENT},\"transient_kind\":\"dancing\"}}"),
        format!("{{{TRANSIENT},\"transient_kind\":\"spawning\",\"expires_at\":\"soon\"}}"),
        r#"{"kind":"transient_cleared","name":"a","reason":"bored"}"#.into(),
    ]);
    bodies
}

/// One refusal within a second, the head where it was.
async fn check_refused(server: &Server, kind: (&str, &str), body: &[u8], status: u16) {
    let shown: String = String::from_utf8_lossy(body).chars().take(100).collect();
    let reply = within(Duration::from_secs(1), &shown, server.post(&[kind], body)).await;
    assert_eq!(reply.status, status, "{shown}: {}", String::from_utf8_lossy(&reply.body));
    check_problem(&reply, status, "");
    assert!(reply.body.len() < 4 << 10, "{shown}: an answer of {} bytes", reply.body.len());
}

#[tokio::test]
async fn every_bad_body_is_refused_and_leaves_no_trace() {
    let server = Server::start().await;
    let (broken, shapeless) = (broken(), shapeless());
    assert!(broken.len() + shapeless.len() >= 60);
    for (index, (body, status)) in broken
        .iter()
        .map(|body| (body.as_slice(), 400))
        .chain(shapeless.iter().map(|body| (body.as_bytes(), 422)))
        .enumerate()
    {
        check_refused(&server, JSON, body, status).await;
        // Inside a batch it takes the good ones before it along.
        if status == 422 {
            let batch = [b"[{\"kind\":\"test.a\"},".as_slice(), body, b"]"].concat();
            check_refused(&server, JSON, &batch, status).await;
            let lines = [b"{\"kind\":\"test.a\"}\n".as_slice(), body].concat();
            check_refused(&server, NDJSON, &lines, status).await;
        }
        // The next good request works.
        let seq = i64::try_from(index).expect("few") + 1;
        let reply = server.append(r#"{"kind":"test.good"}"#).await;
        assert_eq!((reply.status, reply.json()), (201, json!({"seq": seq})));
    }
}

#[tokio::test]
async fn an_error_does_not_give_back_what_was_sent() {
    let server = Server::start().await;
    let long = "\\u0001".repeat(100_000);
    let bodies = [
        format!("{{\"kind\":\"{long}\"}}"),
        format!("{{\"kind\":\"test.a\",\"{long}\":1,\"{long}\":2}}").chars().take(1 << 20).collect(),
        format!("{{{SENT},\"{long}\":1}}"),
        format!("{{\"kind\":\"test.a\",\"{long}\":1e999}}"),
        format!("{{\"kind\":\"test.a\",\"x\":{{\"{}\":1,\"{}\":1}}}}", &long[..400_002], &long[..400_002]),
        format!("{{{TRANSIENT},\"transient_kind\":\"{long}\"}}"),
        format!("{{\"kind\":\"test.a\",\"key\":\"{long}\"}}"),
        format!("{{\"kind\":\"sent\",\"from\":\"{long}\",\"to\":\"b\",\"body\":\"\",\"at\":1}}"),
    ];
    for body in bodies {
        let reply = server.append(&body).await;
        let shown: String = body.chars().take(60).collect();
        assert!(matches!(reply.status, 400 | 422), "{shown}: {}", reply.status);
        assert!(reply.body.len() < 4 << 10, "{shown}: an answer of {} bytes", reply.body.len());
    }
    let path = format!("/api/history?{}=1", "%01".repeat(10_000));
    let reply = server.get(&path).await;
    check_problem(&reply, 400, "query");
    assert!(reply.body.len() < 4 << 10, "an answer of {} bytes", reply.body.len());
}

#[tokio::test]
async fn a_line_of_other_white_space_is_no_empty_line() {
    let server = Server::start().await;
    for blank in ["\u{a0}", "\u{b}", "\u{2003}", "\u{85}"] {
        let lines = format!("{{\"kind\":\"test.a\"}}\n{blank}\n{{\"kind\":\"test.a\"}}\n");
        check_refused(&server, NDJSON, lines.as_bytes(), 400).await;
    }
    assert_eq!(server.head().await, 0);
}

#[tokio::test]
async fn what_is_odd_but_good_is_taken() {
    let server = Server::start().await;
    let nested = format!("{{\"kind\":\"test.a\",\"x\":{}{}}}", "[".repeat(63), "]".repeat(63));
    let long = format!("{{\"kind\":\"test.{}\"}}", "a".repeat(59));
    let bodies = [
        nested.as_str(),
        &long,
        r#"{"kind":"test.a","x":"\u0000\ud83d\ude00\u2028"}"#,
        r#"{"kind":"test.a","x":123456789012345678901234567890}"#,
        r#"{"\u006bind":"test.a"}"#,
        r#"{"kind":"test.a","":1}"#,
        r#"{"kind":"a.b_9.c"}"#,
        r#"{"kind":"sent","from":"a","to":"b","body":"\u0000","at":0}"#,
        r#"{"kind":"sent","from":"a","to":"b","body":"","at":9007199254740991,"message_id":9007199254740991}"#,
        r#"{"kind":"approval_added","agent":"a","approval_kind":"spawn","id":9007199254740991}"#,
    ];
    for (index, body) in bodies.iter().enumerate() {
        let reply = server.append(body).await;
        assert_eq!(reply.status, 201, "{body}: {}", reply.text());
        assert_eq!(reply.json()["seq"], index + 1);
    }
}
