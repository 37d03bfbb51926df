//! The only SQL on `events`.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, ffi};

use crate::query::{Filter, Order};
use crate::row::RowRef;
use crate::seq::Seq;
use crate::store::meta;
use crate::store::sum;

/// Damaged events that a check names: the first ones tell where.
const DAMAGED_LISTED_MAX: usize = 20;

/// A stretch of the log: the seqs strictly between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) after: Seq,
    /// Not a `Seq`: one above the last possible seq is a bound too.
    pub(crate) before: i64,
}

impl Stretch {
    /// All that is after `after` and not after `upto`.
    pub(crate) const fn upto(after: Seq, upto: Seq) -> Self {
        Self { after, before: upto.get() + 1 }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.before - self.after.get() <= 1
    }
}

/// A row to be inserted: its seq was given by the one who assigns them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) seq: Seq,
    pub(crate) recorded_at_ms: i64,
    pub(crate) kind: &'a str,
    pub(crate) agents: &'a str,
    pub(crate) payload: &'a str,
}

impl<'a> NewRow<'a> {
    const fn as_read(self) -> RowRef<'a> {
        RowRef {
            seq: self.seq,
            recorded_at_ms: self.recorded_at_ms,
            kind: self.kind,
            payload: self.payload.as_bytes(),
            agents: self.agents,
        }
    }
}

/// Rows in one statement: measured, 32 take two thirds of the time of 32 alone, and more gain nothing.
pub(crate) const INSERT_ROWS_MAX: usize = 32;

/// The one insert, for some rows at a time.
pub(crate) fn insert<'a>(
    conn: &Connection,
    rows: impl ExactSizeIterator<Item = NewRow<'a>>,
) -> rusqlite::Result<()> {
    static SQL: LazyLock<[String; 3]> = LazyLock::new(|| [1, 8, INSERT_ROWS_MAX].map(insert_sql));
    let [one, some, many] = &*SQL;
    let mut rows = rows;
    while rows.len() > 0 {
        let (count, sql) = match rows.len() {
            INSERT_ROWS_MAX.. => (INSERT_ROWS_MAX, many),
            8.. => (8, some),
            _ => (1, one),
        };
        let mut statement = conn.prepare_cached(sql)?;
        for (index, row) in (0..).zip(rows.by_ref().take(count)) {
            let first = index * 6;
            statement.raw_bind_parameter(first + 1, row.seq.get())?;
            statement.raw_bind_parameter(first + 2, row.recorded_at_ms)?;
            statement.raw_bind_parameter(first + 3, row.kind)?;
            statement.raw_bind_parameter(first + 4, row.agents)?;
            statement.raw_bind_parameter(first + 5, row.payload)?;
            statement.raw_bind_parameter(first + 6, sum::of(row.as_read()))?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

fn insert_sql(rows: usize) -> String {
    let values = vec!["(?, ?, ?, ?, ?, ?)"; rows].join(", ");
    format!("INSERT INTO events (seq, recorded_at_ms, kind, agents, payload, sum) VALUES {values}")
}

/// The highest seq that was ever given, from the file's own counter: rows can be pruned.
pub(crate) fn head(conn: &Connection) -> rusqlite::Result<Seq> {
    let seq = conn
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(seq.map_or(Seq::ZERO, Seq::clamped))
}

/// Moves the file's own counter, for a log whose last rows were pruned before it was exported.
pub(crate) fn set_head(conn: &Connection, head: Seq) -> rusqlite::Result<()> {
    raise_counter(conn, "events", head.get())
}

/// Lets the counter of a table's ids grow to this.
pub(crate) fn raise_counter(conn: &Connection, table: &str, to: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
    if conn.execute(sql, (table, to))? == 0 {
        conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (table, to))?;
    }
    Ok(())
}

/// The highest id of a message that an event tells. Reads all of the log.
pub(crate) fn last_message(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row(
        "SELECT coalesce(max(json_extract(payload, '$.message_id')), 0) FROM events
         WHERE kind = 'sent' OR kind = 'delivered'",
        [],
        |row| row.get(0),
    )
}

/// The last id that a table has given.
pub(crate) fn counter(conn: &Connection, table: &str) -> rusqlite::Result<i64> {
    conn.query_row("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1", [table], |row| {
        row.get(0)
    })
}

/// The failure of a job that takes itself back.
pub(crate) fn taken_back(why: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ABORT), Some(why.to_owned()))
}

