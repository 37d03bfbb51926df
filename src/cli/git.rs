//! A git repository as the replay reads it, through the `git` command.
//!
//! A repository is foreign input: nothing that its configuration names is run, nothing is written to
//! it, and nothing is fetched for it.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::sync::mpsc;

use crate::cli::failure::Failure;
use crate::limits::{BODY_BYTES_MAX, INTEGER_MAX};

/// Diffs read ahead of the one that is posted: each is at most one body.
const AHEAD: usize = 8;
/// Text of a diff that is kept: more cannot be posted.
const DIFF_BYTES_KEPT: usize = BODY_BYTES_MAX;
/// What git says that is kept: its first line is what is told.
const WORDS_BYTES_KEPT: u64 = 64 << 10;

/// One commit.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) hash: String,
    /// The author as one identity: name and address.
    pub(crate) author: (String, String),
    /// When it was committed, in unix seconds.
    pub(crate) at: i64,
    pub(crate) subject: String,
    pub(crate) message: String,
}

/// A diff, or as much of it as can be posted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diff {
    pub(crate) text: String,
    /// The length of the whole, in bytes.
    pub(crate) bytes: usize,
}

/// A `git` command that does only what its arguments say.
fn git(repo: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(repo).arg("--no-pager");
    for setting in [
        "core.fsmonitor=false",
        "core.hooksPath=/dev/null",
        "core.quotePath=false",
        "diff.noprefix=false",
        "diff.mnemonicPrefix=false",
        "diff.orderFile=/dev/null",
        "log.showSignature=false",
        "log.mailmap=false",
        "protocol.allow=never",
    ] {
        command.args(["-c", setting]);
    }
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"] {
        command.env_remove(name);
    }
    for (name, value) in [
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("LC_ALL", "C"),
    ] {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn not_started(error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot run git: {error}"))
}

fn went_wrong(stderr: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
    Failure::failed(format!("git: {}", line.trim()))
}

/// The commits of the current branch, the oldest first. Blocks.
pub(crate) fn commits(repo: &Path) -> Result<Vec<Commit>, Failure> {
    if !repo.is_dir() {
        return Err(Failure::not_found(format!("--repo {}: is no folder", repo.display())));
    }
    let mut command = git(repo);
    command.args(["log", "-z", "--reverse", "--no-color", "--no-notes", "--encoding=UTF-8", "--no-patch"]);
    command.args(["--no-ext-diff", "--no-textconv", "--format=tformat:%H%n%an%n%ae%n%ct%n%B", "HEAD", "--"]);
    let output = command.output().map_err(|error| not_started(&error))?;
    if !output.status.success() {
        return Err(went_wrong(&output.stderr));
    }
    let records = output.stdout.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records.map(|record| commit(&String::from_utf8_lossy(record))).collect()
}

fn commit(record: &str) -> Result<Commit, Failure> {
    let mut lines = record.splitn(5, '\n');
    let mut next = || lines.next().ok_or_else(|| Failure::failed("git log gave a record that is cut off"));
    let hash = next()?.to_owned();
    let author = (next()?.to_owned(), next()?.to_owned());
    // A time before 1970, or none, is no reason not to replay a commit.
    let at = next()?.parse().unwrap_or(0).clamp(0, INTEGER_MAX);
    let message = next()?.trim_end().to_owned();
    let subject = message.lines().next().unwrap_or_default().to_owned();
    Ok(Commit { hash, author, at, subject, message })
}

/// Reads the diffs of these commits against their first parents, in this order, on a thread that
/// ends with them or when nobody takes them any more.
pub(crate) fn diffs(repo: PathBuf, hashes: Vec<String>) -> mpsc::Receiver<Result<Diff, Failure>> {
    let (send, receive) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        if let Err(failure) = read_diffs(&repo, &hashes, &send) {
            // Nobody may be left to be told.
            let _unheard = send.blocking_send(Err(failure));
        }
    });
    receive
}

type Taker = mpsc::Sender<Result<Diff, Failure>>;

