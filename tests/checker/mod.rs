//! The one checker of histories.
//!
//! It compares three accounts of the same log: what clients were told, what subscribers received,
//! and what the file holds after it was opened again. An answer that never came, or an error that
//! leaves the outcome open, may be either stored or not; everything else is decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;

/// The hash that stands for some bytes in every account.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// What stands for an event's content: its kind and its payload.
pub fn content(kind: &str, payload: &str) -> u64 {
    hash(format!("{kind} {payload}").as_bytes())
}

/// What one call was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, each event at its seq.
    Acked(Vec<i64>),
    /// Refused: nothing was stored.
    Refused,
    /// An error, a timeout, or no answer at all.
    Unknown,
}

/// One call: events that are stored together or not at all.
#[derive(Clone, Debug)]
pub struct Call {
    pub number: u64,
    pub key: Option<String>,
    /// The content of each event. The test sees to it that no two keys have content in common.
    pub contents: Vec<u64>,
    pub outcome: Outcome,
}

/// What one subscriber received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub seq: i64,
    pub line: u64,
    /// Counts the times that the subscriber connected.
    pub connection: u64,
}

/// What one subscriber received over all its connections, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The seq after which it began.
    pub after: i64,
    pub received: Vec<Received>,
}

/// One row of the file.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub seq: i64,
    pub recorded_at_ms: i64,
    pub content: u64,
    pub line: u64,
}

/// What the file holds.
#[derive(Clone, Debug, Default)]
pub struct File {
    pub rows: Vec<Stored>,
    /// Key, first seq, last seq.
    pub keys: Vec<(String, i64, i64)>,
}

/// The three accounts.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub calls: Vec<Call>,
    pub subscribers: BTreeMap<String, Run>,
    pub file: File,
}

impl File {
    /// Reads a file by plain SQL, so that a fault of the crate's own reading cannot hide.
    pub fn read(path: &Path) -> hivelog::rusqlite::Result<Self> {
        let conn = hivelog::rusqlite::Connection::open(path)?;
        let mut rows = conn.prepare("SELECT seq, recorded_at_ms, kind, payload FROM events ORDER BY seq")?;
        let rows = rows.query_map([], |row| {
            let (seq, recorded_at_ms) = (row.get(0)?, row.get(1)?);
            let (kind, payload): (String, String) = (row.get(2)?, row.get(3)?);
            let line = line(seq, recorded_at_ms, &kind, &payload);
            Ok(Stored { seq, recorded_at_ms, content: content(&kind, &payload), line: hash(line.as_bytes()) })
        })?;
        let rows = rows.collect::<Result<_, _>>()?;
        let mut keys = conn.prepare("SELECT key, first_seq, last_seq FROM keys")?;
        let keys = keys.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(Self { rows, keys: keys.collect::<Result<_, _>>()? })
    }
}

/// An event on the wire, written a second time on purpose.
pub fn line(seq: i64, recorded_at_ms: i64, kind: &str, payload: &str) -> String {
    let members = payload.strip_prefix('{').unwrap_or(payload);
    let comma = if members == "}" { "" } else { "," };
    format!("{{\"seq\":{seq},\"recorded_at_ms\":{recorded_at_ms},\"kind\":\"{kind}\"{comma}{members}")
}

