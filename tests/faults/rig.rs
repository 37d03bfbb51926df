//! The real server under the preloaded library: built, given orders, started, watched to its end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use crate::shell::clean;

pub const OPEN: u32 = 1;
pub const WRITE: u32 = 2;
pub const SYNC: u32 = 4;
pub const TRUNCATE: u32 = 8;
pub const UNLINK: u32 = 16;
pub const RENAME: u32 = 32;
pub const MAP: u32 = 64;
pub const READ: u32 = 128;
/// Every call that can change a file.
pub const CHANGES: u32 = OPEN | WRITE | SYNC | TRUNCATE | UNLINK | RENAME | MAP;

pub const EIO: i32 = 5;
pub const EFBIG: i32 = 27;
pub const ENOSPC: i32 = 28;
pub const EDQUOT: i32 = 122;

pub const SIGKILL: i32 = 9;

/// A server that neither starts nor ends within this is stuck.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a call is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// It fails with this error, and so do the calls after it, as many as said.
    Fail(i32, u64),
    /// Half of it is written; the write after it fails with this error.
    Short(i32),
    KillBefore,
    KillAfter,
    /// Killed with half of it written.
    KillWithin,
}

/// What the library is to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
    /// The calls that count.
    pub mask: u32,
    /// The one to strike, counted from 1 since the process began, and how.
    pub strike: Option<(u64, Blow)>,
    /// Whether the account keeps the bytes.
    pub record: bool,
    pub clock_ms: i64,
}

impl Orders {
    fn bytes(self) -> [u8; 64] {
        let (at, blow) = self.strike.unwrap_or((0, Blow::KillBefore));
        let (mode, error, times) = match blow {
            Blow::Fail(error, times) => (1u32, error, times),
            Blow::Short(error) => (2, error, 2),
            Blow::KillBefore => (3, 0, 1),
            Blow::KillAfter => (4, 0, 1),
            Blow::KillWithin => (5, 0, 1),
        };
        let mut bytes = [0; 64];
        bytes[0..8].copy_from_slice(&at.to_le_bytes());
        bytes[8..16].copy_from_slice(&times.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.mask.to_le_bytes());
        bytes[20..24].copy_from_slice(&error.to_le_bytes());
        bytes[24..28].copy_from_slice(&mode.to_le_bytes());
        bytes[28..32].copy_from_slice(&u32::from(self.record).to_le_bytes());
        bytes[32..40].copy_from_slice(&self.clock_ms.to_le_bytes());
        bytes
    }
}

/// The library, built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload/fault.c");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fault-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&built)
            .arg(&source)
            .arg("-ldl");
        let done = cc.output().expect("a C compiler (cc) builds the preloaded library");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        built
    })
}

/// The binary to look at: the test's own, or the one that is named.
pub fn binary() -> PathBuf {
    std::env::var_os("HIVELOG_FAULTS_BIN").map_or_else(|| env!("CARGO_BIN_EXE_hivelog").into(), PathBuf::from)
}

pub fn command(verb: &str, db: &Path) -> Command {
    let mut command = Command::new(binary());
    clean(&mut command);
    command.arg(verb).arg("--db").arg(db);
    command
}

/// A folder in memory where there is one: a sync costs nothing there, and what would survive is told by the
/// account, not by the disk.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("hivelog-faults-").tempdir_in(place).unwrap()
}

