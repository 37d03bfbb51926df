//! What each operation costs as the log grows, and what it must not: more.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use hivelog::{
    Activity, BlockingFollower, Command, Draft, Durability, Filter, Followed, Log, Options, Order, Prune,
    Range, Search, Seq, Words,
};

use crate::client::Client;
use crate::history::fill;
use crate::payload::Sample;
use crate::server::Server;
use crate::table::{note_goal, number, print};
use crate::turns::{Case, Figures, in_turn};
use crate::wire;

const TITLE: &str = "Cost grows as";
/// A word that one event of each log has.
const LONE_WORD: &str = "zanzibar";

pub fn section(samples: &[Sample], rounds: usize) {
    let is_long = std::env::var_os("HIVELOG_BENCH_LONG").is_some();
    let sizes: &[usize] =
        if is_long { &[10_000, 100_000, 1_000_000, 10_000_000] } else { &[10_000, 100_000, 1_000_000] };
    let folder = tempfile::tempdir().unwrap();
    let mut places: Vec<Place<'_>> =
        sizes.iter().map(|rows| Place::build(folder.path(), *rows, samples)).collect();
    let mut grid = Grid::new(sizes);
    for op in OPS {
        let mut cases: Vec<Case<'_>> = places.iter().map(|place| Case::new(|| (op.run)(place))).collect();
        grid.row(op, &in_turn(rounds, &mut cases));
    }
    for place in &mut places {
        place.log.close();
    }
    for op in CLOSED {
        let mut cases: Vec<Case<'_>> = places.iter().map(|place| Case::new(|| (op.run)(place))).collect();
        grid.row(op, &in_turn(rounds, &mut cases));
    }
    let servers: Vec<Server> =
        places.iter().map(|place| Server::start(&place.path, Durability::Full)).collect();
    let mut clients: Vec<Known> = servers.iter().map(|server| Known::ask(&server.address)).collect();
    let mut cases: Vec<Case<'_>> = clients.iter_mut().map(|known| Case::new(|| known.again_ms())).collect();
    let again = Op { what: "GET /api/state, 304", unit: "ms", most: 2.0, run: |_| 0.0 };
    grid.row(&again, &in_turn(rounds, &mut cases));
    grid.print();
}

/// An operation on a log of some size.
struct Op {
    what: &'static str,
    unit: &'static str,
    /// How much more the largest log may cost than the smallest one.
    most: f64,
    run: fn(&Place<'_>) -> f64,
}

const fn op(what: &'static str, run: fn(&Place<'_>) -> f64) -> Op {
    Op { what, unit: "ms", most: 2.0, run }
}

/// What is asked of a log that is open.
const OPS: &[Op] = &[
    op("append one event", |place| {
        median_ms(40, || assert!(place.log.append(place.sample().ready.clone()).wait().is_ok()))
    }),
    op("an append until a follower has it", |place| place.wake_ms()),
    op("snapshot", |place| median_ms(40, || assert!(!place.log.snapshot().unwrap().json().is_empty()))),
    op("page of 200 at the head", |place| place.page_ms(&Range::default())),
    op("page of 200 in the middle", |place| {
        place.page_ms(&Range { after: Some(place.rows / 2), ..Range::default() })
    }),
    op("page of 200 at the start", |place| {
        place.page_ms(&Range { after: Some(place.rows / 100), ..Range::default() })
    }),
    op("page of 200 back from the middle", |place| {
        let before = Some(place.rows / 2);
        place.page_ms(&Range { before, order: Order::Desc, ..Range::default() })
    }),
    op("newest 200 of a common kind", |place| place.page_ms(&of_kind("sent"))),
    // The smallest log has twelve.
    op("newest 10 of a rare kind", |place| place.page_ms(&Range { limit: 10, ..of_kind("rare.kind0") })),
    op("newest 200 of a board kind", |place| place.page_ms(&of_kind("approval_added"))),
    op("newest 200 of an agent", |place| {
        place.page_ms(&Range { filter: Filter::default().agent("agent-7").unwrap(), ..Range::default() })
    }),
    op("from a time to its seq", |place| {
        let middle = Seq::new(place.rows / 2).unwrap();
        let since_ms = Some(place.log.get(middle).unwrap().unwrap().recorded_at_ms());
        place.page_ms(&Range { since_ms, limit: 1, ..Range::default() })
    }),
    // A hundred binary searches: their steps grow with the logarithm, from 13 to 20 or 23.
    Op {
        what: "activity, 100 buckets",
        unit: "ms",
        most: 2.5,
        run: |place| {
            let asked = Activity { buckets: 100, ..Activity::default() };
            median_ms(5, || drop(place.log.activity(asked).unwrap()))
        },
    },
    op("search, a common word, first page", |place| place.page_ms(&of_words("review"))),
    op("search, two common words, first page", |place| place.page_ms(&of_words("review naïve"))),
    op("search, the word of one event", |place| {
        let page = place.log.range(&of_words(LONE_WORD)).unwrap();
        assert_eq!(page.len(), 1);
        place.page_ms(&of_words(LONE_WORD))
    }),
    op("prune step of 64 events", |place| place.prune_ms()),
    // It makes the smallest log twice as large, so it comes after what it would change.
    op("append a batch of 1000", |place| {
        let drafts = || (0..1_000).map(|_| place.sample().ready.clone()).collect();
        median_ms(2, || drop(place.log.submit(Command::new(drafts())).wait().unwrap()))
    }),
    Op {
        what: "export, an event",
        unit: "ns",
        most: 1.5,
        run: |place| place.ns_an_event(|| place.log.export(&mut std::io::sink(), &mut |_, _| {}).unwrap()),
    },
];

