//! The rules of retention, carried out a little at a time.

use std::ops::ControlFlow;
use std::time::Instant;

use rusqlite::Connection;

use crate::board::closed;
use crate::error::Error;
use crate::limits::{FREE_PAGES_KEPT, KEPT_MS_MIN, PRUNE_PAUSE, PRUNE_SLICE, SCAN_SLICE};
use crate::log::prune::{Batch, Pace, Place, Wanted, next, shrink, take_out};
use crate::log::retention::{Keep, Retention, Subject};
use crate::seq::Seq;
use crate::store::file::Store;
use crate::store::meta;
use crate::store::prune::walk;
use crate::store::readers::at_one_moment;
use crate::store::rows::{self, Stretch};

/// What looks every now and then whether something is beyond what is kept.
pub(crate) struct Upkeep {
    rules: Vec<Rule>,
    next: Instant,
}

/// One rule, and how far it has come.
struct Rule {
    subject: Subject,
    keep: Keep,
    wanted: Wanted,
    place: Place,
    census: Census,
}

/// How much there is of what a rule is about.
#[derive(Clone, Copy, Debug)]
struct Census {
    items: i64,
    bytes: i64,
    /// What was counted: the events up to here.
    upto: Seq,
    /// How many events were pruned when it was begun: somebody else's pruning makes it wrong.
    pruned: i64,
}

impl Census {
    /// To be begun: no file has pruned so few.
    const NONE: Self = Self { items: 0, bytes: 0, upto: Seq::ZERO, pruned: i64::MIN };
}

impl Upkeep {
    pub(crate) fn new(retention: &Retention) -> Self {
        let rules =
            retention.rules.iter().filter(|(_, keep)| keep.has_bounds()).map(|(subject, keep)| Rule {
                subject: subject.clone(),
                keep: *keep,
                wanted: Wanted::of(std::iter::once(subject), retention.rules.keys()),
                place: Place::default(),
                census: Census::NONE,
            });
        Self { rules: rules.collect(), next: Instant::now() }
    }

    /// Prunes for at most a slice of time, or where nothing is to be pruned gives some space back; once nothing is
    /// left to do it rests a while.
    pub(crate) fn look(&mut self, store: &Store) -> Result<(), Error> {
        let begin = Instant::now();
        if begin < self.next {
            return Ok(());
        }
        let mut goes_on = true;
        while goes_on && begin.elapsed() < PRUNE_SLICE {
            goes_on = self.step(store)?;
        }
        if !goes_on {
            self.next = Instant::now() + PRUNE_PAUSE;
        }
        Ok(())
    }

    fn step(&mut self, store: &Store) -> Result<bool, Error> {
        let now_ms = store.clock.now_ms();
        let mut goes_on = false;
        for index in 0..self.rules.len() {
            let Some(rule) = self.rules.get_mut(index) else { break };
            let (may_be_more, gone) = rule.step(store, now_ms)?;
            goes_on |= may_be_more;
            // No two rules are about the same event: what one took out leaves the count of the others right. At
            // once, or the next one would take its own for outdated.
            for rule in &mut self.rules {
                rule.census.pruned = rule.census.pruned.saturating_add_unsigned(gone);
            }
        }
        if goes_on {
            return Ok(true);
        }
        let mut tempo = Pace::begin(store);
        let did = shrink(store, |pages| FREE_PAGES_KEPT.max(pages / 16))?;
        if did {
            tempo.rest(store);
        }
        Ok(did)
    }
}

impl Rule {
    /// Takes one batch out, if something is due; says whether there may be more, and how many events went.
    fn step(&mut self, store: &Store, now_ms: i64) -> Result<(bool, u64), Error> {
        let (place, census) = (self.place.clone(), self.census);
        let batch = store.readers.with(|conn| at_one_moment(conn, |conn| self.due(conn, now_ms)))?;
        let Some(batch) = batch else { return Ok((true, 0)) };
        if batch.is_empty() {
            return Ok((!batch.is_last, 0));
        }
        let mut tempo = Pace::begin(store);
        let (items, bytes, top) = (batch.items, batch.bytes, batch.top());
        match take_out(store, batch) {
            Ok(gone) => {
                self.place.forget_ends();
                if top <= self.census.upto {
                    self.census.items -= items;
                    self.census.bytes -= bytes;
                } else {
                    // Some of it was not counted yet.
                    self.census = Census::NONE;
                }
                tempo.rest(store);
                Ok((true, gone))
            }
            Err(error) => {
                (self.place, self.census) = (place, census);
                Err(error)
            }
        }
    }

