//! Old text in pages that are in use: SQLite overwrites what it deletes, but not what it moves.
//!
//! Where rows are deleted, SQLite puts the rows that are left together on fewer pages, and a page that gave rows
//! away keeps a copy of them in its unused middle, `secure_delete` or not. To erase it, one row of the page is
//! made as long on the page as there is room, which uses the middle up or clears it, and then its old self again.

use std::fs::File;

use rusqlite::{Connection, OptionalExtension as _};

use crate::store::meta;
use crate::store::settled::read_full_at;

/// Length of a page: what a file is made with.
pub(crate) const PAGE_BYTES: usize = 4_096;
/// Longest part of a row that its page holds, and shortest part of one that has pages of its own: SQLite's file
/// format.
const LOCAL_MAX: usize = PAGE_BYTES - 35;
const LOCAL_MIN: usize = (PAGE_BYTES - 12) * 32 / 255 - 23;
/// The shortest text that takes the place of another: `{}`.
const TEXT_BYTES_LEAST: usize = 2;
/// A page with one row cannot be filled to the last byte. So far into the unused middle there can only be the head
/// of a row, which has no text.
const LONE_ROW_SLACK: usize = 24;

/// A table whose rows hold text that can be redacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Events,
    Messages,
}

/// A page with old text in its unused middle, and the row that can be made to take it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirty {
    pub(crate) page: u64,
    table: Table,
    row: i64,
    text_bytes: usize,
    /// How long its text has to be for that.
    fill_bytes: usize,
}

/// Reads pages of the file from this one on, as far as they go; gives those that are dirty, and how many pages
/// were read. What is still in the WAL is not seen.
pub(crate) fn look(file: &File, first: u64, pages: usize) -> std::io::Result<(Vec<Dirty>, u64)> {
    let mut bytes = vec![0; pages * PAGE_BYTES];
    let filled = read_full_at(file, &mut bytes, (first.max(1) - 1) * PAGE_BYTES as u64)?;
    let read = bytes.chunks_exact(PAGE_BYTES).take(filled / PAGE_BYTES);
    let mut count = 0;
    let mut dirty = Vec::new();
    for (number, page) in (first..).zip(read) {
        count += 1;
        // The first page begins with the file's header, and holds the schema.
        if number > 1 {
            dirty.extend(examine(number, page));
        }
    }
    Ok((dirty, count))
}

fn short(page: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 2] = page.get(at..at + 2)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(bytes)))
}

/// A number of SQLite's own form, and how many bytes it takes.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for index in 0..8 {
        let byte = *bytes.get(at + index)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(at + 8)?), 9))
}

const fn varint_len(value: u64) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

/// The part of a payload of this length that stays on the row's page, and whether there is more of it elsewhere.
const fn local(payload: usize) -> (usize, bool) {
    if payload <= LOCAL_MAX {
        return (payload, false);
    }
    let part = LOCAL_MIN + (payload - LOCAL_MIN) % (PAGE_BYTES - 4);
    (if part <= LOCAL_MAX { part } else { LOCAL_MIN }, true)
}

/// A row as its page holds it.
struct Cell {
    table: Table,
    row: i64,
    payload: usize,
    text_bytes: usize,
}

impl Cell {
    /// Its payload with a text of this length.
    const fn payload(&self, text_bytes: usize) -> usize {
        const fn serial(bytes: usize) -> usize {
            varint_len(bytes as u64 * 2 + 13)
        }
        self.payload - self.text_bytes - serial(self.text_bytes) + serial(text_bytes) + text_bytes
    }

    /// Its length on the page with a text of this length.
    const fn len(&self, text_bytes: usize) -> usize {
        let payload = self.payload(text_bytes);
        let (part, has_more) = local(payload);
        varint_len(payload as u64) + varint_len(self.row.unsigned_abs()) + part + if has_more { 4 } else { 0 }
    }

    /// The text that has it take up the room, as far as that goes: a longer one that needs no other pages, or for a
    /// row that has pages of its own a shorter one that needs none.
    fn fill(&self, room: usize) -> Option<usize> {
        let (part, has_more) = local(self.payload);
        let most = self.len(self.text_bytes) + room;
        let grows = |text: &usize| {
            let payload = self.payload(*text);
            local(payload) == (part + payload - self.payload, has_more) && self.len(*text) <= most
        };
        let shrinks = |text: &usize| {
            let is_longer_there = self.len(*text) > self.len(self.text_bytes);
            !local(self.payload(*text)).1 && is_longer_there && self.len(*text) <= most
        };
        let longer = (self.text_bytes + 1..=self.text_bytes + room).rev().find(grows);
        let least = TEXT_BYTES_LEAST..self.text_bytes.min(LOCAL_MAX);
        let shorter = if has_more { least.rev().find(shrinks) } else { None };
        longer.into_iter().chain(shorter).max_by_key(|text| self.len(*text))
    }
}

