//! A thousand requests that are none, and what each has to be answered with.

use crate::dice::Dice;
use crate::nasty::bodies::{broken, shapeless};
use crate::targets;

/// What a case has to be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// One error of four hundred and something, in the one shape.
    Refused,
    /// The same, and what comes behind it is refused too.
    AllRefused,
    /// The same, or an end without a word: its sender left in the middle of a head, or speaks HTTP/2.
    RefusedOrCut,
    /// This many answers, each of them 200 or 201: odd, but good.
    Good(usize),
    /// Whatever it became, nothing but 2xx, 3xx and errors in the one shape.
    Anything,
}

pub struct Case {
    pub what: String,
    pub bytes: Vec<u8>,
    pub due: Due,
    /// The sender says at once that no more will come: its body is shorter than it said.
    pub ends_first: bool,
}

pub fn case(what: impl Into<String>, bytes: impl Into<Vec<u8>>, due: Due) -> Case {
    Case { what: what.into(), bytes: bytes.into(), due, ends_first: false }
}

/// An event that must never get onto the log.
pub const SMUGGLED: &str = r#"{"kind":"test.smuggled"}"#;
pub const HOST: &str = "Host: localhost\r\n";
pub const JSON: &str = "Content-Type: application/json\r\n";

pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\n{HOST}\r\n").into_bytes()
}

