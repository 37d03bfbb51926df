//! Bodies that are no events, by what they are answered with.

pub const SENT: &str = r#""kind":"sent","from":"a","to":"b","body":"","at":1"#;
const APPROVAL: &str = r#""kind":"approval_added","agent":"a","approval_kind":"spawn""#;
const QUESTION: &str =
    r#""kind":"question_added","id":1,"asker":"a","question":"?","multi":false,"asked_at":1"#;
pub const TRANSIENT: &str = r#""kind":"transient_set","name":"a","since_unix":1"#;

/// Not JSON, or not UTF-8: 400.
pub fn broken() -> Vec<Vec<u8>> {
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
pub fn shapeless() -> Vec<String> {
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
