//! The subscriber process, from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::subscriber;

pub struct Audience {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// The frames that it noted: seq, and time of arrival in microseconds.
pub struct Noted {
    pub frames: Vec<(u32, u32)>,
    /// How often a seq was missing.
    pub gaps: u64,
}

impl Audience {
    /// Many streams, each with this path, where `{}` stands for the number of the stream.
    pub fn start(address: &str, count: usize, path: &str, start_us: u64) -> Self {
        let mut audience = Self::launch(&[address, &count.to_string(), path, &start_us.to_string()]);
        audience.expect("ready");
        audience
    }

    /// Many streams that each read up to this seq and keep nothing.
    pub fn drain(address: &str, count: usize, path: &str, upto: i64) -> Self {
        Self::launch(&[address, &count.to_string(), path, "0", &upto.to_string()])
    }

    fn launch(args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(subscriber::ARGUMENT)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { stdin: child.stdin.take(), child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn expect(&mut self, word: &str) {
        assert_eq!(self.line().trim(), word);
    }

    /// How long it took until every stream had read up to its end, in seconds.
    pub fn drained(mut self) -> f64 {
        self.line().trim().parse::<f64>().unwrap() / 1e6
    }

    /// What was noted, once it is so many frames.
    pub fn finish(mut self, frames: usize) -> Noted {
        let mut stdin = self.stdin.take().unwrap();
        writeln!(stdin, "{frames}").unwrap();
        drop(stdin);
        let mut bytes = Vec::new();
        self.stdout.read_to_end(&mut bytes).unwrap();
        assert!(self.child.wait().unwrap().success());
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let gaps = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let frames = bytes[8..].chunks_exact(8).map(|note| (word(&note[..4]), word(&note[4..])));
        Noted { frames: frames.collect(), gaps }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        // Already gone where all went well.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
