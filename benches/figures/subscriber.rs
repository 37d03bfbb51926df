//! The subscriber process: many streams on one thread, each frame's time of arrival noted.
//!
//! It is this same program, started again with a hidden argument. It says `ready` when every stream
//! has its `hello`, is told on its standard input how many frames there will be, and then writes what it
//! noted to its standard output. Or it is told beforehand up to which seq each stream reads: then it
//! notes nothing, and says how long that took.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wire::{self, Chunks};

/// The hidden argument.
pub const ARGUMENT: &str = "--subscriber";

/// How long it waits for frames that do not come.
const PATIENCE: Duration = Duration::from_secs(15);

/// Microseconds since `start_us`, by the clock that every process of the machine has.
pub fn now_us(start_us: u64) -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (since.as_micros() as u64 - start_us) as u32
}

/// Bytes at the end of what was read in which the last frame is looked for: its id stands before its text.
const WINDOW: usize = 4 << 10;

struct Stream {
    socket: TcpStream,
    /// The head of the answer until it is whole; the start of a line afterwards.
    partial: Vec<u8>,
    chunks: Option<Chunks>,
    frame: Frame,
}

#[derive(Default)]
struct Frame {
    seq: i64,
    /// It has a name, so it is not an event.
    named: bool,
    data: bool,
    hello: bool,
    last: i64,
}

/// What all streams saw: frames by seq and time of arrival in microseconds.
#[derive(Default)]
struct Notes {
    frames: Vec<(u32, u32)>,
    /// Streams that have their `hello`.
    ready: usize,
    /// How often a frame did not follow the one before it, where every event is awaited.
    gaps: usize,
    takes_all: bool,
}

/// Runs the process: `ADDRESS COUNT PATH START_US [UPTO]`.
pub fn run(args: &[String]) {
    let (address, count, path) = (&args[0], args[1].parse::<usize>().unwrap(), &args[2]);
    let limit = getrlimit(Resource::Nofile);
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Some(upto) = args.get(4) {
        return drain(address, count, path, upto);
    }
    let start_us: u64 = args[3].parse().unwrap();
    let mut poll = Poll::new().unwrap();
    let mut streams: Vec<Stream> = (0..count).map(|index| subscribe(&poll, address, path, index)).collect();
    let expected = Arc::new(AtomicU64::new(u64::MAX));
    let told = Arc::clone(&expected);
    std::thread::spawn(move || {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).unwrap();
        told.store(line.trim().parse().unwrap_or(0), Ordering::Release);
    });
    let mut events = Events::with_capacity(2_048);
    let mut buffer = vec![0; 256 << 10];
    let takes_all = !path.contains("agent=");
    let room = if takes_all { count * 4_000 } else { 10_000 };
    let mut notes = Notes { frames: Vec::with_capacity(room), takes_all, ..Notes::default() };
    let mut said_ready = false;
    let mut heard = Instant::now();
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
        for event in &events {
            heard = Instant::now();
            streams[event.token().0].take(&mut buffer, start_us, &mut notes);
        }
        if !said_ready && notes.ready == count {
            said_ready = true;
            println!("ready");
        }
        let expected = expected.load(Ordering::Acquire);
        if expected < u64::MAX && (notes.frames.len() as u64 >= expected || heard.elapsed() > PATIENCE) {
            break;
        }
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    out.write_all(&(notes.gaps as u64).to_le_bytes()).unwrap();
    for (seq, us) in notes.frames {
        out.write_all(&seq.to_le_bytes()).unwrap();
        out.write_all(&us.to_le_bytes()).unwrap();
    }
}

/// Reads every stream up to the frame of a seq, which is known by the end of its id; says how many microseconds
/// that took.
fn drain(address: &str, count: usize, path: &str, upto: &str) {
    let id = format!("-{upto}\n");
    let begin = Instant::now();
    let mut poll = Poll::new().unwrap();
    let mut streams: Vec<Stream> = (0..count).map(|index| subscribe(&poll, address, path, index)).collect();
    let mut events = Events::with_capacity(2_048);
    let mut buffer = vec![0; 256 << 10];
    let mut open = count;
    while open > 0 {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let stream = &mut streams[event.token().0];
            if !stream.frame.hello && stream.skip_to(id.as_bytes(), &mut buffer) {
                stream.frame.hello = true;
                open -= 1;
            }
        }
    }
    println!("{}", begin.elapsed().as_micros());
}

fn subscribe(poll: &Poll, address: &str, path: &str, index: usize) -> Stream {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let path = path.replace("{}", &index.to_string());
    socket.write_all(&wire::get(address, &path, "text/event-stream")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut socket = TcpStream::from_std(socket);
    poll.registry().register(&mut socket, Token(index), Interest::READABLE).unwrap();
    Stream { socket, partial: Vec::new(), chunks: None, frame: Frame::default() }
}

impl Stream {
    /// Reads what is there; whether the frame with this id was among it.
    fn skip_to(&mut self, id: &[u8], buffer: &mut [u8]) -> bool {
        loop {
            let count = match self.socket.read(buffer) {
                Ok(0) => panic!("the server hung up"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            };
            self.partial.extend_from_slice(&buffer[count.saturating_sub(WINDOW)..count]);
            if memchr::memmem::find(&self.partial, id).is_some() {
                return true;
            }
            let old = self.partial.len().saturating_sub(id.len());
            self.partial.drain(..old);
        }
    }

    fn take(&mut self, buffer: &mut [u8], start_us: u64, notes: &mut Notes) {
        loop {
            let count = match self.socket.read(buffer) {
                Ok(0) => panic!("the server hung up"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            };
            let us = now_us(start_us);
            let mut bytes = &buffer[..count];
            let whole;
            if self.chunks.is_none() {
                self.partial.extend_from_slice(bytes);
                let Some(head) = wire::head(&self.partial) else { continue };
                assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&self.partial));
                whole = self.partial.split_off(head.end);
                self.partial.clear();
                bytes = &whole;
                self.chunks = Some(Chunks::default());
            }
            let (partial, frame) = (&mut self.partial, &mut self.frame);
            let chunks = self.chunks.as_mut().unwrap();
            chunks.decode(bytes, |mut data| {
                while let Some(end) = memchr::memchr(b'\n', data) {
                    if partial.is_empty() {
                        frame.line(&data[..end], us, notes);
                    } else {
                        partial.extend_from_slice(&data[..end]);
                        frame.line(partial, us, notes);
                        partial.clear();
                    }
                    data = &data[end + 1..];
                }
                partial.extend_from_slice(data);
            });
        }
    }
}

impl Frame {
    fn line(&mut self, line: &[u8], us: u32, notes: &mut Notes) {
        match line.first() {
            Some(b'i') => {
                let digits = line.iter().rposition(|byte| *byte == b'-').unwrap() + 1;
                self.seq = line[digits..].iter().fold(0, |seq, digit| seq * 10 + i64::from(digit - b'0'));
            }
            Some(b'e') => {
                self.named = true;
                if !self.hello {
                    self.hello = true;
                    self.last = self.seq;
                    notes.ready += 1;
                }
            }
            Some(b'd') => self.data = true,
            None if self.data && !self.named => {
                notes.gaps += usize::from(notes.takes_all && self.seq != self.last + 1);
                self.last = self.seq;
                notes.frames.push((self.seq as u32, us));
                self.data = false;
            }
            None => (self.named, self.data) = (false, false),
            Some(_) => {}
        }
    }
}
