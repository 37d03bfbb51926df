//! What a large log with a full board costs to look at: the board, a board that did not change, words.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hivelog::{Command, Draft, Durability, Log, Options};

use crate::client::Client;
use crate::history::fill;
use crate::http::indexed;
use crate::payload::Sample;
use crate::server::Server;
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, Figures, in_turn};
use crate::wire;

/// One open item less than a log takes, so that one more can be opened.
const ITEMS: usize = 9_999;
/// A message with a rare word in it stands behind each so many items: a hundred of them in the whole log.
const RARE_EVERY: usize = 100;

pub fn section(samples: &[Sample], rounds: usize) {
    let rows = if std::env::var_os("HIVELOG_BENCH_LONG").is_some() { 10_000_000 } else { 1_000_000 };
    let folder = tempfile::tempdir().unwrap();
    // One that is kept is built once for several runs.
    let kept = std::env::var_os("HIVELOG_BENCH_KEPT").map(PathBuf::from);
    let path = kept.unwrap_or_else(|| folder.path().join("deep.db"));
    if !path.exists() {
        build(&path, samples, rows);
    }
    let mut table = Table::new(&format!("A log of {rows} rows, {ITEMS} open items of 500 bytes among them"));
    let server = Server::start(&path, Durability::Full);
    let mut client = Client::connect(&server.address);
    indexed(&mut client);
    words(&mut table, &mut client, rounds);
    unchanged(&mut table, &mut client, rounds);
    drop(server);
    board(&mut table, &path, rounds);
    table.print();
}

fn build(path: &Path, samples: &[Sample], rows: usize) {
    let log = Log::open(path, Options::default().durability(Durability::Normal)).unwrap();
    for item in 0..ITEMS {
        // Every event of the board far from the next one.
        fill(&log, samples, rows / ITEMS - 1);
        let mut drafts = vec![open_item(item)];
        if item % RARE_EVERY == 0 {
            let rare = r#"{"kind":"sent","from":"agent-1","to":"agent-2","body":"the okapi failed","at":1763829000,"message_id":null}"#;
            drafts.push(Draft::from_json(rare).unwrap());
        }
        log.submit(Command::new(drafts)).wait().unwrap();
    }
    log.close();
}

/// An approval that is asked for, with 500 bytes of text.
fn open_item(item: usize) -> Draft {
    let diff = "+ a line of a diff\\n".repeat(18);
    let line = format!(
        r#"{{"kind":"approval_added","id":{},"agent":"agent-{}","approval_kind":"apply_commit","sha_short":"abc1234","diff":"{diff}","description":"a change"}}"#,
        item + 1,
        item % 40,
    );
    Draft::from_json(&line).unwrap()
}

/// First pages of searches, the newest finds first, each by its name.
const SEARCHES: [(&str, &str); 9] = [
    ("a word of half the messages", "q=build"),
    ("a word of a hundred messages", "q=okapi"),
    ("a word that is nowhere", "q=quagga"),
    ("two words of half the messages", "q=build+review"),
    ("a frequent word and a rare one", "q=failed+okapi"),
    ("two frequent words, never together", "q=working+inbox"),
    ("a frequent word, of a kind", "q=build&kind=agent.status"),
    ("a frequent word, of a kind that never has it", "q=build&kind=agent.read"),
    ("the beginning of a frequent word", "q=revi*"),
];

fn words(table: &mut Table, client: &mut Client, rounds: usize) {
    for (what, query) in SEARCHES {
        let request = wire::get(&client.host, &format!("/api/history?limit=50&{query}"), "application/json");
        let figures = in_turn(rounds, &mut [Case::new(|| ms(|| assert!(!client.ask(&request).is_empty())))]);
        let (what, figures, beside) = (&format!("search: {what}"), &figures[0], None);
        table.row(Row { what, mode: "full", figures, unit: "ms", beside, goal: Goal::AtMost(100.0) });
    }
}

/// A board that is asked for by its name, beside one event by its seq.
fn unchanged(table: &mut Table, client: &mut Client, rounds: usize) {
    let host = client.host.clone();
    client.ask(&wire::get(&host, "/api/state", "application/json"));
    let tag = client.header("etag").unwrap();
    let board = wire::get(&host, "/api/state", &format!("application/json\r\nIf-None-Match: {tag}"));
    let event = wire::get(&host, "/api/history/4711", "application/json");
    let mut times = |request: &[u8], is_empty: bool| {
        const TIMES: u32 = 2_000;
        ms(|| {
            for _ in 0..TIMES {
                assert_eq!(client.ask(request).is_empty(), is_empty);
            }
        }) / f64::from(TIMES)
    };
    let mut figures = vec![Figures::default(), Figures::default()];
    for _ in 0..rounds {
        figures[0].0.push(times(&event, false));
        figures[1].0.push(times(&board, true));
    }
    let (unit, mode) = ("ms", "full");
    let one = "GET /api/history/SEQ: one indexed read";
    table.row(Row { what: one, mode, figures: &figures[0], unit, beside: None, goal: Goal::None });
    let what = "GET /api/state that did not change (304)";
    let beside = Some(("one read", &figures[0]));
    table.row(Row { what, mode, figures: &figures[1], unit, beside, goal: Goal::RatioAtMost(1.1) });
}

fn board(table: &mut Table, path: &Path, rounds: usize) {
    let log = Log::open(path, Options::default().durability(Durability::Full)).unwrap();
    let look = || {
        let json = log.snapshot().unwrap().json();
        assert!(json.len() > ITEMS * 500, "{}", json.len());
    };
    let first = Figures(vec![ms(look)]);
    let mut row = |what: &str, figures: &Figures, goal: Goal| {
        table.row(Row { what, mode: "full", figures, unit: "ms", beside: None, goal });
    };
    row("snapshot, the first one after opening", &first, Goal::None);
    let same = in_turn(rounds * 4, &mut [Case::new(|| ms(look))]);
    row("snapshot, nothing changed", &same[0], Goal::AtMost(3.0));
    let mut figures = Figures::default();
    for _ in 0..rounds * 4 {
        // One more at the end of the board, and none at the end of the run.
        let set = r#"{"kind":"transient_set","name":"agent-7","transient_kind":"starting","since_unix":1763829000}"#;
        let clear = r#"{"kind":"transient_cleared","name":"agent-7","reason":"done"}"#;
        for line in [set, clear] {
            log.submit(Command::new(vec![Draft::from_json(line).unwrap()])).wait().unwrap();
            figures.0.push(ms(look));
        }
    }
    row("snapshot, after each change", &figures, Goal::AtMost(3.0));
}

/// How many milliseconds it takes.
fn ms(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1_000.0
}
