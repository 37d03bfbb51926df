//! As much of HTTP/1.1 as a client on the same two cores can afford: requests as bytes, the head of
//! an answer, chunks.

use memchr::memmem;

/// A request to post this body.
pub fn post(host: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "POST /api/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

pub fn get(host: &str, path: &str, accept: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n").into_bytes()
}

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub status: u16,
    /// Where the body begins.
    pub end: usize,
    /// The length of the body; `None` where it comes in chunks.
    pub length: Option<usize>,
}

/// Reads the head, once all of it is there.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..end]).unwrap();
    let status = text[9..12].parse().unwrap();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    Some(Head { status, end, length })
}

/// Takes the frames of chunked transfer off.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    state: Chunk,
    /// Bytes of this chunk that are still to come.
    rest: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Chunk {
    #[default]
    Size,
    /// After the digits of the size, up to its line feed.
    SizeEnd,
    Data,
    /// The line end after the data.
    DataEnd,
    Ended,
}

impl Chunks {
    /// Gives the data to `each`, in pieces; whether the last chunk was seen.
    pub fn decode(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> bool {
        while let Some(&byte) = bytes.first() {
            match self.state {
                Chunk::Data => {
                    let now = self.rest.min(bytes.len());
                    each(&bytes[..now]);
                    bytes = &bytes[now..];
                    self.rest -= now;
                    if self.rest == 0 {
                        self.state = Chunk::DataEnd;
                    }
                    continue;
                }
                Chunk::Size => match (byte as char).to_digit(16) {
                    Some(digit) => self.rest = self.rest * 16 + digit as usize,
                    None => self.state = Chunk::SizeEnd,
                },
                Chunk::SizeEnd if byte == b'\n' => {
                    self.state = if self.rest == 0 { Chunk::Ended } else { Chunk::Data };
                }
                Chunk::DataEnd if byte == b'\n' => self.state = Chunk::Size,
                Chunk::SizeEnd | Chunk::DataEnd => {}
                Chunk::Ended => break,
            }
            bytes = &bytes[1..];
        }
        self.state == Chunk::Ended
    }
}

/// The number after `name` in the text of a JSON object.
pub fn member(text: &[u8], name: &str) -> Option<i64> {
    let start = memmem::find(text, name.as_bytes())? + name.len();
    let digits = text[start..].iter().skip_while(|byte| !byte.is_ascii_digit());
    let number = digits.take_while(|byte| byte.is_ascii_digit());
    Some(number.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}
