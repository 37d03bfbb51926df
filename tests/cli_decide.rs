//! The verbs that decide and ask, through a server and on the file alone: what they print, and their exit
//! codes.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says best where it fails by failing there"
)]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod nasty;

mod shell;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use hivelog::event::ApprovalStatus;
use hivelog::{Answer, Ask, Desk, Log, Options, Request, Resolve};
use predicates::prelude::*;
use predicates::str::contains;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

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

    fn db(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    fn names(&self) -> usize {
        std::fs::read_dir(self.folder.path()).expect("the folder").count()
    }

    fn open(&self) -> Desk {
        Desk::of(&Log::open(self.db(), Options::default()).expect("a log")).expect("a desk")
    }

    /// A verb on this place's log.
    fn run(&self, args: &[&str]) -> Command {
        let mut command = Command::from_std(self.process(args));
        command.timeout(Duration::from_mins(1));
        command
    }

    fn process(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(HIVELOG);
        clean(&mut command).args(args).arg("--db").arg(self.db());
        command
    }

    /// A verb that is left to itself, with its stdout and stderr kept.
    fn spawn(&self, args: &[&str]) -> Child {
        self.process(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process")
    }

    /// Waits until the log has so many events of this kind.
    fn until(&self, kind: &str, count: usize) {
        let begin = Instant::now();
        while stdout(&mut self.run(&["history", "--kind", kind, "--limit", "10000"])).lines().count() < count
        {
            assert!(begin.elapsed() < Duration::from_secs(20), "no {count} of {kind}");
        }
    }
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).expect("UTF-8")
}

/// Exit code, stdout and stderr of a verb that ends by itself.
fn end(mut child: Child) -> (Option<i32>, String, String) {
    let (mut out, mut talk) = (String::new(), String::new());
    child.stdout.take().expect("its stdout").read_to_string(&mut out).expect("UTF-8");
    child.stderr.take().expect("its stderr").read_to_string(&mut talk).expect("UTF-8");
    (child.wait().expect("an end").code(), out, talk)
}

