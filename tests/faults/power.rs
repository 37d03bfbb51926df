//! P1, P2, P4: power losses. A real server's writes and syncs are recorded with what its clients were told;
//! then the power goes at any entry of the account, and what was not synced is dropped, kept or torn.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::account::{Entry, Pen, read};
use crate::checker::{Call, File, History, Outcome, Received, Run};
use crate::client::Subscriber;
use crate::dice::Dice;
use crate::disk::{Disk, Taken};
use crate::rig::{Blow, CHANGES, EIO, Orders, Rig, SYNC, Server, WRITE, figure, scratch};
use crate::story::{Story, Told, ask, calls, pad};

/// What the recorded servers went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Killed at a call and started again, some times.
    Killed,
    /// A sync failed, the server ended and was started again.
    FailedSync,
    /// Killed just before a sync; then somebody reads the file without a server.
    ReadAfterKill,
}

const CLIENTS: u64 = 3;
const LIVES: u64 = 3;
/// The subscriber that reads the file and no stream.
const READER: u32 = 9;

/// Records some lives on one file.
fn record(seed: u64, fate: Fate, flags: &[&str]) -> (Rig, Story) {
    let mut dice = Dice::from_seed(seed);
    let rig = Rig::new();
    let story = Arc::new(Mutex::new(Story::new()));
    for life in 0..LIVES {
        let strike = match fate {
            _ if life == LIVES - 1 => None,
            Fate::Killed => Some((
                dice.between(40, 700),
                [Blow::KillBefore, Blow::KillAfter, Blow::KillWithin]
                    [usize::try_from(dice.below(3)).unwrap()],
            )),
            Fate::FailedSync => Some((dice.between(4, 40), Blow::Fail(EIO, 1))),
            Fate::ReadAfterKill => Some((dice.between(6, 30), Blow::KillBefore)),
        };
        let mask = if fate == Fate::Killed { CHANGES & (WRITE | SYNC) } else { SYNC };
        rig.order(Orders { mask, strike, record: true, clock_ms: 0 });
        let Ok(mut server) = rig.serve(flags) else { continue };
        let pads = dice.percent(40);
        live(&rig, &mut server, &story, pads);
        rig.order(Orders { record: true, ..Orders::default() });
        if !server.has_ended() && dice.percent(50) {
            server.stop();
        } else {
            server.signal(rustix::process::Signal::KILL);
            server.wait();
        }
        if fate == Fate::ReadAfterKill {
            read_file(&rig);
        }
    }
    let story = story.lock().unwrap().clone();
    (rig, story)
}

/// Reads the file as `hivelog history` does, and writes down what was seen.
fn read_file(rig: &Rig) {
    let out = rig.command("history").args(["--json", "--after", "0", "--limit", "10000"]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let pen = Pen::new(&rig.trace());
    for line in out.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        pen.seen(READER, json["seq"].as_i64().unwrap(), crate::checker::hash(line));
    }
}

