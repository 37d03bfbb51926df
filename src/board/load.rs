//! How much is open, for each agent and in all, so that the board stays small.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::Refusal;
use crate::limits::{OPEN_BYTES_MAX, OPEN_BYTES_PER_AGENT_MAX, OPEN_ITEMS_MAX, OPEN_ITEMS_PER_AGENT_MAX};

/// The row that counts everybody's items.
const ALL: &str = "";

/// Refuses one more open item of `bytes` where the agent, or all together, have too many.
pub(super) fn check(conn: &Connection, agent: &str, bytes: i64) -> rusqlite::Result<Result<(), Refusal>> {
    let (items, text) = get(conn, agent)?;
    if items >= OPEN_ITEMS_PER_AGENT_MAX || text + bytes > OPEN_BYTES_PER_AGENT_MAX {
        let detail = format!("{agent} has {items} open items with {text} bytes of text");
        return Ok(Err(Refusal::TooManyOpen(detail.into())));
    }
    let (items, text) = get(conn, ALL)?;
    if items >= OPEN_ITEMS_MAX || text + bytes > OPEN_BYTES_MAX {
        let detail = format!("{items} items with {text} bytes of text are open");
        return Ok(Err(Refusal::TooManyOpen(detail.into())));
    }
    Ok(Ok(()))
}

fn get(conn: &Connection, agent: &str) -> rusqlite::Result<(i64, i64)> {
    let load = conn
        .prepare_cached("SELECT items, bytes FROM open_load WHERE agent = ?1")?
        .query_row([agent], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(load.unwrap_or((0, 0)))
}

/// Counts an item in (1) or out (-1). A row that counts nothing goes, so that a fold anew gives
/// the same table.
pub(super) fn add(conn: &Connection, agent: &str, items: i64, bytes: i64) -> rusqlite::Result<()> {
    for name in [agent, ALL] {
        conn.prepare_cached(
            "INSERT INTO open_load (agent, items, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT (agent) DO UPDATE SET items = items + excluded.items, bytes = bytes + excluded.bytes",
        )?
        .execute((name, items, bytes * items))?;
        if items < 0 {
            conn.prepare_cached("DELETE FROM open_load WHERE agent = ?1 AND items <= 0")?.execute([name])?;
        }
    }
    Ok(())
}
