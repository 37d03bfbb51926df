//! A process that appends, prunes, redacts and gives space back is killed, again and again on the same file, at named
//! points of each step. An entity is there whole or not at all, the floor never goes back, and a text that is
//! redacted is nowhere: at once where that was told, else once the file was open again.
//!
//! `HIVELOG_SEED` replays a run's choices (the scheduler has its own), `HIVELOG_CRASH_SCALE=10` kills ten times as
//! often.

mod dice;
#[path = "crash/point.rs"]
mod point;
#[path = "crash/tidier.rs"]
mod tidier;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dice::Dice;
use hivelog::{Desk, Log, Options, Range, Search};
use point::MARK;
use serde_json::Value;
use tidier::{Orders, VARIABLE};

/// Where it is killed, and at the latest at which hit.
const POINTS: [(&str, u64); 10] = [
    ("prune.deleted", 6),
    ("prune.shrink", 3),
    ("redact.replaced", 4),
    ("redact.told", 4),
    ("wipe.empty", 6),
    ("wipe.scrub", 3),
    ("wipe.end", 4),
    ("writer.before-emptying", 6),
    ("writer.after-emptying", 6),
    ("writer.after-commit", 60),
];
const KILLS_AT_EACH_POINT: u64 = 2;
const SIGKILL: i32 = 9;

/// One file, and all that was told about it.
struct Trial {
    path: PathBuf,
    /// Redactions that were asked for, by seq: the text, and which event was told to say so.
    redactions: BTreeMap<i64, (String, Option<i64>)>,
    floor: i64,
    pruned: u64,
    found_cut_off: u64,
    hits: BTreeMap<String, u64>,
}