/// What is asked of one that is closed.
const CLOSED: &[Op] = &[
    op("open", |place| {
        let begin = Instant::now();
        let log = Log::open(&place.path, Options::default()).unwrap();
        let passed = ms(begin);
        log.close();
        passed
    }),
    Op {
        what: "check, an event",
        unit: "ns",
        most: 1.5,
        run: |place| {
            place.ns_an_event(|| {
                assert_eq!(hivelog::check(&place.path).unwrap().problems, Vec::<String>::new());
            })
        },
    },
];

fn of_kind(kind: &str) -> Range {
    Range { filter: Filter::default().kind(kind).unwrap(), ..Range::default() }
}

fn of_words(words: &str) -> Range {
    Range { words: Some(words.parse::<Words>().unwrap()), ..Range::default() }
}

fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1_000.0
}

fn median_ms(times: usize, mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let begin = Instant::now();
        work();
        ms(begin)
    };
    Figures((0..times).map(once).collect()).median()
}

/// A log of some size with its text index, and what goes on with it.
struct Place<'a> {
    path: PathBuf,
    log: Log,
    rows: i64,
    samples: &'a [Sample],
    next: Cell<usize>,
    pruned_upto: Cell<i64>,
    follower: RefCell<BlockingFollower>,
}

impl<'a> Place<'a> {
    /// A millisecond passes between two looks at the clock, so that times tell commits apart.
    fn build(folder: &Path, rows: usize, samples: &'a [Sample]) -> Self {
        let path = folder.join(format!("{rows}.db"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let clock = AtomicI64::new(i64::try_from(now).unwrap());
        let options = Options::default().clock(move || clock.fetch_add(1, Ordering::Relaxed));
        let log = Log::open(&path, options).unwrap();
        let third = rows / 3;
        fill(&log, samples, third);
        let lone = format!(r#"{{"kind":"rare.kind0","detail":"a {LONE_WORD} word"}}"#);
        log.append(Draft::from_json(&lone).unwrap()).wait().unwrap();
        board(&log);
        fill(&log, samples, rows - third - 301);
        let search = Search::of(&log).unwrap();
        while search.upto() < log.tail() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let follower = RefCell::new(log.follow_blocking(log.tail(), Filter::default()).unwrap());
        Self {
            path,
            log,
            rows: rows as i64,
            samples,
            next: Cell::new(0),
            pruned_upto: Cell::new(0),
            follower,
        }
    }

    fn sample(&self) -> &'a Sample {
        self.next.set(self.next.get() + 1);
        &self.samples[self.next.get() % self.samples.len()]
    }

    /// Of a page that holds what there is of it.
    fn page_ms(&self, range: &Range) -> f64 {
        median_ms(9, || drop(self.log.range(range).unwrap()))
    }

    fn wake_ms(&self) -> f64 {
        let mut follower = self.follower.borrow_mut();
        let mut come_to = |seq: Seq| {
            for followed in follower.by_ref() {
                if let Followed::Event(row) = followed.unwrap()
                    && row.seq() >= seq
                {
                    break;
                }
            }
        };
        come_to(self.log.append(self.sample().ready.clone()).wait().unwrap());
        median_ms(20, || {
            let receipt = self.log.append(self.sample().ready.clone());
            come_to(receipt.wait().unwrap());
        })
    }

    fn prune_ms(&self) -> f64 {
        // Of 90 events in the mix some 64 are pruned.
        self.pruned_upto.set(self.pruned_upto.get() + 90);
        let asked = Prune { before_seq: Some(self.pruned_upto.get()), ..Prune::default() };
        let begin = Instant::now();
        self.log.prune(&asked).unwrap();
        ms(begin)
    }

    fn ns_an_event(&self, work: impl FnOnce()) -> f64 {
        let begin = Instant::now();
        work();
        ms(begin) * 1e6 / self.log.tail().get() as f64
    }
}

/// The same hundred approvals, of which none waits, in each log.
fn board(log: &Log) {
    let added = |id| {
        format!(
            r#"{{"kind":"approval_added","id":{id},"agent":"agent-{}","approval_kind":"apply_commit","description":"a change"}}"#,
            id % 40
        )
    };
    let resolved = |id| {
        format!(
            r#"{{"kind":"approval_resolved","id":{id},"agent":"agent-{}","approval_kind":"apply_commit","status":"approved","resolved_at":1763829000}}"#,
            id % 40
        )
    };
    let lines = (1..=200).map(added).chain((1..=100).map(resolved));
    let drafts = lines.map(|line| Draft::from_json(&line).unwrap()).collect();
    log.submit(Command::new(drafts)).wait().unwrap();
}

/// A client that knows the state as it is.
struct Known {
    client: Client,
    request: Vec<u8>,
}

impl Known {
    fn ask(address: &str) -> Self {
        let mut client = Client::connect(address);
        let (status, head) = client.head_of(&wire::get(address, "/api/state", "application/json"));
        assert_eq!(status, 200, "{head}");
        let tag = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("etag").then(|| value.trim().to_owned())
        });
        let tag = tag.expect("a snapshot has a tag");
        let request = format!("GET /api/state HTTP/1.1\r\nHost: {address}\r\nIf-None-Match: {tag}\r\n\r\n");
        Self { client, request: request.into_bytes() }
    }

