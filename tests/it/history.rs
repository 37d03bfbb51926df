//! P1, P9: ranges of the log, their bounds, their cursors and their limits.

use hivelog::{Activity, Filter, Log, Order, Page, Range, Refusal};

use crate::{append, note, refusal, seq};

/// Asks for a page and gives its seqs.
fn check_page(log: &Log, range: &Range, due: &[i64]) -> Page {
    let page = log.range(range).unwrap();
    assert_eq!(page.rows().map(|row| row.seq().get()).collect::<Vec<_>>(), due, "{range:?}");
    assert_eq!((page.len(), page.is_empty()), (due.len(), due.is_empty()));
    page
}

fn of_notes(count: i64) -> Log {
    let log = Log::temp().unwrap();
    (1..=count).for_each(|n| {
        note(&log, n);
    });
    log
}

#[test]
fn the_page_of_loading_is_the_newest_oldest_first() {
    let log = of_notes(9);
    let page = check_page(&log, &Range { limit: 3, ..Range::default() }, &[7, 8, 9]);
    assert_eq!((page.next_after, page.next_before, page.seq), (9, 7, seq(9)));
    let pinned = Range { limit: 3, before: Some(7), ..Range::default() };
    let page = check_page(&log, &pinned, &[4, 5, 6]);
    assert_eq!((page.next_after, page.next_before), (6, 4));
}

#[test]
fn after_goes_forward_and_desc_goes_back() {
    let log = of_notes(9);
    let page = check_page(&log, &Range { after: Some(2), limit: 3, ..Range::default() }, &[3, 4, 5]);
    assert_eq!((page.next_after, page.next_before), (5, 3));
    let desc = Range { after: Some(2), limit: 3, order: Order::Desc, ..Range::default() };
    let page = check_page(&log, &desc, &[9, 8, 7]);
    assert_eq!((page.next_after, page.next_before), (9, 7));
    check_page(&log, &Range { after: Some(9), ..Range::default() }, &[]);
    check_page(&log, &Range { after: Some(3), before: Some(6), ..Range::default() }, &[4, 5]);
    check_page(&log, &Range { after: Some(5), before: Some(6), ..Range::default() }, &[]);
}

#[test]
fn cursors_move_also_when_nothing_matches() {
    let log = of_notes(9);
    let filter = Filter::default().kind("sent").unwrap();
    let page = check_page(&log, &Range { after: Some(0), filter: filter.clone(), ..Range::default() }, &[]);
    assert_eq!(page.next_after, 9);
    let page = check_page(&log, &Range { filter, ..Range::default() }, &[]);
    assert_eq!(page.next_before, 1);
}

#[test]
fn bounds_far_out_are_bounds_all_the_same() {
    let log = of_notes(3);
    for (after, before, due) in [
        (Some(i64::MIN), Some(i64::MAX), &[1, 2, 3][..]),
        (Some(2), Some(i64::MIN), &[]),
        (None, Some(i64::MIN), &[]),
        (Some(i64::MAX), None, &[]),
        (Some(i64::MAX), Some(i64::MIN), &[]),
        (Some(-1), Some(0), &[]),
    ] {
        for order in [Order::Asc, Order::Desc] {
            let range = Range { after, before, order, ..Range::default() };
            let mut due = due.to_vec();
            if order == Order::Desc {
                due.reverse();
            }
            check_page(&log, &range, &due);
        }
    }
}

#[test]
fn limits_are_checked() {
    let log = of_notes(1);
    for limit in [0, 10_001, usize::MAX] {
        let told = refusal(log.range(&Range { limit, ..Range::default() }));
        assert!(matches!(told, Refusal::Invalid { field: Some(field), .. } if &*field == "limit"));
    }
    check_page(&log, &Range { limit: 10_000, ..Range::default() }, &[1]);
}

