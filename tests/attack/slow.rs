//! Slow heads, slow bodies, floods of idle connections, many requests of one token: a good client hardly notices.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::raw::SECOND;
use crate::server::{Server, alone, is_full, raise_descriptors};
use crate::wire;

/// How many attack at once, and how often the good client asks.
fn size() -> (usize, usize) {
    if is_full() { (4_000, 2_000) } else { (300, 200) }
}

/// What a debug build is allowed beside the factor of two.
const SLACK_US: u64 = 3_000;
const LOOKS: usize = 12;
/// An attack that comes to nothing within this is none.
const PATIENCE: Duration = Duration::from_mins(1);

const HEAD: &str = "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

/// One that attacks with many connections until it is told to stop.
struct Attack {
    is_over: Arc<AtomicBool>,
    /// What it did: bytes dripped, connections made, requests refused.
    done: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

impl Attack {
    fn start(work: impl FnOnce(&AtomicBool, &AtomicUsize) + Send + 'static) -> Self {
        let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&done));
        Self { is_over, done, thread: std::thread::spawn(move || work(&over, &count)) }
    }

    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.done.load(Ordering::Relaxed)
    }
}

/// Sends `first` on each of many connections, then a byte a second.
fn drip(addr: SocketAddr, first: String, many: usize) -> Attack {
    Attack::start(move |is_over, done| {
        let open = || {
            let mut stream = TcpStream::connect(addr).ok()?;
            stream.write_all(first.as_bytes()).ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(stream)
        };
        let mut streams: Vec<Option<TcpStream>> = (0..many).map(|_| open()).collect();
        while !is_over.load(Ordering::Relaxed) {
            for slot in &mut streams {
                let dripped = slot.as_mut().is_some_and(|stream| stream.write_all(b" ").is_ok());
                if dripped {
                    done.fetch_add(1, Ordering::Relaxed);
                } else {
                    // It was cut, as it has to be: another one takes its place.
                    *slot = open();
                }
            }
            let begin = Instant::now();
            while begin.elapsed() < SECOND && !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    })
}

/// Connects and says nothing, again and again.
fn idle(addr: SocketAddr, many: usize) -> Attack {
    Attack::start(move |is_over, done| {
        let mut streams = std::collections::VecDeque::new();
        while !is_over.load(Ordering::Relaxed) {
            if let Ok(stream) = TcpStream::connect(addr) {
                streams.push_back(stream);
                done.fetch_add(1, Ordering::Relaxed);
            }
            if streams.len() > many {
                streams.pop_front();
                // A flood of a thousand new ones a second; more would measure this thread.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

/// Opens more streams with one token than it may have, and asks for more all the while.
fn greedy(addr: SocketAddr, token: String) -> Attack {
    Attack::start(move |is_over, refused| {
        let request =
            format!("GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        let (mut streams, begin) = (Vec::new(), Instant::now());
        while !is_over.load(Ordering::Relaxed) || (streams.len() < 256 && begin.elapsed() < PATIENCE) {
            let Ok(mut stream) = TcpStream::connect(addr) else { continue };
            let mut head = [0; 12];
            let _cut = stream.write_all(request.as_bytes()).and_then(|()| stream.read_exact(&mut head));
            match &head[9..] {
                b"200" => streams.push(stream),
                b"429" => drop(refused.fetch_add(1, Ordering::Relaxed)),
                other => panic!("{:?}", String::from_utf8_lossy(other)),
            }
            if streams.len() >= 256 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        assert_eq!(streams.len(), 256, "a token has as many requests open as it may");
    })
}

/// Appends on connections of its own, one after the other; the 99th of a hundred times, in microseconds.
fn p99_us(addr: SocketAddr, token: &str, count: usize) -> u64 {
    let body = r#"{"kind":"test.good"}"#;
    let request =
        format!("{HEAD}Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut times: Vec<u64> = (0..count)
        .map(|_| {
            let begin = Instant::now();
            let mut stream = TcpStream::connect(addr).expect("connected");
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let (mut answer, mut buffer) = (Vec::new(), [0; 4 << 10]);
            let head = loop {
                let read = stream.read(&mut buffer).expect("an answer");
                assert!(read > 0, "cut");
                answer.extend_from_slice(&buffer[..read]);
                if let Some(head) = wire::head(&answer) {
                    break head;
                }
            };
            assert_eq!(head.status, 201, "{}", String::from_utf8_lossy(&answer));
            begin.elapsed().as_micros() as u64
        })
        .collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn a_good_client_hardly_notices_bad_ones() {
    let _alone = alone();
    let (many, count) = size();
    raise_descriptors();
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("log.db");
    // The disk is not what is attacked.
    let server = Server::start(&db, &["--durability", "normal"]);
    let good = std::fs::read_to_string(folder.path().join("log.db.token")).unwrap().trim().to_owned();
    let greedy_token = reader(server.addr, &good);
    let addr = server.addr;
    p99_us(addr, &good, count / 2);
    let attacks: [(&str, &dyn Fn() -> Attack); 4] = [
        ("slow heads", &|| drip(addr, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ".into(), many)),
        ("slow bodies", &|| {
            drip(addr, format!("{HEAD}Authorization: Bearer {good}\r\nContent-Length: 1000\r\n\r\n"), 200)
        }),
        ("idle connections", &|| idle(addr, many)),
        ("one token's streams", &|| greedy(addr, greedy_token.clone())),
    ];
    for (what, attack) in attacks {
        // What is asked is what they cost, not what else this machine does: one quiet look in some is enough.
        let is_little = (0..LOOKS).any(|_| {
            let alone = p99_us(addr, &good, count);
            let attack = attack();
            let begin = Instant::now();
            while attack.done.load(Ordering::Relaxed) <= 20 && begin.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
            let beside = p99_us(addr, &good, count);
            let done = attack.end();
            println!("{what}: p99 {beside} µs, {alone} µs alone; {done} bad ones");
            assert!(done > 20, "{what}: {done}: nothing was attacked");
            beside <= alone * 2 + SLACK_US
        });
        assert!(is_little, "{what}: the good client was held up in each of {LOOKS} looks");
    }
    assert!(server.descriptors() < many + 600, "{} descriptors", server.descriptors());
}

/// A token of somebody who may read.
fn reader(addr: SocketAddr, admin: &str) -> String {
    let body = r#"{"roles":["read"],"name":"greedy"}"#;
    let request = format!(
        "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {admin}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = crate::raw::exchange(addr, request.as_bytes(), false, 1).answers.remove(0);
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}
