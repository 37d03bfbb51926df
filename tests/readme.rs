//! The README's harness loop, cut out and run as it stands against a real server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A child that does not outlive its test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn script() -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, rest) = readme.split_once("```python\n").expect("a script in the README");
    let (script, _) = rest.split_once("```\n").expect("its end");
    script.to_owned()
}

struct Place {
    folder: tempfile::TempDir,
    port: u16,
}

impl Place {
    fn db(&self) -> PathBuf {
        self.folder.path().join("swarm.db")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn hivelog(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hivelog"));
        command.args(args).env_clear().env("HIVELOG_DB", self.db()).env("HOME", self.folder.path());
        command
    }

    /// What a command prints, which has to go well.
    fn says(&self, args: &[&str]) -> String {
        let output = self.hivelog(args).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}: {out}{err}");
        out
    }

    fn serve(&self) -> Guarded {
        let listen = format!("127.0.0.1:{}", self.port);
        let begin = Instant::now();
        loop {
            let mut child = self
                .hivelog(&["serve", "--listen", &listen])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let child = Guarded(child);
            if line.trim() == self.url() {
                return child;
            }
            // The port of a killed server may be taken for a moment.
            assert!(begin.elapsed() < PATIENCE, "no server: {line}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The first open item of this sort, once there is one.
    fn open(&self, sort: &str) -> Value {
        let begin = Instant::now();
        loop {
            let state: Value = serde_json::from_str(&self.says(&["state", "--json"])).unwrap();
            if let Some(item) = state[sort].as_array().and_then(|items| items.first()) {
                return item.clone();
            }
            assert!(begin.elapsed() < PATIENCE, "no open {sort}: {state}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn run_script(path: &Path, place: &Place, token: &str) -> Guarded {
    let child = Command::new("python3")
        .arg(path)
        .envs([
            ("HIVELOG_URL", place.url().as_str()),
            ("HIVELOG_TOKEN", token),
            ("AGENT", "coder"),
            ("ONCE", "1"),
        ])
        .spawn()
        .unwrap();
    Guarded(child)
}

#[test]
fn the_harness_loop_survives_kills_of_both() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3");
        return;
    }
    let script = script();
    assert!(script.lines().count() <= 40, "the script has more than 40 lines");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place { folder: tempfile::tempdir().unwrap(), port };
    let path = place.folder.path().join("harness.py");
    std::fs::write(&path, script).unwrap();

    let server = place.serve();
    let token = place.says(&["token", "add", "--role", "agent", "--name", "coder"]);
    let token = token.trim();
    let first = run_script(&path, &place, token);
    place.says(&["send", "coder", "rename the field"]);
    let question = place.open("questions");
    assert_eq!(question["question"], "operator wants: rename the field. Shall I?");
    // The server is killed while the agent waits for the answer.
    drop(server);
    let server = place.serve();
    place.says(&["answer", &question["id"].to_string(), "--select", "yes"]);
    let approval = place.open("approvals");
    assert_eq!(approval["agent"], "coder");
    assert_eq!(approval["diff"], "-old\n+new\n");
    // The agent is killed while it waits for the decision; the next one goes on where it stood.
    drop(first);
    let mut second = run_script(&path, &place, token);
    let begin = Instant::now();
    place.says(&["approve", &approval["id"].to_string(), "--note", "go on"]);
    let ended = loop {
        if let Some(status) = second.0.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < PATIENCE, "the loop does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success());

    let reply: Value =
        serde_json::from_str(place.says(&["recv", "operator", "--wait", "10s", "--json"]).trim()).unwrap();
    assert_eq!((&reply["from"], &reply["body"]), (&"coder".into(), &"rename the field: approved".into()));
    let begin = Instant::now();
    let kinds = loop {
        let history = place.says(&["history", "--json", "--after", "0"]);
        let kinds: Vec<String> = history
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned())
            .collect();
        // The last message is mirrored a moment after it was sent.
        if kinds.iter().filter(|kind| *kind == "delivered").count() == 2 {
            break kinds;
        }
        assert!(begin.elapsed() < PATIENCE, "{kinds:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count();
    for kind in [
        "question_added",
        "question_resolved",
        "approval_added",
        "approval_resolved",
        "transient_set",
        "transient_cleared",
    ] {
        assert_eq!(count(kind), 1, "{kind}: {kinds:?}");
    }
    assert_eq!(count("sent"), 2, "{kinds:?}");
    drop(server);
    assert!(place.says(&["check"]).contains("the log is whole"));
}
