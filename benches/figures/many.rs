//! Many connections on one thread: each posts, waits for its answer, and posts again.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::wire;

struct Connection {
    socket: TcpStream,
    /// Which request it is at, and how much of it is sent.
    request: usize,
    sent: usize,
    answer: Vec<u8>,
}

/// Connections that stay open from one sample to the next.
pub struct Many {
    poll: Poll,
    connections: Vec<Connection>,
}

impl Many {
    pub fn connect(address: &str, count: usize) -> Self {
        let poll = Poll::new().unwrap();
        let connections = (0..count)
            .map(|index| {
                let socket = std::net::TcpStream::connect(address).unwrap();
                socket.set_nodelay(true).unwrap();
                socket.set_nonblocking(true).unwrap();
                let mut socket = TcpStream::from_std(socket);
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut socket, Token(index), interest).unwrap();
                Connection { socket, request: index * 61, sent: 0, answer: Vec::new() }
            })
            .collect();
        Self { poll, connections }
    }

    /// Posts for this long, then lets the last answers come: answers a second.
    pub fn run(&mut self, requests: &[Vec<u8>], time: Duration) -> f64 {
        let begin = Instant::now();
        let mut events = Events::with_capacity(1_024);
        let mut answers = 0;
        let mut open = 0;
        for connection in &mut self.connections {
            connection.send(requests);
            open += 1;
        }
        while open > 0 {
            self.poll.poll(&mut events, None).unwrap();
            let goes_on = begin.elapsed() < time;
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if connection.sent < requests[connection.request % requests.len()].len() {
                    connection.send(requests);
                }
                if connection.receive() {
                    answers += 1;
                    connection.request += 1;
                    connection.sent = 0;
                    if goes_on {
                        connection.send(requests);
                    } else {
                        connection.sent = usize::MAX;
                        open -= 1;
                    }
                }
            }
        }
        let passed = begin.elapsed().as_secs_f64();
        for connection in &mut self.connections {
            connection.sent = 0;
        }
        f64::from(answers) / passed
    }
}

impl Connection {
    fn send(&mut self, requests: &[Vec<u8>]) {
        let request = &requests[self.request % requests.len()];
        while self.sent < request.len() {
            match self.socket.write(&request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Whether a whole answer is there, which is then taken.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the server hung up: {}", String::from_utf8_lossy(&self.answer)),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let Some(head) = wire::head(&self.answer) else { return false };
        if self.answer.len() < head.end + head.length.unwrap_or_default() {
            return false;
        }
        assert!(head.status < 300, "{}", String::from_utf8_lossy(&self.answer));
        self.answer.clear();
        true
    }
}
