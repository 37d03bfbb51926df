//! The stretches of the log that live readers have just replayed, read once for all who replay them.
//!
//! It is a cache, bounded in stretches: after a restart a crowd comes back for the same ones. Where another process
//! writes the log nothing is kept, since it redacts without telling.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::error::Error;
use crate::log::feed::Chunk;
use crate::seq::Seq;
use crate::sync::{Mutex, lock};

type Cell = Arc<OnceCell<Chunk>>;

/// Chunks by the cursor that they come after, the newest last.
#[derive(Debug)]
pub(crate) struct Replay {
    // A mutex over a list of some dozen: it is looked through once for each chunk that is sent.
    chunks: Mutex<VecDeque<(Seq, Cell)>>,
    chunks_max: usize,
}

impl Replay {
    pub(crate) fn new(chunks_max: usize) -> Self {
        Self { chunks: Mutex::default(), chunks_max }
    }

    /// The chunk that comes after `cursor`. Whoever asks while it is read waits for the same read; should that one
    /// fail or be given up, the next of them reads.
    pub(crate) async fn after(
        &self,
        cursor: Seq,
        read: impl Future<Output = Result<Chunk, Error>>,
    ) -> Result<Chunk, Error> {
        let chunk = self.cell(cursor).get_or_try_init(|| read).await.cloned();
        if matches!(chunk, Ok(Chunk::Pruned(..))) {
            // It tells where the head is, which moves.
            lock(&self.chunks).retain(|(after, _)| *after != cursor);
        }
        chunk
    }

    fn cell(&self, cursor: Seq) -> Cell {
        let mut chunks = lock(&self.chunks);
        if let Some((_, cell)) = chunks.iter().rev().find(|(after, _)| *after == cursor) {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        chunks.push_back((cursor, Arc::clone(&cell)));
        if chunks.len() > self.chunks_max {
            chunks.pop_front();
        }
        cell
    }

    /// Forgets everything, and what is being read now too: nobody else will find it.
    pub(crate) fn clear(&self) {
        lock(&self.chunks).clear();
    }
}
