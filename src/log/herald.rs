//! Who is told of a commit: the live readers that it concerns, and nobody else.
//!
//! A commit wakes one task, and that one wakes the readers: neither the writer nor a reader pays for how many
//! there are. A reader of some agents or kinds sleeps through what is not for it, and knows on waking up to
//! where it slept. Who is told too much finds nothing and sleeps again; nobody is told too little: a reader
//! takes its chair under the lock, only while nothing was told that it has not looked at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::log::recent::{After, Recent};
use crate::query::Filter;
use crate::seq::Seq;
use crate::sync::{Mutex, lock};

/// What the readers of one log wait for, as long as somebody tells them.
#[derive(Debug)]
pub(crate) struct Herald {
    // A mutex: a reader takes it for some assignments when it goes to sleep, and a commit once.
    hall: Mutex<Hall>,
}

/// Readers by a name.
type Index = HashMap<Box<str>, BTreeSet<usize>>;

#[derive(Debug, Default)]
struct Hall {
    /// Whoever is concerned by something up to here was woken.
    told: Seq,
    /// Somebody tells; the readers wait for the tail by themselves otherwise.
    is_kept: bool,
    is_closed: bool,
    /// Those who read everything.
    all: Slab<Chair>,
    some: Slab<(Chair, Arc<Filter>)>,
    /// Those of `some` who name agents, by agent.
    by_agent: Index,
    /// Those who name only kinds, by kind.
    by_kind: Index,
}

/// Where one reader sits, asleep or not.
#[derive(Debug, Default)]
struct Chair {
    sleeper: Option<Waker>,
    /// It has looked at everything up to here.
    after: Seq,
    /// It was woken, and nothing up to here is for it.
    slept_to: Option<Seq>,
}

/// What ends a reader's sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// There may be something for it after this seq.
    More(Seq),
    /// The log was closed.
    Closed,
    /// Nobody tells: it has to wait for the tail.
    Nobody,
}

impl Herald {
    pub(crate) fn new() -> Self {
        Self { hall: Mutex::new(Hall::default()) }
    }

    /// A reader comes; the tail stands at `head` by now.
    pub(crate) fn enter(self: &Arc<Self>, filter: &Arc<Filter>, head: Seq) -> Seat {
        let mut hall = lock(&self.hall);
        if hall.is_empty() {
            // What was appended while nobody read concerns nobody.
            hall.told = hall.told.max(head);
        }
        let place = if filter.wants_all() {
            Place::All(hall.all.insert(Chair::default()))
        } else {
            let index = hall.some.insert((Chair::default(), Arc::clone(filter)));
            let (names, by_name) = hall.names(filter);
            for name in names {
                by_name.entry(name.clone()).or_default().insert(index);
            }
            Place::Some(index)
        };
        Seat { herald: Arc::clone(self), place }
    }

    /// Takes the office, which lasts until it is dropped; none where somebody has it.
    pub(crate) fn take_office(self: &Arc<Self>) -> Option<Office> {
        let mut hall = lock(&self.hall);
        let is_free = !std::mem::replace(&mut hall.is_kept, true);
        is_free.then(|| Office { herald: Arc::clone(self), is_held: true })
    }

    fn wake_all(&self) -> Vec<Waker> {
        let mut hall = lock(&self.hall);
        let told = hall.told;
        let mut woken: Vec<Waker> = hall.all.iter_mut().filter_map(|(_, chair)| chair.wake(told)).collect();
        hall.wake_some(told, &mut woken);
        woken
    }
}

impl Hall {
    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.some.is_empty()
    }

    /// By what a reader of something is found: its agents, which are rarer, else its kinds.
    fn names<'a>(&mut self, filter: &'a Filter) -> (&'a [Box<str>], &mut Index) {
        if filter.names_agents() {
            (filter.agents(), &mut self.by_agent)
        } else {
            (filter.kinds(), &mut self.by_kind)
        }
    }

    fn chair(&mut self, place: Place) -> Option<&mut Chair> {
        match place {
            Place::All(index) => self.all.get_mut(index),
            Place::Some(index) => self.some.get_mut(index).map(|(chair, _)| chair),
        }
    }

    /// Wakes those whom an event concerns.
    fn tell_of(&mut self, (seq, kind, agents): (Seq, &str, &str), woken: &mut Vec<Waker>) {
        let by_agent = agents.split(' ').filter_map(|name| self.by_agent.get(name));
        for &index in by_agent.chain(self.by_kind.get(kind)).flatten() {
            if let Some((chair, filter)) = self.some.get_mut(index)
                && seq > chair.after
                && filter.wants(kind, agents)
            {
                woken.extend(chair.wake(Seq::clamped(seq.get() - 1)));
            }
        }
    }

    fn wake_some(&mut self, upto: Seq, woken: &mut Vec<Waker>) {
        woken.extend(self.some.iter_mut().filter_map(|(_, (chair, _))| chair.wake(upto)));
    }
}