/// Whether the row is there, damaged or not.
pub(crate) fn is_there(conn: &Connection, seq: Seq) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM events WHERE seq = ?1")?.exists([seq.get()])
}

/// The highest row that is there.
pub(crate) fn last(conn: &Connection) -> rusqlite::Result<Seq> {
    conn.prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?
        .query_row([], |row| row.get(0))
        .map(Seq::clamped)
}

/// How many rows stand above `floor`.
pub(crate) fn count_above(conn: &Connection, floor: Seq) -> rusqlite::Result<i64> {
    conn.query_row("SELECT count(*) FROM events WHERE seq > ?1", [floor.get()], |row| row.get(0))
}

/// How many rows were recorded before the row that they follow.
pub(crate) fn times_that_go_back(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row(
        "SELECT count(*) FROM
           (SELECT recorded_at_ms AS time, lag(recorded_at_ms) OVER (ORDER BY seq) AS before FROM events)
         WHERE time < before",
        [],
        |row| row.get(0),
    )
}

/// When the newest row was recorded, in milliseconds since 1970.
pub(crate) fn last_time(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT recorded_at_ms FROM events ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

/// Puts another text in the place of one that is redacted.
pub(crate) fn replace_payload(conn: &Connection, seq: Seq, payload: &str) -> rusqlite::Result<()> {
    let (recorded_at_ms, kind, agents): (i64, String, String) = conn
        .prepare_cached("SELECT recorded_at_ms, kind, agents FROM events WHERE seq = ?1")?
        .query_row([seq.get()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let row = NewRow { seq, recorded_at_ms, kind: &kind, agents: &agents, payload };
    meta::set_integer(conn, "redacting_seq", seq.get())?;
    conn.prepare_cached("UPDATE events SET payload = ?2, sum = ?3 WHERE seq = ?1")?.execute((
        seq.get(),
        payload,
        sum::of(row.as_read()),
    ))?;
    meta::set_integer(conn, "redacting_seq", 0)
}

/// Gives one row to `read`.
pub(crate) fn get<T>(
    conn: &Connection,
    seq: Seq,
    read: impl FnOnce(RowRef<'_>) -> T,
) -> rusqlite::Result<Option<T>> {
    let sql = "SELECT seq, recorded_at_ms, kind, payload, agents, sum FROM events WHERE seq = ?1";
    let mut statement = prepare(conn, sql)?;
    let mut rows = statement.query([seq.get()])?;
    rows.next()?.map(|row| row_ref(row, true).map(read)).transpose()
}

/// The first seq of the stretch that was recorded at or after `time_ms`, or the seq after the
/// stretch. Times never go back as seq grows, so this is a binary search, not a scan.
pub(crate) fn at_or_after(conn: &Connection, stretch: Stretch, time_ms: i64) -> rusqlite::Result<i64> {
    // Rows may be missing below the floor, so each probe takes the next row that is there.
    let mut probe = conn.prepare_cached(
        "SELECT seq, recorded_at_ms FROM events WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT 1",
    )?;
    let (mut low, mut high) = (stretch.after.get() + 1, stretch.before);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            probe.query_row((middle, high), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, time)) if time < time_ms => low = seq + 1,
            Some(_) | None => high = middle,
        }
    }
    // The search ends on a number; the row that stands for it may come later.
    let next = probe.query_row((low, stretch.before), |row| row.get(0)).optional()?;
    Ok(next.unwrap_or(stretch.before))
}

/// Gives the rows of a stretch that the filter wants, in order, until `each` has enough.
///
/// `each` sees `None` for a row that is not wanted, so that it can look at the time; kinds that the
/// index over rare kinds holds are found by it, so that other rows are not even seen.
pub(crate) fn scan(
    conn: &Connection,
    stretch: Stretch,
    order: Order,
    filter: &Filter,
    mut each: impl FnMut(Seq, Option<RowRef<'_>>) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    if stretch.is_empty() {
        return Ok(());
    }
    let bounds = (stretch.after.get(), stretch.before);
    if let Some(kinds) = filter.rare_kinds() {
        let mut statement = prepare(conn, &rare_sql(kinds.len(), order))?;
        let numbers = [bounds.0, bounds.1];
        let values = numbers
            .iter()
            .map(|number| number as &dyn rusqlite::ToSql)
            .chain(kinds.iter().map(|kind| kind as &dyn rusqlite::ToSql));
        walk(&mut statement, rusqlite::params_from_iter(values), filter, true, &mut each)
    } else {
        // Reading the agents costs a tenth of a scan, so they are read where they are asked.
        let agents = filter.names_agents();
        let mut statement = prepare(conn, plain_sql(order, agents))?;
        walk(&mut statement, bounds, filter, agents, &mut each)
    }
}

/// Gives every row of a stretch with its agents, oldest first: what live readers keep.
pub(crate) fn scan_whole(
    conn: &Connection,
    stretch: Stretch,
    mut each: impl FnMut(RowRef<'_>) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut statement = prepare(conn, plain_sql(Order::Asc, true))?;
    let bounds = (stretch.after.get(), stretch.before);
    walk(&mut statement, bounds, &Filter::default(), true, &mut |_, row| {
        row.map_or(ControlFlow::Continue(()), &mut each)
    })
}

/// The function that [`take_each`] gives each row to; see [`gather`](crate::store::gather).
pub(crate) const TAKER: &str = "hivelog_take";

/// Gives every row of a stretch to the taker of this connection, in order, until it has enough.
pub(crate) fn take_each(conn: &Connection, stretch: Stretch, order: Order) -> rusqlite::Result<()> {
    let sql = match order {
        Order::Asc => {
            "SELECT 1 FROM events WHERE seq > ?1 AND seq < ?2
             AND hivelog_take(seq, recorded_at_ms, kind, payload, sum) ORDER BY seq"
        }
        Order::Desc => {
            "SELECT 1 FROM events WHERE seq > ?1 AND seq < ?2
             AND hivelog_take(seq, recorded_at_ms, kind, payload, sum) ORDER BY seq DESC"
        }
    };
    let mut statement = prepare(conn, sql)?;
    statement.query((stretch.after.get(), stretch.before))?.next().map(drop)
}

fn walk<P: Params>(
    statement: &mut CachedStatement<'_>,
    params: P,
    filter: &Filter,
    with_agents: bool,
    each: &mut dyn FnMut(Seq, Option<RowRef<'_>>) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let all = filter.wants_all();
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        let row = row_ref(row, with_agents)?;
        let wanted = all || filter.wants(row.kind, row.agents);
        if each(row.seq, wanted.then_some(row)).is_break() {
            break;
        }
    }
    Ok(())
}

const fn plain_sql(order: Order, agents: bool) -> &'static str {
    match (order, agents) {
        (Order::Asc, false) => {
            "SELECT seq, recorded_at_ms, kind, payload, sum FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq"
        }
        (Order::Desc, false) => {
            "SELECT seq, recorded_at_ms, kind, payload, sum FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC"
        }
        (Order::Asc, true) => {
            "SELECT seq, recorded_at_ms, kind, payload, agents, sum FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq"
        }
        (Order::Desc, true) => {
            "SELECT seq, recorded_at_ms, kind, payload, agents, sum FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC"
        }
    }
}

/// One arm for each kind: each comes out of the index in order, and `SQLite` merges them.
fn rare_sql(kinds: usize, order: Order) -> String {
    let arms: Vec<String> = (0..kinds)
        .map(|index| {
            format!(
                "SELECT seq, recorded_at_ms, kind, payload, agents, sum FROM events INDEXED BY events_rare
                 WHERE kind = ?{} AND kind <> 'sent' AND kind <> 'delivered' AND instr(kind, '.') = 0
                   AND seq > ?1 AND seq < ?2",
                index + 3
            )
        })
        .collect();
    let direction = if order == Order::Desc { " DESC" } else { "" };
    format!("{} ORDER BY seq{direction}", arms.join(" UNION ALL "))
}

/// A statement that reads events, also of a file whose schema has no sums yet.
pub(crate) fn prepare<'a>(conn: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    match conn.prepare_cached(sql) {
        Err(rusqlite::Error::SqlInputError { msg, .. })
            if msg.contains("no such column") && msg.contains("sum") =>
        {
            let without = sql.replace(", sum FROM", ", NULL FROM").replace(", sum)", ", NULL)");
            conn.prepare_cached(&without.replace("e.sum, r.sum", "NULL, NULL"))
        }
        other => other,
    }
}

