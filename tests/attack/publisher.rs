//! Who appends while the crowd looks on: one event after the other at a pace, each with its outcome.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::checker::{self, Call, Outcome};
use crate::wire;

const KIND: &str = "test.crowd";
/// Where nobody is there, it asks again.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct Told {
    pub calls: Vec<Call>,
    /// Each acknowledged seq, and when it was sent.
    pub sent: Vec<(i64, Instant)>,
}

pub struct Publisher {
    told: Arc<Mutex<Told>>,
    pace_ms: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Publisher {
    /// Fills the log with so many events of about a kilobyte, then goes on at a pace.
    pub fn start(addr: SocketAddr, first: usize, pace: Duration) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let pace_ms = Arc::new(AtomicU64::new(pace.as_millis() as u64));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut post = Post { addr, stream: None, told: Arc::clone(&told), number: 0 };
        for _ in 0..first.div_ceil(500) {
            let bodies = (0..500).map(|_| post.payload(1_000)).collect();
            assert!(post.post(bodies), "nothing to look at");
        }
        let (over, pace) = (Arc::clone(&is_over), Arc::clone(&pace_ms));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let payload = post.payload(100);
                if !post.post(vec![payload]) {
                    std::thread::sleep(PAUSE);
                }
                let pace = Duration::from_millis(pace.load(Ordering::Relaxed));
                std::thread::sleep(pace.saturating_sub(begin.elapsed()));
            }
        });
        Self { told, pace_ms, is_over, thread }
    }

    pub fn pace(&self, pace: Duration) {
        self.pace_ms.store(pace.as_millis() as u64, Ordering::Relaxed);
    }

    /// The last seq that was acknowledged.
    pub fn head(&self) -> i64 {
        self.told.lock().unwrap().sent.last().map_or(0, |(seq, _)| *seq)
    }

    pub fn sent(&self) -> Vec<(i64, Instant)> {
        self.told.lock().unwrap().sent.clone()
    }

    pub fn end(self) -> Told {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

struct Post {
    addr: SocketAddr,
    stream: Option<TcpStream>,
    told: Arc<Mutex<Told>>,
    number: u64,
}

impl Post {
    fn payload(&mut self, bytes: usize) -> String {
        self.number += 1;
        format!("{{\"n\":{},\"text\":\"{}\"}}", self.number, "x".repeat(bytes))
    }

    /// Appends these together; whether that was acknowledged.
    fn post(&mut self, payloads: Vec<String>) -> bool {
        let contents = payloads.iter().map(|payload| checker::content(KIND, payload)).collect();
        let lines: String =
            payloads.iter().map(|payload| format!("{{\"kind\":\"{KIND}\",{}\n", &payload[1..])).collect();
        let request = wire::post("localhost", "application/x-ndjson", lines.as_bytes());
        let sent = Instant::now();
        let outcome = self.exchange(&request).unwrap_or(Outcome::Unknown);
        let is_acked = matches!(outcome, Outcome::Acked(_));
        let mut told = self.told.lock().unwrap();
        if let Outcome::Acked(seqs) = &outcome {
            told.sent.extend(seqs.iter().map(|seq| (*seq, sent)));
        }
        told.calls.push(Call { number: self.number, key: None, contents, outcome });
        is_acked
    }

    fn exchange(&mut self, request: &[u8]) -> Option<Outcome> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.addr).ok()?,
        };
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.write_all(request).ok()?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4 << 10]);
        loop {
            let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
            answer.extend_from_slice(&buffer[..count]);
            let Some(head) = wire::head(&answer) else { continue };
            if answer.len() < head.end + head.length? {
                continue;
            }
            self.stream = Some(stream);
            return Some(match head.status {
                201 => {
                    let json: serde_json::Value = serde_json::from_slice(&answer[head.end..]).unwrap();
                    let seqs = json["seqs"].as_array().unwrap();
                    Outcome::Acked(seqs.iter().filter_map(serde_json::Value::as_i64).collect())
                }
                // 503: nothing was stored.
                503 => Outcome::Refused,
                _ => Outcome::Unknown,
            });
        }
    }
}
