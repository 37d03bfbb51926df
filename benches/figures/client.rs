//! One connection that is kept open, and blocks.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::wire::{self, Chunks};

pub struct Client {
    socket: TcpStream,
    pub host: String,
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    pub fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, host: address.to_owned(), buffer: vec![0; 1 << 20], filled: 0 }
    }

    /// Sends a request and gives the body of its answer, which has to be a success.
    pub fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.socket.write_all(request).unwrap();
        self.filled = 0;
        let head = self.head();
        // 204 has no body.
        let Some(length) = head.length.or((head.status == 204).then_some(0)) else {
            panic!("an answer without a length")
        };
        let whole = head.end + length;
        if self.buffer.len() < whole {
            self.buffer.resize(whole, 0);
        }
        while self.filled < whole {
            assert!(self.fill(), "the server hung up");
        }
        let body = &self.buffer[head.end..whole];
        assert!(head.status < 300, "{}: {}", head.status, String::from_utf8_lossy(body));
        body
    }

    /// Sends a request and gives the data of its answer to `each` as it comes, until it ends or
    /// `each` has enough.
    pub fn stream(&mut self, request: &[u8], mut each: impl FnMut(&[u8]) -> bool) {
        self.socket.write_all(request).unwrap();
        self.filled = 0;
        let head = self.head();
        assert!(head.status < 300, "{}", String::from_utf8_lossy(&self.buffer[..self.filled]));
        let mut chunks = Chunks::default();
        let mut start = head.end;
        let mut more = true;
        loop {
            let ended = chunks.decode(&self.buffer[start..self.filled], |data| more = more && each(data));
            if ended || !more {
                return;
            }
            (start, self.filled) = (0, 0);
            // A server that is stopped ends its streams.
            if !self.fill() {
                return;
            }
        }
    }

    fn head(&mut self) -> wire::Head {
        loop {
            assert!(self.fill(), "the server hung up");
            if let Some(head) = wire::head(&self.buffer[..self.filled]) {
                return head;
            }
        }
    }

    /// Reads some more; nothing, once the server hung up.
    fn fill(&mut self) -> bool {
        let count = self.socket.read(&mut self.buffer[self.filled..]).unwrap_or(0);
        self.filled += count;
        count > 0
    }
}