/// A server in a process of its own, killed when the test ends.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(db: &Path, listen: &str) -> Self {
        let mut command = std::process::Command::new(HIVELOG);
        command.args(["serve", "--no-auth", "--listen", listen, "--db"]).arg(db);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a server");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its stdout")).read_line(&mut first).expect("a line");
        Self { child, url: first.trim_end().to_owned() }
    }

    fn address(&self) -> String {
        self.url.trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a signal");
        assert_eq!(self.child.wait().expect("an end").code(), Some(0));
    }

    /// Posts what no argument of a command can carry.
    fn post(&self, path: &str, body: &Value) -> String {
        let body = body.to_string();
        let mut stream = std::net::TcpStream::connect(self.address()).expect("connected");
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn request(agent: &str) -> Request {
    Request { agent: agent.into(), approval_kind: "spawn".into(), ..Request::default() }
}

/// A log with four approvals and four questions that are open, the last question the operator's own.
fn begin(place: &Place) {
    let desk = place.open();
    for _ in 0..4 {
        desk.request(request("alice")).wait().expect("requested");
    }
    for asker in ["alice", "alice", "alice", "operator"] {
        let options = vec!["yes".into(), "no".into()];
        let ask = Ask { asker: asker.into(), question: "ready?".into(), options, ..Ask::default() };
        desk.ask(ask).wait().expect("asked");
    }
    desk.log().close();
}

/// The same story whoever carries it out.
fn check_decisions(place: &Place) {
    let run = |args: &[&str]| place.run(args).assert();
    run(&["approve", "1"]).success().stdout("approval 1 is approved\n").stderr("");
    run(&["deny", "2", "--note", "too\nlate", "--json"]).success().stdout("{\"seq\":10}\n").stderr("");
    let lost = run(&["deny", "1"]).code(4).stderr(contains("approval 1 is resolved already"));
    let winner: Value = serde_json::from_slice(&lost.get_output().stdout).expect("JSON");
    assert_eq!(
        (&winner["seq"], &winner["status"], &winner["by"]),
        (&json!(9), &json!("approved"), &json!("operator"))
    );
    run(&["approve", "99"]).code(3).stdout("").stderr(contains("hivelog: "));
    run(&["answer", "1", "not yet"]).success().stdout("question 1 is answered\n");
    run(&["answer", "2", "--select", "no", "--json"]).success().stdout("{\"seq\":12}\n");
    run(&["answer", "1", "--select", "yes"]).code(4).stdout(contains("\"answer\":\"not yet\""));
    run(&["answer", "99", "x"]).code(3).stdout("");
    run(&["answer", "4", "x"]).code(1).stdout("").stderr(contains("of their own"));
    for args in [
        &["approve"][..],
        &["approve", "0"],
        &["approve", "-1"],
        &["approve", "x"],
        &["approve", "1.5"],
        &["approve", "9223372036854775808"],
        &["answer", "3"],
        &["answer", "3", ""],
        &["answer", "3", "x", "--select", "yes"],
        &["answer", "3", "--select", "maybe"],
        &["answer", "3", "--select", "yes", "--select", "no"],
        &["ask", "who?"],
        &["ask", "", "--as", "alice"],
        &["ask", "who?", "--as", "No Name"],
        &["ask", "who?", "--as", "alice", "--ttl", "0"],
        &["ask", "who?", "--as", "alice", "--wait", "soon"],
        &["ask", "who?", "--as", "alice", "--wait", "8h", "--wait", "1"],
        &["ask", "who?", "--as", "alice", "--wait", "1000h"],
        &["ask", "who?", "--as", "alice", "--option", "a", "--option", "a"],
    ] {
        run(args).code(2).stdout("").stderr(predicate::str::is_empty().not());
    }
    run(&["ask", "who?", "--as", "bob", "--option", "me", "--multi", "--ttl", "900"]).success().stdout("5\n");
    run(&["ask", "who?", "--as", "bob", "--json"]).success().stdout("{\"id\":6,\"seq\":14}\n");
    run(&["check"]).success();
    let history = stdout(&mut place.run(&["history", "--after", "8", "--json"]));
    let events: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events.len(), 6, "nothing else was stored");
    assert_eq!((&events[1]["note"], &events[1]["status"]), (&json!("too\nlate"), &json!("denied")));
    assert_eq!((&events[3]["selected"], &events[3]["answerer"]), (&json!(["no"]), &json!("operator")));
    assert_eq!(
        (&events[4]["multi"], &events[4]["asker"], &events[4]["options"]),
        (&json!(true), &json!("bob"), &json!(["me"]))
    );
    assert_eq!(events[4]["deadline_at"].as_i64(), events[4]["asked_at"].as_i64().map(|at| at + 900));
}

#[test]
fn decisions_on_the_file_alone() {
    let place = Place::new();
    begin(&place);
    check_decisions(&place);
    place.run(&["ask", "who?", "--as", "bob", "--to", "alice"]).assert().code(2);
    // Nobody can answer while this process holds the file: it says so, and does not wait.
    let ask = ["ask", "who?", "--as", "bob", "--wait", "60"];
    place.run(&ask).assert().success().stdout("7\n").stderr(contains("not waiting"));
}

#[test]
fn decisions_through_the_server_of_the_file() {
    let place = Place::new();
    begin(&place);
    let mut server = Server::start(&place.db(), "127.0.0.1:0");
    check_decisions(&place);
    // The same by its URL.
    let mut command = place.run(&["approve", "3", "--url", &server.url]);
    command.assert().success().stdout("approval 3 is approved\n");
    server.stop();
    place.run(&["deny", "4", "--url", &server.url]).assert().code(75).stdout("");
    place
        .run(&["ask", "who?", "--as", "bob", "--wait", "60", "--url", &server.url])
        .assert()
        .code(75)
        .stdout("");
    place.run(&["deny", "4"]).assert().success();
}

