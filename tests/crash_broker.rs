//! P8 mirror, and the broker: a process that sends, takes, acknowledges and mirrors is killed, again and again
//! on the same file: at named points of each step, and at random moments. No message may be lost, sent twice,
//! mirrored twice or out of order; what nobody acknowledged comes back and says so.
//!
//! `HIVELOG_SEED` replays a run's choices (the scheduler has its own), `HIVELOG_CRASH_SCALE=10` kills ten
//! times as often.

#[path = "crash/courier.rs"]
mod courier;
mod dice;
#[path = "crash/point.rs"]
mod point;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use courier::{Orders, RECIPIENTS, VARIABLE};
use dice::Dice;
use hivelog::{Desk, Log, Options, Receive};
use point::MARK;

/// Where it is killed, and at the latest at which hit.
const POINTS: [(&str, u64); 11] = [
    ("broker.send", 30),
    ("broker.sent", 30),
    ("broker.recv", 15),
    ("broker.received", 15),
    ("broker.ack", 15),
    ("broker.acked", 15),
    ("forward.before-submit", 8),
    ("forward.after-submit", 8),
    ("forward.mirrored", 8),
    ("writer.before-commit", 40),
    ("writer.after-commit", 40),
];
/// How many files go through it at once, which share the kills.
const FILES: u64 = 2;
/// Kills at each point, and kills at random moments; together more than 300.
const KILLS_AT_EACH_POINT: u64 = 20;
const KILLS_AT_RANDOM: u64 = 100;
/// What a child says before it is killed at a random moment, at most.
const LINES_MAX: u64 = 200;
const SIGKILL: i32 = 9;

