//! What a disk may hold after a power loss, from the account of what was really written and synced.
//!
//! A write that no sync followed may be there, be missing, or be there in part; a sync that failed makes
//! nothing durable, and nothing that was pending then becomes durable by a later one: the kernel has
//! forgotten that it is not on disk. Names in the folder are durable, in their order, once the folder is
//! synced.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::account::Entry;
use crate::dice::Dice;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Durable,
    Pending,
    /// A sync of it failed: it is never again written by itself.
    Forgotten,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Default)]
struct File {
    base: Vec<u8>,
    changes: Vec<(Change, State)>,
}

enum Naming {
    Put(String, usize),
    Move(String, String),
    Remove(String),
}

/// A disk as the account goes on.
#[derive(Default)]
pub struct Disk {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<Naming>,
    handles: HashMap<u32, usize>,
    pub syncs: u64,
    pub failed_syncs: u64,
}

/// How a power loss treats what is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    DropAll,
    KeepAll,
    Each,
    EachTorn,
    /// The first ones are there, the next is torn.
    First,
    /// Only the last ones are there.
    Last,
}

const LOSSES: [Loss; 6] = [Loss::DropAll, Loss::KeepAll, Loss::Each, Loss::EachTorn, Loss::First, Loss::Last];

/// What one image came of.
#[derive(Clone, Debug)]
pub struct Taken {
    pub loss: Loss,
    /// The names that are there, with the length of each, and how many changes of names were pending.
    pub names: Vec<(String, usize)>,
    pub pending_names: usize,
    pub dropped: u64,
    pub torn: u64,
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Move(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => bytes.resize(*len, 0),
            Self::Write(at, data) => {
                let end = at + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(data);
            }
        }
    }

    /// Some of its sectors.
    fn apply_torn(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let Self::Write(at, data) = self else { return };
        let sector = if dice.percent(70) { 512 } else { 4_096 };
        let end = at + data.len();
        let mut begin = *at;
        while begin < end {
            let stop = end.min((begin / sector + 1) * sector);
            if dice.percent(50) {
                Self::Write(begin, data[begin - at..stop - at].to_vec()).apply(bytes);
            }
            begin = stop;
        }
    }
}

impl File {
    fn sync(&mut self) {
        for (_, state) in &mut self.changes {
            if *state == State::Pending {
                *state = State::Durable;
            }
        }
        let settled = self.changes.iter().take_while(|(_, state)| *state == State::Durable).count();
        for (change, _) in self.changes.drain(..settled) {
            change.apply(&mut self.base);
        }
    }

    fn image(&self, loss: Loss, dice: &mut Dice, taken: &mut Taken) -> Vec<u8> {
        let mut bytes = self.base.clone();
        let open = self.changes.iter().filter(|(_, state)| *state != State::Durable).count() as u64;
        let turning = dice.below(open + 1);
        let fills = dice.percent(30);
        let mut index = 0;
        for (change, state) in &self.changes {
            if *state == State::Durable {
                change.apply(&mut bytes);
                continue;
            }
            index += 1;
            let (keeps, tears) = match loss {
                Loss::DropAll => (false, false),
                Loss::KeepAll => (true, false),
                Loss::Each => (dice.percent(50), false),
                Loss::EachTorn => (dice.percent(30), dice.percent(60)),
                Loss::First => (index <= turning, index == turning + 1),
                Loss::Last => (index > turning, false),
            };
            if keeps {
                change.apply(&mut bytes);
            } else if tears && matches!(change, Change::Write(..)) {
                taken.torn += 1;
                change.apply_torn(&mut bytes, dice);
            } else {
                taken.dropped += 1;
                // The length of a file may be on disk without its bytes.
                if let (true, Change::Write(at, data)) = (fills, change) {
                    let end = at + data.len();
                    bytes.resize(bytes.len().max(end), 0);
                }
            }
        }
        bytes
    }
}