fn row_ref<'a>(row: &'a rusqlite::Row<'_>, with_agents: bool) -> rusqlite::Result<RowRef<'a>> {
    let (read, sum) = unchecked(row, with_agents)?;
    check(read, sum, with_agents)?;
    Ok(read)
}

/// Fails for a row that is not what was stored.
pub(crate) fn check(row: RowRef<'_>, sum: Option<i64>, with_agents: bool) -> rusqlite::Result<()> {
    if sum.is_none_or(|sum| sum::holds(row, sum, with_agents)) {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_ERROR),
        Some(format!("event {} is damaged: its bytes are not those that were stored", row.seq)),
    ))
}

fn unchecked<'a>(
    row: &'a rusqlite::Row<'_>,
    with_agents: bool,
) -> rusqlite::Result<(RowRef<'a>, Option<i64>)> {
    let payload = match row.get_ref(3)? {
        ValueRef::Text(bytes) => bytes,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => &[],
    };
    let read = RowRef {
        seq: Seq::clamped(row.get(0)?),
        recorded_at_ms: row.get(1)?,
        kind: row.get_ref(2)?.as_str()?,
        payload,
        agents: if with_agents { row.get_ref(4)?.as_str()? } else { "" },
    };
    Ok((read, row.get(if with_agents { 5 } else { 4 })?))
}

/// The first events whose bytes are not those that were stored, and how many have no sum though they should:
/// another program wrote them.
pub(crate) fn damaged(conn: &Connection) -> rusqlite::Result<(Vec<Seq>, i64)> {
    let mut statement =
        prepare(conn, "SELECT seq, recorded_at_ms, kind, payload, agents, sum FROM events ORDER BY seq")?;
    let (mut rows, mut found) = (statement.query([])?, Vec::new());
    while let Some(row) = rows.next()?
        && found.len() < DAMAGED_LISTED_MAX
    {
        match unchecked(row, true) {
            Ok((read, sum)) if sum.is_none_or(|sum| sum::holds(read, sum, true)) => {}
            Ok((read, _)) => found.push(read.seq),
            Err(_) => found.push(Seq::clamped(row.get(0).unwrap_or(0))),
        }
    }
    let foreign = conn.query_row(
        "SELECT count(*) FROM events WHERE sum IS NULL
         AND seq > (SELECT value FROM meta WHERE name = 'sums_after')",
        [],
        |row| row.get(0),
    );
    let foreign = match foreign {
        // A schema without sums.
        Err(rusqlite::Error::SqlInputError { .. }) => 0,
        other => other?,
    };
    Ok((found, foreign))
}
