//! Searches: what the index gives is what a plain scan gives, whatever became of the index.

use std::time::{Duration, Instant};

use hivelog::{Command, Draft, Filter, Log, Options, Order, Prune, Range, Search, Words};

use crate::dice::Dice;
use crate::{Place, append, foreign, note, seq};

const VOCABULARY: [&str; 12] = [
    "alpha",
    "beta",
    "Gamma",
    "deploy",
    "deployment",
    "später",
    "東京",
    "x1",
    "done",
    "9f5db55",
    "it's",
    "ÉTÉ",
];

/// Waits until the index has taken up the whole log.
fn settled(log: &Log) -> Search {
    let search = Search::of(log).unwrap();
    let begin = Instant::now();
    while search.upto() < log.tail() {
        assert!(begin.elapsed() < Duration::from_mins(2), "the index stays behind: {search:?}");
        // Its thread has the lowest priority: who only yields keeps it from the core.
        std::thread::sleep(Duration::from_millis(5));
    }
    search
}

fn random_event(dice: &mut Dice) -> String {
    let agents = ["alice", "bob", "carol.2"];
    let mut pick = |list: &[&str]| list[dice.below(list.len() as u64) as usize].to_owned();
    let kind = pick(&["test.note", "test.run", "sent"]);
    let (a, b) = (pick(&agents), pick(&agents));
    let text = format!("{} {}, {}", pick(&VOCABULARY), pick(&VOCABULARY), pick(&VOCABULARY));
    if kind == "sent" {
        return format!(r#"{{"kind":"sent","from":"{a}","to":"{b}","body":"{text}","at":5}}"#);
    }
    format!(r#"{{"kind":"{kind}","agent":"{a}","deep":[{{"alpha":"{text}"}}],"n":12}}"#)
}

fn random_range(dice: &mut Dice, head: i64) -> Range {
    let mut pick = |list: &[&str]| list[dice.below(list.len() as u64) as usize].to_owned();
    let mut words = pick(&[
        "alpha", "BETA", "deploy*", "deploy", "spät*", "東", "été", "it", "12", "9f*", "s", "x*", "dep*",
    ]);
    if words.len() % 2 == 0 {
        words = format!("{words} {}", pick(&["done", "gamma", "x*"]));
    }
    let (kind, agent) = (pick(&["", "", "test.run", "sent"]), pick(&["", "", "bob", "carol.2", "nobody"]));
    let mut filter = Filter::default();
    if !kind.is_empty() {
        filter = filter.kind(&kind).unwrap();
    }
    if !agent.is_empty() {
        filter = filter.agent(&agent).unwrap();
    }
    let edge = |dice: &mut Dice| dice.percent(50).then(|| dice.below(head as u64 + 2) as i64);
    Range {
        after: edge(dice),
        before: edge(dice),
        limit: dice.between(1, 40) as usize,
        order: if dice.percent(50) { Order::Asc } else { Order::Desc },
        filter,
        words: dice.percent(80).then(|| words.parse().unwrap()),
        ..Range::default()
    }
}

/// Both logs hold the same events; one of them has an index.
fn check_same(plain: &Log, indexed: &Log, dice: &mut Dice, rounds: usize) -> usize {
    let mut found = 0;
    for _ in 0..rounds {
        let range = random_range(dice, plain.tail().get());
        let (one, other) = (plain.range(&range).unwrap(), indexed.range(&range).unwrap());
        let seqs = |page: &hivelog::Page| page.rows().map(|row| row.seq().get()).collect::<Vec<_>>();
        assert_eq!(seqs(&one), seqs(&other), "{range:?}");
        assert_eq!((one.next_after, one.next_before), (other.next_after, other.next_before), "{range:?}");
        found += one.len();
    }
    found
}

#[test]
fn the_index_gives_what_a_scan_gives() {
    let (_, mut dice) = Dice::announced("search");
    let (plain, indexed) = (Log::temp().unwrap(), Log::temp().unwrap());
    let search = Search::of(&indexed).unwrap();
    for step in 0..4 {
        for _ in 0..200 {
            let event = random_event(&mut dice);
            append(&plain, &event).unwrap();
            append(&indexed, &event).unwrap();
        }
        // At once, while a part is not taken up yet; and when all of it is, but what comes in the last step.
        let found = check_same(&plain, &indexed, &mut dice, 60);
        assert!(found > 0, "the questions find nothing");
        if step < 3 {
            settled(&indexed);
            check_same(&plain, &indexed, &mut dice, 60);
        }
    }
    drop(search);
}

#[test]
fn a_rare_beginning_is_found_behind_many_that_begin_nearly_so() {
    let log = Log::temp().unwrap();
    let text = |text: &str| Draft::from_json(&format!(r#"{{"kind":"test.note","text":"{text}"}}"#)).unwrap();
    let many = || Command::new((0..900).map(|_| text("a review")).collect());
    log.submit(Command::new(vec![text("a revolver"), text("to revolve")])).wait().unwrap();
    for _ in 0..3 {
        log.submit(many()).wait().unwrap();
    }
    log.submit(Command::new(vec![text("revolving doors")])).wait().unwrap();
    for _ in 0..3 {
        log.submit(many()).wait().unwrap();
    }
    settled(&log);
    let find = |q: &str, order: Order| {
        let range =
            Range { words: Some(q.parse().unwrap()), order, after: Some(0), limit: 10, ..Range::default() };
        log.range(&range).unwrap().rows().map(|row| row.seq().get()).collect::<Vec<_>>()
    };
    assert_eq!(find("revol*", Order::Asc), [1, 2, 2_703]);
    assert_eq!(find("revol*", Order::Desc), [2_703, 2, 1]);
    assert_eq!(find("revie*", Order::Desc), (5_394..=5_403).rev().collect::<Vec<_>>());
    assert!(find("revok*", Order::Asc).is_empty());
}

#[test]
fn what_was_just_acknowledged_is_found() {
    let log = Log::temp().unwrap();
    Search::of(&log).unwrap();
    for number in 1..=50 {
        let body = format!("word{number}");
        append(&log, &format!(r#"{{"kind":"test.note","text":"{body}"}}"#)).unwrap();
        let range = Range { words: Some(body.parse().unwrap()), ..Range::default() };
        let page = log.range(&range).unwrap();
        assert_eq!((page.len(), page.seq), (1, seq(number)));
    }
}

#[test]
fn a_lost_or_broken_index_is_built_anew() {
    let place = Place::new();
    let file = place.beside("log.db.search");
    let words: Words = "alpha".parse().unwrap();
    let check = |spoil: &dyn Fn()| {
        let log = place.open();
        settled(&log);
        append(&log, r#"{"kind":"test.note","text":"alpha"}"#).unwrap();
        settled(&log);
        let count = log.tail().get();
        log.close();
        spoil();
        let log = place.open();
        settled(&log);
        let range = Range { words: Some(words.clone()), limit: 100, ..Range::default() };
        assert_eq!(log.range(&range).unwrap().len(), usize::try_from(count).unwrap());
        log.close();
    };
    check(&|| {});
    check(&|| std::fs::remove_file(&file).unwrap());
    check(&|| std::fs::write(&file, "this is no database").unwrap());
    check(&|| std::fs::write(&file, "").unwrap());
    check(&|| {
        foreign(&file)
            .execute("UPDATE about SET value = 'ffffffffffffffff' WHERE name = 'log_id'", [])
            .unwrap();
    });
    check(&|| {
        foreign(&file).execute("UPDATE about SET value = 1000 WHERE name = 'upto'", []).unwrap();
    });
}

#[test]
fn an_index_that_breaks_under_a_log_costs_no_answer() {
    let place = Place::new();
    let log = place.open();
    for number in 0..2_000 {
        append(&log, &format!(r#"{{"kind":"test.note","text":"alpha w{number}"}}"#)).unwrap();
    }
    settled(&log);
    for name in ["log.db.search", "log.db.search-wal"] {
        let length = std::fs::metadata(place.beside(name)).unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(place.beside(name)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; usize::try_from(length).unwrap()], 0)
            .unwrap();
    }
    for order in [Order::Asc, Order::Desc] {
        for number in [0, 7, 1_999] {
            let words = Some(format!("alpha w{number}").parse().unwrap());
            let page = log.range(&Range { words, order, ..Range::default() }).unwrap();
            let seqs: Vec<i64> = page.rows().map(|row| row.seq().get()).collect();
            assert_eq!(seqs, [number + 1], "{order:?}");
        }
    }
}

#[test]
fn what_was_pruned_or_redacted_is_not_found() {
    let place = Place::new();
    let log = place.open();
    for text in ["secret one", "secret two", "secret three"] {
        append(&log, &format!(r#"{{"kind":"test.note","text":"{text}"}}"#)).unwrap();
    }
    settled(&log);
    let found = |log: &Log, words: &str| {
        let range = Range { words: Some(words.parse().unwrap()), ..Range::default() };
        let page = log.range(&range).unwrap();
        page.rows().map(|row| row.seq().get()).collect::<Vec<_>>()
    };
    assert_eq!(found(&log, "secret"), [1, 2, 3]);
    log.close();
    // What the verbs will do, by hand: the first is pruned, the second loses its text.
    let conn = foreign(&place.path());
    conn.execute_batch(
        r#"UPDATE meta SET value = 1 WHERE name = 'floor'; DELETE FROM events WHERE seq = 1;
           UPDATE meta SET value = 2 WHERE name = 'redacting_seq';
           UPDATE events SET payload = '{"redacted":true}', sum = NULL WHERE seq = 2;
           UPDATE meta SET value = 0 WHERE name = 'redacting_seq';
           UPDATE meta SET value = 1 WHERE name = 'redactions';"#,
    )
    .unwrap();
    drop(conn);
    let log = place.open();
    assert_eq!(found(&log, "secret"), [3]);
    settled(&log);
    note(&log, 4);
    settled(&log);
    assert_eq!(found(&log, "secret"), [3]);
    log.close();
    // The words are not in the file either.
    let index = foreign(&place.beside("log.db.search"));
    let hits = |word: &str| -> i64 {
        index.query_row("SELECT count(*) FROM words WHERE words MATCH ?1", [word], |row| row.get(0)).unwrap()
    };
    assert_eq!((hits("secret"), hits("one"), hits("two"), hits("three")), (1, 0, 0, 1));
    assert!(!std::fs::read(place.beside("log.db.search")).unwrap().windows(3).any(|bytes| bytes == b"two"));
}

/// The index looks through all that it has once an hour; what is pruned in between goes all the same.
#[test]
fn what_is_pruned_step_by_step_leaves_the_index() {
    let place = Place::new();
    let log = place.open();
    let message = r#"{"kind":"sent","from":"alice","to":"bob","body":"secret","at":1}"#;
    for _ in 0..9 {
        append(&log, message).unwrap();
    }
    settled(&log);
    for before in [4, 7, 10] {
        let asked = Prune { before_seq: Some(before), ..Prune::default() };
        assert_eq!(log.prune(&asked).unwrap().pruned, 3);
        note(&log, before);
        settled(&log);
    }
    let index = foreign(&place.beside("log.db.search"));
    let hits = "SELECT count(*) FROM words WHERE words MATCH 'secret'";
    let begin = Instant::now();
    // It takes out what was pruned once it has taken up what is new.
    while index.query_row(hits, [], |row| row.get::<_, i64>(0)).unwrap() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "what was pruned is in the index");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Built anew it would come to the same event again, and so for ever.
#[test]
fn an_index_stays_where_the_log_cannot_be_read_on() {
    let place = Place::new();
    let log = place.open();
    for n in 1..=3 {
        note(&log, n);
    }
    settled(&log);
    log.close();
    let file = place.beside("log.db.search");
    foreign(&file)
        .execute_batch("UPDATE about SET value = 1 WHERE name = 'upto'; DELETE FROM words WHERE rowid > 1;")
        .unwrap();
    foreign(&place.path())
        .execute_batch(
            "UPDATE meta SET value = 2 WHERE name = 'redacting_seq';
             UPDATE events SET payload = replace(payload, '2', '7') WHERE seq = 2;
             UPDATE meta SET value = 0 WHERE name = 'redacting_seq';",
        )
        .unwrap();
    let log = place.open();
    // It comes to that event at once, and what is thrown away is thrown away then.
    std::thread::sleep(Duration::from_secs(1));
    assert!(file.exists());
    log.close();
    let upto = "SELECT value FROM about WHERE name = 'upto'";
    assert_eq!(foreign(&file).query_row(upto, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn everyone_who_was_seen_is_listed() {
    let place = Place::new();
    let log = place.open();
    append(&log, r#"{"kind":"sent","from":"alice","to":"bob","body":"x","at":1}"#).unwrap();
    append(&log, r#"{"kind":"test.note","agent":"alice"}"#).unwrap();
    let check = |log: &Log| {
        let agents = Search::of(log).unwrap().agents().unwrap();
        assert_eq!(agents.seq, log.tail());
        let listed =
            agents.agents.iter().map(|row| (row.name.as_str(), row.first_seq, row.last_seq, row.events));
        assert_eq!(listed.collect::<Vec<_>>(), [("alice", 1, 2, 2), ("bob", 1, 1, 1)]);
        assert!(agents.agents.iter().all(|row| row.last_message_at_ms.is_some()));
    };
    check(&log);
    settled(&log);
    check(&log);
    log.close();
    let log = place.open();
    check(&log);
    settled(&log);
    check(&log);
    assert!(Search::of(&Log::open_read_only(place.path()).unwrap()).is_err());
}

#[test]
fn the_index_is_as_private_as_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    settled(&log);
    for name in ["log.db.search", "log.db.search-wal"] {
        let mode = std::fs::metadata(place.beside(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// A log that is closed has nothing of the index open, and one that is dropped neither.
#[test]
fn the_index_ends_with_its_log() {
    let place = Place::new();
    for _ in 0..20 {
        let log = Log::open(place.path(), Options::default()).unwrap();
        let search = Search::of(&log).unwrap();
        note(&log, 1);
        drop(log);
        assert!(matches!(search.agents(), Err(hivelog::Error::Closed)), "a handle kept the log open");
    }
}
