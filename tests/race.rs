//! Every interleaving of appending, subscribing and waking that a model checker finds.
//!
//! The real `tail.rs`, `recent.rs` and `herald.rs` are compiled here against shuttle's primitives. Around them
//! stand a model of the writer (commit to a store, fill the ring, publish the tail) and readers that
//! go the feed's road: the ring, else the store, else wait, at the tail or to be told. A lost wake-up is a
//! deadlock, which shuttle reports; a hole or a double fails an assertion.

#![expect(dead_code, reason = "the files are the crate's own, and no test uses all of them")]

#[path = "../src/limits.rs"]
mod limits;
#[path = "../src/seq.rs"]
mod seq;
#[path = "../src/tail.rs"]
mod tail;

/// The primitives of `src/sync.rs`, from the model checker.
mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicI64, Ordering};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock};
    use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }

    pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
        lock.read().unwrap()
    }

    pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
        lock.write().unwrap()
    }

    pub(crate) fn wait<'a, T>(bell: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        bell.wait(guard).unwrap()
    }
}

#[path = "../src/log"]
mod log {
    pub(crate) mod herald;
    pub(crate) mod recent;
}

/// As much of a filter as the herald asks for.
mod query {
    #[derive(Debug)]
    pub(crate) struct Filter {
        agents: Vec<Box<str>>,
        kinds: Vec<Box<str>>,
    }

    impl Filter {
        pub(crate) fn all() -> Self {
            Self { agents: Vec::new(), kinds: Vec::new() }
        }

        pub(crate) fn agent(name: &str) -> Self {
            Self { agents: vec![name.into()], kinds: Vec::new() }
        }

        pub(crate) fn kind(name: &str) -> Self {
            Self { agents: Vec::new(), kinds: vec![name.into()] }
        }

        pub(crate) fn wants_all(&self) -> bool {
            self.agents.is_empty() && self.kinds.is_empty()
        }

        pub(crate) fn names_agents(&self) -> bool {
            !self.agents.is_empty()
        }

        pub(crate) fn agents(&self) -> &[Box<str>] {
            &self.agents
        }

        pub(crate) fn kinds(&self) -> &[Box<str>] {
            &self.kinds
        }

        pub(crate) fn wants(&self, kind: &str, agents: &str) -> bool {
            (self.kinds.is_empty() || self.kinds.iter().any(|wanted| **wanted == *kind))
                && (self.agents.is_empty() || self.agents.iter().any(|wanted| **wanted == *agents))
        }
    }
}

/// Rows without text: their seqs are all that an order is made of.
mod row {
    use crate::seq::Seq;

    #[derive(Debug)]
    pub(crate) struct Segment(pub(crate) Vec<Seq>);

    /// Whom the event of a seq concerns: `odd` or `even`, for an agent as for a kind.
    pub(crate) fn word(seq: Seq) -> &'static str {
        if seq.get() % 2 == 0 { "even" } else { "odd" }
    }

    impl Segment {
        pub(crate) fn position(&self, cursor: Seq) -> usize {
            self.0.partition_point(|seq| *seq <= cursor)
        }

        pub(crate) fn rows_from(&self, index: usize) -> impl Iterator<Item = (Seq, &str, &str)> {
            self.0[index..].iter().map(|seq| (*seq, word(*seq), word(*seq)))
        }

        pub(crate) fn weight(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn first(&self) -> Option<Seq> {
            self.0.first().copied()
        }

        pub(crate) fn last(&self) -> Option<Seq> {
            self.0.last().copied()
        }
    }
}

use std::future::Future as _;
use std::sync::Arc;
use std::task::Poll;

use log::herald::{Heard, Herald, Seat};
use log::recent::{After, Recent};
use query::Filter;
use row::Segment;
use seq::Seq;
use sync::{Mutex, lock};
use tail::{Tail, Woken};

struct Model {
    /// What is committed: 1 to this.
    store: Mutex<i64>,
    recent: Recent,
    tail: Arc<Tail>,
}

impl Model {
    /// A log that was opened with `head` events; its ring holds `ring` of them at most.
    fn open(head: i64, ring: usize) -> Arc<Self> {
        let tail = Arc::new(Tail::new(seq(head)));
        Arc::new(Self { store: Mutex::new(head), recent: Recent::new(ring), tail })
    }

    /// Commits batches of these sizes: the store, then the ring, then the tail.
    fn write(&self, batches: &[i64]) {
        for size in batches {
            let committed = {
                let mut store = lock(&self.store);
                let first = *store + 1;
                *store += size;
                Segment((first..=*store).map(seq).collect())
            };
            let head = committed.last().unwrap();
            self.recent.push(Arc::new(committed));
            self.tail.publish(head);
            assert_eq!(self.tail.head(), head);
        }
    }
}

fn seq(number: i64) -> Seq {
    Seq::new(number).unwrap()
}

/// What the feed does in one step.
enum Step {
    Rows(Vec<Seq>),
    Wait,
    End,
}

struct Reader {
    model: Arc<Model>,
    cursor: Seq,
    seen: Vec<Seq>,
    /// How it is told, and what of.
    seat: Option<(Seat, Arc<Filter>)>,
}