    fn again_ms(&mut self) -> f64 {
        median_ms(100, || {
            let (status, head) = self.client.head_of(&self.request);
            assert_eq!(status, 304, "{head}");
        })
    }
}

/// The table: a line for each operation, a column for each size.
struct Grid {
    lines: Vec<Vec<String>>,
}

impl Grid {
    fn new(sizes: &[usize]) -> Self {
        println!("\n## {TITLE}\n");
        let sizes = sizes.iter().map(|rows| format!("{} events", number(*rows as f64)));
        let head = ["what".to_owned(), "unit".into()].into_iter().chain(sizes);
        Self { lines: vec![head.chain(["growth", "must", "reach"].map(String::from)).collect()] }
    }

    fn row(&mut self, op: &Op, figures: &[Figures]) {
        let (Some(least), Some(most)) = (figures.first(), figures.last()) else { return };
        let growth = most.over(least);
        let reach = if growth <= op.most { "ok" } else { "below" };
        let costs = figures.iter().map(|figures| number(figures.median()));
        let line = [op.what.to_owned(), op.unit.into()].into_iter().chain(costs);
        let end = [format!("{growth:.2}"), format!("≤ {}×", op.most), reach.into()];
        let cost = format!("{} {}", number(most.median()), op.unit);
        let smallest = format!("the smallest log {}", number(least.median()));
        let [title, what, mode] = [TITLE, op.what, Durability::Full.as_str()].map(str::to_owned);
        let [ratio, must, reached] = end.clone();
        note_goal([title, what, mode, cost, smallest, ratio, must, reached]);
        self.lines.push(line.chain(end).collect());
    }

    fn print(self) {
        print(&self.lines);
    }
}
