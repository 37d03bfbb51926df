//! Another process that has a log open: this test binary, started once more.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use hivelog::event::TransientKind;
use hivelog::{Desk, Error, Log, Options};

const VARIABLE: &str = "HIVELOG_IT_CHILD";
const MARK: &str = "@@ ";

/// A process that opened the log at a path, or tried to.
pub struct Other {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What became of its opening: `open`, or the error.
    pub opened: String,
}

impl Other {
    pub fn open(path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "other::process", "--nocapture"])
            .env(VARIABLE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut other = Self { process, orders, answers, opened: String::new() };
        other.opened = other.answer();
        other
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the other process ended");
            if let Some(answer) = line.trim_end().strip_prefix(MARK) {
                return answer.to_owned();
            }
        }
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.answer()
    }

    /// Lets it append a note; gives the seq.
    pub fn note(&mut self, number: i64) -> i64 {
        self.order(&number.to_string()).parse().unwrap()
    }

    /// Lets it begin a lifecycle action that it holds as long as it lives.
    pub fn hold(&mut self, name: &str) {
        assert_eq!(self.order(&format!("hold {name}")), "held");
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // The end of its orders is the end of its work.
        drop(self.orders.take());
        let _status = self.process.wait();
    }
}

#[test]
#[ignore = "it is the other process of the tests beside it"]
fn process() {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let tell = |answer: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\n{MARK}{answer}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let log = Log::open(path, Options::default());
    tell(match &log {
        Ok(_) => "open".into(),
        Err(Error::Locked { pid, .. }) => format!("locked by {pid:?}"),
        Err(error) => format!("{error:?}"),
    });
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        if let Some(name) = line.strip_prefix("hold ") {
            let desk = Desk::of(log.as_ref().unwrap()).unwrap();
            let lease = Duration::from_secs(600);
            std::mem::forget(desk.hold(name, TransientKind::Starting, lease).wait().unwrap());
            tell("held".into());
            continue;
        }
        tell(crate::note(log.as_ref().unwrap(), line.parse().unwrap()).to_string());
    }
}
