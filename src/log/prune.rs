//! What is to go, found by readers and taken out by the writer, a little at a time.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::board::closed::{self, Ends, Entity};
use crate::error::{Error, Refusal};
use crate::event::FREQUENT_KINDS;
use crate::limits::{GIVE_BACK_PAGES, PRUNE_BYTES, PRUNE_EVENTS, SCAN_SLICE};
use crate::log::Log;
use crate::log::retention::{Subject, is_free};
use crate::seq::Seq;
use crate::store::file::Store;
use crate::store::prune::{delete, free_pages, give_back, walk};
use crate::store::readers::at_one_moment;
use crate::store::rows::{self, Stretch};
use crate::store::task::Task;
use crate::store::wipe::unwiped;
use crate::store::{meta, reading};

/// What is to be pruned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Only events before this seq.
    pub before_seq: Option<i64>,
    /// Only events recorded before this time, in milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// Of which kinds; none named are `sent` and `delivered`. `approvals`, `questions` and `transients` mean the
    /// closed ones, with all of their events; `*` every kind that is an application's own.
    pub kinds: Vec<String>,
    /// Only says what would go.
    pub dry_run: bool,
}

/// What was pruned, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The highest pruned seq.
    pub floor: Seq,
    /// How many events went.
    pub pruned: u64,
}

/// Which events are to go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    kinds: BTreeSet<Box<str>>,
    /// Every kind that is an application's own, but not these.
    others: Option<BTreeSet<Box<str>>>,
    entities: BTreeSet<Entity>,
}

impl Wanted {
    pub(crate) fn of<'a>(
        subjects: impl Iterator<Item = &'a Subject>,
        all: impl Iterator<Item = &'a Subject>,
    ) -> Self {
        let mut wanted = Self::default();
        for subject in subjects {
            match subject {
                Subject::Kind(kind) => drop(wanted.kinds.insert(kind.clone())),
                Subject::Entity(entity) => drop(wanted.entities.insert(*entity)),
                Subject::Others => wanted.others = Some(BTreeSet::new()),
            }
        }
        if let Some(others) = &mut wanted.others {
            others.extend(all.filter_map(|subject| match subject {
                Subject::Kind(kind) => Some(kind.clone()),
                Subject::Others | Subject::Entity(_) => None,
            }));
        }
        wanted
    }

    /// Whether an event of this kind is wanted, which can go alone.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        self.kinds.contains(kind)
            || self.others.as_ref().is_some_and(|but| is_free(kind) && !but.contains(kind))
    }

    fn goes_alone(&self) -> bool {
        !self.kinds.is_empty() || self.others.is_some()
    }
}

/// How far a walk has come: below it there is nothing that is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    alone: Seq,
    entities: [Seq; 3],
    ends: Ends,
}

/// Events that go in one commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) alone: Vec<Seq>,
    pub(crate) board: Vec<Seq>,
    rows: Vec<(Entity, i64)>,
    /// How many there are, where an entity counts as one.
    pub(crate) items: i64,
    /// The length of their text.
    pub(crate) bytes: i64,
    /// Whether the walk is at its end.
    pub(crate) is_last: bool,
}

impl Place {
    /// Once what a walk passed is gone, nothing is left before which an end would have to be remembered.
    pub(crate) fn forget_ends(&mut self) {
        self.ends.clear();
    }
}

