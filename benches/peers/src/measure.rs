//! The cases, each on all servers in turn.

use std::time::{Duration, Instant};

use crate::connect::Client;
use crate::load::Load;
use crate::mix::Text;
use crate::peer::{BATCH, Peer};
use crate::process::own_cpu_s;
use crate::turns::Figures;

const TIME: Duration = Duration::from_secs(1);
/// After half a one that does not count.
const ROUNDS: usize = 5;
const HISTORY_ROWS: usize = 300_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Case {
    History,
    /// Single events on so many connections.
    Append(usize),
    Batches,
}

/// What a case gave on one server.
#[derive(Default)]
pub struct Result {
    /// Events a second, a figure for each round.
    pub rates: Figures,
    events: usize,
    server_s: f64,
    client_s: f64,
}

impl Result {
    /// CPU milliseconds for a thousand events, the server's and the client's.
    pub fn cpu_ms(&self) -> (f64, f64) {
        let thousands = self.events as f64 / 1e3;
        (self.server_s * 1e3 / thousands, self.client_s * 1e3 / thousands)
    }
}

/// Something that is done for so long, and tells how many events a second it did and how many in all.
type Work<'a> = Box<dyn FnMut(Duration) -> (f64, usize) + 'a>;

impl Case {
    /// The history first, while there is nothing else in memory and on disk.
    pub const ALL: [Self; 5] =
        [Self::History, Self::Append(1), Self::Append(8), Self::Append(64), Self::Batches];

    pub fn name(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Append(1) => "append-1",
            Self::Append(8) => "append-8",
            Self::Append(_) => "append-64",
            Self::Batches => "batches",
        }
    }

    /// A result for each peer that is there.
    pub fn measure(self, peers: &[Option<Box<dyn Peer>>], texts: &[Text]) -> Vec<Option<Result>> {
        eprintln!("{} …", self.name());
        let mut works: Vec<_> =
            peers.iter().map(|peer| Some((peer.as_deref()?, self.work(peer.as_deref()?, texts)))).collect();
        let mut results: Vec<_> = peers.iter().map(|peer| peer.as_ref().map(|_| Result::default())).collect();
        for round in 0..=ROUNDS {
            for (work, result) in works.iter_mut().zip(&mut results) {
                let (Some((peer, work)), Some(result)) = (work, result) else { continue };
                let before = (peer.process().cpu_s(), own_cpu_s());
                let (rate, events) = work(if round == 0 { TIME / 2 } else { TIME });
                let after = (peer.process().cpu_s(), own_cpu_s());
                if round > 0 {
                    result.rates.0.push(rate);
                    result.events += events;
                    result.server_s += after.0 - before.0;
                    result.client_s += after.1 - before.1;
                }
            }
        }
        results
    }

    fn work<'a>(self, peer: &'a dyn Peer, texts: &'a [Text]) -> Work<'a> {
        match self {
            Self::History => {
                let mut client = Client::new(peer.connect());
                fill(peer, &mut client, texts);
                Box::new(move |time| {
                    let (begin, mut rows) = (Instant::now(), 0);
                    while begin.elapsed() < time {
                        rows += history(peer, &mut client);
                    }
                    (rows as f64 / begin.elapsed().as_secs_f64(), rows)
                })
            }
            Self::Append(connections) => {
                let mut load = singles(peer, texts, connections);
                Box::new(move |time| {
                    let done = load.run(time);
                    (done.answers as f64 / done.seconds, done.answers)
                })
            }
            Self::Batches => {
                let answer = peer.batch_answer();
                let mut load = Load::new(vec![peer.connect()], batches(peer, texts), &answer);
                Box::new(move |time| {
                    let done = load.run(time);
                    ((done.answers * BATCH) as f64 / done.seconds, done.answers * BATCH)
                })
            }
        }
    }
}

/// Connections that append single events.
pub fn singles(peer: &dyn Peer, texts: &[Text], connections: usize) -> Load {
    let sockets = (0..connections).map(|_| peer.connect()).collect();
    Load::new(sockets, texts.iter().map(|text| peer.single(text)).collect(), &peer.answer())
}

fn batches(peer: &dyn Peer, texts: &[Text]) -> Vec<Vec<u8>> {
    texts.chunks_exact(BATCH).map(|texts| peer.batch(texts)).collect()
}

fn fill(peer: &dyn Peer, client: &mut Client, texts: &[Text]) {
    let batches = batches(peer, texts);
    let mut answer = peer.batch_answer();
    for batch in batches.iter().cycle().take(HISTORY_ROWS / BATCH) {
        client.ask(batch, &mut answer);
    }
}

/// All that it was filled with, page after page: how many rows that was.
fn history(peer: &dyn Peer, client: &mut Client) -> usize {
    let (mut after, mut rows, mut answer) = (String::new(), 0, peer.answer());
    while rows < HISTORY_ROWS {
        let bytes = client.ask(&peer.page(&after), &mut answer);
        let page = peer.read_page(&answer, bytes);
        assert_eq!(page.rows, BATCH, "a page of {} that is not full", peer.name());
        rows += page.rows;
        after = page.after;
    }
    rows
}
