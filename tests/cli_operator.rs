//! What an operator does to a log that is served: copies it, asks it in SQL, looks what is wrong with it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says best where it fails by failing there"
)]

#[path = "cli_operator/doctor.rs"]
mod doctor;
#[path = "cli_operator/sql.rs"]
mod sql;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const HIVELOG: &str = env!("CARGO_BIN_EXE_hivelog");
const PATIENCE: Duration = Duration::from_secs(60);
/// Copies that are made until one meets a write.
const COPIES: usize = 10;

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

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(HIVELOG);
        command.args(args).env_clear().env("HIVELOG_DB", self.db()).env("HOME", self.folder.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    fn serve(&self, args: &[&str]) -> Server {
        let mut command = self.command(&["serve", "--no-auth", "--listen", "127.0.0.1:0"]);
        let told = std::fs::File::create(self.path("told")).expect("a file");
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(told).spawn().expect("a server");
        let mut first = String::new();
        let out = child.stdout.take().expect("its stdout");
        BufReader::new(out).read_line(&mut first).expect("its first line");
        let address = first.trim().trim_start_matches("http://").to_owned();
        assert!(!address.is_empty(), "{}", self.told());
        Server { child: Running(child), address }
    }

    /// What the last server said on stderr.
    fn told(&self) -> String {
        std::fs::read_to_string(self.path("told")).expect("a file")
    }
}

/// What became of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().expect("a command");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The same for what may not end by itself.
    fn within(seconds: u64, command: &Command) -> Self {
        let mut bounded = Command::new("timeout");
        bounded.arg(seconds.to_string()).arg(command.get_program()).args(command.get_args()).env_clear();
        bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::of(&mut bounded)
    }

    #[track_caller]
    fn check(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.out.contains(words) || self.err.contains(words), "{words}: {self:?}");
        self
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

struct Server {
    child: Running,
    address: String,
}

impl Server {
    /// Asks once; gives the status and the whole answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        ask(&self.address, method, path, body)
    }

    fn append(&self, body: &str) -> u16 {
        self.ask("POST", "/api/events", body).0
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.ask("GET", "/metrics", "");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        assert!(self.child.0.wait().expect("an end").success());
    }
}

fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    (text[9..12].parse().expect("a status"), text)
}

/// About 300 kB of text in one request.
fn large() -> String {
    let event = format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(3_000));
    format!("[{}]", vec![event; 100].join(","))
}

/// Appends 500 small events a second until told to stop, and counts them.
fn write_steadily(address: &str, is_over: &AtomicBool, written: &AtomicUsize) {
    let batch = r#"[{"kind":"a.b"},{"kind":"sent","from":"ada","to":"bob","body":"hello","at":1},{"kind":"a.b"},{"kind":"a.b"},{"kind":"a.b"}]"#;
    let begin = Instant::now();
    let mut batches = 0;
    while !is_over.load(Ordering::SeqCst) {
        assert_eq!(ask(address, "POST", "/api/events", batch).0, 201);
        batches += 1;
        written.store(batches * 5, Ordering::SeqCst);
        let due = begin + Duration::from_millis(10) * u32::try_from(batches).expect("few");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Runs something beside a server that is written to, with the count of what was written so far.
fn beside_writes<T>(server: &Server, work: impl FnOnce(&AtomicUsize) -> T) -> T {
    let (is_over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| write_steadily(&server.address, &is_over, &written));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&written)));
        is_over.store(true, Ordering::SeqCst);
        writing.join().expect("the writer");
        done.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    })
}