impl Batch {
    /// Nothing, and there is no more.
    pub(crate) fn none() -> Self {
        Self { is_last: true, ..Self::default() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.items == 0
    }

    pub(crate) const fn events(&self) -> u64 {
        (self.alone.len() + self.board.len()) as u64
    }

    pub(crate) fn top(&self) -> Seq {
        self.alone.iter().chain(&self.board).copied().max().unwrap_or_default()
    }

    fn is_full(&self) -> bool {
        self.events() >= PRUNE_EVENTS || self.bytes >= PRUNE_BYTES
    }
}

/// Finds the next events that are wanted before `before`, the oldest first, until there are enough for one commit
/// or `enough` says so of their number and bytes.
pub(crate) fn next(
    conn: &Connection,
    wanted: &Wanted,
    before: i64,
    place: &mut Place,
    enough: impl Fn(i64, i64) -> bool,
) -> rusqlite::Result<Batch> {
    let mut batch = Batch::none();
    if wanted.goes_alone() {
        let (begin, mut count) = (Instant::now(), 0_u32);
        walk(conn, Stretch { after: place.alone, before }, |seq, kind, bytes| {
            if enough(batch.items, batch.bytes) || batch.is_full() {
                batch.is_last = false;
                return ControlFlow::Break(());
            }
            place.alone = seq;
            if wanted.wants(kind) {
                batch.alone.push(seq);
                batch.items += 1;
                batch.bytes += bytes;
            }
            count += 1;
            if count.is_multiple_of(256) && begin.elapsed() > SCAN_SLICE {
                batch.is_last = false;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
    }
    for entity in &wanted.entities {
        if batch.is_full() || enough(batch.items, batch.bytes) {
            batch.is_last = false;
            break;
        }
        let Some(passed) = place.entities.get_mut(*entity as usize) else { continue };
        let found = closed::next(conn, *entity, (*passed, before), 64, &place.ends)?;
        batch.is_last &= found.is_empty();
        for closed in found {
            if batch.is_full() || enough(batch.items, batch.bytes) {
                break;
            }
            *passed = closed.end();
            place.ends.extend(closed.name.clone().map(|name| (name, closed.end())));
            batch.rows.extend(closed.id.map(|id| (*entity, id)));
            batch.items += 1;
            batch.bytes += closed.bytes;
            batch.board.extend(closed.events);
        }
    }
    Ok(batch)
}

/// Takes a batch out; gives how many events that were. Nobody can open again what is closed, so what a reader found
/// still holds.
pub(crate) fn take_out(store: &Store, batch: Batch) -> Result<u64, Error> {
    let metrics = std::sync::Arc::clone(&store.metrics);
    let task = Task::new(move |turn| {
        let gone = delete(turn.conn, &batch.alone, &batch.board)?;
        fail::fail_point!("prune.deleted");
        for (entity, id) in &batch.rows {
            closed::forget(turn.conn, *entity, *id)?;
        }
        Ok(Ok(gone))
    });
    let task = task.after(move |gone| {
        metrics.pruned.inc_by(*gone);
    });
    pollster::block_on(store.write(task))
}

/// Takes some empty pages out of the file while more than so many are empty; says whether it did.
pub(crate) fn shrink(store: &Store, keep: impl Fn(i64) -> i64) -> Result<bool, Error> {
    let (free, all) = store.readers.with(|conn| free_pages(conn).map_err(|error| reading(&error)))?;
    let beyond = free.saturating_sub(keep(all)).clamp(0, i64::from(GIVE_BACK_PAGES));
    let Ok(pages @ 1..) = u32::try_from(beyond) else { return Ok(false) };
    fail::fail_point!("prune.looked");
    let task = Task::new(move |turn| {
        // Whoever looks through the file for old text must not have pages moved behind it. Asked here: a redaction may
        // have come since the look.
        if unwiped(turn.conn)? > 0 {
            return Ok(Ok(false));
        }
        fail::fail_point!("prune.shrink");
        give_back(turn.conn, pages)?;
        Ok(Ok(true))
    });
    pollster::block_on(store.write(task))
}

/// How pruning gives way to appends: what it writes brings checkpoints with it, which they wait for too.
pub(crate) struct Pace {
    begin: Instant,
    commits: u64,
}

impl Pace {
    pub(crate) fn begin(store: &Store) -> Self {
        Self { begin: Instant::now(), commits: store.metrics.commits.get() }
    }

    /// Rests three times as long as the last step took, if anybody else committed since the one before.
    pub(crate) fn rest(&mut self, store: &Store) {
        if store.metrics.commits.get() > self.commits + 1 {
            std::thread::sleep((self.begin.elapsed() * 3).min(REST_MAX));
        }
        *self = Self::begin(store);
    }
}

/// Longer than a step takes by itself: what held it up is over.
const REST_MAX: Duration = Duration::from_millis(100);

impl Prune {
    /// What goes, and before which seq.
    fn plan(&self, conn: &Connection) -> Result<(Wanted, i64), Error> {
        if self.before_seq.is_none() && self.before_ms.is_none() {
            return Err(Refusal::shape("`before_seq` or `before` has to say how far").into());
        }
        let subjects: Vec<Subject> = if self.kinds.is_empty() {
            FREQUENT_KINDS.map(|kind| Subject::Kind(kind.into())).into()
        } else {
            self.kinds.iter().map(|kind| kind.parse()).collect::<Result<_, _>>()?
        };
        let wanted = Wanted::of(subjects.iter(), std::iter::empty());
        at_one_moment(conn, |conn| {
            let mut before = rows::head(conn)?.get() + 1;
            if let Some(seq) = self.before_seq {
                before = before.min(seq.max(0));
            }
            if let Some(time_ms) = self.before_ms {
                before = before.min(rows::at_or_after(conn, Stretch { after: Seq::ZERO, before }, time_ms)?);
            }
            Ok((wanted, before))
        })
    }
}

impl Log {
    /// Takes old events out of the log, in commits of a few milliseconds between which appends go on. What is open
    /// stays, and an approval, a question or a transient goes whole or not at all.
    ///
    /// Blocks until all of it is done. Broken off at any point it has pruned less; called again it goes on.
    ///
    /// # Errors
    /// [`Error::Refused`] where no bound is given or there can be no such kind; as every write.
    pub fn prune(&self, asked: &Prune) -> Result<Pruned, Error> {
        let store = self.store()?;
        let (wanted, before) = store.readers.with(|conn| asked.plan(conn))?;
        let (mut place, mut pruned, mut top) = (Place::default(), 0, Seq::ZERO);
        let mut tempo = Pace::begin(&store);
        loop {
            let find = |conn: &Connection| {
                at_one_moment(conn, |conn| next(conn, &wanted, before, &mut place, |_, _| false))
            };
            let batch = store.readers.with(find)?;
            let is_last = batch.is_last;
            top = top.max(batch.top());
            if asked.dry_run {
                pruned += batch.events();
            } else if !batch.is_empty() {
                pruned += take_out(&store, batch)?;
                place.forget_ends();
                tempo.rest(&store);
            }
            if is_last {
                break;
            }
        }
        let floor = store.readers.with(|conn| meta::floor(conn).map_err(|error| reading(&error)))?;
        Ok(Pruned { floor: if asked.dry_run { floor.max(top) } else { floor }, pruned })
    }

    /// Gives the file's empty pages back to the disk, in commits of a few milliseconds. Blocks until that is done.
    /// Beside a `Desk` it happens by itself, but for some room to grow.
    ///
    /// # Errors
    /// As every write.
    pub fn give_back(&self) -> Result<(), Error> {
        let store = self.store()?;
        let mut tempo = Pace::begin(&store);
        while shrink(&store, |_| 0)? {
            tempo.rest(&store);
        }
        Ok(())
    }
}
