//! A small HTTP/1.1 client over a plain socket: it sends exactly the bytes that it is given, and it
//! can stop reading in the middle of an answer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;

/// No answer of a healthy server takes this long: a test fails rather than hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A request of which the server waits for more is ended after ten seconds: that is the wrong outcome.
pub const BEFORE_A_TIMEOUT: Duration = Duration::from_secs(9);

/// Who waits for a peer that takes nothing waits until it is cut after thirty seconds: that is the wrong outcome.
pub const BEFORE_A_STALL: Duration = Duration::from_secs(25);

/// Fails the test where the future takes too long.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PATIENCE, what, future).await
}

/// Fails the test where the future takes longer than `limit`.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(elapsed) => panic!("{what} took longer than {limit:?}: {elapsed}"),
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The bytes of a request with a body of known length. `Host` and `Content-Length` are added where
/// they are not given.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n");
    if !has("host") {
        bytes.push_str("Host: localhost\r\n");
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    [bytes.as_bytes(), body].concat()
}

/// A connection that may be used for one request after the other.
#[derive(Debug)]
pub struct Conn<S = TcpStream> {
    stream: BufReader<S>,
    rest: Rest,
}

/// What of the body is still to be read.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Nothing,
    Length(usize),
    Chunks,
    UntilClosed,
}

impl Conn {
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = soon("connecting", TcpStream::connect(addr)).await.expect("connected");
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    pub fn over(stream: S) -> Self {
        Self { stream: BufReader::with_capacity(64 << 10, stream), rest: Rest::Nothing }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads status and headers.
    pub async fn head(&mut self) -> io::Result<Reply> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {first:?}")))?;
        let mut reply = Reply { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line().await?;
            match line.split_once(':') {
                Some((name, value)) => reply.headers.push((name.to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        self.rest = match (reply.header("content-length"), reply.header("transfer-encoding")) {
            _ if matches!(status, 100..200 | 204 | 304) => Rest::Nothing,
            (_, Some("chunked")) => Rest::Chunks,
            (Some(length), _) => Rest::Length(length.parse().map_err(io::Error::other)?),
            _ => Rest::UntilClosed,
        };
        Ok(reply)
    }

    /// Reads a further piece of the body; `None` at its end.
    pub async fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = match self.rest {
            Rest::Nothing => return Ok(None),
            Rest::Length(length) => length,
            Rest::Chunks => {
                let size = self.line().await?;
                usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?
            }
            Rest::UntilClosed => {
                let mut bytes = Vec::new();
                self.stream.read_to_end(&mut bytes).await?;
                self.rest = Rest::Nothing;
                return Ok(Some(bytes));
            }
        };
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        match self.rest {
            Rest::Chunks => {
                self.line().await?;
                if length == 0 {
                    self.rest = Rest::Nothing;
                    return Ok(None);
                }
            }
            Rest::Nothing | Rest::Length(_) | Rest::UntilClosed => self.rest = Rest::Nothing,
        }
        Ok(Some(bytes))
    }

    /// Reads a whole answer.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = self.head().await?;
        while let Some(piece) = self.piece().await? {
            reply.body.extend_from_slice(&piece);
        }
        Ok(reply)
    }

    /// Reads what comes until the peer ends the connection.
    pub async fn drain(&mut self) -> io::Result<usize> {
        let mut sink = vec![0; 64 << 10];
        let mut seen = 0;
        loop {
            match self.stream.read(&mut sink).await? {
                0 => return Ok(seen),
                read => seen += read,
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// One request on a connection of its own.
pub async fn once(addr: SocketAddr, bytes: &[u8]) -> Reply {
    let exchange = async {
        let mut conn = Conn::open(addr).await;
        // A server may answer and close before it has read all of a bad request: the answer counts.
        let sent = conn.send(bytes).await;
        conn.reply().await.unwrap_or_else(|error| panic!("no answer: {error} (sent: {sent:?})"))
    };
    soon("an answer", exchange).await
}
