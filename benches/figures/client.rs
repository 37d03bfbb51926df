//! One connection that is kept open, and blocks.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::wire::{self, Chunks};

pub struct Client {
    socket: TcpStream,
    pub host: String,
    buffer: Vec<u8>,
    filled: usize,
    body: Vec<u8>,
}

impl Client {
    pub fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, host: address.to_owned(), buffer: vec![0; 1 << 20], filled: 0, body: Vec::new() }
    }

    /// Sends a request and gives the body of its answer, which has to be a success.
    pub fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.socket.write_all(request).unwrap();
        self.filled = 0;
        let head = self.head();
        let has_none = matches!(head.status, 204 | 304);
        let Some(length) = head.length.or(has_none.then_some(0)) else {
            return self.chunks(head);
        };
        let whole = head.end + length;
        if self.buffer.len() < whole {
            self.buffer.resize(whole, 0);
        }
        while self.filled < whole {
            assert!(self.fill(), "the server hung up");
        }
        let body = &self.buffer[head.end..whole];
        assert!(head.status < 400, "{}: {}", head.status, String::from_utf8_lossy(body));
        body
    }

    /// Sends a request and gives the status and the head of its answer, whatever it is; the body is passed over.
    pub fn head_of(&mut self, request: &[u8]) -> (u16, String) {
        self.socket.write_all(request).unwrap();
        self.filled = 0;
        let head = self.head();
        let text = String::from_utf8_lossy(&self.buffer[..head.end]).into_owned();
        let length = head.length.filter(|_| !matches!(head.status, 204 | 304)).unwrap_or(0);
        while self.filled < head.end + length {
            if self.buffer.len() < head.end + length {
                self.buffer.resize(head.end + length, 0);
            }
            assert!(self.fill(), "the server hung up");
        }
        (head.status, text)
    }

    /// A header of the answer that was asked for last.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.buffer.split(|byte| *byte == b'\n').take_while(|line| line.len() > 1);
        head.filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    }

    /// The body of an answer that comes in chunks.
    fn chunks(&mut self, head: wire::Head) -> &[u8] {
        let mut chunks = Chunks::default();
        self.body.clear();
        let mut start = head.end;
        while !chunks.decode(&self.buffer[start..self.filled], |data| self.body.extend_from_slice(data)) {
            (start, self.filled) = (0, 0);
            assert!(self.fill(), "the server hung up");
        }
        assert!(head.status < 300, "{}: {}", head.status, String::from_utf8_lossy(&self.body));
        &self.body
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