impl Chair {
    /// Ends its sleep, if it sleeps; nothing up to `upto` is for it.
    fn wake(&mut self, upto: Seq) -> Option<Waker> {
        let sleeper = self.sleeper.take()?;
        self.slept_to = Some(upto.max(self.after));
        Some(sleeper)
    }
}

/// The right to tell the readers. While somebody has it they rely on it.
#[derive(Debug)]
pub(crate) struct Office {
    herald: Arc<Herald>,
    is_held: bool,
}

impl Office {
    pub(crate) fn told(&self) -> Seq {
        lock(&self.herald.hall).told
    }

    /// Tells of everything up to `head`, where the tail stood before the call: gives those who are to be woken.
    pub(crate) fn tell(&self, recent: &Recent, head: Seq) -> Vec<Waker> {
        let mut hall = lock(&self.herald.hall);
        let mut upto = hall.told;
        let mut woken = Vec::with_capacity(hall.all.len());
        let behind = hall.all.iter_mut().filter(|(_, chair)| chair.after < head);
        woken.extend(behind.filter_map(|(_, chair)| chair.wake(upto)));
        while !hall.some.is_empty() && upto < head {
            if let After::Rows(segment) = recent.after(upto, head) {
                for row in segment.rows_from(segment.position(upto)) {
                    hall.tell_of(row, &mut woken);
                }
                upto = segment.last().unwrap_or(head);
            } else {
                // It left the ring already, so it may be for anybody.
                hall.wake_some(upto, &mut woken);
                break;
            }
        }
        hall.told = hall.told.max(head);
        woken
    }

    /// Tells everyone that nothing will follow.
    pub(crate) fn close(self) -> Vec<Waker> {
        lock(&self.herald.hall).is_closed = true;
        self.herald.wake_all()
    }

    /// Gives the office back, where nobody is left to be told anything; whether it did. Who comes next finds it free.
    pub(crate) fn leave_if_empty(&mut self) -> bool {
        let mut hall = lock(&self.herald.hall);
        if hall.is_empty() {
            hall.is_kept = false;
            self.is_held = false;
        }
        !self.is_held
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if self.is_held {
            // Its runtime ends before the log does: the readers go on by themselves.
            lock(&self.herald.hall).is_kept = false;
            self.herald.wake_all().into_iter().for_each(Waker::wake);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Place {
    All(usize),
    Some(usize),
}

/// The place of one reader, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    herald: Arc<Herald>,
    place: Place,
}

impl Seat {
    /// Waits for something that concerns this reader, which has looked at everything up to `after`. It sleeps on
    /// when it is not polled any more, and is asked for `slept_to` then.
    pub(crate) fn poll(&self, after: Seq, cx: &mut Context<'_>) -> Poll<Heard> {
        let mut hall = lock(&self.herald.hall);
        let (told, is_closed, is_kept) = (hall.told, hall.is_closed, hall.is_kept);
        let Some(chair) = hall.chair(self.place) else { return Poll::Ready(Heard::Nobody) };
        if let Some(sleeper) = &mut chair.sleeper {
            sleeper.clone_from(cx.waker());
            return Poll::Pending;
        }
        if let Some(upto) = chair.slept_to.take() {
            return Poll::Ready(Heard::More(upto));
        }
        if told > after {
            return Poll::Ready(Heard::More(after));
        }
        if is_closed {
            return Poll::Ready(Heard::Closed);
        }
        if !is_kept {
            return Poll::Ready(Heard::Nobody);
        }
        (chair.sleeper, chair.after) = (Some(cx.waker().clone()), after);
        Poll::Pending
    }

    /// Up to where nothing is for this reader, if it sleeps.
    pub(crate) fn slept_to(&self) -> Option<Seq> {
        let mut hall = lock(&self.herald.hall);
        let told = hall.told;
        let chair = hall.chair(self.place)?;
        chair.sleeper.as_ref().map(|_| told.max(chair.after))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut hall = lock(&self.herald.hall);
        match self.place {
            Place::All(index) => drop(hall.all.try_remove(index)),
            Place::Some(index) => {
                let Some((_, filter)) = hall.some.try_remove(index) else { return };
                let (names, by_name) = hall.names(&filter);
                for name in names {
                    if let Some(readers) = by_name.get_mut(name) {
                        readers.remove(&index);
                        if readers.is_empty() {
                            by_name.remove(name);
                        }
                    }
                }
            }
        }
    }
}
