//! Connections on one thread, each of which sends, waits for its answer and sends again.
//!
//! It is the same for all three: one write and one read for an event, as long as the kernel takes and
//! gives them whole.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::answer::Answer;

struct Connection {
    socket: TcpStream,
    /// Which request it is at, and how much of it is sent.
    request: usize,
    sent: usize,
    answer: Answer,
    buffer: Vec<u8>,
    filled: usize,
}

pub struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    requests: Vec<Vec<u8>>,
}

/// What came of a while.
pub struct Done {
    pub answers: usize,
    pub seconds: f64,
}

impl Load {
    /// Goes round and round over the requests, on each connection from another place on.
    pub fn new(sockets: Vec<std::net::TcpStream>, requests: Vec<Vec<u8>>, answer: &Answer) -> Self {
        let poll = Poll::new().unwrap();
        let connection = |(index, socket): (usize, std::net::TcpStream)| {
            socket.set_nonblocking(true).unwrap();
            let mut socket = TcpStream::from_std(socket);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(index), interest).unwrap();
            let (answer, buffer) = (answer.clone(), vec![0; 16 << 10]);
            Connection { socket, request: index * 61, sent: 0, answer, buffer, filled: 0 }
        };
        let connections = sockets.into_iter().enumerate().map(connection).collect();
        Self { poll, connections, requests }
    }

    /// Sends for so long, then lets the last answers come.
    pub fn run(&mut self, time: Duration) -> Done {
        let begin = Instant::now();
        let mut events = Events::with_capacity(1_024);
        let (mut answers, mut open) = (0, self.connections.len());
        for connection in &mut self.connections {
            connection.sent = 0;
            connection.send(&self.requests);
        }
        while open > 0 {
            crate::stop::check();
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.unwrap(),
            }
            let goes_on = begin.elapsed() < time;
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if event.is_writable() {
                    connection.send(&self.requests);
                }
                if event.is_readable() && connection.receive() {
                    answers += 1;
                    connection.request += 1;
                    if goes_on {
                        connection.sent = 0;
                        connection.send(&self.requests);
                    } else {
                        open -= 1;
                    }
                }
            }
        }
        Done { answers, seconds: begin.elapsed().as_secs_f64() }
    }
}

impl Connection {
    /// Sends what is left of its request, if anything is.
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
        loop {
            let space = &mut self.buffer[self.filled..];
            let room = space.len();
            match self.socket.read(space) {
                Ok(0) => panic!("the server hung up"),
                Ok(count) => {
                    self.filled += count;
                    if self.answer.is_whole(&self.buffer[..self.filled]) {
                        self.answer.reset();
                        self.filled = 0;
                        return true;
                    }
                    // Whatever comes after a short read is told anew.
                    if count < room {
                        return false;
                    }
                    self.buffer.resize(2 * self.buffer.len(), 0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