#[test]
fn a_file_that_is_missing_is_not_made() {
    let place = Place::new();
    for args in [
        &["approve", "1"][..],
        &["deny", "1", "--json"],
        &["answer", "1", "x"],
        &["ask", "?", "--as", "alice"],
        &["ask", "?", "--as", "alice", "--wait", "5"],
    ] {
        place.run(args).assert().code(3).stdout("").stderr(contains("there is no log at"));
        assert_eq!(place.names(), 0, "{args:?}");
    }
}

#[test]
fn too_much_that_is_open_is_for_later() {
    let place = Place::new();
    let desk = place.open();
    let asked: Vec<_> = (0..1_000).map(|_| desk.request(request("alice"))).collect();
    for asked in asked {
        asked.wait().expect("requested");
    }
    desk.log().close();
    let ask = ["ask", "?", "--as", "alice"];
    place.run(&ask).assert().code(75).stdout("").stderr(contains("open items"));
    let _server = Server::start(&place.db(), "127.0.0.1:0");
    place.run(&ask).assert().code(75).stdout("").stderr(contains("open items"));
    place.run(&["approve", "1"]).assert().success();
    place.run(&ask).assert().success().stdout("1\n");
}

#[test]
fn ask_waits_for_the_answer_and_says_how_else_it_ended() {
    let place = Place::new();
    place.open().log().close();
    let server = Server::start(&place.db(), "127.0.0.1:0");
    let ask = |number: usize, more: &[&str]| {
        let child = place.spawn(&[&["ask", "which?", "--as", "alice", "--wait", "1m"], more].concat());
        place.until("question_added", number);
        child
    };
    let options = ["--option", "a", "--option", "b", "--multi"];
    let asking = ask(1, &options);
    place.run(&["answer", "1", "--select", "b", "--select", "a"]).assert().success();
    assert_eq!(end(asking), (Some(0), "b\na\n".into(), String::new()));
    let asking = ask(2, &["--json"]);
    place.run(&["answer", "2", "so"]).assert().success();
    let (code, out, _) = end(asking);
    let row: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (code, &row["id"], &row["answer"], &row["outcome"]),
        (Some(0), &json!(2), &json!("so"), &json!("answered"))
    );
    let asking = ask(3, &[]);
    assert!(server.post("/api/questions/3/cancel", &json!({})).starts_with("HTTP/1.1 200 "));
    assert_eq!(end(asking), (Some(1), String::new(), "hivelog: question 3 is cancelled\n".into()));
    let asking = ask(4, &["--ttl", "1", "--json"]);
    let (code, out, talk) = end(asking);
    assert_eq!((code, &*talk), (Some(1), "hivelog: question 4 is expired\n"));
    assert!(out.contains("\"answer\":\"[expired]\""), "{out}");
    let open = ["ask", "which?", "--as", "alice", "--wait", "1"];
    place.run(&open).assert().code(75).stdout("").stderr("hivelog: question 5 is still open\n");
}

#[test]
fn ask_waits_over_a_restart_of_the_server() {
    let place = Place::new();
    place.open().log().close();
    let mut server = Server::start(&place.db(), "127.0.0.1:0");
    let asking = place.spawn(&["ask", "which?", "--as", "alice", "--wait", "60s"]);
    place.until("question_added", 1);
    let address = server.address();
    server.stop();
    // On the file alone, while no server is there.
    let desk = place.open();
    desk.request(request("alice")).wait().expect("requested");
    desk.log().close();
    drop(desk);
    let _server = Server::start(&place.db(), &address);
    place.run(&["answer", "1", "after all"]).assert().success();
    assert_eq!(end(asking), (Some(0), "after all\n".into(), String::new()));
}

/// Whether a terminal could obey it, or show it as nothing or out of its place.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// What is printed obeys nobody, line by line.
#[track_caller]
fn check_harmless(printed: &str) {
    for line in printed.split('\n') {
        let shown: String = line.chars().take(200).collect();
        assert!(!line.chars().any(is_hidden), "{shown:?}");
    }
}