pub fn post(path: &str, method: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{HOST}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunked(path: &str, body: &[u8], piece: usize) -> Vec<u8> {
    let mut bytes =
        format!("POST {path} HTTP/1.1\r\n{HOST}{JSON}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for part in body.chunks(piece) {
        bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
        bytes.extend(part);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// Where a body of JSON is taken.
const WRITES: [(&str, &str); 9] = [
    ("POST", "/api/events"),
    ("POST", "/api/approvals"),
    ("POST", "/api/approvals/1/resolve"),
    ("POST", "/api/questions"),
    ("POST", "/api/questions/1/answer"),
    ("PUT", "/api/transients/worker"),
    ("POST", "/api/messages"),
    ("POST", "/api/agents/worker/recv"),
    ("POST", "/api/tokens"),
];

/// Bodies that are no JSON, everywhere; bodies that are no event, whole, in chunks, and as lines.
fn bodies() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, body) in broken().iter().enumerate() {
        let shown: String = String::from_utf8_lossy(body).chars().take(40).collect();
        for (method, path) in WRITES {
            // A command takes an empty body for an object without members, and so may go well.
            let due = if body.is_empty() && path != "/api/events" { Due::Anything } else { Due::Refused };
            let bytes = post(path, method, "application/json", body);
            cases.push(case(format!("{method} {path} {shown}"), bytes, due));
        }
        cases.push(case(
            format!("chunked {shown}"),
            chunked("/api/events", body, 1 + index * 97),
            Due::Refused,
        ));
    }
    for (index, body) in shapeless().iter().enumerate() {
        let (shown, body): (String, _) = (body.chars().take(60).collect(), body.as_bytes());
        let whole = post("/api/events", "POST", "application/json", body);
        cases.push(case(format!("event {shown}"), whole, Due::Refused));
        let chunks = chunked("/api/events", body, 1 + index * 31);
        cases.push(case(format!("event in chunks {shown}"), chunks, Due::Refused));
        let lines = [b"{\"kind\":\"test.smuggled\"}\n", body].concat();
        let lines = post("/api/events", "POST", "application/x-ndjson", &lines);
        cases.push(case(format!("event in lines {shown}"), lines, Due::Refused));
    }
    cases
}

/// Bodies whose length is not what was said.
fn lengths() -> Vec<Case> {
    let head =
        |length: &str| format!("POST /api/events HTTP/1.1\r\n{HOST}{JSON}Content-Length: {length}\r\n");
    let lengths = [
        "-1",
        "+5",
        "x",
        "",
        "0x10",
        "1e2",
        "5 5",
        "5,6",
        "24, 25",
        "18446744073709551616",
        "1.0",
        "٣",
        "\u{b2}",
    ];
    let mut cases: Vec<Case> = lengths
        .map(|length| {
            case(format!("length {length:?}"), format!("{}\r\n{SMUGGLED}", head(length)), Due::Refused)
        })
        .into();
    for more in [1, 1_000, 1_000_000] {
        let bytes = format!("{}\r\n{SMUGGLED}", head(&(SMUGGLED.len() + more).to_string()));
        cases.push(Case { ends_first: true, ..case(format!("{more} short"), bytes, Due::Refused) });
    }
    for length in ["1048577", "99999999", "9223372036854775807"] {
        cases.push(case(format!("a body of {length}"), format!("{}\r\n{{", head(length)), Due::Refused));
    }
    // What comes behind a body that is too short for its text is a request of its own, and no good one.
    cases.push(case("5 of a longer body", format!("{}\r\n{SMUGGLED}", head("5")), Due::AllRefused));
    cases
}

/// Two readings of where a body ends: what is meant to be hidden in it must not become a request.
fn smuggling() -> Vec<Case> {
    let inner = format!(
        "POST /api/events HTTP/1.1\r\n{HOST}{JSON}Content-Length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    );
    let head = |lines: &str| format!("POST /api/approvals HTTP/1.1\r\n{HOST}{JSON}{lines}\r\n");
    let lines = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\r\n Content-Length: 6\r\n",
        "Content-Length: 0\r\n\tX: folded\r\n",
    ];
    let mut cases: Vec<Case> = lines
        .iter()
        .map(|lines| case(format!("{lines:?}"), format!("{}0\r\n\r\n{inner}", head(lines)), Due::Refused))
        .collect();
    let chunked = head("Transfer-Encoding: chunked\r\n");
    let sizes = [
        "ZZ",
        "-1",
        "+5",
        "0x5",
        " ",
        "",
        "5;",
        "5;x=\"\n\"",
        "ffffffffffffffff",
        "10000000000000000",
        "5 5",
        "\u{b2}",
        "5\0",
        "1\n\n",
    ];
    for size in sizes {
        let bytes = format!("{chunked}{size}\r\nhello\r\n0\r\n\r\n");
        cases.push(Case { ends_first: true, ..case(format!("chunk of {size:?}"), bytes, Due::RefusedOrCut) });
    }
    for (what, body) in [
        ("without its end", "5\r\nhello0\r\n\r\n".to_owned()),
        ("longer than it says", "2\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("never the last", "5\r\nhello\r\n".to_owned()),
        ("an extension without an end", format!("5;{}", "x".repeat(100_000))),
        ("trailers without an end", format!("5\r\nhello\r\n0\r\n{}", "X: y\r\n".repeat(20_000))),
        ("a trailer that is none", "5\r\nhello\r\n0\r\nno colon\r\n\r\n".to_owned()),
    ] {
        let bytes = format!("{chunked}{body}");
        cases.push(Case { ends_first: true, ..case(format!("a chunk {what}"), bytes, Due::RefusedOrCut) });
    }
    let old = format!(
        "POST /api/approvals HTTP/1.0\r\n{HOST}{JSON}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    );
    cases.push(case("chunks in HTTP/1.0", old, Due::Refused));
    cases
}

/// Request lines and heads that are none.
fn heads() -> Vec<Case> {
    let lines: [&[u8]; 30] = [
        b"GET /\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET \r\n\r\n",
        b"hello\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n\r\n",
        b"EHLO localhost\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET\t/livez\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/0.9\r\n\r\n",
        b"GET /livez http/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1x\r\nHost: localhost\r\n\r\n",
        b"GET /livez FTP/1.1\r\nHost: localhost\r\n\r\n",
        b"G\xc3\x84T /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /li\0vez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET ? HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    let mut cases: Vec<Case> = lines
        .iter()
        .map(|bytes| case(format!("{:?}", String::from_utf8_lossy(bytes)), *bytes, Due::Refused))
        .collect();
    let headers: [&[u8]; 22] = [
        b"Host localhost",
        b": localhost",
        b"Host : localhost",
        b"Host: local\0host",
        b"Host: local\x7fhost",
        b"Host: local\rhost",
        b"Ho st: localhost",
        b"H\xf6st: localhost",
        b"Host: localhost\r\n folded",
        b"Host: localhost\r\n\tfolded: x",
        b"Host: localhost\r\nHost: localhost",
        b"Host: localhost\r\nHost: evil.example",
        b"Host: evil.example",
        b"Host: localhost:x",
        b"Host: localhost@evil.example",
        b"Host: \xff\xfe",
        b"Host:",
        b"X: y",
        b"Host: localhost\r\nX: \0",
        b"Host: localhost\r\n\0: x",
        b"Host: localhost\r\nX\xc3\xa4: x",
        b"Host: localhost\r\n=\"x\": ?(",
    ];
    for header in headers {
        let what = format!("header {:?}", String::from_utf8_lossy(header));
        cases.push(case(what, [b"GET /livez HTTP/1.1\r\n", header, b"\r\n\r\n"].concat(), Due::Refused));
    }
    for (what, line) in [
        ("a large header", format!("X: {}", "x".repeat(1 << 20))),
        ("a large name", format!("{}: x", "x".repeat(1 << 17))),
        ("200 kB in one header", format!("X: {}", "x".repeat(200_000))),
        ("200 headers", (0..200).map(|number| format!("X-{number}: y\r\n")).collect()),
        ("20,000 headers", (0..20_000).map(|number| format!("X-{number}: y\r\n")).collect()),
        ("many cookies", "Cookie: hivelog_0123456789abcdef=x\r\n".repeat(150)),
        ("a large credential", format!("Authorization: Bearer {}", "x".repeat(1 << 20))),
    ] {
        let bytes = format!("GET /livez HTTP/1.1\r\n{HOST}{}\r\n\r\n", line.trim_end());
        cases.push(case(what, bytes, Due::Refused));
    }
    cases.push(case("a large target", get(&format!("/{}", "x".repeat(1 << 20))), Due::Refused));
    cases.push(case("a target of 66 kB", get(&format!("/{}", "x".repeat(66_000))), Due::Refused));
    cases.push(case("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Due::RefusedOrCut));
    cases
}

/// Odd but good: it is answered, as often as it was asked.
fn good() -> Vec<Case> {
    let live = String::from_utf8(get("/livez")).unwrap();
    vec![
        case("two at once", live.repeat(2), Due::Good(2)),
        case("fifty at once", live.repeat(50), Due::Good(50)),
        case("the absolute form", get("http://localhost/livez"), Due::Good(1)),
        case("line ends before it", format!("\r\n\r\n{live}"), Due::Good(1)),
        case("bare line feeds", live.replace("\r\n", "\n"), Due::Good(1)),
        case("HTTP/1.0", live.replace("1.1", "1.0"), Due::Good(1)),
        case("a header without a value", live.replace("\r\n\r\n", "\r\nX:\r\n\r\n"), Due::Good(1)),
        case("a header of other letters", live.replace("Host", "hOsT"), Due::Good(1)),
        case("half a head", live.trim_end(), Due::RefusedOrCut).ended(),
        case("nothing", "", Due::RefusedOrCut).ended(),
    ]
}

impl Case {
    fn ended(mut self) -> Self {
        self.ends_first = true;
        self
    }
}

/// Good requests with something done to their bytes.
fn mutated(dice: &mut Dice, count: usize) -> Vec<Case> {
    let events = post(
        "/api/events",
        "POST",
        "application/json",
        br#"{"kind":"test.mutated","x":[1,"a\u0041",{"y":null}]}"#,
    );
    let lines = post(
        "/api/events",
        "POST",
        "application/x-ndjson",
        b"{\"kind\":\"test.mutated\"}\n{\"kind\":\"test.mutated\"}\n",
    );
    let originals = [
        events,
        lines,
        chunked("/api/events", br#"{"kind":"test.mutated","text":"in three pieces"}"#, 20),
        get("/api/history?after=0&limit=5&kind=test.good&order=desc"),
        get("/api/state"),
        get("/api/activity?buckets=3"),
    ];
    let odd = [0, b'\r', b'\n', b' ', b':', b'%', b'"', b'{', b'[', b',', b'\\', b'9', 0x7f, 0x80, 0xff];
    (0..count)
        .map(|number| {
            let mut bytes = originals[dice.below(originals.len() as u64) as usize].clone();
            for _ in 0..dice.between(1, 3) {
                let at = dice.below(bytes.len() as u64) as usize;
                let byte = odd[dice.below(odd.len() as u64) as usize];
                match dice.below(5) {
                    0 => bytes[at] = byte,
                    1 => bytes[at] ^= 1 << dice.below(8),
                    2 => bytes.insert(at, byte),
                    3 => drop(bytes.remove(at)),
                    _ => {
                        let end = (at + dice.between(1, 30) as usize).min(bytes.len());
                        let again = bytes[at..end].to_vec();
                        bytes.splice(at..at, again);
                    }
                }
            }
            let what = format!("mutant {number} {:?}", String::from_utf8_lossy(&bytes));
            case(what, bytes, Due::Anything).ended()
        })
        .collect()
}

pub fn all(dice: &mut Dice, mutants: usize) -> Vec<Case> {
    let mut cases = bodies();
    cases.extend(lengths());
    cases.extend(smuggling());
    cases.extend(heads());
    cases.extend(targets::targets());
    cases.extend(good());
    cases.extend(mutated(dice, mutants));
    cases
}
