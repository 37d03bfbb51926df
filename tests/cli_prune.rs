//! The verbs that take something out of a log, through a server and on the file alone: what they print, what is
//! left, and their exit codes.

#![expect(clippy::expect_used, reason = "a test says best where it fails by failing there")]

mod shell;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use hivelog::{Draft, Log, Options};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::shell::clean;

const HIVELOG: &str = env!("CARGO_BIN_EXE_hivelog");
const SECRET: &str = "hunter2";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A log of five messages, and a note after each.
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        let lines: String = (0..5)
            .map(|n| {
                format!(
                    "{}\n{}\n",
                    json!({"kind": "sent", "from": "alice", "to": "bob", "body": SECRET, "at": 1}),
                    json!({"kind": "app.note", "n": n})
                )
            })
            .collect();
        place.run(&["append", "-"]).write_stdin(lines).assert().success();
        place
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(HIVELOG);
        clean(&mut command).args(args).arg("--db").arg(self.db());
        command
    }

    fn run(&self, args: &[&str]) -> Command {
        let mut command = Command::from_std(self.command(args));
        command.timeout(Duration::from_mins(1));
        command
    }

    fn serve(&self, args: &[&str]) -> Served {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child =
            command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a server");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its stdout")).read_line(&mut first).expect("a line");
        assert!(first.starts_with("http://"), "{first}");
        Served(child)
    }

    /// Whether a word lies in a file of the log.
    fn has(&self, word: &str) -> bool {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        entries.into_iter().any(|entry| {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
            memchr::memmem::find(&bytes, word.as_bytes()).is_some()
        })
    }

    /// Redacts; goes on while a reader is in the way for a moment, as the server's own are.
    #[track_caller]
    fn redact(&self, args: &[&str]) -> Assert {
        let begin = Instant::now();
        loop {
            let told = self.run(&[&["redact"], args].concat()).assert();
            if told.get_output().status.code() != Some(75) || begin.elapsed() > Duration::from_mins(1) {
                return told.success();
            }
        }
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args).assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).expect("JSON")
    }
}

/// A server, killed at the end.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn both_doors_prune_the_same() {
    for is_served in [false, true] {
        let place = Place::new();
        let server = is_served.then(|| place.serve(&[]));
        let told = json!({"floor": 5, "pruned": 3});
        assert_eq!(place.json(&["prune", "--before", "7", "--dry-run", "--json"]), told);
        assert_eq!(place.json(&["state", "--json"])["floor"], 0, "a dry run changes nothing");
        let dry = place.run(&["prune", "--before", "7", "--dry-run"]).assert().success();
        dry.stdout("3 events would be pruned; above seq 5 the log is whole\n");
        place
            .run(&["prune", "--before", "7"])
            .assert()
            .success()
            .stdout("3 events were pruned; above seq 5 the log is whole\n");
        assert_eq!(place.json(&["check", "--json"])["floor"], 5);
        // What is left below the floor is still printed.
        let history = place.run(&["history", "--json", "--limit", "7"]).assert().success();
        let lines = String::from_utf8(history.get_output().stdout.clone()).expect("UTF-8");
        let seqs: Vec<i64> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_i64().expect("a seq"))
            .collect();
        assert_eq!(seqs, [2, 4, 6, 7, 8, 9, 10]);
        assert_eq!(place.json(&["prune", "--before", "2001-01-01T00:00:00Z", "--json"])["pruned"], 0);
        for age in ["30d", "5m"] {
            assert_eq!(place.json(&["prune", "--before", age, "--kind", "*", "--json"])["pruned"], 0);
        }
        let all = place.json(&["prune", "--before", "2100-01-01T00:00:00Z", "--kind", "*", "--json"]);
        assert_eq!(all, json!({"floor": 10, "pruned": 5}));
        drop(server);
    }
}