/// Waits until more than so many were written.
fn wait_for_writes(written: &AtomicUsize, count: usize) {
    let begin = Instant::now();
    while written.load(Ordering::SeqCst) <= count {
        assert!(begin.elapsed() < PATIENCE, "{written:?} events were written");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A real shell that has sent some statements and stays.
fn shell(db: &Path, is_read_only: bool, sql: &str) -> Option<Running> {
    let mut command = Command::new("sqlite3");
    // Who begins to write may meet the server in the middle of a write of its own.
    command.args(["-cmd", ".timeout 10000"]);
    if is_read_only {
        command.arg("-readonly");
    }
    let Ok(mut child) = command.arg(db).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        writeln!(std::io::stderr(), "skipped: there is no sqlite3").expect("stderr");
        return None;
    };
    writeln!(child.stdin.as_mut().expect("its stdin"), "{sql} SELECT 'there';").expect("a line");
    let mut out = BufReader::new(child.stdout.take().expect("its stdout")).lines();
    assert!(out.any(|line| line.expect("a line") == "there"));
    // The shell stays as long as its stdin is open.
    Some(Running(child))
}

const READS: &str = "BEGIN; SELECT count(*) FROM events;";

/// Reads lines of a child as they come.
fn lines_of(out: impl std::io::Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

#[track_caller]
fn wait_for(lines: &std::sync::mpsc::Receiver<String>, words: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {words}"));
        if line.contains(words) {
            return line;
        }
    }
}

#[test]
fn a_log_is_copied_beside_its_server_and_restored_under_its_readers() {
    let place = Place::new();
    let server = place.serve(&[]);
    for _ in 0..30 {
        assert_eq!(server.append(&large()), 201);
    }
    let copy = beside_writes(&server, |written| {
        wait_for_writes(written, 0);
        // A write may take longer than a copy: then there is another one.
        let mut copies = (0..COPIES).map(|number| place.path(&format!("copy-{number}.db")));
        let copy = copies.find(|copy| {
            let before = written.load(Ordering::SeqCst);
            let ran = place.run(&["backup", copy.to_str().expect("a path")]).check(0, "and checked it");
            assert_eq!(ran.out, "");
            written.load(Ordering::SeqCst) > before
        });
        let copy = copy.expect("something is written beside a copy");
        wait_for_writes(written, 50);
        copy
    });
    let out = copy.to_str().expect("a path");
    place.run(&["backup", out]).check(1, "exists already");
    let mut checking = place.command(&["check"]);
    let checked = Ran::of(checking.env("HIVELOG_DB", &copy)).check(0, "the log is whole");
    assert!(checked.out.contains("copy of"), "{checked:?}");

    // A reader of the file, and one of the server, stand at the head of the old log.
    let state = server.ask("GET", "/api/state", "").1;
    let old: serde_json::Value =
        serde_json::from_str(state.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    let cursor = format!("{}-{}", old["log_id"].as_str().expect("an id"), old["seq"]);
    let mut tail = place
        .command(&["tail", "-f", "--after", &cursor, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a tail");
    let (lines, talk) =
        (lines_of(tail.stdout.take().expect("stdout")), lines_of(tail.stderr.take().expect("stderr")));
    let _tail = Running(tail);
    assert_eq!(server.append(r#"{"kind":"before.restore"}"#), 201);
    wait_for(&lines, "before.restore");

    let pid = server.child.0.id().to_string();
    place.run(&["restore", out, "--replace"]).check(1, &pid);
    server.stop();
    place.run(&["restore", out]).check(1, "exists already");
    let ran = place.run(&["restore", out, "--replace"]).check(0, "restored as log");
    assert!(ran.err.contains("log.db.before-"), "{ran:?}");
    wait_for(&talk, "other_log");
    let server = place.serve(&[]);
    assert_eq!(server.append(r#"{"kind":"after.restore"}"#), 201);
    let line: serde_json::Value = serde_json::from_str(&wait_for(&lines, "after.restore")).expect("JSON");
    assert!(line["seq"].as_i64() < old["seq"].as_i64(), "it goes on from the copy's counter: {line}");
    place.run(&["check"]).check(0, "the log is whole");

    // Whoever comes to the server with a position of the old log is told so.
    let mut stream = TcpStream::connect(&server.address).expect("a connection");
    write!(stream, "GET /api/stream HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: {cursor}\r\n\r\n", server.address)
        .expect("a request");
    let frames = lines_of(stream);
    wait_for(&frames, "event: reset");
    wait_for(&frames, "other_log");
}

#[test]
fn a_shell_that_holds_the_wal_is_told_once() {
    let place = Place::new();
    let server = place.serve(&["--wal-bytes-max", "20000000"]);
    assert_eq!(server.append(r#"{"kind":"a.b"}"#), 201);
    let Some(shell) = shell(&place.db(), true, READS) else { return };
    let (mut stored, large) = (0, large());
    let (status, text) = loop {
        let (status, text) = server.ask("POST", "/api/events", &large);
        if status != 201 {
            break (status, text);
        }
        stored += 1;
        assert!(stored < 200, "there is no bound");
    };
    assert_eq!(status, 507, "{text}");
    assert!(text.contains("urn:hivelog:wal-held") && text.to_lowercase().contains("retry-after"), "{text}");
    assert!(stored > 30, "{stored} were stored");
    for _ in 0..5 {
        assert_eq!(server.append(&large), 507);
    }
    assert_eq!(server.ask("GET", "/api/history?limit=1", "").0, 200, "reads go on");
    assert!(server.metric("hivelog_wal_bytes") >= 20_000_000.0);
    assert!((server.metric("hivelog_wal_held") - 1.0).abs() < 0.1);
    assert!(server.metric("hivelog_refused_appends_total{reason=\"wal_held\"}") >= 6.0);
    let told = place.told();
    let warnings: Vec<_> = told.lines().filter(|line| line.contains("a reader holds back the WAL")).collect();
    assert_eq!(warnings.len(), 1, "{told}");
    let pid = shell.0.id().to_string();
    assert!(warnings[0].contains(&pid) && warnings[0].contains("(sqlite3)"), "{}", warnings[0]);
    drop(shell);
    let begin = Instant::now();
    while server.append(&large) != 201 {
        assert!(begin.elapsed() < PATIENCE, "appends do not resume");
        std::thread::sleep(Duration::from_millis(50));
    }
    let wal = || std::fs::metadata(place.path("log.db-wal")).expect("the WAL").len();
    while wal() > 4 << 20 {
        assert!(begin.elapsed() < PATIENCE, "the WAL has {} bytes", wal());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.metric("hivelog_wal_held") < 0.1);
    assert!(place.told().contains("let go of the WAL"), "{}", place.told());
    server.stop();
}

#[test]
fn a_flood_beside_short_reads_is_no_reader_that_holds() {
    let place = Place::new();
    let server = place.serve(&[]);
    // As much as the WAL may keep, and half of that again, all of which the search index reads.
    let event = format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(9_000));
    let batch = format!("[{}]", vec![event; 100].join(","));
    for _ in 0..110 {
        assert_eq!(server.append(&batch), 201);
    }
    let wal = || std::fs::metadata(place.path("log.db-wal")).expect("the WAL").len();
    let begin = Instant::now();
    while wal() > 64 << 20 {
        assert!(begin.elapsed() < PATIENCE, "the WAL has {} bytes", wal());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.metric("hivelog_checkpoints_total") > 3.0);
    assert!(server.metric("hivelog_checkpoint_errors_total") < 0.1);
    assert!(!place.told().contains("holds back"), "{}", place.told());
    server.stop();
}
