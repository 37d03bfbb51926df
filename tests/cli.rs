//! The command line as scripts and people meet it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a test says best where it fails by failing there"
)]

mod shell;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

use crate::shell::clean;

const HIVELOG: &str = env!("CARGO_BIN_EXE_hivelog");

/// A folder with the path of a log in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn db(&self) -> PathBuf {
        self.path("log.db")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        names
    }

    /// A verb on this place's log.
    fn run(&self, args: &[&str]) -> Command {
        let mut command = hivelog(args);
        command.arg("--db").arg(self.db());
        command
    }

    fn append(&self, event: &str) {
        self.run(&["append", event]).assert().success();
    }
}

fn hivelog(args: &[&str]) -> Command {
    let mut command = Command::from_std(process(args));
    command.timeout(Duration::from_mins(5));
    command
}

fn process(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(HIVELOG);
    clean(&mut command).args(args);
    command
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).expect("UTF-8")
}

const SENT: &str = r#"{"kind":"sent","from":"ada","to":"bob","body":"hello","at":1763829000}"#;
const ADDED: &str = r#"{"kind":"approval_added","id":7,"agent":"ada","approval_kind":"apply_commit","sha_short":"abc","diff":"--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-one\n+uno\n+dos\n","description":"Count\n\nin Spanish"}"#;
const RESOLVED: &str = r#"{"kind":"approval_resolved","id":7,"agent":"ada","approval_kind":"apply_commit","status":"approved","resolved_at":1763829001,"by":"operator"}"#;

/// A server in a process of its own, killed when the test ends.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(args: &[&str], db: &Path) -> Self {
        let mut command = process(args);
        command.arg("--db").arg(db).args(["--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a server");
        let mut first = String::new();
        let out = child.stdout.take().expect("its stdout");
        BufReader::new(out).read_line(&mut first).expect("its first line");
        Self { child, url: first.trim_end().to_owned() }
    }

    /// Sends a signal and gives the exit code.
    fn stop(mut self, signal: rustix::process::Signal) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a signal");
        self.child.wait().expect("an end").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