impl Trial {
    fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("log.db"),
            redactions: BTreeMap::new(),
            floor: 0,
            pruned: 0,
            found_cut_off: 0,
            hits: BTreeMap::new(),
        }
    }

    fn live_and_die(&mut self, seed: u64, point: &str, hit: u64) {
        let orders = Orders { path: self.path.to_str().unwrap().into(), seed, point: point.into(), hit };
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_process", "--nocapture"])
            .env(VARIABLE, orders.to_text())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let out = String::from_utf8(ended.stdout).unwrap();
        let told: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
        assert_eq!(ended.status.signal(), Some(SIGKILL), "the child ended by itself: {:?}", told.last());
        for line in told {
            self.note(line);
        }
    }

    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<i64>().unwrap();
        match words[0] {
            "R" => {
                self.redactions.entry(number(1)).or_insert_with(|| (words[2].to_owned(), None));
            }
            "D" => {
                let (_, told) = self.redactions.get_mut(&number(1)).unwrap();
                assert!(told.is_none_or(|told| told == number(2)), "{line}, but before {told:?}");
                *told = Some(number(2));
            }
            "F" => {
                assert!(number(1) >= self.floor, "the floor went back to {}", number(1));
                self.floor = number(1);
                self.pruned += u64::try_from(number(2)).unwrap();
            }
            "K" => *self.hits.entry(words[1].to_owned()).or_default() += 1,
            _ => panic!("the child says: {line}"),
        }
    }

    /// Where a text lies in the files of the log.
    fn places_of(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.path.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            // What another process has just removed holds nothing.
            let bytes = std::fs::read(&path).unwrap_or_default();
            if memchr::memmem::find(&bytes, text.as_bytes()).is_some() {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// Looks at the file as the kill left it, and once it was open again.
    fn judge(&mut self) {
        for (seq, (text, told)) in &self.redactions {
            if told.is_some() {
                assert_eq!(self.places_of(text), Vec::<String>::new(), "{seq} was told to be gone: {text}");
            }
        }
        let log = Log::open(&self.path, Options::default()).unwrap();
        let (desk, search) = (Desk::of(&log).unwrap(), Search::of(&log).unwrap());
        let begin = Instant::now();
        let shell = hivelog::rusqlite::Connection::open(&self.path).unwrap();
        let meta = |name: &str| -> i64 {
            shell
                .query_row("SELECT coalesce(sum(value), 0) FROM meta WHERE name = ?1", [name], |row| {
                    row.get(0)
                })
                .unwrap()
        };
        self.found_cut_off += u64::from(meta("unwiped") > 0);
        while meta("unwiped") > 0 || search.upto() < log.tail() {
            assert!(begin.elapsed() < Duration::from_mins(2), "what was cut off is never ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(meta("redacting_seq"), 0);
        let says_so = self.check_rows(&log);
        for (seq, (text, told)) in &self.redactions {
            let by = says_so.get(seq).copied();
            assert!(told.is_none() || by == *told, "{seq}: told {told:?}, but {by:?} says so");
            let row = log.get(hivelog::Seq::new(*seq).unwrap());
            match (by, row) {
                (Some(_), row) => {
                    assert_eq!(self.places_of(text), Vec::<String>::new(), "{seq} is redacted: {text}");
                    assert!(!format!("{row:?}").contains(text.as_str()));
                }
                (None, Ok(Some(row))) => assert!(row.payload().contains(text.as_str()), "{seq}: {row:?}"),
                (None, Ok(None) | Err(_)) => assert!(*seq <= meta("floor"), "{seq} is nowhere"),
            }
        }
        drop((desk, search, shell));
        log.close();
        let report = hivelog::check(&self.path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert!(report.floor >= self.floor);
        self.floor = report.floor;
    }

    /// Checks that entities are whole; gives which event says of which that it is redacted.
    fn check_rows(&self, log: &Log) -> BTreeMap<i64, i64> {
        let (mut says_so, mut added, mut resolved) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut after = 0;
        loop {
            let range = Range { after: Some(after), limit: 10_000, ..Range::default() };
            let page = log.range(&range).unwrap();
            for row in page.rows() {
                let value: Value = row.decode().unwrap();
                let id = value["id"].as_i64();
                match row.kind() {
                    "hivelog.redacted" => {
                        let seq = value["redacted_seq"].as_i64().unwrap();
                        assert_eq!(says_so.insert(seq, row.seq().get()), None, "{seq} is redacted twice");
                    }
                    "approval_added" => drop(added.insert(id)),
                    "approval_resolved" => drop(resolved.insert(id)),
                    _ => {}
                }
            }
            after = page.next_after;
            if after >= page.seq.get() {
                break;
            }
        }
        assert!(resolved.is_subset(&added), "half an approval is left");
        says_so
    }
}

#[test]
#[ignore = "it is the process that the other test of this file kills"]
fn child_process() {
    if let Ok(orders) = std::env::var(VARIABLE) {
        tidier::run(&orders);
    }
}

#[test]
fn what_goes_is_gone_and_what_stays_is_whole() {
    let scale: u64 = std::env::var("HIVELOG_CRASH_SCALE").map_or(1, |text| text.parse().unwrap());
    let (_, mut dice) = Dice::announced("pruning and redacting");
    let folder = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(folder.path());
    let kills = KILLS_AT_EACH_POINT * scale;
    for _ in 0..kills {
        for (point, most) in POINTS {
            trial.live_and_die(dice.next(), point, dice.between(1, most));
            trial.judge();
        }
    }
    let ended = trial.redactions.values().filter(|(_, told)| told.is_some()).count();
    println!(
        "{} redactions, {ended} of them told; {} events pruned up to {}; {} times the next opening ended one; hits {:?}",
        trial.redactions.len(),
        trial.pruned,
        trial.floor,
        trial.found_cut_off,
        trial.hits
    );
    assert!(POINTS.iter().all(|(point, _)| trial.hits.get(*point) == Some(&kills)), "{:?}", trial.hits);
    assert!(ended > 5 && trial.redactions.len() > ended && trial.pruned > 0 && trial.found_cut_off > 0);
}