#[test]
fn repeats_of_a_filter_are_or_and_different_ones_are_and() {
    let log = Log::temp().unwrap();
    for (kind, agent) in [("a.a", "alice"), ("a.b", "alice"), ("a.a", "bob"), ("a.c", "carol")] {
        append(&log, &format!(r#"{{"kind":"{kind}","agent":"{agent}"}}"#)).unwrap();
    }
    append(&log, r#"{"kind":"sent","from":"alice","to":"bob","body":"","at":1}"#).unwrap();
    let page = |kinds: &[&str], agents: &[&str], due: &[i64]| {
        let filter = kinds.iter().try_fold(Filter::default(), |filter, kind| filter.kind(kind)).unwrap();
        let filter = agents.iter().try_fold(filter, |filter, agent| filter.agent(agent)).unwrap();
        check_page(&log, &Range { filter: filter.clone(), after: Some(0), ..Range::default() }, due);
        check_page(&log, &Range { filter, ..Range::default() }, due);
    };
    page(&["a.a"], &[], &[1, 3]);
    page(&["a.a", "a.b"], &[], &[1, 2, 3]);
    page(&["a.a", "sent"], &[], &[1, 3, 5]);
    page(&[], &["bob"], &[3, 5]);
    page(&["a.a", "a.c"], &["alice", "carol"], &[1, 4]);
    page(&["sent"], &["carol"], &[]);
    assert!(Filter::default().kind("Not a kind").is_err());
    assert!(Filter::default().agent("Not a name").is_err());
    let many = (0..64).try_fold(Filter::default(), |filter, n| filter.kind(&format!("k.n{n}"))).unwrap();
    assert!(many.kind("k.more").is_err());
}

#[test]
fn a_page_holds_four_mebibytes_and_at_least_one_event() {
    let log = Log::temp().unwrap();
    let large = format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat((1 << 20) - 8));
    for _ in 0..6 {
        append(&log, &large).unwrap();
    }
    // Each is a mebibyte: the fourth crosses the bound with its envelope.
    let page = check_page(&log, &Range { after: Some(0), ..Range::default() }, &[1, 2, 3, 4]);
    let rest = Range { after: Some(page.next_after), ..Range::default() };
    check_page(&log, &rest, &[5, 6]);
    let page = check_page(&log, &Range::default(), &[3, 4, 5, 6]);
    check_page(&log, &Range { before: Some(page.next_before), ..Range::default() }, &[1, 2]);
}

#[test]
fn one_event_is_found_by_its_seq() {
    let log = of_notes(2);
    assert_eq!(log.get(seq(2)).unwrap().unwrap().payload(), r#"{"n":2}"#);
    assert_eq!(log.get(seq(0)).unwrap(), None);
    assert_eq!(log.get(seq(3)).unwrap(), None);
}

#[test]
fn activity_counts_every_event_once() {
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(10_000));
    let given = std::sync::Arc::clone(&clock);
    let now = move || given.load(std::sync::atomic::Ordering::SeqCst);
    let place = crate::Place::new();
    let log = Log::open(place.path(), hivelog::Options::default().clock(now)).unwrap();
    for (n, time) in (1..).zip([10_000, 10_000, 11_000, 12_999, 13_000]) {
        clock.store(time, std::sync::atomic::Ordering::SeqCst);
        note(&log, n);
    }
    let asked = Activity { since_ms: Some(10_000), until_ms: Some(13_000), buckets: 3 };
    let bars: Vec<_> =
        log.activity(asked).unwrap().iter().map(|bar| (bar.from_ms, bar.first_seq, bar.count)).collect();
    assert_eq!(bars, [(10_000, 1, 2), (11_000, 3, 1), (12_000, 4, 1)]);
    assert_eq!(log.activity(Activity::default()).unwrap().len(), 60);
    let whole = log.activity(Activity { buckets: 7, ..Activity::default() }).unwrap();
    assert_eq!(whole.iter().map(|bar| bar.count).sum::<i64>(), 5);
    refusal(log.activity(Activity { buckets: 0, ..Activity::default() }));
    refusal(log.activity(Activity { buckets: 1_001, ..Activity::default() }));
    refusal(log.activity(Activity { since_ms: Some(5), until_ms: Some(5), buckets: 1 }));
}
