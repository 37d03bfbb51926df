//! Numbers that are read when somebody asks for them.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rusqlite::Connection;

use crate::board::census::{self, Census};
use crate::broker::journal;
use crate::error::Error;
use crate::http::Door;
use crate::log::Log;
use crate::seq::Seq;
use crate::store::readers::{Lane, at_one_moment};
use crate::store::{meta, rows};

/// How long the store may take to answer: a scraper's patience is short too.
const PATIENCE: Duration = Duration::from_secs(2);

type Number = Gauge<i64, AtomicI64>;

/// What is counted of the board: a word of ours, never a name of an agent's.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Sort {
    kind: &'static str,
}

/// Numbers that are read when somebody asks for them: appends pay nothing for them.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    head: Number,
    floor: Number,
    queued: Number,
    recent_bytes: Number,
    failed: Number,
    search: Number,
    slowest: Number,
    forwarder: Number,
    open: Family<Sort, Number>,
    oldest: Family<Sort, Number>,
}

pub(super) fn registry(log: &Log) -> (Registry, Gauges) {
    let mut registry = Registry::with_prefix("hivelog");
    log.shared().metrics.register(&mut registry);
    let gauges = Gauges::default();
    for (name, help, gauge) in [
        ("head_seq", "The highest committed seq", &gauges.head),
        ("floor_seq", "The highest pruned seq; 0 where nothing was pruned", &gauges.floor),
        ("queued_appends", "Appends that wait for the writer", &gauges.queued),
        ("recent_bytes", "Encoded events kept in memory", &gauges.recent_bytes),
        ("search_seq", "The seq up to which the search index has the log", &gauges.search),
        ("failed", "1 when the log takes no more appends", &gauges.failed),
        (
            "slowest_follower_lag_events",
            "How far the live reader that is furthest behind is behind the head",
            &gauges.slowest,
        ),
        (
            "forwarder_lag_entries",
            "What happened to messages and is not mirrored on the log yet",
            &gauges.forwarder,
        ),
    ] {
        registry.register(name, help, gauge.clone());
    }
    // Whoever misses the end of a server sees that there is another one.
    let started = Number::default();
    started.set(log.shared().clock.now_ms() / 1_000);
    registry.register_with_unit(
        "start_time",
        "When the server began, in unix seconds",
        Unit::Seconds,
        started,
    );
    registry.register("open_items", "What is open on the board, by kind", gauges.open.clone());
    registry.register_with_unit(
        "oldest_open_item_age",
        "Since when the oldest open item of a kind waits; 0 where none does",
        Unit::Seconds,
        gauges.oldest.clone(),
    );
    (registry, gauges)
}

/// What the store says at one moment.
struct Look {
    head: Seq,
    floor: Seq,
    census: Census,
    /// Rows of the broker's journal that are not on the log.
    unmirrored: i64,
}

fn look(conn: &Connection) -> Result<Look, Error> {
    at_one_moment(conn, |conn| {
        Ok(Look {
            head: rows::head(conn)?,
            floor: meta::floor(conn)?,
            census: census::census(conn)?,
            unmirrored: journal::head(conn)?.get().saturating_sub(journal::cursor(conn)?),
        })
    })
}

/// Reads them all.
pub(super) async fn read(door: &Door) -> Result<(), Error> {
    let (log, gauges) = (&door.log, &door.gauges);
    let shared = log.shared();
    let reading = shared.readers.run(Lane::Point, look);
    let Ok(looked) = tokio::time::timeout(PATIENCE, reading).await else { return Err(Error::TimedOut) };
    let Look { head, floor, census, unmirrored } = looked?;
    let as_number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    gauges.head.set(head.get());
    gauges.floor.set(floor.get());
    gauges.queued.set(as_number(log.queued()));
    gauges.recent_bytes.set(as_number(shared.recent.bytes()));
    gauges.search.set(door.search.as_ref().map_or(0, |search| search.upto().get()));
    gauges.failed.set(i64::from(log.failure().is_some()));
    // The tail, which readers follow: it may have moved on since the look.
    let behind = shared.positions.lowest().map_or(0, |seq| log.tail().get() - seq.get());
    gauges.slowest.set(behind.max(0));
    gauges.forwarder.set(unmirrored.max(0));
    let now_ms = shared.clock.now_ms();
    let sorts =
        [("approval", census.approvals), ("question", census.questions), ("transient", census.transients)];
    for (kind, open) in sorts {
        gauges.open.get_or_create(&Sort { kind }).set(open.count);
        let age_ms = open.oldest_ms.map_or(0, |since| now_ms.saturating_sub(since).max(0));
        gauges.oldest.get_or_create(&Sort { kind }).set(age_ms / 1_000);
    }
    Ok(())
}
