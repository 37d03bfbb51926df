//! Agents that send, receive and acknowledge over HTTP, with the mirrors on the log.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hivelog::Durability;
use hivelog::rusqlite::Connection;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::Client;
use crate::http::singles;
use crate::many::Many;
use crate::payload::Sample;
use crate::raw;
use crate::server::Server;
use crate::table::{Goal, Row, Table};
use crate::turns::{Case, Figures, in_turn, rate};
use crate::wire;

const AGENTS: usize = 64;
const BODY: &str = "the tests are green on my branch; please have a look at the two places in the parser";
/// Messages that one look at the latency takes.
const SENDS: usize = 300;

pub fn section(samples: &[Sample], time: Duration, rounds: usize) {
    let mut table = Table::new("A swarm over HTTP, the client on the same cores");
    through(&mut table, samples, (time, rounds));
    latency(&mut table);
    pending(&mut table, rounds);
    table.print();
}

fn through(table: &mut Table, samples: &[Sample], (time, rounds): (Duration, usize)) {
    let folder = tempfile::tempdir().unwrap();
    let mut plain = raw::Writer::open(&folder.path().join("raw.db"), Durability::Full, samples);
    let server = Server::start(&folder.path().join("log.db"), Durability::Full);
    let mut one = Client::connect(&server.address);
    let singles = singles(samples, &one.host);
    let mut many = Many::connect(&server.address, AGENTS);
    let mut agents = Agents::connect(&server.address, 1);
    let mut greedy = Agents::connect(&server.address, 10);
    let mut next = 0;
    let figures = in_turn(
        rounds,
        &mut [
            Case::new(|| rate(time, || plain.one())),
            Case::new(|| {
                rate(time, || {
                    next += 1;
                    one.ask(&singles[next % singles.len()]);
                    1
                })
            }),
            Case::new(|| many.run(&singles, time)),
            Case::new(|| agents.run(time)),
            Case::new(|| greedy.run(time)),
        ],
    );
    let one_each = "64 agents: send, recv of 1, ack, both mirrors";
    let rows: [(&str, usize, &str, Option<usize>, Goal); 7] = [
        ("raw, one event a commit", 0, "", None, Goal::None),
        ("POST one event, 1 connection", 1, "raw", Some(0), Goal::None),
        ("POST one event, 64 connections", 2, "raw", Some(0), Goal::None),
        (one_each, 3, "raw", Some(0), Goal::Ratio(0.3)),
        (one_each, 3, "1 connection", Some(1), Goal::Ratio(0.3)),
        (one_each, 3, "64 connections", Some(2), Goal::None),
        ("64 agents: send, recv of up to 10, acks, mirrors", 4, "64 connections", Some(2), Goal::None),
    ];
    for (what, index, name, base, goal) in rows {
        table.row(Row {
            what,
            mode: "full",
            figures: &figures[index],
            unit: if index < 3 { "events/s" } else { "messages/s" },
            beside: base.map(|base| (name, &figures[base])),
            goal,
        });
    }
}

/// What an agent does next.
enum Doing {
    Send,
    Recv,
    Ack(Vec<i64>),
}

struct Agent {
    socket: TcpStream,
    index: usize,
    doing: Doing,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
}

/// Agents in a ring: each sends to the next one, and takes what the one before it sent.
struct Agents {
    poll: Poll,
    agents: Vec<Agent>,
    host: String,
    max: usize,
    control: Client,
    sent: usize,
    acked: usize,
}

