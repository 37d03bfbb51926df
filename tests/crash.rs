//! A process that appends and follows is killed, again and again on the same file: at named points
//! of the writer, and at random moments. Nothing that was told or seen may be lost, changed or
//! stored twice.
//!
//! `HIVELOG_SEED` replays a run's choices (the scheduler has its own), `HIVELOG_CRASH_SCALE=10`
//! kills ten times as often.

mod checker;
#[path = "crash/child.rs"]
mod child;
mod dice;
#[path = "crash/point.rs"]
mod point;
#[path = "crash/work.rs"]
mod work;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use checker::{Call, File, History, Outcome, Received, Run};
use child::{Orders, VARIABLE};
use dice::Dice;
use point::MARK;

const POINTS: [&str; 7] = [
    "writer.before-begin",
    "writer.before-commit",
    "writer.after-commit",
    "writer.before-publish",
    "writer.before-answer",
    "writer.before-checkpoint",
    "writer.after-checkpoint",
];
/// A child meets its end within a second, on a quick machine.
const LIFE_MAX: Duration = Duration::from_mins(2);
/// How many files go through it at once, which share the kills.
const FILES: u64 = 2;
/// Kills at each point, and kills at random moments; together more than 200.
const KILLS_AT_EACH_POINT: u64 = 20;
const KILLS_AT_RANDOM: u64 = 80;
const FOLLOWERS: usize = 3;
const SIGKILL: i32 = 9;

/// One file, and all that was told about it over its many processes.
struct Trial {
    path: PathBuf,
    calls: BTreeMap<u64, Vec<Outcome>>,
    next_call: u64,
    runs: Vec<Run>,
    processes: u64,
    acks: u64,
    refusals: u64,
    kills: u64,
    hits: BTreeMap<String, u64>,
}

/// What ends a child.
#[derive(Debug)]
enum Death {
    AtPoint(&'static str, u64),
    /// So long after it was started, or after it had opened the file.
    After(Duration, bool),
}

impl Trial {
    fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("log.db"),
            calls: BTreeMap::new(),
            next_call: 1,
            runs: vec![Run::default(); FOLLOWERS],
            processes: 0,
            acks: 0,
            refusals: 0,
            kills: 0,
            hits: BTreeMap::new(),
        }
    }

    fn positions(&self) -> Vec<i64> {
        let last = |run: &Run| run.received.last().map_or(run.after, |received| received.seq);
        self.runs.iter().map(last).collect()
    }

    /// Lets one process work until its death, and writes down all it was told.
    fn live_and_die(&mut self, seed: u64, death: &Death) {
        self.processes += 1;
        let orders = Orders {
            path: self.path.to_str().unwrap().into(),
            seed,
            next_call: self.next_call,
            positions: self.positions(),
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
        if let Death::After(time, once_open) = death {
            if *once_open {
                lines.push(told.recv().expect("the child opens the file"));
            }
            // The moment of the kill is the point of this: there is no event to wait for.
            std::thread::sleep(*time);
            process.kill().unwrap();
        }
        // Its last line is its end. One that does not come by its point any more would work on for ever.
        let until = Instant::now() + LIFE_MAX;
        loop {
            let left = until.checked_duration_since(Instant::now()).ok_or(RecvTimeoutError::Timeout);
            match left.and_then(|left| told.recv_timeout(left)) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    process.kill().unwrap();
                    panic!("it outlives {death:?}");
                }
            }
        }
        let status = process.wait().unwrap();
        reader.join().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {:?}", lines.last());
        self.kills += 1;
        for line in &lines {
            self.note(line);
        }
    }

    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        match words[0] {
            "O" => {
                // What anybody saw or was told is there as soon as the file is open again.
                let head: i64 = words[1].parse().unwrap();
                let seen = self.positions().into_iter().max().unwrap_or(0);
                assert!(head >= seen, "opened at {head}, but a follower had seen {seen}");
            }
            "C" => {
                self.calls.entry(number(1)).or_default();
                self.next_call = self.next_call.max(number(1) + 1);
            }
            "A" => {
                let seqs = words[2].split(',').map(|seq| seq.parse().unwrap()).collect();
                self.calls.entry(number(1)).or_default().push(Outcome::Acked(seqs));
                self.acks += 1;
            }
            "R" => {
                self.calls.entry(number(1)).or_default().push(Outcome::Refused);
                self.refusals += 1;
            }
            "U" => self.calls.entry(number(1)).or_default().push(Outcome::Unknown),
            "F" => self.runs[usize::try_from(number(1)).unwrap()].received.push(Received {
                seq: words[2].parse().unwrap(),
                line: number(3),
                connection: self.processes,
            }),
            "K" => *self.hits.entry(words[1].to_owned()).or_default() += 1,
            _ => panic!("the child says: {line}"),
        }
    }

    /// Opens the file once more, and compares what it holds with all that was told.
    fn judge(self) -> History {
        let log = hivelog::Log::open(&self.path, hivelog::Options::default()).unwrap();
        let snapshot = log.snapshot().unwrap();
        assert_eq!(
            snapshot.json(),
            log.snapshot_at(snapshot.seq).unwrap().json(),
            "the board is not its fold"
        );
        log.close();
        let report = hivelog::check(&self.path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let file = File::read(&self.path).unwrap();
        assert_eq!(i64::try_from(file.rows.len()).unwrap(), report.head);
        let mut calls = Vec::new();
        for (number, outcomes) in &self.calls {
            let call = work::call(*number);
            let contents: Vec<u64> =
                call.events.iter().map(|(kind, payload)| checker::content(kind, payload)).collect();
            // A call may have been cut off before it was answered, as often as it was made.
            for outcome in outcomes.iter().cloned().chain([Outcome::Unknown]) {
                let (key, contents) = (Some(call.key.clone()), contents.clone());
                calls.push(Call { number: *number, key, contents, outcome });
            }
        }
        let (kind, payload) = work::padding();
        let padding = vec![checker::content(kind, &payload)];
        calls.push(Call { number: 0, key: None, contents: padding, outcome: Outcome::Unknown });
        let subscribers =
            self.runs.into_iter().enumerate().map(|(index, run)| (format!("follower {index}"), run));
        let history = History { calls, subscribers: subscribers.collect(), file };
        assert_eq!(history.violations(), Vec::<String>::new());
        history
    }

    /// A test that saw nothing has proved nothing.
    fn check_that_it_saw_something(&self, kills: u64) {
        println!(
            "{} kills, {} calls, {} acks, {} refusals, {:?} received, hits {:?}",
            self.kills,
            self.calls.len(),
            self.acks,
            self.refusals,
            self.runs.iter().map(|run| run.received.len()).collect::<Vec<_>>(),
            self.hits
        );
        assert_eq!(self.kills, kills);
        assert!(self.acks > kills, "there were {} acks", self.acks);
        assert!(self.refusals > 0);
        assert!(self.calls.values().any(Vec::is_empty), "no call was cut off");
        assert!(self.calls.values().any(|outcomes| outcomes.len() > 1), "no call was repeated");
        assert!(self.runs.iter().all(|run| !run.received.is_empty()), "a follower saw nothing");
    }
}

