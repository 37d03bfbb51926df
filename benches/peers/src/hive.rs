//! hivelog's own server, the binary that ships.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::answer::{Answer, Http};
use crate::connect;
use crate::folder::Folder;
use crate::mix::Text;
use crate::peer::{BATCH, Page, Peer};
use crate::process::Process;
use crate::wire;

pub struct Hive {
    process: Process,
    version: String,
    host: String,
    port: u16,
}

impl Hive {
    pub fn start(folder: &Folder) -> Self {
        let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/hivelog");
        let binary = std::env::var_os("HIVELOG_BIN").map_or_else(|| PathBuf::from(usual), PathBuf::from);
        assert!(binary.is_file(), "{} is missing: cargo build --release", binary.display());
        let version = Command::new(&binary).arg("--version").output().unwrap().stdout;
        let data = folder.path().join("hivelog");
        std::fs::create_dir(&data).unwrap();
        let mut command = Command::new(binary);
        command.args(["serve", "--no-auth", "--listen", "127.0.0.1:0", "--durability", "full", "--db"]);
        command.arg(data.join("log.db")).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, Signal::TERM, &data.join("said"));
        // Its first line tells where it listens.
        let mut line = String::new();
        let mut stdout = BufReader::new(process.child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let host = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        // What else it says is not read, but its pipe must not break.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = port.unwrap_or_else(|| process.until(std::time::Duration::ZERO, || None));
        let version = String::from_utf8(version).unwrap().trim().trim_start_matches("hivelog ").to_owned();
        Self { process, version, host, port }
    }
}

impl Peer for Hive {
    fn name(&self) -> &'static str {
        "hivelog"
    }

    fn durability(&self) -> &'static str {
        "full"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn connect(&self) -> TcpStream {
        connect::open(self.port).unwrap()
    }

    fn single(&self, text: &Text) -> Vec<u8> {
        wire::post(&self.host, "application/json", text.line().as_bytes())
    }

    fn batch(&self, texts: &[Text]) -> Vec<u8> {
        let lines: String = texts.iter().map(|text| text.line() + "\n").collect();
        wire::post(&self.host, "application/x-ndjson", lines.as_bytes())
    }

    fn page(&self, after: &str) -> Vec<u8> {
        let after = if after.is_empty() { "0" } else { after };
        wire::get(&self.host, &format!("/api/history?after={after}&limit={BATCH}"), "application/json")
    }

    fn answer(&self) -> Answer {
        Answer::Http(Http::default())
    }

    fn read_page(&self, answer: &Answer, bytes: &[u8]) -> Page {
        let Answer::Http(Http { body: Some((begin, _)), .. }) = answer else {
            unreachable!("it speaks HTTP")
        };
        let body = &bytes[*begin..];
        // Nothing was pruned and nothing filtered, so the seqs of a page are dense.
        let next = wire::member(body, "\"next_after\":").unwrap();
        let first = wire::member(body, "{\"seq\":").unwrap_or(next + 1);
        Page { rows: usize::try_from(next + 1 - first).unwrap(), after: next.to_string() }
    }
}
