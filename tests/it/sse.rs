//! A reader of server-sent events that keeps every line of a frame as it came.

use serde_json::Value;

use crate::client::{Conn, Reply, soon};
use crate::server::Server;

/// One frame of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
    pub retry: Option<String>,
}

impl Frame {
    fn parse(text: &str) -> Self {
        let mut frame = Self::default();
        for line in text.trim_end_matches('\n').lines() {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a bad line: {line:?}"));
            let field = match name {
                "id" => &mut frame.id,
                "event" => &mut frame.event,
                "data" => &mut frame.data,
                "retry" => &mut frame.retry,
                other => panic!("a field {other:?}"),
            };
            assert!(field.replace(value.to_owned()).is_none(), "{name} twice in {text:?}");
        }
        frame
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().expect("data")).expect("JSON")
    }

    /// The seq in the id.
    pub fn seq(&self) -> i64 {
        let id = self.id.as_deref().unwrap_or_else(|| panic!("no id: {self:?}"));
        id.split_once('-').and_then(|(_, seq)| seq.parse().ok()).expect("a cursor")
    }

    pub fn is(&self, name: &str) -> bool {
        self.event.as_deref() == Some(name)
    }

    /// The line of a log event; `None` for a frame of the stream's own.
    pub fn line(&self) -> Option<&str> {
        if self.event.is_some() { None } else { self.data.as_deref() }
    }
}

/// A subscription.
pub struct Stream {
    conn: Conn,
    text: String,
    /// How much of the text was given as frames.
    read: usize,
    pub head: Reply,
}

impl Stream {
    /// Subscribes; the answer has to be a stream.
    pub async fn open(server: &Server, query: &str, headers: &[(&str, &str)]) -> Self {
        let stream = Self::try_open(server, query, headers).await;
        assert_eq!(stream.head.status, 200, "{query} {headers:?}");
        stream
    }

    pub async fn try_open(server: &Server, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut conn = Conn::open(server.addr).await;
        let bytes = server.bytes("GET", &format!("/api/stream{query}"), headers, b"");
        conn.send(&bytes).await.expect("sent");
        let head = soon("the head of a stream", conn.head()).await.expect("an answer");
        Self { conn, text: String::new(), read: 0, head }
    }

    /// Subscribes after a cursor, by the header.
    pub async fn resume(server: &Server, id: &str) -> Self {
        Self::open(server, "", &[("Last-Event-ID", id)]).await
    }

    /// The bytes of the next frame; `None` where the stream ended.
    pub async fn bytes(&mut self) -> Option<String> {
        loop {
            let rest = &self.text[self.read..];
            if let Some(length) = rest.find("\n\n") {
                let frame = rest[..length + 2].to_owned();
                self.read += frame.len();
                return Some(frame);
            }
            self.text.drain(..self.read);
            self.read = 0;
            let piece = soon("a frame", self.conn.piece()).await;
            self.text.push_str(std::str::from_utf8(&piece.ok()??).expect("whole characters"));
        }
    }

    pub async fn try_next(&mut self) -> Option<Frame> {
        self.bytes().await.map(|text| Frame::parse(&text))
    }

    pub async fn next(&mut self) -> Frame {
        self.try_next().await.expect("a frame, not the end")
    }

    /// Skips to the frame of this name.
    pub async fn until(&mut self, name: &str) -> Frame {
        loop {
            let frame = self.next().await;
            if frame.is(name) {
                return frame;
            }
        }
    }

    /// The lines of the next log events, and each one's id is its seq.
    pub async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::with_capacity(count);
        while lines.len() < count {
            let frame = self.next().await;
            if let Some(line) = frame.line() {
                assert!(line.starts_with(&format!("{{\"seq\":{},", frame.seq())), "{frame:?}");
                lines.push(line.to_owned());
            }
        }
        lines
    }
}

impl Stream {
    /// The rest of an answer that is no stream.
    pub async fn bytes_to_end(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(piece) = soon("the body", self.conn.piece()).await.expect("the body") {
            body.extend(piece);
        }
        body
    }
}