impl Disk {
    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending_names.push(naming);
    }

    /// Goes on by one entry.
    pub fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Process => self.handles.clear(),
            Entry::Open { handle, name, is_new, cut } => {
                let known = self.names.get(name).copied();
                // A file that was there before the account began is not known: nothing of that kind is used.
                let file = known.unwrap_or_else(|| {
                    assert!(*is_new, "{name} was not made in this account");
                    self.files.push(File::default());
                    self.name(Naming::Put(name.clone(), self.files.len() - 1));
                    self.files.len() - 1
                });
                if *cut {
                    self.files[file].changes.push((Change::Truncate(0), State::Pending));
                }
                self.handles.insert(*handle, file);
            }
            Entry::Write { handle, at, bytes } => {
                let change = Change::Write(usize::try_from(*at).unwrap(), bytes.clone());
                self.files[self.handles[handle]].changes.push((change, State::Pending));
            }
            Entry::Truncate { handle, bytes } => {
                let change = Change::Truncate(usize::try_from(*bytes).unwrap());
                self.files[self.handles[handle]].changes.push((change, State::Pending));
            }
            Entry::Sync { handle } => {
                self.syncs += 1;
                self.files[self.handles[handle]].sync();
            }
            Entry::FailedSync { handle } => {
                self.failed_syncs += 1;
                for (_, state) in &mut self.files[self.handles[handle]].changes {
                    if *state == State::Pending {
                        *state = State::Forgotten;
                    }
                }
            }
            Entry::SyncFolder => {
                for naming in self.pending_names.drain(..) {
                    naming.apply(&mut self.durable_names);
                }
            }
            Entry::Rename { from, to } => self.name(Naming::Move(from.clone(), to.clone())),
            Entry::Link { from, to } => {
                let file = self.names[from];
                self.name(Naming::Put(to.clone(), file));
            }
            Entry::Unlink { name } => self.name(Naming::Remove(name.clone())),
            Entry::FailedSyncFolder
            | Entry::Struck { .. }
            | Entry::Count(_)
            | Entry::Acked { .. }
            | Entry::Seen { .. } => {}
        }
    }

    /// Writes what the disk may hold if the power goes now.
    pub fn lose_power(&self, folder: &Path, dice: &mut Dice) -> Taken {
        let loss = LOSSES[usize::try_from(dice.below(6)).unwrap()];
        let mut taken =
            Taken { loss, names: Vec::new(), pending_names: self.pending_names.len(), dropped: 0, torn: 0 };
        let mut names = self.durable_names.clone();
        let pending = self.pending_names.len() as u64;
        let kept = match loss {
            Loss::DropAll => 0,
            Loss::KeepAll => pending,
            Loss::Each | Loss::EachTorn | Loss::First | Loss::Last => dice.below(pending + 1),
        };
        for naming in self.pending_names.iter().take(usize::try_from(kept).unwrap()) {
            naming.apply(&mut names);
        }
        for (name, file) in &names {
            let bytes = self.files[*file].image(loss, dice, &mut taken);
            taken.names.push((name.clone(), bytes.len()));
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        taken
    }
}

/// What is on the disk after these entries, if nothing that is pending gets there, and if all of it does.
fn outcomes(entries: &[Entry]) -> Vec<Option<Vec<u8>>> {
    let mut disk = Disk::default();
    entries.iter().for_each(|entry| disk.take(entry));
    let mut dice = Dice::from_seed(7);
    let mut found = Vec::new();
    for _ in 0..200 {
        let folder = crate::rig::scratch();
        let taken = disk.lose_power(folder.path(), &mut dice);
        if matches!(taken.loss, Loss::DropAll | Loss::KeepAll) {
            found.push(std::fs::read(folder.path().join("f")).ok().map(|mut bytes| {
                // A length may be there without its bytes.
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(end);
                bytes
            }));
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn the_disk_keeps_what_was_synced_and_only_that() {
    let open = Entry::Open { handle: 1, name: "f".into(), is_new: true, cut: false };
    let write = |at, text: &str| Entry::Write { handle: 1, at, bytes: text.into() };
    let (sync, failed, folder) =
        (Entry::Sync { handle: 1 }, Entry::FailedSync { handle: 1 }, Entry::SyncFolder);
    let check = |entries: &[&Entry], due: &[Option<&str>]| {
        let entries: Vec<Entry> = entries.iter().map(|entry| (*entry).clone()).collect();
        let due: Vec<Option<Vec<u8>>> =
            due.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect();
        assert_eq!(outcomes(&entries), due);
    };
    let (ab, cd) = (write(0, "ab"), write(2, "cd"));
    check(&[&open, &ab, &sync], &[None, Some("ab")]);
    check(&[&open, &folder, &ab], &[Some(""), Some("ab")]);
    check(&[&open, &ab, &sync, &folder], &[Some("ab")]);
    check(&[&open, &folder, &ab, &sync, &cd], &[Some("ab"), Some("abcd")]);
    // What was pending at a failed sync is not saved by the next one; written once more it is.
    check(&[&open, &folder, &ab, &failed, &cd, &sync], &[Some("\0\0cd"), Some("abcd")]);
    check(&[&open, &folder, &ab, &failed, &ab, &cd, &sync], &[Some("abcd")]);
}
