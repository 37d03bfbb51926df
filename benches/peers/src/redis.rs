//! Redis Streams, with an append-only file that is synced before each answer.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use memchr::memmem;
use rustix::process::Signal;

use crate::answer::{self, Answer};
use crate::connect::{self, Client};
use crate::folder::Folder;
use crate::mix::Text;
use crate::peer::{BATCH, Page, Peer};
use crate::process::{self, Process};

pub struct Redis {
    process: Process,
    version: String,
    port: u16,
}

impl Redis {
    /// Nothing where it is not installed.
    pub fn start(folder: &Folder) -> Option<Self> {
        let binary = process::program("redis-server")?;
        let data = folder.path().join("redis");
        std::fs::create_dir(&data).unwrap();
        let port = process::free_port();
        let mut command = Command::new(binary);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(&data);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        let log = folder.path().join("redis.log");
        let mut process = Process::start(command.stdout(Stdio::null()), Signal::TERM, &log);
        let socket = process.until(Duration::from_secs(10), || connect::open(port));
        let mut client = Client::new(socket);
        let mut ask = |words: &[&str]| {
            let answer = client.ask(&command_of(words), &mut Answer::Redis(answer::Redis::new(1)));
            String::from_utf8_lossy(answer).into_owned()
        };
        let setting = ask(&["CONFIG", "GET", "appendfsync"]);
        assert!(setting.contains("always"), "{setting}");
        let info = ask(&["INFO", "server"]);
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap().to_owned();
        Some(Self { process, version, port })
    }
}

impl Peer for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn durability(&self) -> &'static str {
        "always"
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

    /// Without the agents: nothing could ask for them, and they are in the payload.
    fn single(&self, text: &Text) -> Vec<u8> {
        command_of(&["XADD", "events", "*", "kind", &text.kind, "payload", &text.payload])
    }

    /// As a transaction: a mere pipeline is neither one sync nor all or nothing.
    fn batch(&self, texts: &[Text]) -> Vec<u8> {
        let mut request = command_of(&["MULTI"]);
        request.extend(texts.iter().flat_map(|text| self.single(text)));
        request.extend(command_of(&["EXEC"]));
        request
    }

    fn page(&self, after: &str) -> Vec<u8> {
        let start = if after.is_empty() { "-".to_owned() } else { format!("({after}") };
        command_of(&["XRANGE", "events", &start, "+", "COUNT", &BATCH.to_string()])
    }

    fn answer(&self) -> Answer {
        Answer::Redis(answer::Redis::new(1))
    }

    /// MULTI, each that is queued, and EXEC with all their ids.
    fn batch_answer(&self) -> Answer {
        Answer::Redis(answer::Redis::new(1 + BATCH + 1))
    }

    fn read_page(&self, _: &Answer, bytes: &[u8]) -> Page {
        let (rows, _) = answer::number(&bytes[1..]);
        // An entry is a pair that begins with its id. JSON holds no line end, so nothing else looks like that.
        let last = memmem::rfind(bytes, b"\r\n*2\r\n$").map_or_else(Vec::new, |at| {
            let id = bytes[at..].split(|byte| *byte == b'\n').nth(3).unwrap();
            id.trim_ascii().to_vec()
        });
        Page { rows, after: String::from_utf8(last).unwrap() }
    }
}

fn command_of(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}
