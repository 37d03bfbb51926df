//! A server that was started here: what it costs, and its end.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to end before it is made to.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Process {
    pub child: Child,
    /// What it is ended with.
    end: Signal,
    /// What it said.
    log: PathBuf,
}

impl Process {
    /// Starts it in a group of its own, so that Ctrl-C reaches us alone and we end it.
    pub fn start(command: &mut Command, end: Signal, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        command.stdin(Stdio::null()).stderr(file.try_clone().unwrap()).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, end, log: log.into() }
    }

    /// Tries until it works; with the words of the server if it never does.
    pub fn until<T>(&mut self, time: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            crate::stop::check();
            if let Some(done) = attempt() {
                return done;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || begin.elapsed() > time {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("a server does not answer ({ended:?}): {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It and all that it started and that still runs.
    pub fn pids(&self) -> Vec<u32> {
        let stats: Vec<Stat> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Stat::of)
            .collect();
        let mut pids = vec![self.child.id()];
        let mut next = 0;
        while let Some(&parent) = pids.get(next) {
            pids.extend(stats.iter().filter(|stat| stat.parent == parent).map(|stat| stat.pid));
            next += 1;
        }
        pids
    }

    /// CPU seconds of all of them so far, those that have ended included.
    pub fn cpu_s(&self) -> f64 {
        self.pids().into_iter().filter_map(Stat::of).map(|stat| stat.own_s + stat.ended_s).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let all = self.pids();
        let send = |pid: u32, signal| {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may be gone already.
                let _gone = kill_process(pid, signal);
            }
        };
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            // Again and again: one that has only just been started may not listen yet.
            send(self.child.id(), self.end);
            if begin.elapsed() > PATIENCE {
                for pid in all {
                    send(pid, Signal::KILL);
                }
                let _status = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// CPU seconds of this process alone.
pub fn own_cpu_s() -> f64 {
    Stat::of(std::process::id()).map_or(f64::NAN, |stat| stat.own_s)
}

/// A line of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    parent: u32,
    own_s: f64,
    /// Of its children that ended.
    ended_s: f64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |index: usize| -> Option<f64> {
            let ticks: u32 = fields.get(index)?.parse().ok()?;
            Some(f64::from(ticks) / rustix::param::clock_ticks_per_second() as f64)
        };
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            own_s: seconds(11)? + seconds(12)?,
            ended_s: seconds(13)? + seconds(14)?,
        })
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program on the PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
