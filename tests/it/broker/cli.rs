//! `hivelog send` and `hivelog recv`, on a file and through its server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Place;
use crate::shell::clean;

/// The answer of a command: exit code, stdout, stderr.
type Told = (i32, String, String);

fn hivelog(place: &Place, words: &[&str], input: &str) -> Told {
    let mut child = command(place, words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hivelog"));
    let (verb, rest) = words.split_first().unwrap();
    clean(&mut command).arg(verb).arg("--db").arg(place.path()).args(rest);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What has to go well, and what it prints.
#[track_caller]
fn check(place: &Place, words: &[&str], printed: &str) {
    let told = hivelog(place, words, "");
    assert_eq!((told.0, told.1.as_str()), (0, printed), "{words:?}: {}", told.2);
}

struct Served(Child);

impl Served {
    fn start(place: &Place) -> Self {
        let mut child = command(place, &["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://"), "{line}");
        Self(child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn check_talk(place: &Place) {
    check(place, &["send", "operator", "hello"], "1\n");
    check(place, &["send", "--json", "operator", "again"], "{\"id\":2}\n");
    assert_eq!(hivelog(place, &["send", "operator", "-"], "\u{1b}[2J\nthree").1, "3\n");
    check(place, &["recv"], "#1 operator: hello\n");
    check(
        place,
        &["recv", "operator", "--max", "9", "--ack"],
        "#2 operator: again\n#3 operator: \\u001b[2J\\nthree\n",
    );
    // Nothing is no failure.
    check(place, &["recv"], "");
    let told = hivelog(place, &["send", "B B", "x"], "");
    assert_eq!(told.0, 2, "{}", told.2);
    for wrong in
        [["recv", "--max", "0"], ["recv", "--max", "101"], ["recv", "--lease", "0"], ["recv", "--wait", "x"]]
    {
        assert_eq!(hivelog(place, &wrong, "").0, 2, "{wrong:?}");
    }
    assert_eq!(hivelog(place, &["recv", "B"], "").0, 2);
}

#[test]
fn a_file_that_nobody_serves_is_opened() {
    let place = Place::new();
    assert_eq!(hivelog(&place, &["send", "bob", "x"], "").0, 3, "only some verbs make a file");
    assert_eq!(hivelog(&place, &["recv"], "").0, 3);
    drop(place.open());
    check_talk(&place);
    check(&place, &["send", "bob", "--as", "alice", "x"], "4\n");
    check(&place, &["recv", "bob", "--lease", "1"], "#4 alice: x\n");
    std::thread::sleep(Duration::from_millis(1_100));
    let told = hivelog(&place, &["recv", "bob", "--json"], "");
    let line: serde_json::Value = serde_json::from_str(&told.1).unwrap();
    assert_eq!((&line["id"], &line["redelivered"]), (&4.into(), &true.into()));
    // All of it is on the log: four sent, four first hand-outs.
    assert_eq!(crate::lines(&place.open()).len(), 8);
}

#[test]
fn a_server_is_found_by_its_file() {
    let place = Place::new();
    drop(place.open());
    let served = Served::start(&place);
    check_talk(&place);
    let begin = Instant::now();
    let waiting = command(&place, &["recv", "--wait", "20s", "--ack"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    check(&place, &["send", "operator", "now"], "4\n");
    let told = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(told.stdout).unwrap(), "#4 operator: now\n");
    assert!(begin.elapsed() < Duration::from_secs(15));
    assert_eq!(
        hivelog(&place, &["send", "--as", "alice", "bob", "x"], "").0,
        1,
        "the first token is no agent"
    );
    drop(served);
}
