//! What a commit shows to live readers before the tail tells of it.

use std::sync::Arc;

use crate::event::REDACTED;
use crate::log::Shared;
use crate::row::{Builder, RowRef, Style};
use crate::store::writer::Show;
use crate::sync::lock;

/// Encodes what was committed, once, for every live reader; nothing where there is none.
pub(super) fn show(shared: &Arc<Shared>) -> Show {
    let shared = Arc::clone(shared);
    Box::new(move |inserted| {
        if inserted.iter().any(|row| row.record.kind() == REDACTED) {
            // What is to be gone may be in memory: everybody reads the store.
            shared.recent.clear();
            *lock(&shared.board) = None;
            shared.replay.clear();
            return;
        }
        if shared.positions.is_empty() {
            // Who comes later reads from the store what there is by then.
            shared.recent.clear();
            return;
        }
        let bytes = inserted.iter().map(|row| row.record.payload().len() + 160).sum();
        let mut builder = Builder::with_capacity(Style::Frames(shared.log_id), bytes);
        for row in inserted {
            builder.push(RowRef {
                seq: row.seq,
                recorded_at_ms: row.recorded_at_ms,
                kind: row.record.kind(),
                agents: row.agents(),
                payload: row.record.payload().as_bytes(),
            });
        }
        shared.recent.push(builder.finish());
    })
}