/// What ends a child.
enum Death {
    AtPoint(&'static str, u64),
    /// So long after it had said so many lines, the first of which says that it opened the file.
    After(u64, Duration),
}

/// One file, and all that was told about it over its many processes.
struct Trial {
    path: PathBuf,
    next_call: u64,
    /// The ids that were told for each sending.
    ids: BTreeMap<u64, BTreeSet<i64>>,
    /// The sendings whose answer a kill took.
    cut_off: BTreeSet<u64>,
    delivered: BTreeSet<i64>,
    acked: BTreeSet<i64>,
    redelivered: u64,
    taken_back: u64,
    repeats: u64,
    kills: u64,
    hits: BTreeMap<String, u64>,
}

impl Trial {
    fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("log.db"),
            next_call: 1,
            ids: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            delivered: BTreeSet::new(),
            acked: BTreeSet::new(),
            redelivered: 0,
            taken_back: 0,
            repeats: 0,
            kills: 0,
            hits: BTreeMap::new(),
        }
    }

    /// Lets one process work until its death, and writes down all it was told.
    fn live_and_die(&mut self, seed: u64, death: &Death) {
        let orders = Orders {
            path: self.path.to_str().unwrap().into(),
            seed,
            next_call: self.next_call,
            death: match death {
                Death::AtPoint(point, hit) => Some(((*point).into(), *hit)),
                Death::After(..) => None,
            },
        };
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_process", "--nocapture"])
            .env(VARIABLE, orders.to_text())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let (send, told) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in out.split(b'\n').map(Result::unwrap) {
                let line = String::from_utf8(line).unwrap();
                if let Some(told) = line.strip_prefix(MARK) {
                    send.send(told.to_owned()).unwrap();
                }
            }
        });
        let mut lines = Vec::new();
        if let Death::After(said, time) = death {
            // Counted and not timed: where the disk is slow it has done as much by then.
            lines.extend((0..*said).map(|_| told.recv().expect("the child goes on")));
            // The moment of the kill is the point of this: there is no event to wait for.
            std::thread::sleep(*time);
            process.kill().unwrap();
        }
        let status = process.wait().unwrap();
        reader.join().unwrap();
        lines.extend(told.try_iter());
        assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {:?}", lines.last());
        self.kills += 1;
        self.check_cursor();
        let (mut last, mut open) = (BTreeMap::new(), BTreeSet::new());
        for line in &lines {
            self.note(line, &mut last, &mut open);
        }
        self.cut_off.extend(open);
    }

    /// What is on the log has left the journal in the same transaction: its key alone would hide that for as
    /// long as keys are kept.
    fn check_cursor(&self) {
        let flags = hivelog::rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let Ok(file) = hivelog::rusqlite::Connection::open_with_flags(&self.path, flags) else { return };
        let sql = "SELECT count(*) FROM journal JOIN keys ON key = 'broker:' || id WHERE actor = ':broker'";
        // One that was killed while it made the file has left none.
        let Ok(both) = file.query_row(sql, [], |row| row.get::<_, i64>(0)) else { return };
        assert_eq!(both, 0, "events on the log whose lines are still in the journal");
    }

    /// `last` is the last message of each inbox that this process took, `open` its unanswered sendings.
    fn note(&mut self, line: &str, last: &mut BTreeMap<String, i64>, open: &mut BTreeSet<u64>) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        let id = |index: usize| words[index].parse::<i64>().unwrap();
        match words[0] {
            "O" | "F" => {}
            "S" => {
                self.repeats += u64::from(number(1) < self.next_call);
                self.next_call = self.next_call.max(number(1) + 1);
                open.insert(number(1));
            }
            "I" => {
                open.remove(&number(1));
                self.ids.entry(number(1)).or_default().insert(id(2));
            }
            "B" => self.taken_back += number(2),
            "D" => {
                let (name, id, again) = (words[1], id(2), words[4] == "1");
                assert_eq!(name, format!("r{}", number(3) % RECIPIENTS), "another's message");
                let before = last.insert(name.into(), id).unwrap_or(0);
                assert!(before < id, "{name} took {id} after {before}");
                assert!(!self.acked.contains(&id), "{id} was acknowledged, and came again");
                let is_first = self.delivered.insert(id);
                assert!(is_first || again, "{id} came again and does not say so");
                self.redelivered += u64::from(!is_first);
            }
            "A" => assert!(self.acked.insert(id(1))),
            "K" => *self.hits.entry(words[1].to_owned()).or_default() += 1,
            _ => panic!("the child says: {line}"),
        }
    }

    /// Opens the file once more, and compares what it and the log hold with all that was told.
    fn judge(&self) {
        let log = Log::open(&self.path, Options::default()).unwrap();
        let desk = Desk::of(&log).unwrap();
        // What a kill kept from the log is there by the time it is closed.
        log.close();
        drop(desk);
        assert_eq!(hivelog::check(&self.path).unwrap().problems, Vec::<String>::new());
        let file = hivelog::rusqlite::Connection::open(&self.path).unwrap();
        let messages = messages(&file);
        self.check_sendings(&messages);
        check_mirror(&file, &messages);
        for id in &self.delivered {
            assert!(messages[id].handed_out > 0);
        }
        let acked: BTreeSet<i64> =
            messages.iter().filter(|(_, message)| message.is_acked).map(|(id, _)| *id).collect();
        assert!(self.acked.is_subset(&acked), "an acknowledgement was lost");
        assert!(acked.is_subset(&self.delivered), "who acknowledged said before what it took");
        drop(file);
        self.check_rest(&messages);
    }

    /// Each sending is one message, however often it was repeated.
    fn check_sendings(&self, messages: &BTreeMap<i64, Message>) {
        assert!(messages.keys().copied().eq(1..=i64::try_from(messages.len()).unwrap()), "an id was skipped");
        let mut by_call = BTreeMap::new();
        for (id, message) in messages {
            let twice = by_call.insert(message.body.parse::<u64>().unwrap(), *id);
            assert_eq!(twice, None, "sending {} is there twice", message.body);
        }
        for (call, ids) in &self.ids {
            assert_eq!(ids.iter().collect::<Vec<_>>(), [&by_call[call]], "sending {call}");
        }
        assert!(by_call.keys().all(|call| *call < self.next_call), "nobody sent that");
    }

    /// All that nobody acknowledged is still there, in order, and says whether somebody had it.
    fn check_rest(&self, messages: &BTreeMap<i64, Message>) {
        let log = Log::open(&self.path, Options::default()).unwrap();
        let desk = Desk::of(&log).unwrap();
        for number in 0..RECIPIENTS {
            let name = format!("r{number}");
            desk.requeue(&name).wait().unwrap();
            let mut rest = messages.iter().filter(|(_, message)| message.to == name && !message.is_acked);
            loop {
                let got = desk.recv(&name, Receive::default().max(100)).wait().unwrap();
                for delivery in &got {
                    let (id, message) = rest.next().unwrap();
                    assert_eq!(
                        (delivery.id, delivery.redelivered, delivery.body.as_str()),
                        (*id, message.handed_out > 0, message.body.as_str())
                    );
                    desk.ack(&name, delivery.id).wait().unwrap();
                }
                if got.is_empty() {
                    break;
                }
            }
            assert!(rest.next().is_none(), "{name} does not get all of its rest");
        }
    }

    /// A test that saw nothing has proved nothing.
    fn check_that_it_saw_something(&self, kills: u64) {
        println!(
            "{} kills, {} sendings told, {} cut off, {} repeats, {} taken, {} acked, {} again, {} taken back, hits {:?}",
            self.kills,
            self.ids.len(),
            self.cut_off.len(),
            self.repeats,
            self.delivered.len(),
            self.acked.len(),
            self.redelivered,
            self.taken_back,
            self.hits
        );
        assert_eq!(self.kills, kills);
        let seen = [self.ids.len(), self.delivered.len(), self.acked.len()];
        assert!(seen.iter().all(|seen| *seen as u64 > kills), "{seen:?}");
        assert!(self.redelivered > 0 && self.taken_back > 0 && self.repeats > 0 && !self.cut_off.is_empty());
    }
}