    /// What is beyond a bound; `None` while that is still being counted.
    fn due(&mut self, conn: &Connection, now_ms: i64) -> rusqlite::Result<Option<Batch>> {
        let head = rows::head(conn)?;
        let whole = Stretch::upto(Seq::ZERO, head);
        if let Some(age_ms) = self.keep.age_ms {
            let before = rows::at_or_after(conn, whole, now_ms.saturating_sub(age_ms))?;
            let batch = next(conn, &self.wanted, before, &mut self.place, |_, _| false)?;
            if !batch.is_empty() || !batch.is_last {
                return Ok(Some(batch));
            }
        }
        if self.keep.events.is_none() && self.keep.bytes.is_none() {
            return Ok(Some(Batch::none()));
        }
        if !self.count(conn, head)? {
            return Ok(None);
        }
        let Census { items, bytes, .. } = self.census;
        let fits = |gone_items: i64, gone_bytes: i64| {
            self.keep.events.is_none_or(|most| items - gone_items <= most)
                && self.keep.bytes.is_none_or(|most| bytes - gone_bytes <= most)
        };
        if fits(0, 0) {
            return Ok(Some(Batch::none()));
        }
        let before = rows::at_or_after(conn, whole, now_ms.saturating_sub(KEPT_MS_MIN))?;
        let batch = next(conn, &self.wanted, before, &mut self.place, fits)?;
        // What is too young to go stays, however much it is.
        Ok(Some(batch))
    }

    /// Counts for a slice of time; says whether all was counted.
    fn count(&mut self, conn: &Connection, head: Seq) -> rusqlite::Result<bool> {
        if let Subject::Entity(entity) = self.subject {
            (self.census.items, self.census.bytes) = closed::count(conn, entity)?;
            return Ok(true);
        }
        let pruned = meta::integer(conn, "pruned")?;
        if self.census.pruned != pruned {
            self.census = Census { pruned, ..Census::NONE };
        }
        let (begin, census, wanted) = (Instant::now(), &mut self.census, &self.wanted);
        let (mut seen, mut ended) = (0_u32, true);
        walk(conn, Stretch::upto(census.upto, head), |seq, kind, bytes| {
            census.upto = seq;
            if wanted.wants(kind) {
                census.items += 1;
                census.bytes += bytes;
            }
            seen += 1;
            if seen.is_multiple_of(256) && begin.elapsed() > SCAN_SLICE {
                ended = false;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::{Draft, Log, Options};

    const MESSAGE: &str = r#"{"kind":"sent","from":"a","to":"b","body":"x","at":1}"#;

    /// A log, its clock, and the folder that goes with it.
    fn log() -> (Log, Arc<AtomicI64>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(100_000_000));
        let clock = Arc::clone(&now);
        let options = Options::default().clock(move || clock.load(Ordering::SeqCst));
        (Log::open(folder.path().join("log.db"), options).unwrap(), now, folder)
    }

    /// By its age something goes before anything was counted.
    #[test]
    fn a_rule_by_age_and_number_keeps_to_both() {
        let (log, now, _folder) = log();
        let append = |count| {
            for _ in 0..count {
                log.append(Draft::from_json(MESSAGE).unwrap()).wait().unwrap();
            }
        };
        append(200);
        now.fetch_add(3_000_000, Ordering::SeqCst);
        append(200);
        now.fetch_add(700_000, Ordering::SeqCst);
        let rules = Retention::forever().keep("sent", "1h,100".parse().unwrap()).unwrap();
        let (mut upkeep, store) = (Upkeep::new(&rules), log.store().unwrap());
        while upkeep.step(&store).unwrap() {}
        assert_eq!(store.readers.with(|conn| Ok(rows::count_above(conn, Seq::ZERO).unwrap())).unwrap(), 100);
    }

    #[test]
    fn what_one_rule_takes_out_leaves_the_count_of_another_right() {
        let (log, now, _folder) = log();
        for text in [MESSAGE, r#"{"kind":"a.b"}"#].repeat(100) {
            log.append(Draft::from_json(text).unwrap()).wait().unwrap();
        }
        let keep = |all: Retention, kind, keep: &str| all.keep(kind, keep.parse().unwrap()).unwrap();
        let rules = keep(keep(Retention::forever(), "sent", "1h"), "*", "1000");
        let (mut upkeep, store) = (Upkeep::new(&rules), log.store().unwrap());
        now.fetch_add(7_200_000, Ordering::SeqCst);
        loop {
            let goes_on = upkeep.step(&store).unwrap();
            let pruned = store.readers.with(|conn| Ok(meta::integer(conn, "pruned").unwrap())).unwrap();
            let counts = |rule: &Rule| rule.keep.events.is_none() || rule.census.pruned == pruned;
            assert!(upkeep.rules.iter().all(counts), "{pruned}");
            if !goes_on {
                assert_eq!(pruned, 100);
                return;
            }
        }
    }
}
