//! Leases: how long a transient may last unrenewed. No event carries them, so no fold makes them.

use rusqlite::{Connection, OptionalExtension as _};

/// The lease of one transient.
#[derive(Clone, Debug)]
pub(crate) struct Lease<'a> {
    pub(crate) set_seq: i64,
    /// How long it is.
    pub(crate) length_ms: i64,
    /// When it ends, in the time of leases.
    pub(crate) until_ms: i64,
    /// The process that set it through the crate.
    pub(crate) owner: Option<&'a str>,
}

pub(super) fn put(conn: &Connection, name: &str, lease: &Lease<'_>) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO leases (name, set_seq, lease_ms, until_ms, owner) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET set_seq = excluded.set_seq, lease_ms = excluded.lease_ms,
             until_ms = excluded.until_ms, owner = excluded.owner",
    )?
    .execute((name, lease.set_seq, lease.length_ms, lease.until_ms, lease.owner))?;
    Ok(())
}

pub(super) fn remove(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM leases WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// When the lease of this very transient ends, and whose it is.
pub(super) fn find(
    conn: &Connection,
    name: &str,
    set_seq: i64,
) -> rusqlite::Result<Option<(i64, Option<String>)>> {
    conn.prepare_cached("SELECT until_ms, owner FROM leases WHERE name = ?1 AND set_seq = ?2")?
        .query_row((name, set_seq), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The transients that nobody renewed in time, up to some: by their lease, or where they have none (they were
/// appended as they are) by the end that their event names. `now` is wall time in seconds.
pub(crate) fn lapsed(
    conn: &Connection,
    steady_ms: i64,
    now: i64,
    limit: u32,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare_cached(
        "SELECT t.name FROM transients AS t LEFT JOIN leases AS l ON l.name = t.name AND l.set_seq = t.set_seq
         WHERE CASE WHEN l.name IS NULL THEN t.expires_at <= ?2 ELSE l.until_ms <= ?1 END LIMIT ?3",
    )?;
    statement.query_map((steady_ms, now, limit), |row| row.get(0))?.collect()
}

/// The transients that a process set which is not this one, and so is gone.
pub(crate) fn orphans(conn: &Connection, owner: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare_cached(
        "SELECT t.name FROM transients AS t JOIN leases AS l ON l.name = t.name AND l.set_seq = t.set_seq
         WHERE l.owner IS NOT NULL AND l.owner <> ?1",
    )?;
    statement.query_map([owner], |row| row.get(0))?.collect()
}

/// After a clock was set back between two openings a lease would last longer than it was given: it is cut
/// to its length from now on. Rows of transients that are gone, go.
pub(crate) fn tidy(conn: &Connection, steady_ms: i64) -> rusqlite::Result<()> {
    conn.execute("UPDATE leases SET until_ms = ?1 + lease_ms WHERE until_ms > ?1 + lease_ms", [steady_ms])?;
    conn.execute(
        "DELETE FROM leases WHERE NOT EXISTS
           (SELECT 1 FROM transients AS t WHERE t.name = leases.name AND t.set_seq = leases.set_seq)",
        [],
    )?;
    Ok(())
}
