//! What plays a swarm into a server: batches, patience, and ids that nobody else has.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::cli::client::{Client, Fault, JSON};
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::limits::BODY_BYTES_MAX;

/// Events that go together at most: enough that the commit is cheap, few enough that it stays live.
const EVENTS_MAX: usize = 200;
/// The first and the longest pause before a call is repeated.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often another id is tried before something else must be wrong.
const IDS_TRIED: usize = 50;

/// One event to post, of one commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Piece {
    pub(crate) index: usize,
    pub(crate) event: Map<String, Value>,
}

impl Piece {
    fn opens(&self) -> bool {
        self.event.get("kind").and_then(Value::as_str) == Some("approval_added")
    }

    fn has_id(&self) -> bool {
        self.event.contains_key("id")
    }

    fn text(&self) -> Result<String, Failure> {
        serde_json::to_string(&self.event).map_err(Failure::failed)
    }
}

/// Posts the pieces of a replay in order.
pub(crate) struct Poster {
    client: Client,
    ids: BTreeMap<usize, i64>,
    id_max: i64,
    waiting: Vec<(Piece, String)>,
    bytes: usize,
}

impl Poster {
    /// A poster that knows the ids of some commits, and that all up to `id_max` are taken.
    pub(crate) const fn new(client: Client, ids: BTreeMap<usize, i64>, id_max: i64) -> Self {
        Self { client, ids, id_max, waiting: Vec::new(), bytes: 0 }
    }

    pub(crate) fn known_id(&self, index: usize) -> Option<i64> {
        self.ids.get(&index).copied()
    }

    /// The id of a commit, which is the next one for a new commit.
    pub(crate) fn id_of(&mut self, index: usize) -> i64 {
        if let Some(id) = self.known_id(index) {
            return id;
        }
        self.id_max += 1;
        self.ids.insert(index, self.id_max);
        self.id_max
    }

    /// Posts the pieces, now or, if they may wait, together with what comes.
    pub(crate) async fn post(&mut self, pieces: Vec<Piece>, may_wait: bool) -> Result<(), Failure> {
        for piece in pieces {
            let text = piece.text()?;
            // Each has a comma behind it, and brackets are around all.
            let is_full = self.bytes + text.len() + 2 > BODY_BYTES_MAX || self.waiting.len() >= EVENTS_MAX;
            if is_full {
                self.flush().await?;
            }
            self.bytes += text.len() + 1;
            self.waiting.push((piece, text));
        }
        if may_wait { Ok(()) } else { self.flush().await }
    }

    /// Posts what waits.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = waiting.iter().map(|(_, text)| text.as_str()).collect();
        match append(&self.client, &format!("[{}]", texts.join(","))).await {
            Ok(()) => Ok(()),
            // Somebody else took an id or decided first. Which event it was is found one by one.
            Err(fault) if fault.is_conflict() || fault.is_not_found() => {
                for (piece, _) in waiting {
                    self.alone(piece).await?;
                }
                Ok(())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Posts pieces that may be there already, from before.
    pub(crate) async fn repeat(&mut self, pieces: Vec<Piece>) -> Result<(), Failure> {
        for piece in pieces {
            match append(&self.client, &piece.text()?).await {
                Ok(()) => {}
                // It is there, in the words of the repository as it was then.
                Err(fault) if fault.is_key_reused() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(())
    }

    async fn alone(&mut self, mut piece: Piece) -> Result<(), Failure> {
        for _ in 0..IDS_TRIED {
            if piece.has_id()
                && let Some(id) = self.known_id(piece.index)
            {
                piece.event.insert("id".into(), id.into());
            }
            match append(&self.client, &piece.text()?).await {
                Ok(()) => return Ok(()),
                Err(fault) if fault.is_conflict() && piece.opens() => {
                    self.id_max += 1;
                    self.ids.insert(piece.index, self.id_max);
                }
                // An operator was faster, which is what operators are for.
                Err(fault) if fault.is_conflict() => return Ok(()),
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(Failure::failed("somebody else takes every id"))
    }
}

/// Posts one body until the server has taken it, or refuses it for good.
pub(crate) async fn append(client: &Client, body: &str) -> Result<(), Fault> {
    let mut pause = PAUSE.0;
    let mut is_told = false;
    loop {
        match client.append((JSON, body.to_owned()), None).await {
            Ok(_) => return Ok(()),
            Err(fault) if fault.is_transient() => {
                if !is_told && pause == PAUSE.1 {
                    say(format_args!("hivelog: waiting: {fault}"));
                    is_told = true;
                }
            }
            Err(fault) => return Err(fault),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Repeats a question while the answer is "later".
pub(crate) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pause = PAUSE.0;
    loop {
        match ask().await {
            Err(failure) if failure.is_transient() => {}
            other => return other,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}