fn scale() -> u64 {
    std::env::var("HIVELOG_CRASH_SCALE").map_or(1, |text| text.parse().unwrap())
}

#[test]
#[ignore = "it is the process that the other tests of this file kill"]
fn child_process() {
    if let Ok(orders) = std::env::var(VARIABLE) {
        child::run(&orders);
    }
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

/// Kills at each named point, in turns.
fn check_kills_at_points(test: &str, points: &[&'static str], kills_each: u64) {
    let (_, mut dice) = Dice::announced(test);
    let kills_each = kills_each / FILES;
    on_files(&mut dice, |trial, dice| {
        for _ in 0..kills_each {
            for point in points {
                let most = if point.ends_with("checkpoint") { 2 } else { 40 };
                trial.live_and_die(dice.next(), &Death::AtPoint(point, dice.between(1, most)));
            }
        }
        trial.check_that_it_saw_something(kills_each * points.len() as u64);
        for point in points {
            assert_eq!(trial.hits.get(*point), Some(&kills_each), "kills at {point}");
        }
    });
}

#[test]
fn nothing_is_lost_when_killed_around_the_commit() {
    check_kills_at_points("around the commit", &POINTS[..5], KILLS_AT_EACH_POINT * scale());
}

#[test]
fn nothing_is_lost_when_killed_around_the_checkpoint() {
    check_kills_at_points("around the checkpoint", &POINTS[5..], KILLS_AT_EACH_POINT * scale());
}

#[test]
fn nothing_is_lost_when_killed_at_random_moments() {
    let (_, mut dice) = Dice::announced("at random moments");
    let kills = KILLS_AT_RANDOM * scale() / FILES;
    on_files(&mut dice, |trial, dice| {
        for _ in 0..kills {
            // Some die while they open the file, the others while they work.
            let once_open = dice.percent(75);
            let time = Duration::from_micros(dice.below(if once_open { 120_000 } else { 30_000 }));
            trial.live_and_die(dice.next(), &Death::After(time, once_open));
        }
        trial.check_that_it_saw_something(kills);
    });
}
