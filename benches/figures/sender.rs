//! The limit of live reading: a process that does nothing but send frames to many sockets.
//!
//! One thread goes round: it sends to each socket everything that is due and not yet sent, by one plain
//! non-blocking write, and begins the next round when it is through and something is due. Nothing is stored,
//! awaited or asked. It is this same program, started again with a hidden argument.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fanout::PACE;
use crate::payload::Sample;
use crate::server::cpu;

/// The hidden argument.
pub const ARGUMENT: &str = "--sender";

/// Kernel send buffer of one socket, as the server's.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// What one write sends at most: more than the socket takes at once.
const WRITE_BYTES: usize = 512 << 10;

/// The process, from outside.
pub struct Sender {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub address: String,
}

/// What it did.
pub struct Sent {
    pub cpu: Duration,
    pub writes: f64,
    /// When it sent the first frame, in microseconds since 1970.
    pub begin_us: u64,
}

impl Sender {
    /// Sends frames at the pace of the figures, for this long.
    pub fn paced(count: usize, time: Duration) -> Self {
        Self::launch(count, "paced", time.as_millis())
    }

    /// Sends so many frames as fast as they are taken.
    pub fn flood(count: usize, frames: usize) -> Self {
        Self::launch(count, "flood", frames as u128)
    }

    fn launch(count: usize, how: &str, much: u128) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([ARGUMENT, &count.to_string(), how, &much.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut sender = Self { child, stdin, stdout: BufReader::new(stdout), address: String::new() };
        sender.address = sender.line();
        sender
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Lets it begin, and waits until everything is sent.
    pub fn go(&mut self) -> Sent {
        writeln!(self.stdin, "go").unwrap();
        let line = self.line();
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        Sent { cpu: Duration::from_micros(numbers[0]), writes: numbers[1] as f64, begin_us: numbers[2] }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

struct Out {
    socket: TcpStream,
    /// How much of the text it was given.
    sent: usize,
}

/// Runs the process: `COUNT paced MS` or `COUNT flood FRAMES`.
pub fn run(args: &[String], samples: &[Sample]) {
    let limit = getrlimit(Resource::Nofile);
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let (count, much) = (args[0].parse::<usize>().unwrap(), args[2].parse::<u64>().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let outs: Vec<Out> = (0..count).map(|_| greet(&listener)).collect();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    let begin_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let before = cpu("self");
    let writes = if args[1] == "paced" {
        paced(outs, samples, Duration::from_millis(much))
    } else {
        let mut text = Vec::new();
        (0..much as usize).for_each(|index| frame(&mut text, samples, index));
        flood(outs, &text)
    };
    println!("{} {} {begin_us}", (cpu("self") - before).as_micros(), writes);
    // Until it is killed: its end would end the streams.
    std::thread::sleep(Duration::from_mins(2));
}

/// Takes a connection and answers as a server of streams does; all that follows is one endless chunk.
fn greet(listener: &TcpListener) -> Out {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    socket2::SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    let mut request = [0; 1_024];
    assert!(socket.read(&mut request).unwrap() > 0);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                7fffffff\r\nid: 0123456789abcdef-0\nevent: hello\ndata: {}\n\n";
    socket.write_all(head.as_bytes()).unwrap();
    socket.set_nonblocking(true).unwrap();
    Out { socket, sent: 0 }
}

/// The frame of an event as the server writes it.
fn frame(text: &mut Vec<u8>, samples: &[Sample], index: usize) {
    let (sample, seq) = (&samples[index % samples.len()], index + 1);
    let mut head = String::new();
    let kind = &sample.kind;
    write!(head, "id: 0123456789abcdef-{seq}\ndata: {{\"seq\":{seq},\"recorded_at_ms\":1763829000000,\"kind\":\"{kind}\",")
        .unwrap();
    text.extend_from_slice(head.as_bytes());
    text.extend_from_slice(&sample.payload.as_bytes()[1..]);
    text.extend_from_slice(b"\n\n");
}

impl Out {
    /// One write; whether it took something.
    fn send(&mut self, text: &[u8]) -> bool {
        let upto = text.len().min(self.sent + WRITE_BYTES);
        match self.socket.write(&text[self.sent..upto]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }
}

fn paced(mut outs: Vec<Out>, samples: &[Sample], time: Duration) -> u64 {
    let begin = Instant::now();
    let (mut text, mut frames, mut writes) = (Vec::new(), 0, 0);
    let last = (time.as_secs_f64() * PACE) as usize;
    while frames < last || outs.iter().any(|out| out.sent < text.len()) {
        let due = last.min((begin.elapsed().as_secs_f64() * PACE) as usize);
        if due == frames && outs.iter().all(|out| out.sent == text.len()) {
            let next = Duration::from_secs_f64((frames + 1) as f64 / PACE);
            std::thread::sleep(next.saturating_sub(begin.elapsed()));
            continue;
        }
        (frames..due).for_each(|index| frame(&mut text, samples, index));
        frames = due;
        for out in outs.iter_mut().filter(|out| out.sent < text.len()) {
            writes += u64::from(out.send(&text));
        }
    }
    // The sockets stay open.
    outs.into_iter().for_each(std::mem::forget);
    writes
}

fn flood(outs: Vec<Out>, text: &[u8]) -> u64 {
    let mut poll = Poll::new().unwrap();
    let mut outs: Vec<(mio::net::TcpStream, usize, bool)> = outs
        .into_iter()
        .enumerate()
        .map(|(index, out)| {
            let mut socket = mio::net::TcpStream::from_std(out.socket);
            poll.registry().register(&mut socket, Token(index), Interest::WRITABLE).unwrap();
            (socket, 0, false)
        })
        .collect();
    let mut events = Events::with_capacity(2_048);
    let (mut open, mut writes) = (outs.len(), 0);
    while open > 0 {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let (socket, sent, ended) = &mut outs[event.token().0];
            while *sent < text.len() {
                let upto = text.len().min(*sent + WRITE_BYTES);
                match socket.write(&text[*sent..upto]) {
                    Ok(count) => *sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
                writes += 1;
            }
            if *sent == text.len() && !std::mem::replace(ended, true) {
                open -= 1;
            }
        }
    }
    outs.into_iter().for_each(|(socket, ..)| std::mem::forget(socket));
    writes
}
