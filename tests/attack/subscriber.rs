//! One of a crowd: a connection that follows the log as a page does, and comes back when it is told to.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use crate::checker::{self, Received, Run};
use crate::wire::{self, Chunks};

/// How a subscriber takes what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Reads,
    /// Reads the first frame, and no more.
    Stalls,
    /// A thousand bytes a second.
    Trickles,
}

/// The receive buffer of those who do not keep up: a phone's, not that of this machine.
const SMALL_BUFFER: usize = 16 << 10;
/// What a segment holds on a usual network.
const SEGMENT: u32 = 1_400;
const TRICKLE_BYTES: usize = 1_000;

pub struct Subscriber {
    pub manner: Manner,
    socket: Option<TcpStream>,
    /// The request, while it is not sent.
    request: Vec<u8>,
    partial: Vec<u8>,
    chunks: Option<Chunks>,
    frame: Frame,
    /// The id of the last whole frame.
    cursor: String,
    retry: Duration,
    /// When it tries again.
    pub due: Option<Instant>,
    /// This connection has its first frame.
    pub is_greeted: bool,
    pub connections: u64,
    pub last: i64,
    pub run: Run,
    /// What it received before it began anew.
    pub earlier: Vec<Run>,
}

#[derive(Default)]
struct Frame {
    id: String,
    name: String,
    line: Option<u64>,
    retry_ms: Option<u64>,
}

impl Subscriber {
    pub fn new() -> Self {
        Self {
            manner: Manner::Reads,
            socket: None,
            request: Vec::new(),
            partial: Vec::new(),
            chunks: None,
            frame: Frame::default(),
            cursor: String::new(),
            retry: Duration::from_secs(3),
            due: Some(Instant::now()),
            is_greeted: false,
            connections: 0,
            last: 0,
            run: Run::default(),
            earlier: Vec::new(),
        }
    }

    pub const fn is_connecting(&self) -> bool {
        self.socket.is_some() && !self.is_greeted
    }

    /// Leaves, and comes anew to read the log after this seq in this manner.
    pub fn begin_anew(&mut self, manner: Manner, after: i64) {
        self.manner = manner;
        self.earlier.push(std::mem::replace(&mut self.run, Run { after, received: Vec::new() }));
        (self.cursor, self.last) = (after.to_string(), after);
        self.leave(Some(Instant::now()));
    }

    fn leave(&mut self, due: Option<Instant>) {
        (self.socket, self.chunks, self.is_greeted, self.due) = (None, None, false, due);
        self.partial.clear();
        self.frame = Frame::default();
    }