/// A folder for a log, and the library's orders and account beside it.
pub struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Self {
        let rig = Self { folder: scratch() };
        std::fs::create_dir(rig.data()).unwrap();
        File::create(rig.trace()).unwrap();
        rig.order(Orders::default());
        rig
    }

    /// A rig whose folder holds what that one's holds.
    pub fn like(data: &Path) -> Self {
        let rig = Self::new();
        for entry in std::fs::read_dir(data).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), rig.data().join(entry.file_name())).unwrap();
        }
        rig
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn db(&self) -> PathBuf {
        self.data().join("log.db")
    }

    pub fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// Gives the library its orders, at any moment.
    pub fn order(&self, orders: Orders) {
        let file = File::options().create(true).write(true).truncate(false).open(self.control()).unwrap();
        file.write_all_at(&orders.bytes(), 0).unwrap();
    }

    /// A command on the log, under the library.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = command(verb, &self.db());
        command
            .env("LD_PRELOAD", library())
            .env("HIVELOG_FAULT_DIR", self.data().canonicalize().unwrap())
            .env("HIVELOG_FAULT_TRACE", self.trace())
            .env("HIVELOG_FAULT_CONTROL", self.control());
        command
    }

    /// Starts the server under the library.
    pub fn serve(&self, flags: &[&str]) -> Result<Server, Ended> {
        let mut command = self.command("serve");
        command.args(["--no-auth", "--listen", "127.0.0.1:0", "--kind", "declared"]);
        // With the least room for a WAL its checkpoints come after a thousand pages.
        command.args(["--wal-bytes-max", "8192000"]).args(flags);
        start(command, &self.folder.path().join("stderr"))
    }

    /// Starts the server as it is, under no library.
    pub fn serve_plainly(&self) -> Server {
        let mut command = command("serve", &self.db());
        command.args(["--no-auth", "--listen", "127.0.0.1:0", "--kind", "declared"]);
        start(command, &self.folder.path().join("stderr")).unwrap_or_else(|ended| panic!("{ended:?}"))
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
    /// When that was seen: to be rid of the process may take the system seconds more.
    pub at: Instant,
}

impl Ended {
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(SIGKILL)
    }

    pub fn last_line(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

/// A server that said where it is.
pub struct Server {
    pub url: String,
    child: Child,
    stderr: PathBuf,
}

/// Starts `serve` and waits for its URL.
pub fn start(mut command: Command, stderr: &Path) -> Result<Server, Ended> {
    let file = File::create(stderr).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (send, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _read = out.read_line(&mut line);
        let _nobody = send.send(line);
    });
    let line = told.recv_timeout(PATIENCE);
    let mut server = Server { url: String::new(), child, stderr: stderr.to_owned() };
    match line {
        Ok(line) if line.starts_with("http://") => {
            server.url = line.trim_end().to_owned();
            Ok(server)
        }
        Ok(_) => Err(server.wait()),
        Err(_) => panic!("the server neither starts nor ends:\n{}", server.said()),
    }
}

impl Server {
    pub fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Whether it ended; it is still there to be waited for.
    pub fn has_ended(&mut self) -> bool {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let only_look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // Whom nobody waits for any more is gone.
        waitid(WaitId::Pid(Pid::from_child(&self.child)), only_look).map_or(true, |seen| seen.is_some())
    }

    /// Waits for its end; one that does not come is a failure.
    pub fn wait(&mut self) -> Ended {
        self.wait_for(PATIENCE).unwrap_or_else(|| panic!("the server does not end:\n{}", self.said()))
    }

    pub fn wait_for(&mut self, patience: Duration) -> Option<Ended> {
        let begin = Instant::now();
        loop {
            if self.has_ended() {
                let at = Instant::now();
                let status = self.child.wait().unwrap();
                return Some(Ended { status, stderr: self.said(), at });
            }
            if begin.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _may_be_gone = rustix::process::kill_process(pid, signal);
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    pub fn kill_if_alive(&mut self) {
        let _may_be_gone = self.child.kill();
        let _ended = self.wait();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        let _ended = self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Says aloud that a test was skipped, past the harness that would keep it.
pub fn skip(what: &str, missing: &str) {
    writeln!(std::io::stderr(), "skipped: {what}: {missing}").expect("stderr");
}

/// Whether the figures are the full ones.
pub fn is_full() -> bool {
    std::env::var_os("HIVELOG_FULL").is_some_and(|value| value == "1")
}

/// A figure: scaled down, or full.
pub fn figure(small: u64, full: u64) -> u64 {
    if is_full() { full } else { small }
}