impl Reader {
    fn subscribe(model: &Arc<Model>, after: i64) -> Self {
        Self { model: Arc::clone(model), cursor: seq(after), seen: Vec::new(), seat: None }
    }

    /// One that a herald tells of what it wants.
    fn seated(model: &Arc<Model>, herald: &Arc<Herald>, filter: Filter) -> Self {
        let filter = Arc::new(filter);
        let seat = herald.enter(&filter, model.tail.head());
        Self { seat: Some((seat, filter)), ..Self::subscribe(model, 0) }
    }

    fn look(&self) -> Step {
        let Model { store, recent, tail } = &*self.model;
        let after_cursor = |rows: &[Seq]| rows.iter().copied().filter(|row| *row > self.cursor).collect();
        match recent.after(self.cursor, tail.head()) {
            After::Rows(segment) => Step::Rows(after_cursor(&segment.0)),
            After::Gone => {
                // As the real one: the tail first, then a read that sees at least that much.
                let head = tail.head();
                let committed = *lock(store);
                assert!(head.get() <= committed, "the tail is ahead of the store");
                Step::Rows((self.cursor.get() + 1..=head.get()).map(seq).collect())
            }
            After::Nothing if tail.is_closed() && self.cursor >= tail.head() => Step::End,
            After::Nothing => Step::Wait,
        }
    }

    fn take(&mut self, rows: Vec<Seq>) {
        assert!(!rows.is_empty(), "a step without rows would be taken for ever");
        for row in rows {
            assert_eq!(row, self.cursor.next(), "a hole or a double");
            assert!(row.get() <= *lock(&self.model.store), "seen before it was committed");
            self.cursor = row;
            if self.seat.as_ref().is_none_or(|(_, filter)| filter.wants(row::word(row), row::word(row))) {
                self.seen.push(row);
            }
        }
    }

    /// Waits as the feed does.
    async fn wait(&mut self) -> Woken {
        let cursor = self.cursor;
        if let Some((seat, _)) = &self.seat {
            match std::future::poll_fn(|cx| seat.poll(cursor, cx)).await {
                Heard::More(upto) => {
                    assert!(upto >= cursor, "told of less than it had");
                    self.cursor = upto;
                    return Woken::More;
                }
                Heard::Closed => return Woken::Closed,
                Heard::Nobody => {}
            }
        }
        self.model.tail.wait(cursor).await
    }

    /// Reads up to `upto`, or to the end of the log.
    fn read_blocking(mut self, upto: i64) -> Self {
        while self.cursor.get() < upto {
            match self.look() {
                Step::Rows(rows) => self.take(rows),
                Step::Wait => match self.model.tail.wait_blocking(self.cursor) {
                    Woken::More => assert!(self.model.tail.head() > self.cursor),
                    Woken::Closed => break,
                },
                Step::End => break,
            }
        }
        self
    }

    async fn read(mut self, upto: i64) -> Self {
        while self.cursor.get() < upto {
            match self.look() {
                Step::Rows(rows) => self.take(rows),
                Step::Wait => match self.wait().await {
                    Woken::More => assert!(self.seat.is_some() || self.model.tail.head() > self.cursor),
                    Woken::Closed => break,
                },
                Step::End => break,
            }
        }
        self
    }
}

/// What the server's task does: tells the readers of each commit until the log is closed, or `commits` were told.
async fn tell(model: Arc<Model>, herald: Arc<Herald>, commits: usize) {
    let Some(mut office) = herald.take_office() else { return };
    for _ in 0..commits {
        if model.tail.wait(office.told()).await == Woken::Closed {
            office.close().into_iter().for_each(std::task::Waker::wake);
            return;
        }
        for reader in office.tell(&model.recent, model.tail.head()) {
            reader.wake();
            shuttle::future::yield_now().await;
        }
        if office.leave_if_empty() {
            return;
        }
    }
}

/// Random schedules, then schedules of few but well-placed switches.
fn check_races(iterations: usize, race: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(race, iterations);
    shuttle::check_pct(race, iterations, 3);
}

fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> shuttle::thread::JoinHandle<T> {
    shuttle::thread::spawn(run)
}

#[test]
fn no_interleaving_of_blocking_readers_loses_an_event() {
    check_races(1_500, || {
        let model = Model::open(2, 4);
        let readers: Vec<_> = [0, 2]
            .into_iter()
            .map(|after| {
                let model = Arc::clone(&model);
                spawn(move || Reader::subscribe(&model, after).read_blocking(7))
            })
            .collect();
        model.write(&[1, 3, 1]);
        for reader in readers {
            assert_eq!(reader.join().unwrap().cursor, seq(7));
        }
    });
}