#[test]
fn what_agents_say_is_printed_as_nothing_but_text() {
    let place = Place::new();
    let desk = place.open();
    for (id, text) in (1..).zip(nasty::texts()) {
        let some = || Some(text.clone());
        let asked = Request { sha_short: some(), diff: some(), description: some(), ..request("alice") };
        desk.request(asked.clone()).wait().expect("requested");
        let ask = Ask {
            asker: "alice".into(),
            question: text.clone(),
            options: vec![text.clone()],
            ..Ask::default()
        };
        desk.ask(ask).wait().expect("asked");
        if id % 2 == 0 {
            let resolve = Resolve { id, status: ApprovalStatus::Denied, note: some(), by: None };
            desk.resolve(resolve).wait().expect("decided");
            let answer = Answer { id, answer: some(), selected: None, answerer: "operator".into() };
            desk.answer(answer).wait().expect("answered");
        }
    }
    let count = usize::try_from(desk.log().tail().get()).expect("a count");
    desk.log().close();
    drop(desk);
    let mut whole = Vec::new();
    for args in [
        &["history", "--limit", "1000"][..],
        &["history", "--limit", "1000", "--json"],
        &["tail", "-n", "1000"],
    ] {
        let printed = stdout(&mut place.run(args));
        check_harmless(&printed);
        assert_eq!(printed.lines().count(), count, "{args:?}: an event is a line");
        whole.push(printed);
    }
    check_harmless(&stdout(&mut place.run(&["state"])));
    check_harmless(&stdout(&mut place.run(&["state", "--json"])));
    // Escaped as it is, JSON says the same as before.
    let said: Vec<String> = whole[1]
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|event| event["kind"] == "approval_added")
        .map(|event| event["diff"].as_str().expect("a diff").to_owned())
        .collect();
    assert_eq!(said, nasty::texts());
    // The winner that a loser is shown.
    let lost = place.run(&["approve", "2"]).assert().code(4).get_output().clone();
    check_harmless(&String::from_utf8(lost.stdout).expect("UTF-8"));
    check_harmless(&String::from_utf8(lost.stderr).expect("UTF-8"));
    // What was typed and is told back.
    let _server = Server::start(&place.db(), "127.0.0.1:0");
    for text in nasty::texts().into_iter().filter(|text| !text.contains('\0') && !text.starts_with('-')) {
        for args in [
            &["answer", "1", "--select", &format!("{text}.")][..],
            &["ask", "?", "--as", &text],
            &["ask", "?", "--as", "alice", "--wait", &text],
        ] {
            if text == "null" && args.len() == 4 && args[0] == "ask" {
                continue;
            }
            let told = place.run(args).assert().code(2).stdout("").get_output().clone();
            let talk = String::from_utf8(told.stderr).expect("UTF-8");
            check_harmless(&talk);
            assert!(!talk.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn an_answer_is_printed_as_nothing_but_text() {
    let place = Place::new();
    place.open().log().close();
    let server = Server::start(&place.db(), "127.0.0.1:0");
    let answer = nasty::texts().join("\n");
    let asking = [&[][..], &["--json"]]
        .map(|more| place.spawn(&[&["ask", "which?", "--as", "alice", "--wait", "60"], more].concat()));
    place.until("question_added", 2);
    for id in 1..=2 {
        let told = server.post(&format!("/api/questions/{id}/answer"), &json!({"answer": answer}));
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    let [plain, whole] = asking.map(end);
    assert_eq!((plain.0, whole.0), (Some(0), Some(0)));
    check_harmless(&plain.1);
    check_harmless(&whole.1);
    assert_eq!(plain.1.lines().count(), answer.lines().count());
    assert_eq!(whole.1.lines().count(), 1);
    let row: Value = serde_json::from_str(&whole.1).expect("JSON");
    assert_eq!(row["answer"], *answer);
}