    /// Connects; from now on, or where it was.
    pub fn connect(&mut self, addr: SocketAddr, index: usize, registry: &Registry) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        if self.manner != Manner::Reads {
            socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
            // Loopback's own segments are larger than that buffer: its window would open once in half a minute.
            socket.set_tcp_mss(SEGMENT).unwrap();
        }
        // From several addresses: one has not enough ports for a crowd that comes back.
        let own = SocketAddr::from(([127, 0, 0, u8::try_from(index % 16).unwrap() + 2], 0));
        socket.bind(&own.into()).unwrap();
        match socket.connect(&addr.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(_) => return self.leave(Some(Instant::now() + self.retry)),
        }
        let position = if self.cursor.is_empty() {
            String::new()
        } else {
            format!("Last-Event-ID: {}\r\n", self.cursor)
        };
        self.request = format!("GET /api/stream HTTP/1.1\r\nHost: localhost\r\n{position}\r\n").into_bytes();
        let mut socket = TcpStream::from_std(socket.into());
        registry.register(&mut socket, Token(index), Interest::READABLE | Interest::WRITABLE).unwrap();
        (self.socket, self.due) = (Some(socket), None);
        self.connections += 1;
    }

    /// What is there to be done on its connection; gives each event's seq.
    pub fn wake(&mut self, buffer: &mut [u8], each: &mut impl FnMut(i64)) {
        let Some(socket) = self.socket.as_mut() else { return };
        while !self.request.is_empty() {
            match socket.write(&self.request) {
                Ok(sent) => drop(self.request.drain(..sent)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                // Refused: nobody is there yet.
                Err(_) => return self.leave(Some(Instant::now() + self.retry)),
            }
        }
        if self.manner == Manner::Reads || !self.is_greeted {
            self.read(buffer, usize::MAX, each);
        }
    }

    /// Once a second, for those who read slowly.
    pub fn trickle(&mut self, buffer: &mut [u8], each: &mut impl FnMut(i64)) {
        if self.manner == Manner::Trickles && self.is_greeted {
            self.read(&mut buffer[..TRICKLE_BYTES], TRICKLE_BYTES, each);
        }
    }

    /// Takes what is there, at most so much.
    pub fn read(&mut self, buffer: &mut [u8], most: usize, each: &mut impl FnMut(i64)) {
        let mut left = most;
        while left > 0 {
            let Some(socket) = self.socket.as_mut() else { return };
            match socket.read(buffer) {
                Ok(count) if count > 0 => {
                    left = left.saturating_sub(count);
                    self.take(&buffer[..count], each);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Ended or cut: as a page does, it waits as long as it was told.
                Ok(_) | Err(_) => return self.leave(Some(Instant::now() + self.retry)),
            }
            if self.manner == Manner::Stalls && self.is_greeted {
                return;
            }
        }
    }

    fn take(&mut self, bytes: &[u8], each: &mut impl FnMut(i64)) {
        let whole;
        let mut bytes = bytes;
        if self.chunks.is_none() {
            self.partial.extend_from_slice(bytes);
            let Some(head) = wire::head(&self.partial) else { return };
            assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&self.partial));
            whole = self.partial.split_off(head.end);
            self.partial.clear();
            bytes = &whole;
            self.chunks = Some(Chunks::default());
        }
        let mut chunks = self.chunks.take().unwrap();
        chunks.decode(bytes, |mut data| {
            while let Some(end) = memchr::memchr(b'\n', data) {
                if self.partial.is_empty() {
                    self.line(&data[..end], each);
                } else {
                    let mut line = std::mem::take(&mut self.partial);
                    line.extend_from_slice(&data[..end]);
                    self.line(&line, each);
                    line.clear();
                    self.partial = line;
                }
                data = &data[end + 1..];
            }
            self.partial.extend_from_slice(data);
        });
        self.chunks = Some(chunks);
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(i64)) {
        if line.is_empty() {
            return self.end_frame(each);
        }
        let split = memchr::memmem::find(line, b": ").expect("a field");
        let (name, value) = (&line[..split], &line[split + 2..]);
        let text = || String::from_utf8(value.to_vec()).unwrap();
        match name {
            b"id" => self.frame.id = text(),
            b"event" => self.frame.name = text(),
            b"data" => self.frame.line = Some(checker::hash(value)),
            b"retry" => self.frame.retry_ms = text().parse().ok(),
            _ => panic!("a field {}", String::from_utf8_lossy(name)),
        }
    }

    fn end_frame(&mut self, each: &mut impl FnMut(i64)) {
        let frame = std::mem::take(&mut self.frame);
        if let Some(retry_ms) = frame.retry_ms {
            self.retry = Duration::from_millis(retry_ms);
        }
        let Some(line) = frame.line else { return };
        let seq: i64 = frame.id.split_once('-').expect("an id").1.parse().unwrap();
        match frame.name.as_str() {
            "" => {
                self.run.received.push(Received { seq, line, connection: self.connections });
                self.last = seq;
                each(seq);
            }
            "hello" => {
                if self.cursor.is_empty() {
                    (self.run.after, self.last) = (seq, seq);
                }
                self.is_greeted = true;
            }
            "reset" => panic!("a reset at {seq}"),
            _ => {}
        }
        self.cursor = frame.id;
    }
}
