//! The account that the preloaded library and the clients write into one file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// What is known of one moment, in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A process began.
    Process,
    /// A file of the folder was opened as this handle.
    Open {
        handle: u32,
        name: String,
        is_new: bool,
        cut: bool,
    },
    Write {
        handle: u32,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        handle: u32,
        bytes: u64,
    },
    Sync {
        handle: u32,
    },
    FailedSync {
        handle: u32,
    },
    SyncFolder,
    FailedSyncFolder,
    Rename {
        from: String,
        to: String,
    },
    Link {
        from: String,
        to: String,
    },
    Unlink {
        name: String,
    },
    /// The library struck: the class of the call, its number, the error.
    Struck {
        class: u8,
        call: u64,
        error: i32,
        name: String,
    },
    /// So many calls were counted when the process closed its last file.
    Count(u64),
    /// A client was told that its call is stored, at these seqs.
    Acked {
        call: u64,
        seqs: Vec<i64>,
    },
    /// A subscriber has seen an event: seq and hash of the line.
    Seen {
        subscriber: u64,
        seq: i64,
        line: u64,
    },
}

const HEAD: usize = 32;

/// Reads an account.
pub fn read(path: &Path) -> Vec<Entry> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(HEAD);
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let handle = u32::from_le_bytes(head[4..8].try_into().unwrap());
        let (a, b, len) = (word(8), word(16), usize::try_from(word(24)).unwrap());
        let (data, tail) = tail.split_at(len);
        let text = || String::from_utf8(data.to_vec()).unwrap();
        let pair = || {
            let text = text();
            let (from, to) = text.split_once('/').unwrap();
            (from.to_owned(), to.to_owned())
        };
        entries.push(match head[0] {
            b'P' => Entry::Process,
            b'O' => Entry::Open { handle, name: text(), is_new: a == 1, cut: b == 1 },
            b'W' => Entry::Write { handle, at: a, bytes: data.to_vec() },
            b'T' => Entry::Truncate { handle, bytes: a },
            b'S' => Entry::Sync { handle },
            b'F' => Entry::FailedSync { handle },
            b'D' => Entry::SyncFolder,
            b'E' => Entry::FailedSyncFolder,
            b'R' => {
                let (from, to) = pair();
                Entry::Rename { from, to }
            }
            b'L' => {
                let (from, to) = pair();
                Entry::Link { from, to }
            }
            b'U' => Entry::Unlink { name: text() },
            b'X' => {
                Entry::Struck { class: head[1], call: a, error: i32::try_from(b).unwrap_or(-1), name: text() }
            }
            b'N' => Entry::Count(a),
            b'A' => Entry::Acked {
                call: a,
                seqs: data.chunks(8).map(|seq| i64::from_le_bytes(seq.try_into().unwrap())).collect(),
            },
            b'V' => Entry::Seen { subscriber: u64::from(handle), seq: i64::try_from(a).unwrap(), line: b },
            other => panic!("the account has an entry {other}"),
        });
        rest = tail;
    }
    entries
}

/// Where clients write down what they were told, after they were told.
pub struct Pen(File);

impl Pen {
    pub fn new(path: &Path) -> Self {
        Self(File::options().append(true).open(path).unwrap())
    }

    fn write(&self, kind: u8, handle: u32, (a, b): (u64, u64), data: &[u8]) {
        let mut record = vec![kind, 0, 0, 0];
        record.extend(handle.to_le_bytes());
        for word in [a, b, data.len() as u64] {
            record.extend(word.to_le_bytes());
        }
        record.extend(data);
        // One call: appended whole, or not at all.
        assert_eq!((&self.0).write(&record).unwrap(), record.len());
    }

    pub fn acked(&self, call: u64, seqs: &[i64]) {
        let data: Vec<u8> = seqs.iter().flat_map(|seq| seq.to_le_bytes()).collect();
        self.write(b'A', 0, (call, 0), &data);
    }

    pub fn seen(&self, subscriber: u32, seq: i64, line: u64) {
        self.write(b'V', subscriber, (u64::try_from(seq).unwrap(), line), &[]);
    }
}
