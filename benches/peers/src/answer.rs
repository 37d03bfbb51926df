//! Where an answer ends, in three protocols. Nothing is read twice, and nothing that is not needed.

use memchr::{memchr, memmem};

/// What is known of the answer that is being received.
#[derive(Clone, Debug)]
pub enum Answer {
    Http(Http),
    Redis(Redis),
    Postgres(Postgres),
}

impl Answer {
    /// Whether these bytes, from the beginning of the answer on, are all of it. An error of the server
    /// ends the run.
    pub fn is_whole(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Http(http) => http.is_whole(bytes),
            Self::Redis(redis) => redis.is_whole(bytes),
            Self::Postgres(postgres) => postgres.is_whole(bytes),
        }
    }

    /// For the next answer on the same connection.
    pub fn reset(&mut self) {
        match self {
            Self::Http(http) => *http = Http::default(),
            Self::Redis(redis) => *redis = Redis::new(redis.replies),
            Self::Postgres(postgres) => *postgres = Postgres::default(),
        }
    }
}

/// A head with the length of the body, or with a body in chunks.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Where the body begins and where it ends, once that is known.
    pub body: Option<(usize, usize)>,
    /// Where a body in chunks begins.
    chunks: Option<usize>,
}

impl Http {
    fn is_whole(&mut self, bytes: &[u8]) -> bool {
        if self.body.is_none()
            && self.chunks.is_none()
            && let Some(end) = memmem::find(bytes, b"\r\n\r\n")
        {
            let head = &bytes[..end + 4];
            assert_eq!(head[9], b'2', "{}", String::from_utf8_lossy(bytes));
            const NAME: &[u8] = b"\r\ncontent-length: ";
            match memmem::find(head, NAME) {
                Some(at) => self.body = Some((end + 4, end + 4 + number(&head[at + NAME.len()..]).0)),
                None => self.chunks = Some(end + 4),
            }
        }
        if let Some(begin) = self.chunks {
            // The last chunk. JSON has no bare line ends, so nothing before it looks like that.
            if bytes.len() > begin && bytes.ends_with(b"\r\n0\r\n\r\n") {
                self.body = Some((begin, bytes.len()));
            }
        }
        self.body.is_some_and(|(_, end)| bytes.len() >= end)
    }
}

/// So many replies one after the other.
#[derive(Clone, Debug)]
pub struct Redis {
    replies: usize,
    /// Values that are still to come, and where the next one begins.
    pending: usize,
    at: usize,
}

impl Redis {
    pub fn new(replies: usize) -> Self {
        Self { replies, pending: replies, at: 0 }
    }

    fn is_whole(&mut self, bytes: &[u8]) -> bool {
        while self.pending > 0 {
            let Some(rest) = bytes.get(self.at..) else { return false };
            let Some(line) = memchr(b'\n', rest) else { return false };
            match rest[0] {
                b'*' => self.pending += number(&rest[1..]).0,
                // The text and its line end; they may still be to come.
                b'$' => self.at += number(&rest[1..]).0 + 2,
                b'+' | b':' => {}
                _ => panic!("Redis: {}", String::from_utf8_lossy(rest)),
            }
            self.at += line + 1;
            self.pending -= 1;
        }
        bytes.len() >= self.at
    }
}

/// Messages up to the one that says "ready".
#[derive(Clone, Debug, Default)]
pub struct Postgres {
    /// Where the next message begins.
    at: usize,
    pub rows: usize,
    /// Where the last row begins.
    pub last_row: usize,
}

impl Postgres {
    fn is_whole(&mut self, bytes: &[u8]) -> bool {
        loop {
            let Some(&[tag, a, b, c, d]) = bytes.get(self.at..self.at + 5) else { return false };
            let end = self.at + 1 + u32::from_be_bytes([a, b, c, d]) as usize;
            if bytes.len() < end {
                return false;
            }
            match tag {
                b'Z' => return true,
                b'E' => panic!("PostgreSQL: {}", String::from_utf8_lossy(&bytes[self.at..end])),
                b'D' => {
                    self.rows += 1;
                    self.last_row = self.at;
                }
                _ => {}
            }
            self.at = end;
        }
    }
}

/// A number and how many digits it has.
pub fn number(bytes: &[u8]) -> (usize, usize) {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold((0, 0), |(value, count), digit| (value * 10 + usize::from(digit - b'0'), count + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes come, an answer is whole with its last byte and not before.
    fn check(answer: &Answer, bytes: &[u8]) {
        for step in 1..bytes.len() {
            let mut answer = answer.clone();
            for end in (0..bytes.len()).step_by(step) {
                assert!(!answer.is_whole(&bytes[..end]), "{end} of {}", bytes.len());
            }
            assert!(answer.is_whole(bytes));
        }
    }

    #[test]
    fn http() {
        let text = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 9\r\ndate: x\r\n\r\n{\"seq\":1}";
        check(&Answer::Http(Http::default()), text);
    }

    #[test]
    fn redis() {
        check(&Answer::Redis(Redis::new(1)), b"$3\r\n1-0\r\n");
        check(&Answer::Redis(Redis::new(3)), b"+OK\r\n+QUEUED\r\n*1\r\n$3\r\n1-0\r\n");
        check(&Answer::Redis(Redis::new(1)), b"*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nk\r\n$4\r\n\r\n*9\r\n");
    }

    #[test]
    fn postgres() {
        let message =
            |tag: u8, body: &[u8]| [&[tag], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat();
        let rows =
            [message(b'2', b""), message(b'D', b"row"), message(b'D', b"last"), message(b'C', b"INSERT\0")];
        let bytes = [rows.concat(), message(b'Z', b"I")].concat();
        check(&Answer::Postgres(Postgres::default()), &bytes);
        let mut answer = Postgres::default();
        assert!(answer.is_whole(&bytes));
        assert_eq!((answer.rows, &bytes[answer.last_row + 5..][..4]), (2, b"last".as_slice()));
    }
}
