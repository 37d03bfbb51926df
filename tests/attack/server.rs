//! The server that is attacked: a process of its own, whose memory can be looked at.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::shell::clean;

/// Whether the figures are those that were promised, or smaller ones of the same kind.
pub fn is_full() -> bool {
    std::env::var_os("HIVELOG_FULL").is_some_and(|value| value == "1")
}

/// Lets this process open as many sockets as the system allows; gives how many those are.
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Held by each test for as long as it measures: what one costs must not be taken for what another does.
static ALONE: Mutex<()> = Mutex::new(());
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

pub fn alone() -> MutexGuard<'static, ()> {
    // One that failed says so by itself.
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub struct Server {
    db: PathBuf,
    flags: Vec<String>,
    child: Child,
    pub addr: SocketAddr,
}

impl Server {
    /// Starts it on a port that no outgoing connection is given, so that it can come back to it.
    pub fn start(db: &Path, flags: &[&str]) -> Self {
        let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
        let mut ports =
            std::iter::repeat_with(|| first + NEXT_PORT.fetch_add(1, Ordering::Relaxed)).take(2_000);
        let port = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let addr = SocketAddr::from(([127, 0, 0, 1], port.expect("a free port")));
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let child = spawn(db, &flags, addr);
        Self { db: db.into(), flags, child, addr }
    }

    /// Starts it again, at the same address.
    pub fn restart(&mut self) {
        self.child = spawn(&self.db, &self.flags, self.addr);
    }

    /// Ends it as an operator does; says how, and how long that took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server ended by itself: {}", self.last_words());
        let begin = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        (self.child.wait().unwrap(), begin.elapsed())
    }

    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.db.with_extension("stderr")).unwrap_or_default();
        text.lines().rev().take(10).collect::<Vec<_>>().join("\n")
    }

    /// Memory in KiB: what it holds now (`VmRSS`), or held at most (`VmHWM`).
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn spawn(db: &Path, flags: &[String], addr: SocketAddr) -> Child {
    let stderr = File::options().create(true).append(true).open(db.with_extension("stderr")).unwrap();
    let binary = std::env::var_os("HIVELOG_ATTACK_BIN");
    // With the limit of a usual shell, and less: it has to ask for more by itself.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 256 && exec \"$0\" \"$@\""]);
    command.arg(binary.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_hivelog")), PathBuf::from));
    clean(&mut command);
    command.arg("serve").arg("--db").arg(db).arg("--listen").arg(addr.to_string()).args(flags);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first.trim_end(), format!("http://{addr}"), "the server did not start");
    child
}
