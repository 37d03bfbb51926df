//! The one server process: started, killed, started again on the same port and the same file.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::shell::clean;

const SIGKILL: i32 = 9;

/// The binary to look at: the test's own, or the one that `HIVELOG_SOAK_BIN` names.
pub fn binary() -> PathBuf {
    std::env::var_os("HIVELOG_SOAK_BIN").map_or_else(|| env!("CARGO_BIN_EXE_hivelog").into(), PathBuf::from)
}

pub fn command(verb: &str, db: &Path) -> Command {
    let mut command = Command::new(binary());
    clean(&mut command);
    command.arg(verb).arg("--db").arg(db);
    command
}

/// A port that no outgoing connection is given. A client that calls a dead server's port of the system's
/// own range may be given that very port, is connected with itself, and keeps the server from coming back.
fn port(dice: &mut Dice) -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports = (0..200).map(|_| u16::try_from(dice.between(20_000, 32_000)).unwrap());
    ports.into_iter().find(is_free).expect("a free port")
}

/// A server of this file.
pub struct Server {
    db: PathBuf,
    port: u16,
    child: Child,
    pub kills: u64,
    /// How long each start took, until the server said where it is.
    pub starts: Vec<Duration>,
}

impl Server {
    pub fn start(db: &Path, dice: &mut Dice) -> Self {
        let port = port(dice);
        let child = spawn(db, port);
        let mut server = Self { db: db.into(), port, child, kills: 0, starts: Vec::new() };
        server.wait_until_ready(Instant::now());
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The operator's and admin's token, which the first start wrote.
    pub fn token(&self) -> String {
        let path = format!("{}.token", self.db.display());
        std::fs::read_to_string(path).expect("the first start writes a token").trim().to_owned()
    }

    fn wait_until_ready(&mut self, begin: Instant) {
        let mut first = String::new();
        let out = self.child.stdout.take().expect("its stdout");
        BufReader::new(out).read_line(&mut first).expect("its first line");
        assert_eq!(first.trim_end(), self.url(), "the server did not start:\n{}", self.last_words());
        self.starts.push(begin.elapsed());
    }

    /// What it wrote on stderr last.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(stderr_of(&self.db)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Kills it with no warning. It must have been alive.
    pub fn kill(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert_eq!(ended, None, "the server ended by itself:\n{}", self.last_words());
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(SIGKILL));
        self.kills += 1;
    }

    pub fn restart(&mut self) {
        let begin = Instant::now();
        self.child = spawn(&self.db, self.port);
        self.wait_until_ready(begin);
    }

    /// Starts it and kills it so early that it may still be looking through its file.
    pub fn restart_and_kill(&mut self, after: Duration) {
        self.child = spawn(&self.db, self.port);
        // The moment of the kill is the point of this: there is no event to wait for.
        std::thread::sleep(after);
        self.kill();
    }

    /// Ends it as an operator does, and gives the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let ended = self.child.try_wait().unwrap();
        assert_eq!(ended, None, "the server ended by itself:\n{}", self.last_words());
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn stderr_of(db: &Path) -> PathBuf {
    db.with_extension("stderr")
}

fn spawn(db: &Path, port: u16) -> Child {
    let stderr = File::options().create(true).append(true).open(stderr_of(db)).unwrap();
    let mut command = command("serve", db);
    command.arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().expect("a server")
}