struct Message {
    to: String,
    body: String,
    handed_out: i64,
    is_acked: bool,
}

fn messages(file: &hivelog::rusqlite::Connection) -> BTreeMap<i64, Message> {
    let sql = "SELECT id, recipient, body, handed_out, acked_at IS NOT NULL FROM messages";
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let (to, body) = (row.get(1)?, row.get(2)?);
        Ok((row.get(0)?, Message { to, body, handed_out: row.get(3)?, is_acked: row.get(4)? }))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Each message is once `sent` on the log, in the order of ids; each that was handed out once `delivered`,
/// behind it, in the order of its inbox; the journal is empty.
fn check_mirror(file: &hivelog::rusqlite::Connection, messages: &BTreeMap<i64, Message>) {
    let left: i64 = file.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "the mirror did not come to its end");
    let sql = "SELECT kind, json_extract(payload, '$.message_id'), json_extract(payload, '$.body'),
                      json_extract(payload, '$.to') FROM events ORDER BY seq";
    let mut statement = file.prepare(sql).unwrap();
    let events: Vec<(String, i64, String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let (mut sent, mut delivered, mut last) = (0, BTreeSet::new(), BTreeMap::new());
    for (kind, id, body, to) in &events {
        assert_eq!((&messages[id].body, &messages[id].to), (body, to));
        if kind == "sent" {
            sent += 1;
            assert_eq!(*id, sent, "mirrored twice, not at all, or out of order");
        } else {
            assert_eq!(kind, "delivered");
            assert!(*id <= sent, "{id} was delivered before it was sent");
            assert!(delivered.insert(*id), "{id} was delivered twice");
            let before = last.insert(to, *id).unwrap_or(0);
            assert!(before < *id, "{to}: {id} after {before}");
        }
    }
    assert_eq!(sent, i64::try_from(messages.len()).unwrap(), "a message was not mirrored");
    let handed_out: BTreeSet<i64> =
        messages.iter().filter(|(_, message)| message.handed_out > 0).map(|(id, _)| *id).collect();
    assert_eq!(delivered, handed_out, "the first hand-outs that were mirrored");
}

/// Each file has a thread of its own: a process that is killed mostly waits for the disk before.
fn on_files(dice: &mut Dice, kill: impl Fn(&mut Trial, &mut Dice) + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..FILES {
            let (kill, mut dice) = (&kill, dice.fork());
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let mut trial = Trial::new(folder.path());
                kill(&mut trial, &mut dice);
                trial.judge();
            });
        }
    });
}