fn cell(page: &[u8], at: usize) -> Option<Cell> {
    let (payload, skip) = varint(page, at)?;
    let (row, skip_row) = varint(page, at + skip)?;
    let head = at + skip + skip_row;
    let (head_len, mut offset) = varint(page, head)?;
    let mut serials = Vec::new();
    while (offset as u64) < head_len {
        let (serial, len) = varint(page, head + offset)?;
        serials.push(serial);
        offset += len;
    }
    // The row's id is its first column, which is left out. Its text is the last one, but for an event's sum.
    let (table, text) = match *serials.as_slice() {
        [0, _, _, _, text] | [0, _, _, _, text, _] => (Table::Events, text),
        [0, _, _, _, _, _, _, _, _, text] => (Table::Messages, text),
        _ => return None,
    };
    let text_bytes = text.checked_sub(13).filter(|rest| rest % 2 == 0)? / 2;
    Some(Cell {
        table,
        row: i64::try_from(row).ok()?,
        payload: usize::try_from(payload).ok()?,
        text_bytes: usize::try_from(text_bytes).ok()?,
    })
}

/// A leaf of a table that holds something in its unused middle.
fn examine(number: u64, page: &[u8]) -> Option<Dirty> {
    const TABLE_LEAF: u8 = 0x0d;
    if page.first() != Some(&TABLE_LEAF) {
        return None;
    }
    let (count, top) = (short(page, 3)?, short(page, 5)?);
    let begin = 8 + 2 * count;
    let slack = if count == 1 { LONE_ROW_SLACK } else { 0 };
    let middle = page.get(begin + slack..top)?;
    // Most pages end here.
    if count == 0 || middle.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut room = top - begin + usize::from(*page.get(7)?);
    let mut block = short(page, 1)?;
    while block != 0 {
        room += short(page, block + 2)?;
        let next = short(page, block)?;
        // They stand in order; anything else is no page of ours.
        block = if next == 0 || next > block { next } else { return None };
    }
    let cells = (0..count).filter_map(|index| cell(page, short(page, 8 + 2 * index)?));
    // The one that fills the page best, and of those the shortest: it costs the least.
    let filled = cells.filter_map(|cell| {
        let fill_bytes = cell.fill(room)?;
        let short_of = (cell.len(cell.text_bytes) + room).saturating_sub(cell.len(fill_bytes));
        Some((short_of, cell.payload, cell, fill_bytes))
    });
    let (_, _, cell, fill_bytes) = filled.min_by_key(|(short_of, payload, ..)| (*short_of, *payload))?;
    if cell.table == Table::Events && has_only_places(middle) {
        return None;
    }
    Some(Dirty { page: number, table: cell.table, row: cell.row, text_bytes: cell.text_bytes, fill_bytes })
}

/// Whether nothing is there but the places of rows that were deleted, which SQLite leaves too. In the rows of
/// events, text is JSON, which has no byte so small as the first one of a place.
fn has_only_places(middle: &[u8]) -> bool {
    let mut pairs = middle
        .chunks_exact(2)
        .skip_while(|pair| short(pair, 0).is_some_and(|place| (8..PAGE_BYTES).contains(&place)));
    pairs.all(|pair| pair == [0, 0]) && middle.last() == Some(&0)
}

/// Makes the row take up the page, and its old self again.
pub(crate) fn scrub(conn: &Connection, dirty: &Dirty) -> rusqlite::Result<()> {
    let (read, write) = match dirty.table {
        Table::Events => {
            ("SELECT payload FROM events WHERE seq = ?1", "UPDATE events SET payload = ?2 WHERE seq = ?1")
        }
        Table::Messages => {
            ("SELECT body FROM messages WHERE id = ?1", "UPDATE messages SET body = ?2 WHERE id = ?1")
        }
    };
    let text: Option<String> =
        conn.prepare_cached(read)?.query_row([dirty.row], |row| row.get(0)).optional()?;
    // Since it was looked at, the row may have gone or changed.
    let Some(text) = text.filter(|text| text.len() == dirty.text_bytes) else { return Ok(()) };
    // JSON again where it was: nobody sees it, but an index of somebody's may read it.
    let (begin, blanks) = match dirty.fill_bytes.checked_sub(text.len()) {
        Some(blanks) => (text.as_str(), blanks),
        None => ("{}", dirty.fill_bytes - TEXT_BYTES_LEAST),
    };
    let filling = format!("{begin}{}", " ".repeat(blanks));
    meta::set_integer(conn, "redacting_seq", if dirty.table == Table::Events { dirty.row } else { 0 })?;
    let mut write = conn.prepare_cached(write)?;
    write.execute((dirty.row, &filling))?;
    write.execute((dirty.row, &text))?;
    meta::set_integer(conn, "redacting_seq", 0)
}
