//! The broker: every message is handed out, in order, until it is acknowledged; nobody but its recipient has
//! it; what waits is woken.

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "server")]
mod door;
mod load;
mod messages;
mod peers;
mod retention;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hivelog::{Delivery, Desk, Error, Log, Options, Receive};

use crate::Place;

/// Long enough for no lease to lapse in a test.
const LONG: Duration = Duration::from_mins(10);
/// Short enough to see one lapse.
const SHORT: Duration = Duration::from_millis(40);

fn desk(log: &Log) -> Desk {
    Desk::of(log).unwrap()
}

fn send(desk: &Desk, to: &str, body: &str) -> i64 {
    desk.send("alice", to, body).wait().unwrap()
}

/// Takes what is there, for this long.
fn take(desk: &Desk, name: &str, max: usize, lease: Duration) -> Vec<Delivery> {
    desk.recv(name, Receive::default().max(max).lease(lease)).wait().unwrap()
}

/// Id and whether it was handed out before, of each.
fn told(deliveries: &[Delivery]) -> Vec<(i64, bool)> {
    deliveries.iter().map(|delivery| (delivery.id, delivery.redelivered)).collect()
}

/// A clock that a test sets, in milliseconds.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn at(ms: i64) -> Self {
        Self(Arc::new(AtomicI64::new(ms)))
    }

    fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    fn open(&self, place: &Place) -> Log {
        let time = Arc::clone(&self.0);
        Log::open(place.path(), Options::default().clock(move || time.load(Ordering::SeqCst))).unwrap()
    }
}

/// A number that operators would ask the file for.
fn count(place: &Place, sql: &str) -> i64 {
    crate::foreign(&place.path()).query_row(sql, [], |row| row.get(0)).unwrap()
}

fn is_unknown<T: std::fmt::Debug>(told: Result<T, Error>) -> bool {
    matches!(told, Err(Error::Refused(hivelog::Refusal::Unknown(_))))
}
