//! One connection that blocks: for what is asked in sequence.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::answer::Answer;

/// Nothing that is asked here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn open(port: u16) -> Option<TcpStream> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    Some(socket)
}

pub struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, buffer: vec![0; 1 << 20] }
    }

    /// Sends this and gives the whole answer.
    pub fn ask(&mut self, request: &[u8], answer: &mut Answer) -> &[u8] {
        crate::stop::check();
        self.socket.write_all(request).unwrap();
        answer.reset();
        let mut filled = 0;
        loop {
            let count = self.socket.read(&mut self.buffer[filled..]).unwrap();
            assert!(count > 0, "the server hung up");
            filled += count;
            if answer.is_whole(&self.buffer[..filled]) {
                return &self.buffer[..filled];
            }
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
        }
    }

    pub fn into_socket(self) -> TcpStream {
        self.socket
    }
}
