//! Clients of a server that may die at any moment: one call a connection, and a subscriber.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::account::Pen;
use crate::checker::{self, Received, Run};

/// Longer than any answer may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The stable name of the error.
    pub fn problem(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().trim_start_matches("urn:hivelog:").to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Makes a call; `None` where the answer did not come whole.
pub fn call(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_nodelay(true).ok()?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    stream.write_all(&request).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let body = bytes.split_off(end + 4);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut reply = Reply { status, head, body };
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = joined(&reply.body)?;
    }
    let length: usize = reply.header("content-length").map_or(Some(0), |text| text.parse().ok())?;
    (reply.body.len() >= length).then_some(reply)
}

pub fn get(address: &str, path: &str) -> Option<Reply> {
    call(address, "GET", path, "", b"")
}

/// A body that came in chunks; `None` where its end did not come.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = chunks.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..line]).ok()?, 16).ok()?;
        let rest = chunks.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        chunks = rest.get(size + 2..)?;
    }
}

/// Appends under a key.
pub fn append(address: &str, key: Option<&str>, body: &str) -> Option<Reply> {
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    call(address, "POST", "/api/events", &format!("{key}Content-Type: application/json\r\n"), body.as_bytes())
}

/// A subscriber that goes on where it was, from server to server.
#[derive(Clone)]
pub struct Subscriber {
    pub name: u32,
    pub run: Arc<Mutex<Run>>,
    /// What it was told that no subscriber may be told.
    pub wrong: Arc<Mutex<Vec<String>>>,
}

impl Subscriber {
    pub fn new(name: u32, run: Run) -> Self {
        Self { name, run: Arc::new(Mutex::new(run)), wrong: Arc::default() }
    }

    pub fn position(&self) -> i64 {
        let run = self.run.lock().unwrap();
        run.received.last().map_or(run.after, |received| received.seq)
    }

    /// Follows a server until its end, or until `upto` was seen.
    pub fn follow(&self, address: &str, pen: Option<Pen>, upto: Option<i64>) -> JoinHandle<()> {
        let (this, address) = (self.clone(), address.to_owned());
        std::thread::spawn(move || {
            let _ended = this.listen(&address, pen.as_ref(), upto);
        })
    }

    fn listen(&self, address: &str, pen: Option<&Pen>, upto: Option<i64>) -> std::io::Result<()> {
        let connection = self.run.lock().unwrap().received.last().map_or(1, |last| last.connection + 1);
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // HTTP/1.0: the stream comes as it is, in no chunks.
        write!(stream, "GET /api/stream?after={} HTTP/1.0\r\nHost: {address}\r\n\r\n", self.position())?;
        let (mut name, mut data) = (None, Vec::new());
        let mut is_body = false;
        for line in BufReader::new(stream).split(b'\n') {
            let line = line?;
            if !is_body {
                is_body = line == b"\r";
            } else if let Some(word) = line.strip_prefix(b"event: ") {
                name = Some(String::from_utf8_lossy(word).into_owned());
            } else if let Some(text) = line.strip_prefix(b"data: ") {
                data = text.to_vec();
            } else if line.is_empty() && !data.is_empty() {
                let (name, data) = (name.take(), std::mem::take(&mut data));
                let json: Value = serde_json::from_slice(&data)?;
                let seq = json["seq"].as_i64().unwrap_or_default();
                match name.as_deref() {
                    None => {
                        let line = checker::hash(&data);
                        if let Some(pen) = pen {
                            pen.seen(self.name, seq, line);
                        }
                        self.run.lock().unwrap().received.push(Received { seq, line, connection });
                    }
                    Some("reset") => {
                        self.wrong.lock().unwrap().push(String::from_utf8_lossy(&data).into_owned())
                    }
                    Some(_) => {}
                }
                if upto.is_some_and(|upto| self.position() >= upto) {
                    break;
                }
            }
        }
        Ok(())
    }
}
