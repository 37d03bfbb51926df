//! Requests that are none: one error in one shape within a second, the next good one works, memory stays.

use crate::dice::Dice;
use crate::raw::{Exchange, SECOND, call, exchange};
use crate::requests::{Case, Due, SMUGGLED, all};
use crate::server::{Server, alone, is_full};

/// How much the server may grow over the second half of it all.
const GROWTH_KIB: u64 = 8 << 10;
const LOOKS: usize = 3;

#[test]
fn a_thousand_requests_that_are_none_leave_no_trace() {
    let _alone = alone();
    let (_, mut dice) = Dice::announced("malformed");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("log.db"), &["--no-auth"]);
    let mut cases = all(&mut dice, if is_full() { 4_000 } else { 300 });
    assert!(cases.len() >= 1_000, "{} cases", cases.len());
    // In another order each time: a case may spoil what only some other one looks at.
    for index in (1..cases.len()).rev() {
        cases.swap(index, dice.below(index as u64 + 1) as usize);
    }
    let (mut slowest, mut memory) = (std::time::Duration::ZERO, 0);
    let mut refused = 0;
    for (index, case) in cases.iter().enumerate() {
        let before = head(&server);
        let seen = told(&server, case);
        refused += usize::from(seen.answers.first().is_some_and(|answer| answer.status >= 400));
        slowest = slowest.max(seen.took);
        let after = head(&server);
        if !matches!(case.due, Due::Anything) {
            assert_eq!(after, before, "{} got onto the log", case.what);
        }
        let good = call(server.addr, "POST", "/api/events", r#"{"kind":"test.good"}"#);
        let seq = good.json()["seq"].as_i64().unwrap_or_else(|| panic!("after {}: {good:?}", case.what));
        // Who says that no more will come may be cut off before the answer, and yet be heard.
        assert!(seq == after + 1 || (seq > after && case.due == Due::Anything), "{seq} after {}", case.what);
        if index == cases.len() / 2 {
            memory = server.memory_kib("VmRSS");
        }
    }
    let grown = server.memory_kib("VmRSS").saturating_sub(memory);
    assert!(grown < GROWTH_KIB, "{grown} KiB more, from {memory}");
    let smuggled = call(server.addr, "GET", "/api/history?kind=test.smuggled", "").json();
    assert_eq!(smuggled["events"].as_array().map(Vec::len), Some(0), "{smuggled}");
    assert!(refused >= 1_000 && SMUGGLED.contains("test.smuggled"), "{refused}");
    println!(
        "{} requests, {refused} refused, the slowest in {slowest:?}; {grown} KiB more in the second half",
        cases.len()
    );
}

fn head(server: &Server) -> i64 {
    call(server.addr, "GET", "/readyz", "").json()["seq"].as_i64().expect("a seq")
}

/// What is asked is what the case costs, not what else this machine does: one quiet look in some is enough.
fn told(server: &Server, case: &Case) -> Exchange {
    let due = if let Due::Good(count) = case.due { count } else { 1 };
    for _ in 0..LOOKS {
        let seen = exchange(server.addr, &case.bytes, case.ends_first, due);
        check(case, &seen);
        if seen.took < SECOND {
            return seen;
        }
    }
    panic!("{}: more than {SECOND:?} in each of {LOOKS} looks", case.what);
}

#[track_caller]
fn check(case: &Case, seen: &Exchange) {
    let Case { what, due, .. } = case;
    assert!(seen.left.is_empty() || *due == Due::Anything, "{what}: {seen:?}");
    let expected = match due {
        Due::Refused => 1..=1,
        Due::AllRefused => 1..=2,
        Due::RefusedOrCut => 0..=1,
        Due::Good(count) => *count..=*count,
        Due::Anything => 0..=usize::MAX,
    };
    assert!(expected.contains(&seen.answers.len()), "{what}: {} answers: {seen:?}", seen.answers.len());
    for answer in &seen.answers {
        match due {
            Due::Good(_) => assert!(matches!(answer.status, 200 | 201), "{what}: {answer:?}"),
            Due::Refused | Due::AllRefused | Due::RefusedOrCut => {
                assert!((400..500).contains(&answer.status), "{what}: {answer:?}")
            }
            Due::Anything => assert!((200..500).contains(&answer.status), "{what}: {answer:?}"),
        }
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}: {answer:?}");
            assert!(answer.body.len() < 4 << 10, "{what}: an answer of {} bytes", answer.body.len());
            let json = answer.json();
            assert_eq!(json["status"], answer.status, "{what}: {json}");
            let kind = json["type"].as_str().unwrap_or_default();
            assert!(kind.starts_with("urn:hivelog:") && json["title"].is_string(), "{what}: {json}");
        }
    }
}