fn scale() -> u64 {
    std::env::var("HIVELOG_CRASH_SCALE").map_or(1, |text| text.parse().unwrap())
}

#[test]
#[ignore = "it is the process that the other tests of this file kill"]
fn child_process() {
    if let Ok(orders) = std::env::var(VARIABLE) {
        courier::run(&orders);
    }
}

#[test]
fn no_message_is_lost_or_mirrored_twice_when_killed_at_any_step() {
    let (_, mut dice) = Dice::announced("at any step");
    let kills_each = KILLS_AT_EACH_POINT * scale() / FILES;
    on_files(&mut dice, |trial, dice| {
        for _ in 0..kills_each {
            for (point, most) in POINTS {
                trial.live_and_die(dice.next(), &Death::AtPoint(point, dice.between(1, most)));
            }
        }
        trial.check_that_it_saw_something(kills_each * POINTS.len() as u64);
        for (point, _) in POINTS {
            assert_eq!(trial.hits.get(point), Some(&kills_each), "kills at {point}");
        }
    });
}

#[test]
fn no_message_is_lost_or_mirrored_twice_when_killed_at_random_moments() {
    let (_, mut dice) = Dice::announced("at random moments");
    let kills = KILLS_AT_RANDOM * scale() / FILES;
    on_files(&mut dice, |trial, dice| {
        for _ in 0..kills {
            // Some die while they open the file, the others while they work.
            let said = if dice.percent(75) { dice.between(1, LINES_MAX) } else { 0 };
            let time = Duration::from_micros(dice.below(if said > 0 { 5_000 } else { 30_000 }));
            trial.live_and_die(dice.next(), &Death::After(said, time));
        }
        trial.check_that_it_saw_something(kills);
    });
}

#[test]
#[ignore = "it is the process of the test below: its writer panics"]
fn poisoned_process() {
    if std::env::var(VARIABLE).is_err() {
        return;
    }
    let log = Log::temp().unwrap();
    let desk = Desk::of(&log).unwrap();
    let waiting = std::thread::spawn({
        let desk = desk.clone();
        move || desk.recv_blocking("bob", Receive::default(), Duration::from_secs(20))
    });
    let question = hivelog::Ask { asker: "alice".into(), question: "?".into(), ..hivelog::Ask::default() };
    let asked = desk.ask_peer(question, "carol").wait().unwrap().id;
    std::thread::sleep(Duration::from_millis(20));
    fail::cfg("broker.send", "panic").unwrap();
    let sent = desk.send("alice", "zoe", "x").wait();
    assert!(matches!(sent, Err(hivelog::Error::Poisoned(_))), "{sent:?}");
    // Nobody will ever ring for it, so the keeper does.
    let waited = waiting.join().unwrap();
    assert!(matches!(waited, Err(hivelog::Error::Poisoned(_))), "{waited:?}");
    // Reads go on.
    assert_eq!(desk.peer_question(asked).unwrap().outcome, "open");
    let begin = std::time::Instant::now();
    log.close();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    println!("{MARK}poisoned");
}

#[test]
fn who_waits_learns_that_the_log_takes_nothing_more() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "poisoned_process", "--nocapture"])
        .env(VARIABLE, "-")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains(&format!("{MARK}poisoned")), "{output:?}");
}
