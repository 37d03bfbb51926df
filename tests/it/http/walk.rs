//! Cursors of history: every walk over a log sees each event that matches once, in order.

use serde_json::{Value, json};

use crate::server::Server;

const EVENTS: i64 = 3_000;

/// The event at a seq: kinds and agents in coprime rhythms, so that every pair occurs, and a stretch
/// in which nothing matches the rare ones.
fn event(seq: i64) -> Value {
    let agent = ["alice", "bob", "carol", "dave", "erin"][usize::try_from(seq % 5).expect("small")];
    let kind = match seq {
        1_000..2_000 => "test.calm",
        _ if seq % 7 == 0 => "test.rare",
        _ if seq % 3 == 0 => "test.calm",
        _ => return json!({"kind": "sent", "from": agent, "to": "bob", "body": "hi", "at": seq}),
    };
    json!({"kind": kind, "agent": agent, "number": seq})
}

fn concerns(event: &Value, agent: &str) -> bool {
    ["from", "to", "agent"].iter().any(|field| event[field] == agent)
}

/// What a filter is in the query and in the model.
#[derive(Clone, Copy, Debug)]
struct Case {
    kinds: &'static [&'static str],
    agents: &'static [&'static str],
}

impl Case {
    fn query(self) -> String {
        let kinds = self.kinds.iter().map(|kind| format!("&kind={kind}"));
        kinds.chain(self.agents.iter().map(|agent| format!("&agent={agent}"))).collect()
    }

    fn wants(self, seq: i64) -> bool {
        let event = event(seq);
        (self.kinds.is_empty() || self.kinds.iter().any(|kind| event["kind"] == *kind))
            && (self.agents.is_empty() || self.agents.iter().any(|agent| concerns(&event, agent)))
    }
}

const CASES: [Case; 7] = [
    Case { kinds: &[], agents: &[] },
    Case { kinds: &["test.rare"], agents: &[] },
    Case { kinds: &["sent"], agents: &[] },
    Case { kinds: &["sent", "test.rare"], agents: &[] },
    Case { kinds: &[], agents: &["carol"] },
    Case { kinds: &["test.rare", "test.calm"], agents: &["alice", "erin"] },
    Case { kinds: &["test.never"], agents: &[] },
];

/// One page: its seqs and its cursors.
async fn check_page(server: &Server, query: &str, limit: usize) -> (Vec<i64>, i64, i64) {
    let page = server.read(&format!("/api/history?limit={limit}{query}")).await;
    assert_eq!(page["seq"], EVENTS);
    let events = page["events"].as_array().expect("events");
    assert!(events.len() <= limit, "{query}: {} events on a page of {limit}", events.len());
    for found in events {
        let seq = found["seq"].as_i64().expect("a seq");
        assert_eq!(found["kind"], event(seq)["kind"], "{query}");
    }
    let seqs = events.iter().filter_map(|event| event["seq"].as_i64()).collect();
    let cursor = |name: &str| page[name].as_i64().unwrap_or_else(|| panic!("{query}: no {name}"));
    (seqs, cursor("next_after"), cursor("next_before"))
}

/// Walks up by `next_after` from `after`, or down by `next_before` from `before`.
async fn walk(server: &Server, case: Case, limit: usize, order: &str, mut cursor: i64) -> Vec<i64> {
    let (up, mut seen) = (order.ends_with("asc"), Vec::new());
    for _ in 0..EVENTS {
        let bound = if up { "after" } else { "before" };
        let query = format!("&{bound}={cursor}{order}{}", case.query());
        let (mut seqs, next_after, next_before) = check_page(server, &query, limit).await;
        // Without `after` the newest come oldest first: walked down page by page.
        if !up && order.is_empty() {
            seqs.reverse();
        }
        let full = seqs.len() == limit;
        seen.extend(seqs);
        let next = if up { next_after } else { next_before };
        assert!(if up { next >= cursor } else { next <= cursor }, "{query}: the cursor went back to {next}");
        if next == cursor || (!full && case.kinds.is_empty() && case.agents.is_empty()) {
            break;
        }
        cursor = next;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_walk_sees_each_event_once() {
    let server = Server::start().await;
    let events: Vec<Value> = (1..=EVENTS).map(event).collect();
    server.append_all(&events).await;
    for case in CASES {
        let up: Vec<i64> = (1..=EVENTS).filter(|seq| case.wants(*seq)).collect();
        let down: Vec<i64> = up.iter().rev().copied().collect();
        for limit in [13, 200, 999, 1_000, 10_000] {
            assert_eq!(walk(&server, case, limit, "&order=asc", 0).await, up, "{case:?} {limit} up");
            let high = EVENTS + 1;
            assert_eq!(walk(&server, case, limit, "&order=desc", high).await, down, "{case:?} {limit} desc");
            assert_eq!(walk(&server, case, limit, "", high).await, down, "{case:?} {limit} newest");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_one_meet_without_gap() {
    let server = Server::start().await;
    let events: Vec<Value> = (1..=EVENTS).map(event).collect();
    server.append_all(&events).await;
    let all = CASES[0];
    assert_eq!(walk(&server, all, 1, "&order=asc", EVENTS - 40).await.len(), 40);
    let down: Vec<i64> = (1..=40).rev().collect();
    assert_eq!(walk(&server, all, 1, "&order=desc", 41).await, down);
    assert_eq!(walk(&server, all, 1, "", 41).await, down);
}

#[tokio::test]
async fn both_cursors_of_a_page_lead_away_from_it() {
    let server = Server::start().await;
    let events: Vec<Value> = (1..=EVENTS).map(event).collect();
    server.append_all(&events).await;
    // What a dashboard shows on loading: the newest, oldest first; then it turns back and forth.
    let (newest, next_after, next_before) = check_page(&server, "", 100).await;
    assert_eq!(newest, (EVENTS - 99..=EVENTS).collect::<Vec<_>>());
    assert_eq!((next_after, next_before), (EVENTS, EVENTS - 99));
    let (older, next_after, next_before) = check_page(&server, &format!("&before={next_before}"), 100).await;
    assert_eq!(older, (EVENTS - 199..EVENTS - 99).collect::<Vec<_>>());
    assert_eq!((next_after, next_before), (EVENTS - 100, EVENTS - 199));
    let (again, ..) = check_page(&server, &format!("&after={next_after}"), 100).await;
    assert_eq!(again, newest);
    // Between two bounds.
    let (between, next_after, next_before) = check_page(&server, "&after=10&before=15", 100).await;
    assert_eq!(between, [11, 12, 13, 14]);
    assert_eq!((next_after, next_before), (14, 11));
    let (empty, next_after, _) = check_page(&server, "&after=10&before=11", 100).await;
    assert_eq!((empty, next_after), (vec![], 10));
    // Where nothing matches the cursors move all the same.
    let (none, next_after, next_before) = check_page(&server, "&kind=test.never&after=0", 100).await;
    assert_eq!((none, next_after, next_before), (vec![], EVENTS, 1));
}
