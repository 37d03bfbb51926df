//! The process that is killed while it tidies: it appends, prunes, redacts and gives space back.

use std::time::{Duration, Instant};

use hivelog::{Draft, Error, Filter, Log, Options, Prune, Range, Redact, Search};

use crate::dice::Dice;
use crate::point::{arm, tell};

pub const VARIABLE: &str = "HIVELOG_TIDIER_CHILD";
/// A child that nobody kills ends by itself.
const LIFETIME: Duration = Duration::from_mins(5);

/// What the parent wants of a child.
#[derive(Clone, Debug)]
pub struct Orders {
    pub path: String,
    pub seed: u64,
    pub point: String,
    pub hit: u64,
}

impl Orders {
    pub fn to_text(&self) -> String {
        format!("{}|{}|{}|{}", self.path, self.seed, self.point, self.hit)
    }

    fn from_text(text: &str) -> Self {
        let fields: Vec<&str> = text.split('|').collect();
        let number = |index: usize| fields[index].parse().unwrap();
        Self { path: fields[0].into(), seed: number(1), point: fields[2].into(), hit: number(3) }
    }
}

/// A text that is nowhere else: letters alone, so that an index holds it as one word.
fn mark(number: u64) -> String {
    let letters =
        number.to_string().bytes().map(|digit| char::from(b'g' + (digit - b'0'))).collect::<String>();
    format!("zqx{letters}qz")
}

pub fn run(orders: &str) {
    let orders = Orders::from_text(orders);
    let log = Log::open(&orders.path, Options::default()).unwrap();
    let _search = Search::of(&log).unwrap();
    arm(&orders.point, orders.hit);
    let mut dice = Dice::from_seed(orders.seed);
    let appender = {
        let (log, mut dice) = (log.clone(), dice.fork());
        std::thread::spawn(move || append(&log, &mut dice))
    };
    let begin = Instant::now();
    while begin.elapsed() < LIFETIME {
        redact(&log, &mut dice);
        if dice.percent(60) {
            prune(&log, &mut dice);
        }
        if dice.percent(30) {
            log.give_back().unwrap();
        }
    }
    drop(appender);
    tell(format_args!("E nobody killed this process"));
}

fn append(log: &Log, dice: &mut Dice) {
    // Ids of earlier processes are given already.
    let first = i64::try_from(log.tail().get()).unwrap();
    let mut open = Vec::new();
    for number in 1.. {
        let text = mark(dice.next() % 1_000_000_000_000);
        let filler = "y ".repeat(usize::try_from(dice.below(400)).unwrap());
        let event = match dice.below(10) {
            0..5 => format!(r#"{{"kind":"sent","from":"alice","to":"bob","body":"{text} {filler}","at":1}}"#),
            5 => {
                let id = first * 1_000 + number;
                open.push(id);
                format!(
                    r#"{{"kind":"approval_added","id":{id},"agent":"alice","approval_kind":"spawn","diff":"{text}"}}"#
                )
            }
            6 if !open.is_empty() => {
                let id = open.remove(0);
                format!(
                    r#"{{"kind":"approval_resolved","id":{id},"agent":"alice","approval_kind":"spawn","status":"denied","resolved_at":1,"note":"{text}"}}"#
                )
            }
            _ => format!(r#"{{"kind":"app.note","text":"{text} {filler}"}}"#),
        };
        match log.append(Draft::from_json(&event).unwrap()).wait() {
            Ok(_) | Err(Error::Refused(_)) => {}
            Err(error) => tell(format_args!("X {error}")),
        }
        std::thread::sleep(Duration::from_micros(dice.below(800)));
    }
}

fn prune(log: &Log, dice: &mut Dice) {
    let before = log.tail().get() - i64::try_from(dice.below(200)).unwrap();
    let kinds =
        [&["sent"][..], &["sent", "approvals"], &["approvals"]][usize::try_from(dice.below(3)).unwrap()];
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let done = log.prune(&Prune { before_seq: Some(before), kinds, ..Prune::default() }).unwrap();
    tell(format_args!("F {} {}", done.floor, done.pruned));
}

/// Redacts one of the newest events that has a text.
fn redact(log: &Log, dice: &mut Dice) {
    let kinds = ["sent", "approval_added", "app.note"];
    let filter = kinds.iter().try_fold(Filter::default(), |filter, kind| filter.kind(kind)).unwrap();
    let page = log.range(&Range { limit: 60, filter, ..Range::default() }).unwrap();
    let rows: Vec<_> = page.rows().collect();
    if rows.is_empty() {
        return;
    }
    let row = &rows[usize::try_from(dice.below(rows.len() as u64)).unwrap()];
    let payload = row.payload();
    let Some(at) = payload.find("zqx") else { return };
    let end = payload[at..].find("qz").unwrap() + at + 2;
    let seq = row.seq();
    tell(format_args!("R {seq} {}", &payload[at..end]));
    match log.redact(&Redact { seq, by: None, both: false }) {
        Ok(told) => tell(format_args!("D {seq} {told}")),
        Err(Error::Pending | Error::Gone { .. } | Error::Refused(_)) => {}
        Err(error) => tell(format_args!("X {error}")),
    }
}