#[test]
fn what_cannot_be_meant_is_usage() {
    let place = Place::new();
    for before in ["", "yesterday", "-1", "99999999999999999", "m", "1,2", "2GiB", "9999999999999999999w"] {
        let told = place.run(&["prune", "--before", before]).assert().code(2);
        told.stdout("").stderr(contains("--before"));
    }
    place.run(&["prune"]).assert().code(2);
    place.run(&["prune", "--before", "3", "--kind", "No"]).assert().code(2).stderr(contains("kind"));
    for keep in ["sent", "sent=", "sent=soon", "No=30d", "sent=5m", "=30d"] {
        place
            .run(&["serve", "--listen", "127.0.0.1:0", "--keep", keep])
            .assert()
            .code(2)
            .stderr(contains("--keep"));
    }
    let nowhere = Place { folder: tempfile::tempdir().expect("a folder") };
    nowhere.run(&["prune", "--before", "3"]).assert().code(3);
    nowhere.run(&["redact", "3"]).assert().code(3);
    assert!(!nowhere.db().exists());
}

#[test]
fn both_doors_redact_the_same() {
    for is_served in [false, true] {
        let place = Place::new();
        let server = is_served.then(|| place.serve(&[]));
        for (seq, told) in [(1, 11), (3, 12), (5, 13), (7, 14)] {
            let printed = format!("event {seq} is redacted; event {told} says so\n");
            for _ in 0..2 {
                place.redact(&[&seq.to_string()]).stdout(printed.clone());
            }
        }
        assert!(place.has(SECRET), "one is left");
        place.redact(&["9", "--json"]).stdout("{\"seq\":15}\n");
        assert!(!place.has(SECRET));
        assert!(!place.has("unter2"));
        let who = json!("operator");
        let told = place.run(&["history", "--json", "--kind", "hivelog.redacted", "--limit", "1"]).assert();
        let line: Value = serde_json::from_slice(&told.get_output().stdout).expect("JSON");
        assert_eq!((&line["redacted_seq"], &line["by"]), (&json!(9), &who));
        place.run(&["redact", "99"]).assert().code(3);
        place.run(&["redact", "11"]).assert().code(2).stderr(contains("no text"));
        place.run(&["redact", "0"]).assert().code(2);
        drop(server);
    }
}

#[test]
fn a_reader_in_the_way_is_exit_code_75() {
    let place = Place::new();
    let server = place.serve(&[]);
    let shell = hivelog::rusqlite::Connection::open(place.db()).expect("a shell");
    shell.execute_batch("BEGIN").expect("begun");
    shell.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).expect("read");
    place.run(&["redact", "1"]).assert().code(75).stderr(contains("shell").or(contains("reader")));
    drop(shell);
    place.redact(&["1"]).stdout("event 1 is redacted; event 11 says so\n");
    drop(server);
}

#[test]
fn a_server_keeps_what_it_is_told_to_keep() {
    let place = Place::new();
    // Everything is young, so nothing goes, but the rules are taken.
    let server = place.serve(&[
        "--keep",
        "sent=all",
        "--keep",
        "app.note=30d,5,1MiB",
        "--keep",
        "*=4w",
        "--keep",
        "approvals=90d",
    ]);
    assert_eq!(place.json(&["state", "--json"])["floor"], 0);
    drop(server);
}

/// How long events are kept is said to `serve`: a verb on the file of a server that is stopped takes nothing out.
#[test]
fn a_verb_on_the_file_carries_out_no_rule() {
    let place = Place { folder: tempfile::tempdir().expect("a folder") };
    let old =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") - Duration::from_hours(24 * 40);
    let old_ms = i64::try_from(old.as_millis()).expect("a time");
    let log = Log::open(place.db(), Options::default().clock(move || old_ms)).expect("a log");
    let sent = r#"{"kind":"sent","from":"alice","to":"bob","body":"x","at":1}"#;
    let drafts = vec![Draft::from_json(sent).expect("a draft"); 200];
    log.submit(hivelog::Command::new(drafts)).wait().expect("stored");
    log.close();
    for args in [["token", "add", "--role", "agent", "--name", "alice"].as_slice(), &["send", "bob", "hello"]]
    {
        place.run(args).assert().success();
    }
    let all = place.run(&["history", "--limit", "1000", "--kind", "sent", "--json"]).assert().success();
    assert!(String::from_utf8_lossy(&all.get_output().stdout).lines().count() >= 200);
}