fn read_diffs(repo: &Path, hashes: &[String], send: &Taker) -> Result<(), Failure> {
    let mut command = git(repo);
    command.args(["diff-tree", "--stdin", "--always", "--root", "--diff-merges=first-parent", "--patch"]);
    command.args(["--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "--find-renames"]);
    command.args(["--unified=3", "--inter-hunk-context=0", "--diff-algorithm=default"]);
    command.args(["--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--no-relative"]);
    talk(command.stdin(Stdio::piped()), hashes, send)
}

/// Gives git the names and takes the diffs.
fn talk(command: &mut Command, hashes: &[String], send: &Taker) -> Result<(), Failure> {
    let mut child = command.spawn().map_err(|error| not_started(&error))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::failed("git has no pipes"));
    };
    let names = hashes.to_vec();
    // Threads of their own: git reads the next name only when its last diff was taken, and gives the next diff only
    // when what it had to say was heard.
    let asking = std::thread::spawn(move || names.iter().all(|name| writeln!(stdin, "{name}").is_ok()));
    let hearing = std::thread::spawn(move || words(stderr));
    let read = take_apart(BufReader::with_capacity(64 << 10, stdout), hashes, send);
    if !matches!(read, Ok(true)) {
        // Nobody wants the rest. It may have ended by itself already.
        let _gone = child.kill();
    }
    let _asked = asking.join();
    let (words, status) = (hearing.join().unwrap_or_default(), child.wait()?);
    match read {
        Ok(true) if !status.success() => Err(went_wrong(&words)),
        Ok(_) => Ok(()),
        // What git itself says explains more than what is missing.
        Err(_) if !words.is_empty() => Err(went_wrong(&words)),
        Err(failure) => Err(failure),
    }
}

/// Hears all of what is said, and keeps the beginning. What it cannot hear goes unsaid.
fn words(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let _kept = from.by_ref().take(WORDS_BYTES_KEPT).read_to_end(&mut kept);
    let _rest = std::io::copy(&mut from, &mut std::io::sink());
    kept
}

/// Takes the one output apart: each diff begins with a line that is its commit's name alone, which no
/// line of a diff can be. False when the taker has gone.
fn take_apart(mut input: impl BufRead, hashes: &[String], send: &Taker) -> Result<bool, Failure> {
    let mut line = Vec::new();
    let mut wanted = hashes.iter();
    let mut next = wanted.next();
    let mut making: Option<Making> = None;
    loop {
        line.clear();
        // A line can be as long as a file; what is beyond the first part is only counted.
        let read = input.by_ref().take(DIFF_BYTES_KEPT as u64 + 1).read_until(b'\n', &mut line)?;
        let is_next = next.is_some_and(|hash| line.strip_suffix(b"\n") == Some(hash.as_bytes()));
        if read == 0 || (is_next && making.as_ref().is_none_or(|making| making.is_at_line_start)) {
            if let Some(making) = making.take()
                && send.blocking_send(Ok(making.finish())).is_err()
            {
                return Ok(false);
            }
            if read == 0 {
                break;
            }
            making = Some(Making { is_at_line_start: true, ..Making::default() });
            next = wanted.next();
        } else if let Some(making) = &mut making {
            making.add(&line);
        }
    }
    if next.is_some() {
        return Err(Failure::failed("git ended before its last diff"));
    }
    Ok(true)
}

#[derive(Default)]
struct Making {
    kept: Vec<u8>,
    bytes: usize,
    is_at_line_start: bool,
}

impl Making {
    fn add(&mut self, part: &[u8]) {
        // Before the diff there is an empty line that belongs to git's own output.
        if self.bytes == 0 && part == b"\n" {
            return;
        }
        self.bytes += part.len();
        self.is_at_line_start = part.ends_with(b"\n");
        let room = DIFF_BYTES_KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
    }

    fn finish(self) -> Diff {
        Diff { text: String::from_utf8_lossy(&self.kept).into_owned(), bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_that_has_much_to_say_goes_on() {
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut command = Command::new("sh");
            command.args(["-c", "head -c 1000000 /dev/zero >&2; echo one; echo; echo a diff"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let (send, mut receive) = mpsc::channel(AHEAD);
            talk(&mut command, &["one".into()], &send).unwrap();
            done.send(receive.try_recv().unwrap().unwrap().text).unwrap();
        });
        assert_eq!(is_done.recv_timeout(std::time::Duration::from_secs(60)).unwrap(), "a diff\n");
    }
}