impl History {
    /// Everything that the three accounts disagree about; empty for a history that keeps the promises.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let by_seq: HashMap<i64, &Stored> = self.file.rows.iter().map(|row| (row.seq, row)).collect();
        self.check_density(&mut found);
        self.check_calls(&by_seq, &mut found);
        self.check_keys(&by_seq, &mut found);
        for (name, run) in &self.subscribers {
            check_run(name, run, &by_seq, &mut found);
        }
        found
    }

    /// The file is 1..n, and its times never go back.
    fn check_density(&self, found: &mut Vec<String>) {
        for (row, due) in self.file.rows.iter().zip(1..) {
            if row.seq != due {
                found.push(format!("hole or double: seq {} stands where {due} is due", row.seq));
                break;
            }
        }
        for (row, next) in self.file.rows.iter().zip(self.file.rows.iter().skip(1)) {
            if next.recorded_at_ms < row.recorded_at_ms {
                found.push(format!("time goes back at seq {}", next.seq));
            }
        }
    }

    /// What was acknowledged is in the file as it was told; what was refused is not.
    fn check_calls(&self, by_seq: &HashMap<i64, &Stored>, found: &mut Vec<String>) {
        let mut possible: BTreeSet<u64> = BTreeSet::new();
        for call in self.calls.iter().filter(|call| call.outcome != Outcome::Refused) {
            possible.extend(&call.contents);
        }
        for call in &self.calls {
            let Outcome::Acked(seqs) = &call.outcome else { continue };
            if seqs.len() != call.contents.len() {
                found.push(format!(
                    "call {}: {} seqs for {} events",
                    call.number,
                    seqs.len(),
                    call.contents.len()
                ));
            }
            for (seq, content) in seqs.iter().zip(&call.contents) {
                match by_seq.get(seq) {
                    None => {
                        found.push(format!("lost: call {} was told seq {seq}, not in the file", call.number))
                    }
                    Some(row) if row.content != *content => {
                        found.push(format!(
                            "changed: call {} was told seq {seq}, which holds something else",
                            call.number
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        for row in self.file.rows.iter().filter(|row| !possible.contains(&row.content)) {
            found.push(format!("from nowhere: nobody who was not refused sent what seq {} holds", row.seq));
        }
    }

    /// Each key stands for one call's events, whole, and they are stored once.
    fn check_keys(&self, by_seq: &HashMap<i64, &Stored>, found: &mut Vec<String>) {
        let mut times: HashMap<u64, usize> = HashMap::new();
        for row in &self.file.rows {
            *times.entry(row.content).or_default() += 1;
        }
        let in_file: HashMap<&str, (i64, i64)> =
            self.file.keys.iter().map(|(key, first, last)| (key.as_str(), (*first, *last))).collect();
        let mut told: HashMap<&str, &[i64]> = HashMap::new();
        for call in self.calls.iter().filter(|call| call.outcome != Outcome::Refused) {
            let Some(key) = call.key.as_deref() else { continue };
            for content in &call.contents {
                let count = times.get(content).copied().unwrap_or(0);
                if count > 1 {
                    found.push(format!("stored twice: content of key {key} is in the file {count} times"));
                }
            }
            let stored = call.contents.iter().filter(|content| times.contains_key(content)).count();
            if stored != 0 && stored != call.contents.len() {
                found.push(format!(
                    "torn: {stored} of {} events of key {key} are stored",
                    call.contents.len()
                ));
            }
            match in_file.get(key) {
                Some((first, last)) => {
                    let held = (*first..=*last).map(|seq| by_seq.get(&seq).map(|row| row.content));
                    if !held.eq(call.contents.iter().map(|content| Some(*content))) {
                        found.push(format!(
                            "key {key} stands for {first} to {last}, which hold something else"
                        ));
                    }
                }
                None if stored > 0 => {
                    found.push(format!("key {key} is not remembered, but its events are stored"))
                }
                None => {}
            }
            if let Outcome::Acked(seqs) = &call.outcome {
                let before = told.insert(key, seqs);
                if before.is_some_and(|before| before != seqs) {
                    found.push(format!("key {key} was told {before:?} and later {seqs:?}"));
                }
            }
        }
    }
}

/// A subscriber has each event after its start once, in order, over all connections, as the file has it.
fn check_run(name: &str, run: &Run, by_seq: &HashMap<i64, &Stored>, found: &mut Vec<String>) {
    let mut last = run.after;
    for received in &run.received {
        let Received { seq, line, connection } = *received;
        if seq <= last {
            found.push(format!("double: {name} got seq {seq} after {last} (connection {connection})"));
        } else if seq > last + 1 {
            found.push(format!("gap: {name} got seq {seq} after {last} (connection {connection})"));
        }
        match by_seq.get(&seq) {
            None => found.push(format!("ghost: {name} saw seq {seq}, which is not in the file")),
            Some(row) if row.line != line => {
                found.push(format!("{name} saw another seq {seq} than the file has"))
            }
            Some(_) => {}
        }
        last = last.max(seq);
    }
}