fn live(rig: &Rig, server: &mut Server, story: &Arc<Mutex<Story>>, pads: bool) {
    let address = server.address();
    let subscriber: Subscriber = story.lock().unwrap().subscriber.clone();
    subscriber.follow(&address, Some(Pen::new(&rig.trace())), None);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, story, pen) = (address.clone(), Arc::clone(story), Pen::new(&rig.trace()));
            std::thread::spawn(move || {
                for round in 0..12 {
                    let number = {
                        let mut story = story.lock().unwrap();
                        let repeats = round == 0 && client == 0;
                        let open = if repeats { story.first_open_call() } else { None };
                        open.unwrap_or_else(|| {
                            story.next_call += 1;
                            story.next_call - 1
                        })
                    };
                    let told = ask(&address, number, Some(&pen));
                    let told = story.lock().unwrap().note(number, told);
                    if pads && client == 1 && round % 2 == 0 {
                        pad(&address);
                    }
                    if matches!(told, Told::NoAnswer | Told::Failed(..)) {
                        break;
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

/// What a run of images came to.
#[derive(Debug, Default)]
struct Figures {
    images: AtomicU64,
    dropped: AtomicU64,
    torn: AtomicU64,
    acks: AtomicU64,
    seen: AtomicU64,
    syncs: AtomicU64,
    failed_syncs: AtomicU64,
    /// Starts that wrote less than all of a WAL once more, because the writer had said how far it was synced.
    short_starts: AtomicU64,
    violations: Mutex<Vec<String>>,
}

/// What was told until a moment, as the account goes on.
struct Known {
    /// All calls that were ever made, as calls without an answer.
    made: Vec<Call>,
    contents: HashMap<u64, Call>,
    acked: Vec<Call>,
    runs: BTreeMap<String, Run>,
}

impl Known {
    fn new(story: &Story) -> Self {
        let made: BTreeMap<u64, Vec<Outcome>> =
            story.calls.keys().map(|number| (*number, vec![Outcome::Unknown])).collect();
        let mut made = calls(&made);
        made.dedup_by_key(|call| call.number);
        let contents = made.iter().map(|call| (call.number, call.clone())).collect();
        Self { made, contents, acked: Vec::new(), runs: BTreeMap::new() }
    }

    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Acked { call, seqs } => {
                let known = &self.contents[call];
                self.acked.push(Call { outcome: Outcome::Acked(seqs.clone()), ..known.clone() });
            }
            Entry::Seen { subscriber, seq, line } => {
                let run = self.runs.entry(format!("subscriber {subscriber}")).or_default();
                // Who reads the file from its beginning again has seen the rest before.
                if *subscriber == u64::from(READER)
                    && run.received.last().is_some_and(|last| last.seq >= *seq)
                {
                    return;
                }
                run.received.push(Received { seq: *seq, line: *line, connection: 0 });
            }
            _ => {}
        }
    }

    /// What is wrong with an image that was opened again.
    fn judge(&self, folder: &Path) -> Vec<String> {
        let db = folder.join("log.db");
        let log = match hivelog::Log::open(&db, hivelog::Options::default()) {
            Ok(log) => log,
            Err(error) => return vec![format!("it does not open: {error}")],
        };
        let head = log.tail().get();
        let draft = hivelog::Draft::from_json(r#"{"kind":"after.power","n":1}"#).unwrap();
        let next = log.append(draft).wait().map(hivelog::Seq::get);
        log.close();
        drop(log);
        let mut found = Vec::new();
        if next != Ok(head + 1) {
            found.push(format!("opened at {head}, but the next append is told {next:?}"));
        }
        match hivelog::check(&db) {
            Ok(report) => found.extend(report.problems),
            Err(error) => found.push(format!("it cannot be checked: {error}")),
        }
        let Ok(file) = File::read(&db) else { return vec!["it cannot be read".into()] };
        let after = Call {
            number: u64::MAX,
            key: None,
            contents: vec![crate::checker::content("after.power", r#"{"n":1}"#)],
            outcome: Outcome::Acked(vec![head + 1]),
        };
        let calls = self.made.iter().chain(&self.acked).cloned().chain([after]).collect();
        found.extend(History { calls, subscribers: self.runs.clone(), file }.violations());
        found
    }
}

/// Cuts the power `images` times, at any entry of the account.
fn cut(seed: u64, (rig, story): &(Rig, Story), images: u64, figures: &Figures) {
    let mut dice = Dice::from_seed(seed);
    let entries = read(&rig.trace());
    let mut cuts: Vec<u64> = (0..images).map(|_| dice.below(entries.len() as u64)).collect();
    cuts.sort_unstable();
    let mut cuts = cuts.into_iter().peekable();
    let (mut disk, mut known) = (Disk::default(), Known::new(story));
    for (index, entry) in (0..).zip(&entries) {
        disk.take(entry);
        known.take(entry);
        while cuts.next_if_eq(&index).is_some() {
            let folder = scratch();
            let taken: Taken = disk.lose_power(folder.path(), &mut dice);
            figures.images.fetch_add(1, Ordering::Relaxed);
            figures.dropped.fetch_add(u64::from(taken.dropped > 0), Ordering::Relaxed);
            figures.torn.fetch_add(u64::from(taken.torn > 0), Ordering::Relaxed);
            let found = known.judge(folder.path());
            if !found.is_empty() {
                let found =
                    format!("seed {seed}, entry {index} of {}, {taken:?}: {}", entries.len(), found[0]);
                figures.violations.lock().unwrap().push(found);
            }
        }
    }
    figures.acks.fetch_add(known.acked.len() as u64, Ordering::Relaxed);
    figures.seen.fetch_add(known.runs.values().map(|run| run.received.len() as u64).sum(), Ordering::Relaxed);
    figures.syncs.fetch_add(disk.syncs, Ordering::Relaxed);
    figures.failed_syncs.fetch_add(disk.failed_syncs, Ordering::Relaxed);
    figures.short_starts.fetch_add(short_starts(&entries), Ordering::Relaxed);
}

/// Processes whose first write into the WAL was behind its beginning.
fn short_starts(entries: &[Entry]) -> u64 {
    let (mut wal, mut has_written, mut count) = (Vec::new(), false, 0);
    for entry in entries {
        match entry {
            Entry::Process => (wal, has_written) = (Vec::new(), false),
            Entry::Open { handle, name, .. } if name == "log.db-wal" => wal.push(*handle),
            Entry::Write { handle, at, .. } if wal.contains(handle) => {
                count += u64::from(!has_written && *at > 0);
                has_written = true;
            }
            _ => {}
        }
    }
    count
}

fn lose_power(test: &str, fate: Fate, flags: &[&str], accounts: u64, images: u64) -> Figures {
    let (_, mut dice) = Dice::announced(test);
    let figures = Figures::default();
    let seeds: Mutex<Vec<u64>> = Mutex::new((0..accounts).map(|_| dice.next()).collect());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = seeds.lock().unwrap().pop();
                    let Some(seed) = seed else { break };
                    let recorded = record(seed, fate, flags);
                    cut(seed, &recorded, images / accounts, &figures);
                }
            });
        }
    });
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let violations = figures.violations.lock().unwrap();
    println!(
        "{test}: {} images of {accounts} accounts ({} with something dropped, {} with something torn), {} syncs, {} \
         failed syncs, {} short starts, {} acks, {} events seen, {} violations",
        count(&figures.images),
        count(&figures.dropped),
        count(&figures.torn),
        count(&figures.syncs),
        count(&figures.failed_syncs),
        count(&figures.short_starts),
        count(&figures.acks),
        count(&figures.seen),
        violations.len()
    );
    for violation in violations.iter().take(8) {
        println!("  {violation}");
    }
    drop(violations);
    // A test that saw nothing has proved nothing.
    assert!(count(&figures.images) >= images / accounts * accounts);
    for number in [&figures.dropped, &figures.torn, &figures.syncs, &figures.acks, &figures.seen] {
        assert!(count(number) > 0, "{figures:?}");
    }
    figures
}

