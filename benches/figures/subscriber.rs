//! The subscriber process: many streams on one thread, each frame's time of arrival noted.
//!
//! It is this same program, started again with a hidden argument. It says `ready` when every stream
//! has its `hello`, is told on its standard input which seq is the last one, and then writes what it
//! noted to its standard output.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

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
    /// How often a frame did not follow the one before it.
    gaps: usize,
}

/// Runs the process: `ADDRESS COUNT START_US`.
pub fn run(args: &[String]) {
    let (address, count) = (&args[0], args[1].parse::<usize>().unwrap());
    let start_us: u64 = args[2].parse().unwrap();
    let mut poll = Poll::new().unwrap();
    let mut streams: Vec<Stream> = (0..count).map(|index| subscribe(&poll, address, index)).collect();
    let last = Arc::new(AtomicI64::new(i64::MAX));
    let told = Arc::clone(&last);
    std::thread::spawn(move || {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).unwrap();
        told.store(line.trim().parse().unwrap_or(0), Ordering::Release);
    });
    let mut events = Events::with_capacity(2_048);
    let mut buffer = vec![0; 256 << 10];
    let mut notes = Notes { frames: Vec::with_capacity(count * 4_000), ..Notes::default() };
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
        let last = last.load(Ordering::Acquire);
        // Only when it is quiet: looking at every stream costs what reading one does.
        if last < i64::MAX && (events.is_empty() || heard.elapsed() > PATIENCE) {
            let there = streams.iter().all(|stream| stream.frame.last >= last);
            if there || heard.elapsed() > PATIENCE {
                break;
            }
        }
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    out.write_all(&(notes.gaps as u64).to_le_bytes()).unwrap();
    for (seq, us) in notes.frames {
        out.write_all(&seq.to_le_bytes()).unwrap();
        out.write_all(&us.to_le_bytes()).unwrap();
    }
}

fn subscribe(poll: &Poll, address: &str, index: usize) -> Stream {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(&wire::get(address, "/api/stream", "text/event-stream")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut socket = TcpStream::from_std(socket);
    poll.registry().register(&mut socket, Token(index), Interest::READABLE).unwrap();
    Stream { socket, partial: Vec::new(), chunks: None, frame: Frame::default() }
}

impl Stream {
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
                notes.gaps += usize::from(self.seq != self.last + 1);
                self.last = self.seq;
                notes.frames.push((self.seq as u32, us));
                self.data = false;
            }
            None => (self.named, self.data) = (false, false),
            Some(_) => {}
        }
    }
}
