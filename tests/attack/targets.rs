//! Requests whose targets lead nowhere, or whose queries ask nothing.

use crate::requests::{Case, Due, HOST, SMUGGLED, case, get, post};

/// Targets that lead nowhere, and queries that ask nothing.
pub fn targets() -> Vec<Case> {
    let paths = [
        "//",
        "/..",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api",
        "/api/",
        "/api/events/",
        "/api//state",
        "/API/state",
        "/api/history/%ff",
        "/api/history/%zz",
        "/api/history/%",
        "/api/history/-1",
        "/api/history/1.5",
        "/api/history/9223372036854775808",
        "/api/history/1%00",
        "/api/history/0",
        "/api/history/x",
        "/api/approvals/%ff",
        "/api/approvals/0",
        "/api/approvals/-1",
        "/api/questions/9007199254740992",
        "/api/questions/%20",
        "/%",
        "/%zz",
        "/%ff%fe",
        "/%00",
        "/index.html%00",
        "/main.js/",
        "/kinds/../main.js",
        "/api/state;x=1",
        "/api/state%3fat=1",
    ];
    let mut cases: Vec<Case> = paths.map(|path| case(path, get(path), Due::Refused)).into();
    let queries = [
        "limit=0",
        "limit=-1",
        "limit=1e3",
        "limit=+1",
        "limit=%2b1",
        "limit=10001",
        "limit=99999999999999999999",
        "limit=",
        "limit=1&limit=1",
        "after=-1",
        "after=1.5",
        "after=",
        "after=9223372036854775808",
        "after=%00",
        "after=1&after=2",
        "after=0123456789abcdef-1",
        "before=x",
        "order=up",
        "order=",
        "q=",
        "q=%20",
        "q=%00",
        "q=*",
        "q=%ff",
        "q=a%ff",
        "since=x",
        "since=-1",
        "since=99999999999999999999",
        "since=2025-13-01T00:00:00Z",
        "until=tomorrow",
        "wait=61",
        "wait=-1",
        "wait=1m",
        "wait=1.5",
        "wait=",
        "x=1",
        "LIMIT=1",
        "kind=",
        "kind=Sent",
        "kind=a%0ab",
        "kind=%ff",
        "agent=",
        "agent=A",
        "agent=%00",
        "agent=a%20b",
        "q=%",
        "q=a%z",
        "q=a%zz",
        "kind=sent%",
        "limit[]=1",
        "limit=1;after=0",
        "=",
        "&=&",
        "%00=%00",
    ];
    for query in queries {
        for path in
            ["/api/history", "/api/stream", "/api/state", "/api/activity", "/api/approvals", "/api/agents"]
        {
            let bytes = get(&format!("{path}?{query}"));
            // Each asks something else, and refuses what the others are asked; `after` of a stream takes a cursor.
            let is_good = path == "/api/stream" && query == "after=0123456789abcdef-1";
            if !is_good {
                cases.push(case(format!("{path}?{query}"), bytes, Due::Refused));
            }
        }
    }
    let long = format!("/api/history?q={}", "w".repeat(1_001));
    let many: String = (0..65).map(|number| format!("kind=a.k{number}&")).collect();
    let words: String = (0..17).map(|number| format!("w{number}+")).collect();
    for target in
        [long, format!("/api/history?{}", many.trim_end_matches('&')), format!("/api/history?q={words}")]
    {
        cases.push(case(target.chars().take(60).collect::<String>(), get(&target), Due::Refused));
    }
    let ids: [&[u8]; 16] = [
        b"",
        b"-1",
        b"+1",
        b"1.5",
        b"x",
        b"0x1",
        b"9223372036854775808",
        b"0123456789abcdef",
        b"0123456789abcdef-",
        b"0123456789abcdef--1",
        b"0123456789ABCDEF-1",
        b"0123456789abcdeg-1",
        b"0123456789abcdef-1 2",
        b"\xff",
        b"1,2",
        b"0123456789abcdef-9223372036854775808",
    ];
    for id in ids {
        let what = format!("Last-Event-ID {:?}", String::from_utf8_lossy(id));
        let head = format!("GET /api/stream HTTP/1.1\r\n{HOST}Last-Event-ID: ");
        cases.push(case(what, [head.as_bytes(), id, b"\r\n\r\n"].concat(), Due::Refused));
    }
    for method in ["DELETE", "PATCH", "PUT", "FOO", "TRACE", "get"] {
        let bytes = format!("{method} /api/history HTTP/1.1\r\n{HOST}\r\n");
        cases.push(case(format!("{method} /api/history"), bytes, Due::Refused));
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "json",
        "",
        "\u{e4}",
    ] {
        let bytes = post("/api/events", "POST", kind, SMUGGLED.as_bytes());
        cases.push(case(format!("content type {kind:?}"), bytes, Due::Refused));
    }
    cases
}