fn check_none(figures: &Figures) {
    assert_eq!(*figures.violations.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_power_loss_takes_back_nothing_that_was_told_or_seen() {
    let figures = lose_power("power loss", Fate::Killed, &[], figure(8, 100), figure(800, 40_000));
    check_none(&figures);
}

#[test]
fn a_power_loss_after_a_failed_sync_takes_back_nothing_that_was_told_since() {
    let figures = lose_power(
        "power loss after a failed sync",
        Fate::FailedSync,
        &[],
        figure(8, 50),
        figure(400, 10_000),
    );
    check_none(&figures);
    assert!(figures.failed_syncs.load(Ordering::Relaxed) > 0);
    // A start that wrote the whole WAL once more would have nothing to prove.
    assert!(figures.short_starts.load(Ordering::Relaxed) > 0, "{figures:?}");
}

#[test]
fn a_start_after_a_kill_writes_the_end_of_a_long_wal_once_more_and_not_all_of_it() {
    let rig = Rig::new();
    let mut server = rig.serve(&[]).unwrap();
    pad(&server.address());
    let reader = hivelog::rusqlite::Connection::open(rig.db()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    for _ in 0..8 {
        pad(&server.address());
    }
    server.kill();
    let wal_bytes = std::fs::metadata(rig.data().join("log.db-wal")).unwrap().len();
    rig.order(Orders { record: true, ..Orders::default() });
    let before = read(&rig.trace()).len();
    let mut server = rig.serve(&[]).unwrap();
    // The account of a server that is still there may end in the middle of an entry.
    server.kill();
    let mut written = 0;
    for entry in &read(&rig.trace())[before..] {
        if let Entry::Write { bytes, .. } = entry {
            written += bytes.len() as u64;
        }
    }
    assert!(written * 4 < wal_bytes, "{written} bytes of {wal_bytes}");
    drop(reader);
}

#[test]
fn a_power_loss_takes_back_nothing_that_was_read_out_of_a_killed_servers_file() {
    let figures = lose_power(
        "power loss after a read of the file",
        Fate::ReadAfterKill,
        &[],
        figure(6, 50),
        figure(300, 5_000),
    );
    check_none(&figures);
}

#[test]
fn the_rig_finds_what_durability_normal_gives_up() {
    let flags = ["--durability", "normal"];
    let figures =
        lose_power("power loss, durability normal", Fate::Killed, &flags, figure(4, 10), figure(200, 2_000));
    let violations = figures.violations.lock().unwrap();
    assert!(violations.iter().any(|violation| violation.contains("lost: ")), "the rig finds nothing");
    // A power loss takes back the end of it; what is left is whole all the same.
    for violation in violations.iter() {
        let is_due = ["lost: ", "changed: ", "ghost: ", "saw another", "stands for", "is not remembered"];
        assert!(is_due.iter().any(|word| violation.contains(word)), "{violation}");
    }
}
