//! The tail: one number that only grows, with the means to wait for more of it.
//!
//! Publishing stores the number first, then empties the list of sleepers under the lock; a
//! sleeper joins the list under the same lock only while the number is not past it. So a wake-up
//! cannot fall between the look and the sleep.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::seq::Seq;
use crate::sync::{AtomicBool, AtomicI64, Condvar, Mutex, Ordering, lock, wait};

/// What a wait for the tail ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There is something after the seq that was waited on.
    More,
    /// The log was closed: nothing will follow.
    Closed,
}

/// The highest committed seq of a log, for as many waiters as there are.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    head: AtomicI64,
    closed: AtomicBool,
    sleepers: Mutex<Sleepers>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Sleepers {
    /// Counts the times that the list was emptied, so that a sleeper knows whether its place in it
    /// is still its own.
    round: u64,
    wakers: Slab<Waker>,
    /// Threads that wait for the bell.
    blocked: usize,
}

impl Tail {
    pub(crate) fn new(head: Seq) -> Self {
        Self { head: AtomicI64::new(head.get()), ..Self::default() }
    }

    pub(crate) fn head(&self) -> Seq {
        Seq::clamped(self.head.load(Ordering::Acquire))
    }

    /// Moves the tail to `head` and wakes everyone.
    ///
    /// # Panics
    /// `head` is behind the tail: a seq would change its meaning.
    pub(crate) fn publish(&self, head: Seq) {
        let before = self.head.swap(head.get(), Ordering::AcqRel);
        assert!(before <= head.get(), "the tail went back from {before} to {head}");
        if before < head.get() {
            self.wake_all();
        }
    }

    /// Ends every wait, present and future.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn wake_all(&self) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.round += 1;
        let woken = std::mem::take(&mut sleepers.wakers);
        if sleepers.blocked > 0 {
            // Not without need: ringing is a call into the kernel even where nobody hears it.
            self.bell.notify_all();
        }
        drop(sleepers);
        // Outside the lock: a waker may run the task at once, which comes back for the lock.
        for (_, waker) in woken {
            waker.wake();
        }
    }

    fn look(&self, after: Seq) -> Option<Woken> {
        // Before the head: what was published before the close is told before it.
        let is_closed = self.is_closed();
        if self.head() > after {
            Some(Woken::More)
        } else if is_closed {
            Some(Woken::Closed)
        } else {
            None
        }
    }

    /// Waits until the tail is past `after`. Dropping the future takes its place back.
    pub(crate) fn wait(self: &Arc<Self>, after: Seq) -> Wait {
        Wait { tail: Arc::clone(self), after, place: None }
    }

    /// Blocks until the tail is past `after`.
    pub(crate) fn wait_blocking(&self, after: Seq) -> Woken {
        let mut sleepers = lock(&self.sleepers);
        loop {
            if let Some(woken) = self.look(after) {
                return woken;
            }
            sleepers.blocked += 1;
            sleepers = wait(&self.bell, sleepers);
            sleepers.blocked -= 1;
        }
    }
}

/// A wait for the tail to pass a seq.
#[derive(Debug)]
pub(crate) struct Wait {
    tail: Arc<Tail>,
    after: Seq,
    /// The round and the place in the list of sleepers.
    place: Option<(u64, usize)>,
}

impl Future for Wait {
    type Output = Woken;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Woken> {
        if let Some(woken) = self.tail.look(self.after) {
            return Poll::Ready(woken);
        }
        let tail = Arc::clone(&self.tail);
        let mut sleepers = lock(&tail.sleepers);
        if let Some(woken) = tail.look(self.after) {
            return Poll::Ready(woken);
        }
        let round = sleepers.round;
        let mine = self.place.filter(|place| place.0 == round);
        match mine.and_then(|(_, place)| sleepers.wakers.get_mut(place)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.place = Some((round, sleepers.wakers.insert(cx.waker().clone()))),
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((round, place)) = self.place {
            let mut sleepers = lock(&self.tail.sleepers);
            if sleepers.round == round {
                sleepers.wakers.try_remove(place);
            }
        }
    }
}
