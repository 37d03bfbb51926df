//! How many events there were over time, without counting them.

use std::ops::Range;

use rusqlite::Connection;
use serde::Serialize;

use crate::error::{Error, Refusal};
use crate::limits::{ACTIVITY_BUCKETS, ACTIVITY_BUCKETS_MAX};
use crate::seq::Seq;
use crate::store::meta;
use crate::store::readers::at_one_moment;
use crate::store::rows::{self, Stretch};

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Bucket {
    /// Where it begins, in milliseconds since 1970.
    pub from_ms: i64,
    /// The first seq recorded at or after that.
    pub first_seq: i64,
    /// How many seqs there are up to the next bucket.
    pub count: i64,
}

/// What a histogram is asked for. Without bounds it covers the whole log.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// Where it begins, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Where it ends, in milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// How many buckets: 1 to 1,000.
    pub buckets: usize,
}

impl Default for Activity {
    /// The whole log in 60 buckets.
    fn default() -> Self {
        Self { since_ms: None, until_ms: None, buckets: ACTIVITY_BUCKETS }
    }
}

/// Finds the first seqs of these edges, in their order: the middle one first, which bounds where the others lie.
fn between(
    edges: Range<i64>,
    bounds: Range<i64>,
    find: &impl Fn(i64, Range<i64>) -> rusqlite::Result<i64>,
    seqs: &mut Vec<i64>,
) -> rusqlite::Result<()> {
    if edges.is_empty() {
        return Ok(());
    }
    let middle = edges.start + (edges.end - edges.start) / 2;
    let found = if bounds.is_empty() { bounds.end } else { find(middle, bounds.clone())? };
    between(edges.start..middle, bounds.start..found, find, seqs)?;
    seqs.push(found);
    between(middle + 1..edges.end, found..bounds.end, find, seqs)
}

/// Seqs are dense, so a count is a subtraction, and a bound is a binary search: the cost grows with the log's
/// logarithm, not with the log.
pub(crate) fn activity(conn: &Connection, asked: Activity, now_ms: i64) -> Result<Vec<Bucket>, Error> {
    if !(1..=ACTIVITY_BUCKETS_MAX).contains(&asked.buckets) {
        let detail = format!("is not between 1 and {ACTIVITY_BUCKETS_MAX}");
        return Err(Refusal::invalid("buckets", detail).into());
    }
    let buckets = i64::try_from(asked.buckets).unwrap_or(1);
    at_one_moment(conn, |conn| {
        let (head, floor) = (rows::head(conn)?, meta::floor(conn)?);
        let stretch = Stretch::upto(floor, head);
        let first = rows::get(conn, floor.next(), |row| row.recorded_at_ms)?;
        let since = asked.since_ms.or(first).unwrap_or(now_ms).max(0);
        let until = asked.until_ms.unwrap_or_else(|| {
            now_ms.max(rows::last_time(conn).ok().flatten().unwrap_or(0) + 1).max(since + 1)
        });
        if until <= since {
            return Ok(Err(Refusal::invalid("until", "is not after `since`")));
        }
        let edge = |index: i64| {
            let width = i128::from(until - since) * i128::from(index) / i128::from(buckets);
            since + i64::try_from(width).unwrap_or(0)
        };
        let find = |index: i64, bounds: Range<i64>| {
            let stretch = Stretch { after: Seq::clamped(bounds.start - 1), before: bounds.end };
            rows::at_or_after(conn, stretch, edge(index))
        };
        let mut seqs = Vec::with_capacity(asked.buckets + 1);
        between(0..buckets + 1, stretch.after.get() + 1..stretch.before, &find, &mut seqs)?;
        let bars = seqs.iter().zip(seqs.iter().skip(1)).zip(0..);
        Ok(Ok(bars
            .map(|((first_seq, next), index)| Bucket {
                from_ms: edge(index),
                first_seq: *first_seq,
                count: next - first_seq,
            })
            .collect()))
    })?
    .map_err(|refusal: Refusal| refusal.into())
}