impl Agents {
    fn connect(address: &str, max: usize) -> Self {
        let poll = Poll::new().unwrap();
        let agents = (0..AGENTS)
            .map(|index| {
                let socket = std::net::TcpStream::connect(address).unwrap();
                socket.set_nodelay(true).unwrap();
                socket.set_nonblocking(true).unwrap();
                let mut socket = TcpStream::from_std(socket);
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut socket, Token(index), interest).unwrap();
                Agent { socket, index, doing: Doing::Send, request: Vec::new(), sent: 0, answer: Vec::new() }
            })
            .collect();
        let control = Client::connect(address);
        Self { poll, agents, host: address.to_owned(), max, control, sent: 0, acked: 0 }
    }

    /// Messages a second, from the first send to the last mirror.
    fn run(&mut self, time: Duration) -> f64 {
        let before = self.head();
        (self.sent, self.acked) = (0, 0);
        let begin = Instant::now();
        let mut events = Events::with_capacity(1_024);
        for index in 0..AGENTS {
            self.agents[index].doing = Doing::Send;
            self.next(index);
        }
        let mut open = AGENTS;
        while open > 0 {
            self.poll.poll(&mut events, None).unwrap();
            for event in &events {
                let index = event.token().0;
                self.agents[index].write();
                let Some(body) = self.agents[index].read() else { continue };
                let goes_on = begin.elapsed() < time;
                if self.took(index, &body, goes_on) {
                    self.next(index);
                } else {
                    open -= 1;
                }
            }
        }
        assert_eq!(self.sent, self.acked, "a message was lost");
        // Two events for each message: the figure ends with the last mirror.
        let due = before + 2 * self.sent as i64;
        while self.head() < due {
            std::thread::yield_now();
        }
        self.sent as f64 / begin.elapsed().as_secs_f64()
    }

    fn head(&mut self) -> i64 {
        let request = wire::get(&self.host, "/readyz", "application/json");
        wire::member(self.control.ask(&request), "\"seq\":").unwrap()
    }

    /// Reads an answer; whether the agent has something left to do.
    fn took(&mut self, index: usize, body: &[u8], goes_on: bool) -> bool {
        let agent = &mut self.agents[index];
        agent.doing = match std::mem::replace(&mut agent.doing, Doing::Recv) {
            Doing::Send => {
                self.sent += 1;
                Doing::Recv
            }
            Doing::Recv => match ids(body) {
                ids if !ids.is_empty() => Doing::Ack(ids),
                _ if goes_on => Doing::Send,
                // What the others send last is waited for.
                _ if self.acked < self.sent => Doing::Recv,
                _ => return false,
            },
            Doing::Ack(mut rest) => {
                self.acked += 1;
                rest.pop();
                match rest {
                    rest if !rest.is_empty() => Doing::Ack(rest),
                    _ if goes_on => Doing::Send,
                    _ => Doing::Recv,
                }
            }
        };
        true
    }

    fn next(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let (host, me) = (&self.host, agent.index);
        agent.request = match &agent.doing {
            Doing::Send => {
                let to = (me + 1) % AGENTS;
                let body = format!("{{\"from\":\"agent{me}\",\"to\":\"agent{to}\",\"body\":\"{BODY}\"}}");
                command(host, "/api/messages", &body)
            }
            Doing::Recv => command(host, &format!("/api/agents/agent{me}/recv?max={}", self.max), ""),
            Doing::Ack(ids) => command(host, &format!("/api/messages/{}/ack", ids.last().unwrap()), ""),
        };
        agent.sent = 0;
        agent.write();
    }
}

