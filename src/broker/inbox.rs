//! The bells: who waits for what, and how they are woken.
//!
//! A listener takes its place before its first look, and remembers how often its bell had rung by then: so a
//! ring cannot fall between the look and the sleep. There is a bell only while somebody listens, so their
//! number is that of the waiting calls.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use slab::Slab;

use crate::error::Error;
use crate::sync::{Mutex, lock};

/// A bell for each name that somebody waits for.
///
/// A mutex around them all: each of its sections is a few lookups, none of them waits. Its owner is the
/// broker; closing ends every wait.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    bells: HashMap<Arc<str>, Bell>,
}

#[derive(Debug, Default)]
struct Bell {
    rings: u64,
    listeners: usize,
    sleepers: Slab<Waker>,
    /// When it rings by itself, in the time of leases.
    due_ms: Option<i64>,
}

impl Bell {
    fn ring(&mut self, woken: &mut Vec<Waker>) {
        self.rings += 1;
        self.due_ms = None;
        woken.extend(std::mem::take(&mut self.sleepers).into_iter().map(|(_, waker)| waker));
    }
}

/// Outside the lock: a waker may run its task at once, which comes back for the lock.
fn wake(woken: Vec<Waker>) {
    woken.into_iter().for_each(Waker::wake);
}

impl Bells {
    /// Takes a place at the bell of this name.
    pub(crate) fn listen(self: &Arc<Self>, name: &str) -> Listener {
        let name: Arc<str> = name.into();
        let mut state = lock(&self.state);
        let bell = state.bells.entry(Arc::clone(&name)).or_default();
        bell.listeners += 1;
        let seen = bell.rings;
        drop(state);
        Listener { bells: Arc::clone(self), name, seen, place: None }
    }

    /// Wakes those who wait for this name.
    pub(crate) fn ring(&self, name: &str) {
        let mut woken = Vec::new();
        let mut state = lock(&self.state);
        if let Some(bell) = state.bells.get_mut(name) {
            bell.ring(&mut woken);
        }
        drop(state);
        wake(woken);
    }

    /// Has the bell of this name ring by itself, at the latest then.
    pub(crate) fn ring_at(&self, name: &str, due_ms: i64) {
        if let Some(bell) = lock(&self.state).bells.get_mut(name) {
            bell.due_ms = Some(bell.due_ms.map_or(due_ms, |before| before.min(due_ms)));
        }
    }

    /// Wakes those whose bell was to ring by now.
    pub(crate) fn ring_due(&self, now_ms: i64) {
        self.ring_those(|bell| bell.due_ms.is_some_and(|due_ms| due_ms <= now_ms));
    }

    /// Wakes everyone, for a look at what has become of the file.
    pub(crate) fn ring_all(&self) {
        self.ring_those(|_| true);
    }

    fn ring_those(&self, is_meant: impl Fn(&Bell) -> bool) {
        let mut woken = Vec::new();
        let mut state = lock(&self.state);
        for bell in state.bells.values_mut().filter(|bell| is_meant(bell)) {
            bell.ring(&mut woken);
        }
        drop(state);
        wake(woken);
    }

    /// Ends every wait, present and future.
    pub(crate) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.ring_all();
    }
}

/// A place at a bell. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Listener {
    bells: Arc<Bells>,
    name: Arc<str>,
    /// How often the bell had rung when it was last heard.
    seen: u64,
    /// The number of the ring that is waited for, and the place among the sleepers.
    place: Option<(u64, usize)>,
}

impl Listener {
    /// Waits until the bell rings that had not rung yet when this listener came, or last heard it.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Closed`]: it will never ring again.
    pub(crate) async fn heard(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_heard(cx)).await
    }

    fn poll_heard(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.bells.state);
        if state.is_closed {
            return Poll::Ready(Err(Error::Closed));
        }
        let Some(bell) = state.bells.get_mut(&self.name) else {
            // A bell stays as long as it has a listener.
            return Poll::Ready(Err(Error::Closed));
        };
        if bell.rings != self.seen {
            self.seen = bell.rings;
            return Poll::Ready(Ok(()));
        }
        let mine = self.place.filter(|(round, _)| *round == bell.rings);
        match mine.and_then(|(_, place)| bell.sleepers.get_mut(place)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.place = Some((bell.rings, bell.sleepers.insert(cx.waker().clone()))),
        }
        Poll::Pending
    }

    /// Blocks until the bell rings; says whether it did before `until`, where there is such a time.
    ///
    /// # Errors
    /// As [`Listener::heard`].
    pub(crate) fn heard_by(&mut self, until: Option<Instant>) -> Result<bool, Error> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(heard) = self.poll_heard(&cx) {
                return heard.map(|()| true);
            }
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(left) if left.is_zero() => return Ok(false),
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = lock(&self.bells.state);
        let Some(bell) = state.bells.get_mut(&self.name) else { return };
        bell.listeners = bell.listeners.saturating_sub(1);
        if bell.listeners == 0 {
            state.bells.remove(&self.name);
        } else if let Some((round, place)) = self.place
            && round == bell.rings
        {
            bell.sleepers.try_remove(place);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
