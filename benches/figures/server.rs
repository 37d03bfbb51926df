//! The server as a child process, stopped when it is dropped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hivelog::Durability;

pub struct Server {
    child: Child,
    /// Address and port.
    pub address: String,
}

impl Server {
    /// Starts it on a free port; its first line tells which.
    pub fn start(path: &Path, durability: Durability) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hivelog"))
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
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is a bench: what it wrote goes with the temporary folder.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