fn command(host: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The ids of the messages in an answer.
fn ids(body: &[u8]) -> Vec<i64> {
    let text = std::str::from_utf8(body).unwrap();
    text.match_indices("{\"id\":")
        .filter_map(|(at, _)| wire::member(text[at..].as_bytes(), "\"id\":"))
        .collect()
}

impl Agent {
    fn write(&mut self) {
        while self.sent < self.request.len() {
            match self.socket.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The body of an answer that is whole.
    fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4_096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the server hung up: {}", String::from_utf8_lossy(&self.answer)),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let head = wire::head(&self.answer)?;
        let whole = head.end + head.length.unwrap_or_default();
        if self.answer.len() < whole {
            return None;
        }
        assert!(head.status < 300, "{}", String::from_utf8_lossy(&self.answer));
        let body = self.answer[head.end..whole].to_vec();
        self.answer.clear();
        Some(body)
    }
}

/// From a send's acknowledgement to a waiting `recv`, and to a dashboard's stream.
fn latency(table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("log.db"), Durability::Full);
    let received = receiver(&server.address);
    let streamed = stream(&server.address);
    let mut sender = Client::connect(&server.address);
    let send =
        command(&sender.host, "/api/messages", "{\"from\":\"alice\",\"to\":\"bob\",\"body\":\"hello\"}");
    streamed.recv().unwrap();
    let (mut to_recv, mut to_stream) = (Vec::new(), Vec::new());
    for _ in 0..SENDS {
        // The receiver has its next call under way by then.
        std::thread::sleep(Duration::from_millis(4));
        sender.ask(&send);
        let acked = Instant::now();
        let after = |seen: Instant| {
            let (later, earlier) =
                (seen.saturating_duration_since(acked), acked.saturating_duration_since(seen));
            (later.as_secs_f64() - earlier.as_secs_f64()) * 1_000.0
        };
        to_recv.push(after(received.recv().unwrap()));
        to_stream.push(after(streamed.recv().unwrap()));
    }
    let rows = [("from a send's ack to a waiting recv, p50", to_recv), ("and to a stream, p50", to_stream)];
    for (what, times) in rows {
        let middle = Figures(vec![Figures(times).median()]);
        table.row(Row {
            what,
            mode: "full",
            figures: &middle,
            unit: "ms",
            beside: None,
            goal: Goal::AtMost(3.0),
        });
    }
}

/// An agent that waits for messages and acknowledges them: when each of them came.
fn receiver(address: &str) -> Receiver<Instant> {
    let (tell, times) = channel();
    let mut client = Client::connect(address);
    std::thread::spawn(move || {
        let wait = command(&client.host, "/api/agents/bob/recv?wait=30", "");
        for _ in 0..SENDS {
            let ids = ids(client.ask(&wait));
            let came = Instant::now();
            let ack = command(&client.host, &format!("/api/messages/{}/ack", ids[0]), "");
            client.ask(&ack);
            if tell.send(came).is_err() {
                return;
            }
        }
    });
    times
}

/// A dashboard: when it is there, then when each `sent` came.
fn stream(address: &str) -> Receiver<Instant> {
    let (tell, times) = channel();
    let mut client = Client::connect(address);
    let request = wire::get(&client.host, "/api/stream?kind=sent", "text/event-stream");
    std::thread::spawn(move || {
        client.stream(&request, |data| {
            let text = String::from_utf8_lossy(data);
            let count = text.matches("\"kind\":\"sent\"").count() + text.matches("event: caught_up").count();
            (0..count).all(|_| tell.send(Instant::now()).is_ok())
        });
    });
    times
}

/// One agent's inbox is full; another's is not.
fn pending(table: &mut Table, rounds: usize) {
    let count = if std::env::var_os("HIVELOG_BENCH_LONG").is_some() { 1_000_000 } else { 100_000 };
    let folder = tempfile::tempdir().unwrap();
    let (empty, full) = (folder.path().join("empty.db"), folder.path().join("full.db"));
    for path in [&empty, &full] {
        drop(Server::start(path, Durability::Full));
    }
    fill(&full, count);
    let servers = [&empty, &full].map(|path| Server::start(path, Durability::Full));
    let mut clients = servers.each_ref().map(|server| Client::connect(&server.address));
    let [beside, client] = &mut clients;
    let time = Duration::from_millis(400);
    let figures = in_turn(
        rounds,
        &mut [Case::new(|| rate(time, || round(beside))), Case::new(|| rate(time, || round(client)))],
    );
    // Times rather than rates: the goal is how much longer it takes.
    let times: Vec<Figures> = figures
        .iter()
        .map(|figures| Figures(figures.0.iter().map(|rate| 1_000.0 / rate).collect()))
        .collect();
    table.row(Row {
        what: "send, recv, ack of one agent, nothing else waits",
        mode: "full",
        figures: &times[0],
        unit: "ms",
        beside: None,
        goal: Goal::None,
    });
    table.row(Row {
        what: if count == 1_000_000 {
            "the same, a million wait for another"
        } else {
            "the same, 100,000 wait for another"
        },
        mode: "full",
        figures: &times[1],
        unit: "ms",
        beside: Some(("nothing waits", &times[0])),
        goal: Goal::RatioAtMost(1.2),
    });
}

fn fill(path: &Path, count: usize) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO messages (sender, recipient, body, at) SELECT 'carol', 'dave', '{BODY}', 1763829000 FROM n"
    ))
    .unwrap();
}

fn round(client: &mut Client) -> usize {
    let host = client.host.clone();
    client.ask(&command(&host, "/api/messages", "{\"from\":\"alice\",\"to\":\"bob\",\"body\":\"hello\"}"));
    let ids = ids(client.ask(&command(&host, "/api/agents/bob/recv", "")));
    client.ask(&command(&host, &format!("/api/messages/{}/ack", ids[0]), ""));
    1
}