#[test]
fn the_help_of_every_verb() {
    let mut all = stdout(&mut hivelog(&["--help"]));
    let (_, listed) = all.split_once("Commands:\n").expect("verbs");
    let (listed, _) = listed.split_once("\n\n").expect("an end of the verbs");
    let verbs: Vec<String> =
        listed.lines().filter_map(|line| line.split_whitespace().next()).map(Into::into).collect();
    for verb in verbs.iter().map(String::as_str).filter(|verb| *verb != "help") {
        all.push_str(&format!("\n===== {verb}\n{}", stdout(&mut hivelog(&[verb, "--help"]))));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn what_is_asked_wrongly_exits_with_2() {
    let place = Place::new();
    place.append(SENT);
    for args in [
        &["history", "--limit", "0"][..],
        &["history", "--limit", "10001"],
        &["history", "--limit", "many"],
        &["history", "--after=-1"],
        &["history", "--after", "x"],
        &["history", "--order", "up"],
        &["history", "--kind", "No Kind"],
        &["history", "--agent", "Ada Lovelace"],
        &["history", "--since", "yesterday"],
        &["history", "--until", ""],
        &["history", "--url", "ftp://localhost"],
        &["tail", "--after", "zzz"],
        &["tail", "--after", ""],
        &["tail", "-n", "10001"],
        &["state", "--at=-1"],
        &["state", "--at", "99"],
        &["append", r#"{"kind":"typo"}"#],
        &["append", r#"{"kind":"sent","from":"ada"}"#],
        &["append", "not json"],
        &["append", "--key", "two words", SENT],
        &["serve", "--listen", "0.0.0.0:0"],
        &["serve", "--listen", "nowhere"],
        &["demo", "--rate=-1"],
    ] {
        let assert = place.run(args).assert().code(2).stdout("");
        assert.stderr(predicate::str::is_empty().not());
    }
    hivelog(&["nonsense"]).assert().code(2).stdout("");
    place.run(&["history", "--limit", "\u{1b}[31m"]).assert().code(2).stderr(contains("\u{1b}").not());
    hivelog(&[]).assert().code(2);
    assert_eq!(stdout(&mut place.run(&["history"])).lines().count(), 1, "nothing was stored");
}

#[test]
fn what_is_missing_exits_with_3_and_is_not_made() {
    let place = Place::new();
    for args in [
        &["history"][..],
        &["tail"],
        &["tail", "-f"],
        &["state"],
        &["state", "--at", "1"],
        &["check"],
        &["export"],
        &["export", "somewhere"],
    ] {
        place.run(args).assert().code(3).stdout("").stderr(contains("there is no log at"));
        assert_eq!(place.names(), Vec::<String>::new(), "{args:?}");
    }
    place.run(&["import", "/nonexistent/export"]).assert().code(3);
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn the_loser_of_a_decision_is_told_the_winner() {
    let place = Place::new();
    place.append(ADDED);
    place.append(RESOLVED);
    let denied = RESOLVED.replace("approved", "denied");
    place
        .run(&["append", &denied])
        .assert()
        .code(4)
        .stdout(contains(r#""seq":2"#).and(contains(r#""status":"approved""#)))
        .stderr(contains("resolved already"));
    let unknown = RESOLVED.replace(":7", ":8");
    place.run(&["append", &unknown]).assert().code(3);
}

#[test]
fn what_is_no_log_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::write(place.db(), "a shopping list").expect("a file");
    for args in [&["history"][..], &["check"], &["append", SENT], &["export"]] {
        place.run(args).assert().code(1).stdout("");
    }
    assert_eq!(std::fs::read(place.db()).expect("the file"), b"a shopping list");
}

#[test]
fn append_makes_the_file_and_prints_seqs() {
    let place = Place::new();
    place.run(&["append", SENT]).assert().success().stdout("1\n").stderr("");
    place.run(&["append", "--key", "k1", SENT]).assert().success().stdout("2\n");
    place.run(&["append", "--key", "k1", SENT]).assert().success().stdout("2\n");
    place.run(&["append", &format!("[{SENT},{SENT}]")]).assert().success().stdout("3\n4\n");
    let lines = format!("{SENT}\n\n{SENT}\r\n{SENT}");
    place.run(&["append", "-"]).write_stdin(lines.clone()).assert().success().stdout("5\n6\n7\n");
    place
        .run(&["append", "-", "--key", "k2"])
        .write_stdin(lines.clone())
        .assert()
        .success()
        .stdout("8\n9\n10\n");
    place.run(&["append", "-", "--key", "k2"]).write_stdin(lines).assert().success().stdout("8\n9\n10\n");
    place.run(&["append", "-"]).write_stdin("").assert().success().stdout("");
}

#[test]
fn a_bad_line_is_named() {
    let place = Place::new();
    let bad = "{\"kind\":\"sent\"}\n";
    place
        .run(&["append", "-"])
        .write_stdin(bad)
        .assert()
        .code(2)
        .stderr(contains("line 1: `from`: is missing"));
    place
        .run(&["append", "-"])
        .write_stdin(&b"\xff\n"[..])
        .assert()
        .code(2)
        .stderr(contains("line 1: is not UTF-8"));
    let long = format!("{{\"kind\":\"a.b\",\"x\":\"{}\"}}", "x".repeat(1 << 20));
    place.run(&["append", "-"]).write_stdin(long).assert().code(2).stderr(contains("line 1: is longer"));
}

#[test]
fn many_lines_keep_their_order() {
    let place = Place::new();
    let lines: String = (1..=2_500).map(|n| format!("{{\"kind\":\"a.b\",\"n\":{n}}}\n")).collect();
    let seqs = stdout(place.run(&["append", "-"]).write_stdin(lines));
    assert_eq!(seqs.lines().count(), 2_500);
    let history = stdout(&mut place.run(&["history", "--after", "0", "--limit", "10000", "--json"]));
    for (index, line) in history.lines().enumerate() {
        assert!(line.ends_with(&format!("\"n\":{}}}", index + 1)), "{line}");
    }
    let newest = stdout(&mut place.run(&["history", "--limit", "2", "--json"]));
    assert!(newest.lines().next().is_some_and(|line| line.starts_with("{\"seq\":2499,")), "{newest}");
    let turned = stdout(&mut place.run(&["history", "--limit", "2", "--order", "desc", "--json"]));
    assert!(turned.starts_with("{\"seq\":2500,"), "{turned}");
    let middle = stdout(&mut place.run(&["history", "--after", "10", "--before", "13", "--json"]));
    assert_eq!(middle.lines().count(), 2);
}

#[test]
fn history_is_filtered() {
    let place = Place::new();
    place.append(SENT);
    place.append(ADDED);
    place.append(r#"{"kind":"build.done","agent":"cleo"}"#);
    let count = |args: &[&str]| stdout(place.run(&["history"]).args(args)).lines().count();
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--kind", "sent"]), 1);
    assert_eq!(count(&["--kind", "sent", "--kind", "build.done"]), 2);
    assert_eq!(count(&["--agent", "ada"]), 2);
    assert_eq!(count(&["--agent", "cleo", "--kind", "sent"]), 0);
    assert_eq!(count(&["--since", "2020-01-01T00:00:00Z"]), 3);
    assert_eq!(count(&["--until", "1577836800"]), 0);
}

#[test]
fn people_read_one_event_a_line() {
    let place = Place::new();
    for event in [SENT, ADDED, RESOLVED] {
        place.append(event);
    }
    place.append(r#"{"kind":"question_added","id":1,"asker":"bob","question":"Now?","options":["yes","no"],"multi":false,"asked_at":1}"#);
    place.append(r#"{"kind":"transient_set","name":"cleo","transient_kind":"starting","since_unix":1}"#);
    place.append(r#"{"kind":"build.done","agent":"ada","parts":[1, 2.50]}"#);
    let shown = stdout(&mut place.run(&["history"]));
    let words: Vec<&str> = shown.lines().filter_map(|line| line.get(50..)).collect();
    assert_eq!(
        words,
        [
            "ada → bob: hello",
            "#7 ada asks for apply_commit abc (+2 −1): Count",
            "#7 ada approved by operator",
            "#1 bob asks: Now? [yes | no]",
            "cleo is starting",
            "{\"agent\":\"ada\",\"parts\":[1,2.50]}",
        ]
    );
    let state = stdout(&mut place.run(&["state"]));
    for part in
        ["at seq 6", "open approvals: 0", "open questions: 1", "bob", "yes | no", "open transients: 1"]
    {
        assert!(state.contains(part), "{part}: {state}");
    }
    let before = stdout(&mut place.run(&["state", "--at", "2"]));
    assert!(before.contains("open approvals: 1") && before.contains("Count (+2 −1)"), "{before}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&mut place.run(&["state", "--json"]))).expect("JSON");
    assert_eq!(json["seq"], 6);
}

/// ESC, OSC 52 with BEL, C1 CSI, DEL, bidi override, zero-width space, NUL, a line end.
const EVIL: &str = "a\\u001b[31mb\\u001b]52;c;aGk=\\u0007c\u{9b}2Jd\u{7f}e\u{202e}f\u{200b}g\\u0000h\\ni";

#[test]
fn what_a_terminal_obeys_is_escaped() {
    let place = Place::new();
    place.append(&format!(r#"{{"kind":"sent","from":"ada","to":"bob","body":"{EVIL}","at":1}}"#));
    place.append(&format!(r#"{{"kind":"build.done","{EVIL}":"{EVIL}"}}"#));
    place.append(&format!(
        r#"{{"kind":"question_added","id":1,"asker":"bob","question":"{EVIL}","options":["{EVIL}"],"multi":false,"asked_at":1}}"#
    ));
    place.append(&format!(
        r#"{{"kind":"approval_added","id":1,"agent":"bob","approval_kind":"spawn","description":"{EVIL}"}}"#
    ));
    for args in [&["history"][..], &["tail"], &["state"], &["history", "--json"], &["state", "--json"]] {
        let shown = stdout(&mut place.run(args));
        let bad = shown.chars().find(|c| (c.is_control() && *c != '\n') || "\u{202e}\u{200b}".contains(*c));
        assert_eq!(bad, None, "{args:?}: {shown:?}");
        for part in ["\\u001b[31m", "\\u001b]52;c;", "\\u009b2J", "\\u007f", "\\u202e", "\\u200b", "\\u0000"]
        {
            assert!(shown.contains(part), "{args:?} {part}: {shown}");
        }
    }
    let body = serde_json::from_str::<serde_json::Value>(&format!("\"{EVIL}\"")).expect("JSON");
    for args in [&["history", "--json"][..], &["history", "--json", "--raw"]] {
        let json = stdout(&mut place.run(args));
        let first: serde_json::Value =
            serde_json::from_str(json.lines().next().expect("a line")).expect("valid JSON");
        assert_eq!(first["body"], body, "the same text");
    }
    let raw = stdout(&mut place.run(&["history", "--json", "--raw"]));
    assert!(raw.contains(EVIL), "as it is stored");
    let raw = stdout(&mut place.run(&["history", "--raw", "--limit", "4"]));
    assert!(raw.contains("a\u{1b}[31mb"), "as it was meant");
    place.run(&["append", "{\"kind\":\"x\u{1b}[31m\"}"]).assert().code(2).stderr(contains("\u{1b}").not());
}

#[test]
fn a_closed_pipe_is_success() {
    let place = Place::new();
    let lines: String =
        (0..5_000).map(|_| format!("{{\"kind\":\"a.b\",\"x\":\"{}\"}}\n", "x".repeat(99))).collect();
    place.run(&["append", "-"]).write_stdin(lines).assert().success();
    for args in [&["history", "--after", "0", "--limit", "10000"][..], &["export"], &["tail", "-n", "10000"]]
    {
        let mut child = process(args)
            .arg("--db")
            .arg(place.db())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut byte = [0];
        child.stdout.take().expect("its stdout").read_exact(&mut byte).expect("a byte");
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn an_export_makes_the_same_log_again() {
    let (place, copy) = (Place::new(), Place::new());
    for event in [SENT, ADDED, RESOLVED] {
        place.append(event);
    }
    place.run(&["append", "--key", "k", SENT]).assert().success();
    let export = stdout(&mut place.run(&["export"]));
    assert!(export.starts_with("{\"log_id\":"), "{export}");
    copy.run(&["import"])
        .write_stdin(export.clone())
        .assert()
        .success()
        .stderr(contains("imported 4 events"));
    let all = ["history", "--after", "0", "--json", "--raw"];
    assert_eq!(stdout(&mut place.run(&all)), stdout(&mut copy.run(&all)));
    copy.run(&["append", "--key", "k", SENT]).assert().success().stdout("4\n");
    copy.run(&["check"]).assert().success().stdout(contains("the log is whole"));

    // Into a file, which is not written over, and out of it.
    let file = place.path("export.ndjson");
    let name = file.to_str().expect("a path");
    place.run(&["export", name]).assert().success().stdout("");
    place.run(&["export", name]).assert().code(1).stderr(contains("exists already"));
    let third = Place::new();
    third.run(&["import", name]).assert().success();
    third.run(&["import", name]).assert().code(1).stderr(contains("holds a log already"));

    // What is cut off is said, and goes on when it is there whole.
    let fourth = Place::new();
    let cut: String = export.lines().take(3).map(|line| format!("{line}\n")).collect();
    fourth.run(&["import"]).write_stdin(cut).assert().code(1).stderr(contains("cut off"));
    fourth.run(&["history"]).assert().failure();
    fourth.run(&["import"]).write_stdin(export).assert().success().stderr(contains("2 were there"));
    let fifth = Place::new();
    fifth.run(&["import"]).write_stdin("rubbish\n").assert().code(1).stderr(contains("line 1"));
    assert_eq!(fifth.names(), Vec::<String>::new(), "nothing is made of rubbish");
}

#[test]
fn check_tells_a_broken_board() {
    let place = Place::new();
    place.append(ADDED);
    place.run(&["check", "--json"]).assert().success().stdout(contains("\"problems\":[]"));
    let conn = hivelog::rusqlite::Connection::open(place.db()).expect("the file");
    conn.execute("DELETE FROM approvals", []).expect("a row to delete");
    drop(conn);
    place.run(&["check"]).assert().code(1).stdout(contains("problem: ").and(contains("approvals")));
    let report = place.run(&["check", "--json"]).assert().code(1).get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_environment_names_the_log_and_what_is_typed_wins() {
    let place = Place::new();
    hivelog(&["append", SENT]).env("HIVELOG_DB", place.db()).assert().success();
    hivelog(&["history"]).env("HIVELOG_DB", place.db()).assert().success().stdout(contains("hello"));
    place.run(&["history"]).env("HIVELOG_URL", "http://127.0.0.1:1").assert().success();
    hivelog(&["history", "--url", "http://127.0.0.1:1"]).env("HIVELOG_DB", place.db()).assert().code(75);
    let home = Place::new();
    hivelog(&["append", SENT]).env("XDG_STATE_HOME", home.path("state")).assert().success();
    assert!(home.path("state/hivelog/hivelog.db").exists());
    hivelog(&["history"]).env("XDG_STATE_HOME", home.path("other")).assert().code(3);
    assert!(!home.path("other").exists());
}

#[test]
fn shells_and_manual_readers_are_served() {
    for shell in ["bash", "zsh", "fish"] {
        hivelog(&["completions", shell]).assert().success().stdout(contains("history"));
    }
    hivelog(&["man"]).assert().success().stdout(contains(".TH hivelog 1"));
    let place = Place::new();
    let folder = place.path("man");
    hivelog(&["man"]).arg(&folder).assert().success().stdout("");
    assert!(folder.join("hivelog-history.1").exists());
}

#[test]
fn a_server_is_found_through_its_file() {
    let place = Place::new();
    let server = Server::start(&["serve", "--no-auth", "--kind", "container_state_changed"], &place.db());
    assert!(server.url.starts_with("http://127.0.0.1:"), "{}", server.url);
    place.run(&["append", SENT]).assert().success().stdout("1\n");
    place.run(&["append", "-"]).write_stdin(format!("{SENT}\n{ADDED}\n")).assert().success().stdout("2\n3\n");
    place.run(&["append", r#"{"kind":"container_state_changed"}"#]).assert().success().stdout("4\n");
    place.append(RESOLVED);
    place.run(&["append", RESOLVED]).assert().code(4).stdout(contains("\"seq\":5"));
    place.run(&["append", r#"{"kind":"typo"}"#]).assert().code(2);
    place.run(&["serve", "--listen", "127.0.0.1:0"]).assert().code(1).stderr(contains(server.url.as_str()));
    for args in [
        &["history", "--json"][..],
        &["history", "--after", "1", "--limit", "2"],
        &["history", "--order", "desc", "--kind", "sent"],
        &["state", "--json"],
        &["state", "--at", "3"],
        &["tail", "-n", "3"],
        &["tail", "--after", "2", "--agent", "ada"],
    ] {
        let over_http = stdout(hivelog(args).args(["--url", &server.url]));
        assert_eq!(over_http, stdout(&mut place.run(args)), "{args:?}");
    }
    hivelog(&["state", "--at", "99", "--url", &server.url]).assert().failure().stdout("");
    place.run(&["check"]).assert().success();
    assert_eq!(server.stop(rustix::process::Signal::TERM), Some(0));
    assert!(!place.path("log.db.lock").exists(), "{:?}", place.names());
    place.run(&["append", SENT]).assert().success().stdout("6\n");
}

#[test]
fn tail_follows_the_file_and_the_server() {
    let place = Place::new();
    let server = Server::start(&["serve", "--no-auth"], &place.db());
    place.append(SENT);
    let mut tails: Vec<Child> =
        [vec!["--url", &server.url], vec!["--db", place.db().to_str().expect("a path")]]
            .into_iter()
            .map(|from| {
                let mut command = process(&["tail", "-f", "-n", "1", "--json"]);
                command.args(from);
                command.stdout(Stdio::piped()).spawn().expect("a tail")
            })
            .collect();
    let mut readers: Vec<_> = tails
        .iter_mut()
        .map(|tail| BufReader::new(tail.stdout.take().expect("its stdout")).lines())
        .collect();
    for reader in &mut readers {
        assert!(reader.next().expect("a line").expect("text").starts_with("{\"seq\":1,"));
    }
    for seq in 2..5 {
        place.append(SENT);
        for reader in &mut readers {
            let line = reader.next().expect("a line").expect("text");
            assert!(line.starts_with(&format!("{{\"seq\":{seq},")), "{line}");
        }
    }
    for mut tail in tails {
        tail.kill().expect("a kill");
        tail.wait().expect("an end");
    }
    assert_eq!(server.stop(rustix::process::Signal::INT), Some(0));
}

#[test]
fn tail_says_when_it_cannot_go_on_from_where_it_stood() {
    let place = Place::new();
    let server = Server::start(&["serve", "--no-auth"], &place.db());
    place.append(SENT);
    for (cursor, reason) in [("0123456789abcdef-0", "other_log"), ("99", "future")] {
        let said = format!("reset ({reason}): what follows begins after seq 1");
        let args = ["tail", "--after", cursor];
        place.run(&args).assert().success().stdout("").stderr(contains(said.as_str()));
        hivelog(&args).args(["--url", &server.url]).assert().success().stdout("").stderr(contains(said));
    }
}

#[test]
fn many_commands_append_to_one_file() {
    let place = Place::new();
    let start = || {
        let mut command = process(&["append", SENT, "--db"]);
        command.arg(place.db()).stdout(Stdio::null()).spawn().expect("a process")
    };
    let children: Vec<Child> = (0..12).map(|_| start()).collect();
    for mut child in children {
        for _ in 0..20 {
            // Who met the lock of another for too long has to come again.
            if child.wait().expect("an end").code() == Some(75) {
                child = start();
            }
        }
        assert_eq!(child.wait().expect("an end").code(), Some(0));
    }
    assert_eq!(stdout(&mut place.run(&["history"])).lines().count(), 12);
}

#[test]
fn another_writer_ends_the_server_with_the_reason() {
    let place = Place::new();
    let mut command = process(&["serve", "--no-auth", "--listen", "127.0.0.1:0", "--db"]);
    let mut child =
        command.arg(place.db()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a server");
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("its stdout"));
    out.read_line(&mut first).expect("its first line");
    let conn = hivelog::rusqlite::Connection::open(place.db()).expect("the file");
    conn.execute(
        "INSERT INTO events (recorded_at_ms, kind, agents, payload) VALUES (1, 'a.b', '', '{}')",
        [],
    )
    .expect("a foreign row");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let last = said.lines().last().expect("a last line");
    assert!(last.starts_with("hivelog: the log takes no more appends: another program wrote"), "{said}");
}

#[test]
fn the_scripted_demo_plays_and_goes_on() {
    let place = Place::new();
    let play = |steps: &str| {
        place
            .run(&["demo", "--listen", "127.0.0.1:0", "--rate", "0", "--exit-when-done", "--limit", steps])
            .assert()
            .success()
            .stdout(predicate::str::starts_with("http://127.0.0.1:"));
        stdout(&mut place.run(&["history", "--after", "0", "--limit", "10000", "--json"])).lines().count()
    };
    let first = play("150");
    assert!(first > 100, "{first}");
    assert!(play("150") > first + 100);
    place.run(&["check"]).assert().success();
}

fn git(repo: &Path, args: &[&str]) {
    let mut command = std::process::Command::new("git");
    command.arg("-C").arg(repo).args(["-c", "user.name=Ada L.", "-c", "user.email=ada@example.org"]);
    command.args(["-c", "core.fsmonitor=false"]);
    // In the past, so that what is committed later can be older than this.
    command.env(
        "GIT_COMMITTER_DATE",
        if args.contains(&"Aside") { "2001-01-01T00:00:00Z" } else { "2002-02-02T00:00:00Z" },
    );
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    assert!(command.args(args).status().expect("git").success(), "{args:?}");
}

/// A repository of 40 commits by three authors, one of them large, with a trap in its configuration.
fn repository(place: &Place) -> PathBuf {
    let repo = place.path("repo");
    std::fs::create_dir(&repo).expect("a folder");
    git(&repo, &["init", "-q"]);
    let trap = place.path("trap");
    let trap = format!("touch {}", trap.display());
    for number in 0..40 {
        let text = if number == 20 { "\"\\\n".repeat(400_000) } else { format!("line {number}\n") };
        std::fs::write(repo.join("file.txt"), text).expect("a file");
        git(&repo, &["add", "file.txt"]);
        let author = ["Ada L. <ada@example.org>", "Bob <bob@example.org>", "ada l <ada@other.org>"];
        let author = format!("--author={}", author.iter().cycle().nth(number).expect("an author"));
        git(&repo, &["commit", "-q", "-m", &format!("Change {number}\n\nWith a body."), &author]);
    }
    for setting in ["core.fsmonitor", "diff.external", "core.pager", "diff.trap.textconv"] {
        git(&repo, &["config", setting, &trap]);
    }
    std::fs::write(repo.join(".git/info/attributes"), "*.txt diff=trap\n").expect("attributes");
    repo
}

#[test]
fn a_replayed_repository_survives_a_kill() {
    let place = Place::new();
    let repo = repository(&place);
    let repo_name = repo.to_str().expect("a path");
    let mut server = Server::start(&["demo", "--repo", repo_name, "--rate", "60"], &place.db());
    let begun = Instant::now();
    let is_some_way_in = || {
        let seen = place.run(&["history", "--kind", "approval_added", "--json"]).output().expect("a run");
        seen.stdout.split(|byte| *byte == b'\n').count() > 12
    };
    while !is_some_way_in() && begun.elapsed() < Duration::from_secs(30) {}
    server.child.kill().expect("a kill");
    server.child.wait().expect("an end");
    drop(server);
    for _ in 0..2 {
        place
            .run(&["demo", "--listen", "127.0.0.1:0", "--repo", repo_name, "--rate", "0", "--exit-when-done"])
            .assert()
            .success()
            .stderr(contains("replayed 40 of 40 commits"));
    }
    let events = |kind: &str| -> Vec<serde_json::Value> {
        let lines =
            stdout(&mut place.run(&["history", "--kind", kind, "--after", "0", "--limit", "1000", "--json"]));
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let (added, resolved) = (events("approval_added"), events("approval_resolved"));
    assert_eq!((added.len(), resolved.len()), (40, 40));
    assert_eq!((events("sent").len(), events("delivered").len()), (39, 39));
    for (index, (added, resolved)) in added.iter().zip(&resolved).enumerate() {
        assert_eq!(added["id"], index + 1);
        assert_eq!(resolved["id"], index + 1);
        assert_eq!(added["agent"], ["ada-l", "bob", "ada-l-2"][index % 3]);
        assert_eq!(added["description"], format!("Change {index}\n\nWith a body."));
        let diff = added["diff"].as_str().expect("a diff");
        assert!(diff.starts_with("diff --git a/file.txt b/file.txt\n"), "{diff}");
        assert_eq!(diff.contains("\\ [cut by the replay: "), index == 20 || index == 21);
    }
    assert!(!place.path("trap").exists(), "nothing that the repository names is run");
    place.run(&["check"]).assert().success();
}

#[test]
fn a_repository_that_grew_in_its_middle_is_replayed_whole() {
    let place = Place::new();
    let repo = repository(&place);
    let replay = || {
        let name = repo.to_str().expect("a path");
        let args = ["demo", "--listen", "127.0.0.1:0", "--rate", "0", "--exit-when-done", "--repo", name];
        place.run(&args).assert().success();
    };
    replay();
    git(&repo, &["checkout", "-q", "-b", "side", "HEAD~30"]);
    let old = "--date=2001-01-01T00:00:00Z";
    git(&repo, &["commit", "-q", "--allow-empty", "-m", "Aside", old]);
    git(&repo, &["checkout", "-q", "-"]);
    git(&repo, &["merge", "-q", "--no-ff", "-m", "Merge", "side"]);
    replay();
    for kind in ["approval_added", "approval_resolved"] {
        let args = ["history", "--kind", kind, "--after", "0", "--limit", "1000", "--json"];
        let lines = stdout(&mut place.run(&args));
        let ids: std::collections::HashSet<i64> = lines
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).expect("JSON")["id"].as_i64().expect("an id")
            })
            .collect();
        assert_eq!((lines.lines().count(), ids.len()), (42, 42), "{kind}");
    }
}

#[test]
fn what_is_no_repository_ends_the_demo() {
    let place = Place::new();
    place.run(&["demo", "--listen", "127.0.0.1:0", "--repo", "/nonexistent"]).assert().code(3);
    let folder = place.path("folder");
    std::fs::create_dir(&folder).expect("a folder");
    place
        .run(&["demo", "--listen", "127.0.0.1:0", "--repo", folder.to_str().expect("a path")])
        .env("GIT_CEILING_DIRECTORIES", place.folder.path())
        .assert()
        .code(1)
        .stderr(contains("git: fatal: not a git repository"));
}
