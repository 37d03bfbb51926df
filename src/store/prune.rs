//! What takes events out of the file, and gives its space back.

use std::ops::ControlFlow;

use rusqlite::Connection;

use crate::seq::Seq;
use crate::store::meta;
use crate::store::rows::Stretch;

/// Gives seq, kind and length of the text of every row of a stretch, oldest first. The text itself is not
/// read, however long it is.
pub(crate) fn walk(
    conn: &Connection,
    stretch: Stretch,
    mut each: impl FnMut(Seq, &str, i64) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, kind, octet_length(payload) FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query((stretch.after.get(), stretch.before))?;
    while let Some(row) = rows.next()? {
        if each(Seq::clamped(row.get(0)?), row.get_ref(1)?.as_str()?, row.get(2)?).is_break() {
            break;
        }
    }
    Ok(())
}

/// Deletes these events, after the floors were raised to them; gives how many were still there.
///
/// `board` are those of them that the board is folded from.
pub(crate) fn delete(conn: &Connection, plain: &[Seq], board: &[Seq]) -> rusqlite::Result<u64> {
    let top = |seqs: &[Seq]| seqs.iter().copied().max().unwrap_or_default();
    raise(conn, "floor", top(plain).max(top(board)).get())?;
    raise(conn, "board_floor", top(board).get())?;
    let mut gone = 0;
    let mut time = conn.prepare_cached("SELECT max(recorded_at_ms) FROM events WHERE seq = ?1")?;
    let last: Option<i64> = time.query_row([top(plain).max(top(board)).get()], |row| row.get(0))?;
    // The rows say when the newest of them was recorded, unless it goes: time never goes back.
    raise(conn, "pruned_ms", last.unwrap_or(0))?;
    let mut delete = conn.prepare_cached("DELETE FROM events WHERE seq = ?1")?;
    for seq in plain.iter().chain(board) {
        gone += delete.execute([seq.get()])?;
    }
    let gone = gone as u64;
    let before = meta::integer(conn, "pruned")?;
    meta::set_integer(conn, "pruned", before.saturating_add_unsigned(gone))?;
    Ok(gone)
}

/// Lets a number of the log as a whole grow to this.
pub(crate) fn raise(conn: &Connection, name: &str, to: i64) -> rusqlite::Result<()> {
    if to > meta::integer(conn, name)? {
        meta::set_integer(conn, name, to)?;
    }
    Ok(())
}

/// Pages that hold nothing, and pages in all.
pub(crate) fn free_pages(conn: &Connection) -> rusqlite::Result<(i64, i64)> {
    let number = |sql| conn.query_row(sql, [], |row| row.get(0));
    Ok((number("PRAGMA freelist_count")?, number("PRAGMA page_count")?))
}

/// Takes up to so many empty pages out of the file. It becomes shorter with the next checkpoint.
pub(crate) fn give_back(conn: &Connection, pages: u32) -> rusqlite::Result<()> {
    // Each step of the statement moves one page.
    let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
