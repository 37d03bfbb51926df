//! Large answers that nobody takes: they take up a stated part of the memory, and leave room for the others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::raw::{Answer, SECOND, exchange};
use crate::server::{Server, alone, raise_descriptors};

/// Nearly the largest body there is.
const TEXT_BYTES: usize = (1 << 20) - (8 << 10);
/// More text than a list of closed ones shows, as many as a board does.
const QUESTIONS: usize = 50;
/// Messages of that size, four of which are handed out at once.
const MESSAGES: usize = 180;
/// Fewer than a token may have open: without a bound they would take more than a gigabyte all the same.
const GREEDY: usize = 40;
/// What all that is kept, made and served may take of memory.
const KIB_MAX: u64 = 512 << 10;

struct Hoard {
    server: Server,
    admin: String,
}

impl Hoard {
    fn start(folder: &tempfile::TempDir, flags: &[&str]) -> Self {
        raise_descriptors();
        let db = folder.path().join("log.db");
        // The disk is not what is attacked.
        let server = Server::start(&db, &[&["--durability", "normal"], flags].concat());
        let admin = std::fs::read_to_string(folder.path().join("log.db.token")).unwrap().trim().to_owned();
        Self { server, admin }
    }

    fn token(&self, name: &str, role: &str) -> String {
        let body = json!({"roles": [role], "name": name});
        self.done(&self.admin, "POST", "/api/tokens", &body)["token"].as_str().unwrap().to_owned()
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        exchange(self.server.addr, request(token, (method, path, ""), body).as_bytes(), false, 1)
            .answers
            .remove(0)
    }

    fn done(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(token, method, path, &body);
        assert!(matches!(answer.status, 200 | 201), "{method} {path}: {}", answer.text());
        answer.json()
    }

    /// Asks on many connections and takes nothing but the first bytes; gives them, and how many had no room.
    fn hoard(&self, token: &str, (method, path, headers): (&str, &str, &str)) -> (Vec<TcpStream>, usize) {
        let request = request(token, (method, path, headers), "");
        let mut asked: Vec<_> = (0..GREEDY).map(|_| open(self.server.addr, &request)).collect();
        let mut refused = 0;
        asked.retain_mut(|stream| {
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            match &head[9..] {
                b"200" => true,
                b"503" => {
                    let mut rest = String::new();
                    let _end = stream.take(1 << 10).read_to_string(&mut rest);
                    assert!(rest.contains("retry-after: 1\r\n"), "{rest}");
                    assert!(rest.contains("urn:hivelog:answers-full"), "{rest}");
                    refused += 1;
                    false
                }
                other => panic!("{path}: {:?}", String::from_utf8_lossy(other)),
            }
        });
        (asked, refused)
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let begin = Instant::now();
        assert_eq!(self.ask(&self.admin, "GET", "/readyz", "").status, 200, "{what}");
        assert!(begin.elapsed() < SECOND, "{what}: ready after {:?}", begin.elapsed());
        let memory = self.server.memory_kib("VmHWM");
        println!("{what}: at most {} MiB of memory", memory >> 10);
        assert!(memory < KIB_MAX, "{what}: {memory} KiB");
    }
}

fn request(token: &str, (method, path, headers): (&str, &str, &str), body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{kind}{headers}\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn open(addr: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("connected");
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn large_answers_that_nobody_takes_are_bounded() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let hoard = Hoard::start(&folder, &[]);
    let (mallory, reader) = (hoard.token("mallory", "agent"), hoard.token("rita", "read"));
    let text = "x".repeat(TEXT_BYTES);
    for _ in 0..QUESTIONS {
        let asked = hoard.done(&mallory, "POST", "/api/questions", &json!({"question": text}));
        let cancel = format!("/api/questions/{}/cancel", asked["id"]);
        hoard.done(&mallory, "POST", &cancel, &Value::Null);
    }
    let list = "/api/questions?open=false";
    let whole = hoard.ask(&mallory, "GET", list, "").body;
    assert!(
        (4 << 20..6 << 20).contains(&whole.len())
            && whole.starts_with(b"{\"questions\":[{")
            && whole.ends_with(b"}]}")
    );

    let (kept, refused) = hoard.hoard(&mallory, ("GET", list, ""));
    hoard.check("lists of questions");
    assert!(!kept.is_empty() && refused > 0, "{} lists, {refused} refused", kept.len());
    // There is room for the others, and it is one board for all of them.
    let (boards, refused) = hoard.hoard(&reader, ("GET", "/api/state", ""));
    hoard.check("boards");
    assert_eq!((boards.len(), refused), (GREEDY, 0));
    assert!(hoard.ask(&hoard.admin, "GET", "/api/state", "").body.len() > QUESTIONS * TEXT_BYTES);
    drop(boards);
    // A page that is made whole, one that goes out in parts, and a range of lines.
    let page = "/api/history?limit=10000";
    for (name, path, headers) in [
        ("newest", page, ""),
        ("oldest", &*format!("{page}&after=0"), ""),
        ("all", "/api/history", "Accept: application/x-ndjson\r\n"),
    ] {
        let (taken, refused) = hoard.hoard(&hoard.token(name, "read"), ("GET", path, headers));
        assert!(!taken.is_empty() && refused > 0, "{name}: {} answers, {refused} refused", taken.len());
        hoard.check(name);
    }
    // What is not taken any more is room again.
    drop(kept);
    let begin = Instant::now();
    while hoard.ask(&mallory, "GET", list, "").status != 200 {
        assert!(begin.elapsed() < Duration::from_secs(10), "the room of those that are gone is not free");
    }
}

#[test]
fn messages_are_handed_out_only_where_there_is_room_for_them() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let hoard = Hoard::start(&folder, &[]);
    let mallory = hoard.token("mallory", "agent");
    let text = "x".repeat(TEXT_BYTES);
    for _ in 0..MESSAGES {
        hoard.done(&mallory, "POST", "/api/messages", &json!({"to": "mallory", "body": text}));
    }
    let (kept, refused) = hoard.hoard(&mallory, ("POST", "/api/agents/mallory/recv?max=4", ""));
    assert!(!kept.is_empty() && refused > 0, "{} answers, {refused} refused", kept.len());
    hoard.check("messages");
    let answered = kept.len();
    drop(kept);
    // Who was refused was handed out nothing.
    let requeued = hoard.done(&mallory, "POST", "/api/agents/mallory/requeue", &Value::Null);
    assert_eq!(requeued["requeued"], answered * 4);
}

/// The connection has all of such an answer and lets go of its body long before the client has it.
#[test]
fn an_answer_that_nobody_takes_is_an_open_request() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let hoard = Hoard::start(&folder, &["--connections-per-token", "8"]);
    let alice = hoard.token("alice", "agent");
    hoard.done(&alice, "POST", "/api/questions", &json!({"question": "x".repeat(TEXT_BYTES)}));
    let request = request(&alice, ("GET", "/api/questions/1", ""), "");
    let status = |stream: &mut TcpStream| {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    let mut asked: Vec<TcpStream> = (0..8).map(|_| open(hoard.server.addr, &request)).collect();
    assert!(asked.iter_mut().all(|stream| status(stream) == "200"));
    assert_eq!(status(&mut open(hoard.server.addr, &request)), "429");
    // Taken, it is none any more.
    let mut whole = Vec::new();
    asked.remove(0).read_to_end(&mut whole).unwrap();
    assert!(whole.len() > TEXT_BYTES);
    assert_eq!(status(&mut open(hoard.server.addr, &request)), "200");
}
