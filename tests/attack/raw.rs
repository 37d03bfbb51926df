//! Bytes to a socket, and what comes back: no more of HTTP than is needed to tell answers apart.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take.
pub const SECOND: Duration = Duration::from_secs(1);
/// Who says nothing for this long waits for more of the request, which ends after ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(9);

#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What a connection gave until it was over.
#[derive(Debug)]
pub struct Exchange {
    pub answers: Vec<Answer>,
    /// Bytes behind the last answer.
    pub left: Vec<u8>,
    /// From the last byte sent to the first answer.
    pub took: Duration,
}

/// Sends the bytes, waits for so many answers, says that no more will come, and reads to the end.
pub fn exchange(addr: SocketAddr, bytes: &[u8], ends_first: bool, due: usize) -> Exchange {
    let mut stream = TcpStream::connect(addr).expect("connected");
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
    stream.set_write_timeout(Some(SILENCE_MAX)).unwrap();
    // A server may answer and close before it has read all of what is no request.
    let _cut = stream.write_all(bytes);
    if ends_first {
        let _gone = stream.shutdown(Shutdown::Write);
    }
    let begin = Instant::now();
    let (mut seen, mut answers, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 << 10]);
    let mut took = None;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "silence for nine seconds, after {answers:?} and {:?}",
                    String::from_utf8_lossy(&seen)
                );
            }
            // Cut with bytes of ours unread: what was answered before that stands.
            Err(_) => break,
        }
        while let Some(answer) = take(&mut seen) {
            answers.push(answer);
            took = took.or_else(|| Some(begin.elapsed()));
            if answers.len() == due {
                let _gone = stream.shutdown(Shutdown::Write);
            }
        }
    }
    Exchange { answers, left: seen, took: took.unwrap_or_else(|| begin.elapsed()) }
}

/// Takes a whole answer off the front.
fn take(seen: &mut Vec<u8>) -> Option<Answer> {
    let end = memchr::memmem::find(seen, b"\r\n\r\n")? + 4;
    let head = String::from_utf8(seen[..end].to_vec()).expect("a head is text");
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{head}"));
    let mut answer = Answer { status, head, body: Vec::new() };
    if matches!(status, 100..200) {
        seen.drain(..end);
        return take(seen);
    }
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    if seen.len() < end + length {
        return None;
    }
    answer.body = seen[end..end + length].to_vec();
    seen.drain(..end + length);
    Some(answer)
}

/// A good request, and its one answer.
pub fn call(addr: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let mut done = exchange(addr, request.as_bytes(), false, 1);
    assert!(done.answers.len() == 1 && done.left.is_empty(), "{method} {path}: {done:?}");
    done.answers.remove(0)
}