#[test]
fn no_interleaving_of_async_readers_loses_an_event() {
    check_races(1_500, || {
        let model = Model::open(0, 2);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let model = Arc::clone(&model);
                shuttle::future::spawn(async move { Reader::subscribe(&model, 0).read(5).await })
            })
            .collect();
        let writer = Arc::clone(&model);
        let writer = spawn(move || writer.write(&[1, 1, 2, 1]));
        for reader in readers {
            let seen = shuttle::future::block_on(reader).unwrap().seen;
            assert_eq!(seen, (1..=5).map(seq).collect::<Vec<_>>());
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_reader_that_starts_now_gets_all_that_comes_later() {
    check_races(1_500, || {
        let model = Model::open(1, 8);
        let reading = Arc::clone(&model);
        let reader = spawn(move || {
            let start = *lock(&reading.store);
            Reader::subscribe(&reading, start).read_blocking(4)
        });
        model.write(&[1, 1, 1]);
        let reader = reader.join().unwrap();
        let first = reader.seen.first().map_or(5, |seq| seq.get());
        assert_eq!(reader.seen, (first..=4).map(seq).collect::<Vec<_>>());
    });
}

#[test]
fn a_reader_that_gives_up_waiting_takes_no_wake_up_along() {
    check_races(1_500, || {
        let model = Model::open(0, 8);
        let fickle = Arc::clone(&model);
        let fickle = shuttle::future::spawn(async move {
            // Polled once, then dropped, while another one waits for the same.
            for after in [0, 1] {
                let mut wait = Box::pin(fickle.tail.wait(seq(after)));
                let polled = std::future::poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_ready()));
                let _ready = polled.await;
                drop(wait);
                shuttle::future::yield_now().await;
            }
        });
        let steady = Arc::clone(&model);
        let steady = shuttle::future::spawn(async move { Reader::subscribe(&steady, 0).read(2).await });
        let writer = Arc::clone(&model);
        let writer = spawn(move || writer.write(&[1, 1]));
        shuttle::future::block_on(fickle).unwrap();
        assert_eq!(shuttle::future::block_on(steady).unwrap().cursor, seq(2));
        writer.join().unwrap();
    });
}

#[test]
fn closing_ends_every_wait_after_all_was_read() {
    check_races(1_500, || {
        let model = Model::open(0, 2);
        let (blocking, polling) = (Arc::clone(&model), Arc::clone(&model));
        let blocking = spawn(move || Reader::subscribe(&blocking, 0).read_blocking(i64::MAX));
        let polling =
            shuttle::future::spawn(async move { Reader::subscribe(&polling, 0).read(i64::MAX).await });
        model.write(&[2, 1]);
        model.tail.close();
        assert_eq!(blocking.join().unwrap().cursor, seq(3));
        assert_eq!(shuttle::future::block_on(polling).unwrap().cursor, seq(3));
    });
}

/// Readers of everything, of an agent and of a kind, a writer, and a herald that tells of so many commits.
fn race_of_the_told(ring: usize, commits: usize) {
    let (model, herald) = (Model::open(0, ring), Arc::new(Herald::new()));
    let filters = [Filter::all(), Filter::agent("even"), Filter::kind("odd"), Filter::agent("nobody")];
    let readers: Vec<_> = filters
        .into_iter()
        .map(|filter| {
            let (model, herald) = (Arc::clone(&model), Arc::clone(&herald));
            shuttle::future::spawn(async move {
                let reader = Reader::seated(&model, &herald, filter);
                // Whoever comes sees to it that somebody tells.
                let _teller = shuttle::future::spawn(tell(model, herald, commits));
                reader.read(i64::MAX).await
            })
        })
        .collect();
    let writer = Arc::clone(&model);
    let writer = spawn(move || {
        writer.write(&[1, 2, 1]);
        writer.tail.close();
    });
    let expected: [&[i64]; 4] = [&[1, 2, 3, 4], &[2, 4], &[1, 3], &[]];
    for (reader, expected) in readers.into_iter().zip(expected) {
        let reader = shuttle::future::block_on(reader).unwrap();
        assert_eq!(reader.seen, expected.iter().copied().map(seq).collect::<Vec<_>>());
    }
    writer.join().unwrap();
}

#[test]
fn no_interleaving_of_a_herald_and_its_readers_loses_an_event() {
    check_races(1_000, || race_of_the_told(8, usize::MAX));
}

#[test]
fn nothing_is_lost_where_the_herald_is_behind_the_ring() {
    check_races(1_000, || race_of_the_told(1, usize::MAX));
}

#[test]
fn readers_go_on_by_themselves_where_the_herald_gives_up() {
    check_races(1_000, || race_of_the_told(8, 1));
}

#[test]
fn every_interleaving_of_one_append_and_one_wait_ends() {
    shuttle::check_dfs(
        || {
            let model = Model::open(0, 8);
            let reading = Arc::clone(&model);
            let reader = spawn(move || Reader::subscribe(&reading, 0).read_blocking(1));
            model.write(&[1]);
            assert_eq!(reader.join().unwrap().cursor, seq(1));
        },
        None,
    );
    shuttle::check_dfs(
        || {
            let model = Model::open(0, 8);
            let reading = Arc::clone(&model);
            let reader = shuttle::future::spawn(async move { Reader::subscribe(&reading, 0).read(1).await });
            model.write(&[1]);
            assert_eq!(shuttle::future::block_on(reader).unwrap().cursor, seq(1));
        },
        None,
    );
}
