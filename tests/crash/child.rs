//! The process that is killed: it appends and follows, and says all it was told as it is told it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hivelog::event::{CustomEvent, Event};
use hivelog::{Error, Filter, Followed, Log, Options, Receipt, Seq};
use serde_json::value::RawValue;

use crate::checker;
use crate::dice::Dice;
use crate::point::{arm, tell};
use crate::work;

/// What the parent wants of a child.
#[derive(Clone, Debug)]
pub struct Orders {
    pub path: String,
    pub seed: u64,
    /// The first number of a call that was not used yet.
    pub next_call: u64,
    /// Where each follower goes on.
    pub positions: Vec<i64>,
    /// The point to die at, and at which of its hits.
    pub death: Option<(String, u64)>,
}

pub const VARIABLE: &str = "HIVELOG_CRASH_CHILD";

const PRODUCERS: u64 = 4;
/// A child that nobody kills ends by itself.
const LIFETIME: Duration = Duration::from_mins(5);

impl Orders {
    pub fn to_text(&self) -> String {
        let positions: Vec<String> = self.positions.iter().map(i64::to_string).collect();
        let (point, hit) = self.death.clone().unwrap_or_else(|| ("-".into(), 0));
        format!("{}|{}|{}|{}|{point}|{hit}", self.path, self.seed, self.next_call, positions.join(","))
    }

    fn from_text(text: &str) -> Self {
        let fields: Vec<&str> = text.split('|').collect();
        let number = |index: usize| fields[index].parse().unwrap();
        Self {
            path: fields[0].into(),
            seed: number(1),
            next_call: number(2),
            positions: fields[3].split(',').map(|text| text.parse().unwrap()).collect(),
            death: (fields[4] != "-").then(|| (fields[4].into(), number(5))),
        }
    }
}

/// Does what the parent ordered, until it is killed.
pub fn run(orders: &str) {
    let orders = Orders::from_text(orders);
    // With the least room for a WAL its checkpoints come after a thousand pages.
    let options = Options::default().kind("declared").wal_bytes_max(8_192_000);
    let log = Log::open(&orders.path, options).unwrap();
    tell(format_args!("O {}", log.tail()));
    if let Some((point, due)) = &orders.death {
        arm(point, *due);
    }
    for (index, position) in orders.positions.iter().enumerate() {
        let (log, after) = (log.clone(), Seq::new(*position).unwrap());
        std::thread::spawn(move || follow(&log, index, after));
    }
    let next_call = Arc::new(AtomicU64::new(orders.next_call));
    let mut dice = Dice::from_seed(orders.seed);
    let big = orders.death.is_some_and(|(point, _)| point.contains("checkpoint"));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|_| {
            let (log, next_call, dice) = (log.clone(), Arc::clone(&next_call), dice.fork());
            std::thread::spawn(move || produce(&log, &next_call, dice, big))
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    tell(format_args!("E nobody killed this process"));
}

fn produce(log: &Log, next_call: &AtomicU64, mut dice: Dice, big: bool) {
    let begin = Instant::now();
    while begin.elapsed() < LIFETIME {
        let mut under_way: Vec<(u64, Receipt<hivelog::Appended>)> = Vec::new();
        for _ in 0..dice.between(1, 8) {
            // A third repeats an earlier call, whatever became of it, also of an earlier process.
            let known = next_call.load(Ordering::SeqCst);
            let number = if known > 1 && dice.percent(30) {
                // Mostly young ones: those whose answer the kill took.
                let back = if dice.percent(70) { 40 } else { known };
                known - 1 - dice.below(back.min(known - 1))
            } else {
                next_call.fetch_add(1, Ordering::SeqCst)
            };
            let call = work::call(number);
            tell(format_args!("C {number}"));
            under_way.push((number, log.submit(call.command)));
            if big && dice.percent(10) {
                let (kind, payload) = work::padding();
                let payload = RawValue::from_string(payload).unwrap();
                let event = Event::Custom(CustomEvent { kind: kind.into(), payload });
                drop(log.append(event));
            }
        }
        for (number, receipt) in under_way {
            match receipt.wait() {
                Ok(appended) => {
                    let seqs: Vec<String> = appended.seqs.iter().map(Seq::to_string).collect();
                    tell(format_args!("A {number} {}", seqs.join(",")));
                }
                Err(Error::Refused(_)) => tell(format_args!("R {number}")),
                Err(error) => tell(format_args!("U {number} {error}")),
            }
        }
    }
}

/// Even followers block, odd ones are async: both go the same road.
fn follow(log: &Log, index: usize, after: Seq) {
    let say = |followed: Result<Followed, Error>| match followed {
        Ok(Followed::Event(row)) => {
            tell(format_args!("F {index} {} {}", row.seq(), checker::hash(&row.line())));
        }
        Ok(Followed::CaughtUp(_)) => {}
        other => tell(format_args!("X follower {index}: {other:?}")),
    };
    if index.is_multiple_of(2) {
        log.follow_blocking(after, Filter::default()).unwrap().for_each(say);
    } else {
        let mut follower = log.follow(after, Filter::default()).unwrap();
        futures_executor::block_on(async {
            while let Some(followed) = follower.next().await {
                say(followed);
            }
        });
    }
}
