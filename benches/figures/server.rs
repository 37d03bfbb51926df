//! The server as a child process, stopped when it is dropped.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hivelog::Durability;

pub struct Server {
    child: Child,
    /// Address and port.
    pub address: String,
}

/// The binary whose figures are taken: that of this build, which has fail points, or another one.
pub fn program() -> OsString {
    std::env::var_os("HIVELOG_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hivelog").into())
}

impl Server {
    /// Starts it on a free port; its first line tells which. `HIVELOG_BIN` puts another build in its place, to hold
    /// one against the other.
    pub fn start(path: &Path, durability: Durability) -> Self {
        let mut child = Command::new(program())
            .args([
                "serve",
                "--no-auth",
                "--listen",
                "127.0.0.1:0",
                "--durability",
                durability.as_str(),
                "--db",
            ])
            .arg(path)
            // What it says there would stand in the middle of a table.
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        assert!(!address.is_empty(), "the server did not say where it listens");
        // What else it says is not read, but its pipe must not break.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self { child, address }
    }

    /// A line of `/proc/PID/status` in MiB.
    pub fn memory_mib(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1_024.0
    }

    /// How often it has called to write so far.
    pub fn writes(&self) -> f64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        io.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap().parse().unwrap()
    }

    /// The time that its threads were on a core so far.
    pub fn cpu(&self) -> Duration {
        cpu(&self.child.id().to_string())
    }
}

/// The time that the threads of a process were on a core so far, by `/proc`: exact, where `stat` counts in hundredths
/// of a second. What a thread used that has ended is not in it.
pub fn cpu(process: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_one = |thread: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(threads.filter_map(of_one).sum())
}

impl Server {
    /// Ends it as an operator does, so that it leaves its file in good order.
    pub fn stop(mut self) {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is a bench: what it wrote goes with the temporary folder.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
