//! hivelog as a service: the real command under what a machine runs it with.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test says best where it fails by failing there"
)]

mod config;
mod logs;
mod notify;
mod pipe;
mod proxy;
mod socket;
mod tail;
mod unit;
mod watch;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// The command, without what the developer's own shell says.
fn hivelog(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hivelog"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).args(args);
    command
}

/// Waits until there is one.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} took longer than {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a command that ends by itself says; one that does not is killed and fails the test.
#[track_caller]
fn ended(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut child = Guarded(child);
    until("an end", || child.0.try_wait().expect("its state"));
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    // What it says here fits into a pipe.
    child.0.stdout.take().expect("stdout").read_to_end(&mut stdout).expect("read");
    child.0.stderr.take().expect("stderr").read_to_end(&mut stderr).expect("read");
    Output { status: child.0.wait().expect("an end"), stdout, stderr }
}

/// What a command printed, which has to go well.
#[track_caller]
fn told(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.trim().to_owned()
}

/// A folder with the path of a log in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn db(&self) -> PathBuf {
        self.beside("log.db")
    }

    /// The same as text.
    fn text(&self, name: &str) -> String {
        self.beside(name).to_str().expect("a path").to_owned()
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.beside("log.db.token")).expect("PATH.token").trim().to_owned()
    }

    /// A verb on this place's log.
    fn verb(&self, args: &[&str]) -> Command {
        let mut command = hivelog(args);
        command.env("HIVELOG_DB", self.db()).env("HOME", self.0.path());
        command
    }

    /// What a verb that goes well prints.
    #[track_caller]
    fn told(&self, args: &[&str]) -> String {
        told(&self.verb(args).output().expect("it runs"))
    }

    fn serve(&self, args: &[&str]) -> Server {
        Server::start(self, self.verb(&["serve", "--listen", "127.0.0.1:0"]).args(args))
    }
}

/// A child that is killed when the test ends.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A server in a process of its own.
struct Server {
    child: Guarded,
    url: String,
    /// What it says on stderr.
    log: PathBuf,
}

impl Server {
    fn start(place: &Place, command: &mut Command) -> Self {
        let log = place.beside("stderr");
        let file = std::fs::File::options().create(true).append(true).open(&log).expect("a file");
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().expect("a server");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut first).expect("a line");
        let said = || std::fs::read_to_string(&log).expect("what it said");
        assert!(first.starts_with("http"), "no server: {}", said());
        Self { child: Guarded(child), url: first.trim().to_owned(), log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("what it said")
    }

    /// Ends as the service manager wants it; gives the exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        self.child.0.wait().expect("an end").code()
    }
}

/// Whether this machine has a program; says aloud that a test is skipped where it has not: past the harness,
/// which keeps the words of tests that pass.
fn has(program: &str, what: &str) -> bool {
    use std::io::Write as _;
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]);
    let is_there = folders.into_iter().any(|folder: PathBuf| folder.join(program).is_file());
    if !is_there {
        writeln!(std::io::stderr(), "skipped: {what}: {program} is missing").expect("stderr");
    }
    is_there
}

/// A file of the repository.
fn repository(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file")
}
