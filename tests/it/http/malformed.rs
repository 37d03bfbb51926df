//! Bodies that are no events: each gets one answer in one shape, and leaves no trace.

use serde_json::json;

use crate::client::{BEFORE_A_TIMEOUT, within};
use crate::nasty::bodies::{SENT, TRANSIENT, broken, shapeless};
use crate::server::{JSON, NDJSON, Server, check_problem};

/// One refusal before more of the body is waited for, the head where it was.
async fn check_refused(server: &Server, kind: (&str, &str), body: &[u8], status: u16) {
    let shown: String = String::from_utf8_lossy(body).chars().take(100).collect();
    let reply = within(BEFORE_A_TIMEOUT, &shown, server.post(&[kind], body)).await;
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
