//! The process that is killed: it sends, takes, acknowledges and mirrors, and says all it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hivelog::{Desk, Error, Log, Options, Receive};

use crate::dice::Dice;
use crate::point::{arm, tell};

/// What the parent wants of a child.
#[derive(Clone, Debug)]
pub struct Orders {
    pub path: String,
    pub seed: u64,
    /// The first number of a sending that was not used yet.
    pub next_call: u64,
    /// The point to die at, and at which of its hits.
    pub death: Option<(String, u64)>,
}

pub const VARIABLE: &str = "HIVELOG_CRASH_COURIER";
/// Each has one inbox, and takes from it in one thread.
pub const RECIPIENTS: u64 = 2;

const SENDERS: u64 = 2;
/// A child that nobody kills ends by itself.
const LIFETIME: Duration = Duration::from_mins(5);
/// No lease lapses in a child's life: what is out comes back when it is taken back.
const LEASE: Duration = Duration::from_mins(10);

impl Orders {
    pub fn to_text(&self) -> String {
        let (point, hit) = self.death.clone().unwrap_or_else(|| ("-".into(), 0));
        format!("{}|{}|{}|{point}|{hit}", self.path, self.seed, self.next_call)
    }

    fn from_text(text: &str) -> Self {
        let fields: Vec<&str> = text.split('|').collect();
        let number = |index: usize| fields[index].parse().unwrap();
        Self {
            path: fields[0].into(),
            seed: number(1),
            next_call: number(2),
            death: (fields[3] != "-").then(|| (fields[3].into(), number(4))),
        }
    }
}

/// Does what the parent ordered, until it is killed.
pub fn run(orders: &str) {
    let orders = Orders::from_text(orders);
    let log = Log::open(&orders.path, Options::default()).unwrap();
    if let Some((point, due)) = &orders.death {
        arm(point, *due);
    }
    let desk = Desk::of(&log).unwrap();
    tell(format_args!("O"));
    let next_call = Arc::new(AtomicU64::new(orders.next_call));
    let mut dice = Dice::from_seed(orders.seed);
    let mut threads = Vec::new();
    for _ in 0..SENDERS {
        let (desk, next_call, dice) = (desk.clone(), Arc::clone(&next_call), dice.fork());
        threads.push(std::thread::spawn(move || send(&desk, &next_call, dice)));
    }
    for number in 0..RECIPIENTS {
        let (desk, dice) = (desk.clone(), dice.fork());
        threads.push(std::thread::spawn(move || take(&desk, &format!("r{number}"), dice)));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    tell(format_args!("E nobody killed this process"));
}

/// A third repeats an earlier sending, whatever became of it, also of an earlier process.
fn send(desk: &Desk, next_call: &AtomicU64, mut dice: Dice) {
    let begin = Instant::now();
    while begin.elapsed() < LIFETIME {
        let under_way: Vec<_> = (0..dice.between(1, 6))
            .map(|_| {
                let known = next_call.load(Ordering::SeqCst);
                let number = if known > 1 && dice.percent(30) {
                    known - 1 - dice.below(20.min(known - 1))
                } else {
                    next_call.fetch_add(1, Ordering::SeqCst)
                };
                tell(format_args!("S {number}"));
                let to = format!("r{}", number % RECIPIENTS);
                (number, desk.send_once(&format!("call-{number}"), "sender", &to, &number.to_string()))
            })
            .collect();
        for (number, receipt) in under_way {
            match receipt.wait() {
                Ok(id) => tell(format_args!("I {number} {id}")),
                Err(error) => tell(format_args!("X sending {number}: {error}")),
            }
        }
    }
}

/// What an earlier process had out comes back first. Of what is taken, some is never acknowledged.
fn take(desk: &Desk, name: &str, mut dice: Dice) {
    let begin = Instant::now();
    tell(format_args!("B {name} {}", desk.requeue(name).wait().unwrap()));
    while begin.elapsed() < LIFETIME {
        let receive = Receive::default().max(usize::try_from(dice.between(1, 4)).unwrap()).lease(LEASE);
        let deliveries = match desk.recv_blocking(name, receive, Duration::from_millis(50)) {
            Ok(deliveries) => deliveries,
            Err(Error::Refused(refusal)) => {
                // So much is out by now: the next process takes it back.
                tell(format_args!("F {name} {refusal}"));
                return;
            }
            Err(error) => return tell(format_args!("X taking: {error}")),
        };
        for delivery in deliveries {
            let (id, again) = (delivery.id, u8::from(delivery.redelivered));
            tell(format_args!("D {name} {id} {} {again}", delivery.body));
            if dice.percent(80) {
                match desk.ack(name, id).wait() {
                    Ok(()) => tell(format_args!("A {id}")),
                    Err(error) => tell(format_args!("X acknowledging {id}: {error}")),
                }
            }
        }
    }
}
