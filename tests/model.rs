//! Random steps against a plain list: appends good and bad, batches, keys, the commands of a desk, restarts,
//! history, snapshots, live reads, under a clock that also goes back.
//!
//! proptest makes a failing run small and keeps it in `model.regressions`; `PROPTEST_CASES` makes
//! more runs.

#[path = "model/board.rs"]
mod board;
#[path = "model/gone.rs"]
mod gone;
#[path = "model/plain.rs"]
mod plain;
#[path = "model/wish.rs"]
mod wish;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hivelog::{
    BlockingFollower, Command, Desk, Draft, Error, Filter, Followed, Log, Options, Order, Prune, Range,
    Redact, Refusal, ResetReason, Seq,
};
use proptest::prelude::*;
use serde_json::Value;

use board::Board;
use gone::{Pruning, pruning};
use plain::{No, Plain, Row, SHAPES, Spec, WHO};
use wish::{Wish, wish};

#[derive(Clone, Debug)]
enum Step {
    Append { spec: Spec, by_command: bool },
    Batch { specs: Vec<Spec>, key: Option<u8> },
    Wish(Wish),
    Reopen,
    Clock(i64),
    Read(Question),
    Walk { limit: usize, wanted: Wanted },
    Snapshot,
    SnapshotAt { at: usize, upto: usize },
    Follow { after: i64, wanted: Wanted },
    Prune(Pruning),
    Redact(i64),
}

#[derive(Clone, Debug)]
struct Wanted {
    kinds: Vec<&'static str>,
    agents: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Question {
    after: Option<i64>,
    before: Option<i64>,
    limit: usize,
    desc: bool,
    wanted: Wanted,
    since: Option<i64>,
    until: Option<i64>,
}

const BEGIN_MS: i64 = 1_000_000;
const KINDS: [&str; 7] = [
    "sent",
    "delivered",
    "approval_added",
    "approval_resolved",
    "transient_set",
    "deploy.finished",
    "declared",
];

fn spec() -> impl Strategy<Value = Spec> {
    (0..SHAPES, 1..5i64, 0..3u8, 0..4u8, prop::option::weighted(0.3, 0..6u8))
        .prop_map(|(shape, id, who, salt, key)| Spec { shape, id, who, salt, key })
}

/// Events that are never refused for their own sake, so that batches get through at times.
fn mild_spec() -> impl Strategy<Value = Spec> {
    (prop::sample::select(vec![0u8, 1, 10, 12, 13]), spec()).prop_map(|(shape, spec)| Spec { shape, ..spec })
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let kinds = prop::sample::subsequence(KINDS.to_vec(), 0..=3);
    let agents = prop::sample::subsequence(WHO.to_vec(), 0..=2);
    (kinds, agents).prop_map(|(kinds, agents)| Wanted { kinds, agents })
}

fn bound() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        3 => Just(None),
        6 => (0..40i64).prop_map(Some),
        1 => prop::sample::select(vec![i64::MIN, -1, i64::MAX - 1, i64::MAX, 1 << 53]).prop_map(Some),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let limit = prop_oneof![Just(0usize), 1..8usize, Just(200), Just(10_000), Just(10_001)];
    let time = || prop::option::weighted(0.3, (BEGIN_MS - 3)..(BEGIN_MS + 15));
    (bound(), bound(), limit, any::<bool>(), wanted(), time(), time()).prop_map(
        |(after, before, limit, desc, wanted, since, until)| Question {
            after,
            before,
            limit,
            desc,
            wanted,
            since,
            until,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let batch = prop_oneof![prop::collection::vec(mild_spec(), 0..5), prop::collection::vec(spec(), 1..4)];
    let key = || prop::option::weighted(0.4, 0..6u8);
    prop_oneof![
        14 => (spec(), any::<bool>()).prop_map(|(spec, by_command)| Step::Append { spec, by_command }),
        10 => wish().prop_map(Step::Wish),
        4 => (batch, key()).prop_map(|(specs, key)| Step::Batch { specs, key }),
        1 => Just(Step::Reopen),
        3 => (-5..6i64).prop_map(Step::Clock),
        5 => question().prop_map(Step::Read),
        2 => (1..7usize, wanted()).prop_map(|(limit, wanted)| Step::Walk { limit, wanted }),
        2 => Just(Step::Snapshot),
        2 => (0..60usize, 0..60usize).prop_map(|(at, upto)| Step::SnapshotAt { at, upto }),
        2 => pruning().prop_map(Step::Prune),
        3 => (0..60i64).prop_map(Step::Redact),
        2 => (0..45i64, wanted()).prop_map(|(after, wanted)| Step::Follow { after, wanted }),
    ]
}

impl Wanted {
    fn filter(&self) -> Filter {
        let kinds = self.kinds.iter().try_fold(Filter::default(), |filter, kind| filter.kind(kind)).unwrap();
        self.agents.iter().try_fold(kinds, |filter, agent| filter.agent(agent)).unwrap()
    }

    fn wants(&self, row: &Row) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&row.kind.as_str()))
            && (self.agents.is_empty() || row.agents.iter().any(|name| self.agents.contains(&name.as_str())))
    }
}

/// The log beside its model.
struct Pair {
    folder: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    log: Log,
    desk: Desk,
    live: BlockingFollower,
    model: Plain,
}

fn open(folder: &tempfile::TempDir, clock: &Arc<AtomicI64>, after: i64) -> (Log, BlockingFollower) {
    let clock = Arc::clone(clock);
    let options = Options::default().kind("declared").clock(move || clock.load(Ordering::SeqCst));
    let log = Log::open(folder.path().join("log.db"), options).unwrap();
    let mut live = log.follow_blocking(Seq::new(after).unwrap(), Filter::default()).unwrap();
    assert_eq!(live.next(), Some(Ok(Followed::CaughtUp(Seq::new(after).unwrap()))));
    (log, live)
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(BEGIN_MS));
        let (log, live) = open(&folder, &clock, 0);
        let desk = Desk::of(&log).unwrap();
        Self { folder, clock, log, desk, live, model: Plain::default() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append { spec, by_command } => self.append(std::slice::from_ref(spec), None, !by_command),
            Step::Batch { specs, key } => self.append(specs, *key, false),
            Step::Wish(wish) => self.wish(wish),
            Step::Clock(by) => {
                self.clock.fetch_add(*by, Ordering::SeqCst);
            }
            Step::Reopen => self.reopen(),
            Step::Read(question) => self.read(question),
            Step::Walk { limit, wanted } => self.walk(*limit, wanted),
            Step::Snapshot => {
                let snapshot = self.log.snapshot().unwrap();
                assert_eq!(snapshot.seq.get(), self.model.head());
                assert_eq!(board_of(&snapshot.json()), self.model.board(self.model.head()));
            }
            Step::SnapshotAt { at, upto } => self.snapshot_at(*at, *upto),
            Step::Follow { after, wanted } => self.follow(*after, wanted),
            Step::Prune(asked) => self.prune(asked),
            Step::Redact(seq) => self.redact(*seq),
        }
    }

    /// The next desk ends what the last one held, in any order.
    fn reopen(&mut self) {
        self.log.close();
        assert_eq!(self.live.next(), None, "a closed log ends its followers");
        (self.log, self.live) = open(&self.folder, &self.clock, self.model.head());
        self.desk = Desk::of(&self.log).unwrap();
        let at_ms = self.model.time(self.clock.load(Ordering::SeqCst));
        for _ in 0..self.model.held.len() {
            let Some(Ok(Followed::Event(seen))) = self.live.next() else { panic!("nothing is cleared") };
            let name = seen.decode::<Value>().unwrap()["name"].as_str().unwrap().to_owned();
            assert!(self.model.held.contains(&name), "{name} was not held");
            self.model.clear(at_ms, &name, "restart");
            assert_eq!(text(&seen), self.model.rows.last().unwrap().line());
        }
        assert_eq!(self.log.tail().get(), self.model.head());
    }

    fn prune(&mut self, asked: &Pruning) {
        let kinds = asked.kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let prune = Prune { before_seq: Some(asked.before), kinds, ..Prune::default() };
        let dry = self.log.prune(&Prune { dry_run: true, ..prune.clone() }).unwrap();
        let (floor, pruned) = self.model.prune(asked);
        let done = self.log.prune(&prune).unwrap();
        assert_eq!((done.floor.get(), done.pruned, dry), (floor, pruned, done));
    }

    fn redact(&mut self, seq: i64) {
        let before = self.model.head();
        let due = self.model.redact(seq, self.clock.load(Ordering::SeqCst));
        let asked = Redact { seq: Seq::new(seq).unwrap(), by: Some("carol".into()), both: false };
        match (&due, self.log.redact(&asked)) {
            (Ok(due), Ok(told)) => assert_eq!(told.get(), *due),
            (Err(No::Gone), Err(Error::Gone { floor })) => assert_eq!(floor.get(), self.model.floor),
            (Err(no), Err(Error::Refused(refusal))) => self.check_refusal(no, &refusal),
            (due, told) => panic!("due: {due:?}, told: {told:?}"),
        }
        self.see(before);
    }

    fn wish(&mut self, wish: &Wish) {
        let before = self.model.head();
        let due = self.model.wish(wish, self.clock.load(Ordering::SeqCst));
        match (&due, wish.of(&self.desk)) {
            (Ok(due), Ok(told)) => assert_eq!(told, *due),
            (Err(no), Err(Error::Refused(refusal))) => self.check_refusal(no, &refusal),
            (due, told) => panic!("due: {due:?}, told: {told:?}"),
        }
        self.see(before);
    }

    /// What is new since then is what a follower sees.
    fn see(&mut self, before: i64) {
        assert_eq!(self.log.tail().get(), self.model.head());
        for row in &self.model.rows[usize::try_from(before).unwrap()..] {
            let Some(Ok(Followed::Event(seen))) = self.live.next() else { panic!("no row {}", row.seq) };
            assert_eq!(text(&seen), row.line());
            assert_eq!(seen.agents().collect::<Vec<_>>(), row.agents);
        }
    }

    fn append(&mut self, specs: &[Spec], key: Option<u8>, plainly: bool) {
        let before = self.model.head();
        let due = self.model.append(specs, key, self.clock.load(Ordering::SeqCst));
        let drafts: Result<Vec<Draft>, Refusal> =
            specs.iter().map(|spec| Draft::from_json(&spec.text())).collect();
        let told = drafts.map_err(Error::Refused).and_then(|mut drafts| {
            if plainly {
                return self.log.append(drafts.remove(0)).wait().map(|seq| (vec![seq.get()], None));
            }
            let mut command = Command::new(drafts);
            if let Some(key) = key {
                command = command.key(format!("k{key}"));
            }
            let appended = self.log.submit(command).wait()?;
            Ok((appended.seqs.iter().map(|seq| seq.get()).collect(), Some(appended.new)))
        });
        match (&due, &told) {
            (Ok((seqs, new)), Ok((told, told_new))) => {
                assert_eq!(told, seqs);
                assert_eq!(told_new.unwrap_or(*new), *new);
            }
            (Err(no), Err(Error::Refused(refusal))) => self.check_refusal(no, refusal),
            _ => panic!("due: {due:?}, told: {told:?}"),
        }
        self.see(before);
    }

    fn check_refusal(&self, no: &No, refusal: &Refusal) {
        let fits = match (no, refusal) {
            (No::Invalid, Refusal::Invalid { .. })
            | (No::UnknownKind, Refusal::UnknownKind(_))
            | (No::Unknown, Refusal::Unknown(_))
            | (No::KeyReused, Refusal::KeyReused(_))
            | (No::Forbidden, Refusal::Forbidden(_)) => true,
            (No::Conflict(seq), Refusal::Conflict { winner, .. }) => {
                winner.line() == self.model.rows[usize::try_from(*seq).unwrap() - 1].line()
            }
            _ => false,
        };
        assert!(fits, "due: {no:?}, told: {refusal:?}");
    }

    fn read(&self, question: &Question) {
        let Question { after, before, limit, desc, wanted, since, until } = question;
        let order = if *desc { Order::Desc } else { Order::Asc };
        let (after, before, since_ms, until_ms) = (*after, *before, *since, *until);
        let range = Range {
            after,
            before,
            limit: *limit,
            order,
            filter: wanted.filter(),
            since_ms,
            until_ms,
            ..Range::default()
        };
        let page = match self.log.range(&range) {
            Err(Error::Refused(Refusal::Invalid { .. })) => {
                assert!(!(1..=10_000).contains(limit));
                return;
            }
            page => page.unwrap(),
        };
        let inside = |row: &&Row| {
            after.is_none_or(|after| row.seq > after)
                && before.is_none_or(|before| row.seq < before)
                && since.is_none_or(|since| row.at_ms >= since)
                && until.is_none_or(|until| row.at_ms < until)
                && wanted.wants(row)
        };
        let mut due: Vec<String> = self.model.left().filter(|row| inside(row)).map(Row::line).collect();
        let newest = *desc || (after.is_none() && since.is_none());
        if newest {
            due.reverse();
        }
        due.truncate(*limit);
        if newest && !desc {
            due.reverse();
        }
        assert_eq!(page.rows().map(|row| text(&row)).collect::<Vec<_>>(), due);
        assert_eq!((page.seq.get(), page.floor.get()), (self.model.head(), self.model.floor));
    }

    /// Pages put one after the other are the whole log, forward and backward.
    fn walk(&self, limit: usize, wanted: &Wanted) {
        let due: Vec<String> = self.model.left().filter(|row| wanted.wants(row)).map(Row::line).collect();
        let range = |after, before, order| {
            let filter = wanted.filter();
            let range = Range { after, before, limit, order, filter, ..Range::default() };
            self.log.range(&range).unwrap()
        };
        let mut forward = Vec::new();
        let mut after = 0;
        loop {
            let page = range(Some(after), None, Order::Asc);
            forward.extend(page.rows().map(|row| text(&row)));
            assert!(page.next_after > after || page.next_after == self.model.head());
            after = page.next_after;
            if after >= page.seq.get() {
                break;
            }
        }
        assert_eq!(forward, due);
        for order in [Order::Asc, Order::Desc] {
            let mut backward = Vec::new();
            let mut before = None;
            loop {
                let page = range(None, before, order);
                let mut rows: Vec<String> = page.rows().map(|row| text(&row)).collect();
                if order == Order::Asc {
                    rows.reverse();
                }
                backward.extend(rows);
                assert!(before.is_none_or(|before| page.next_before < before));
                before = Some(page.next_before);
                if page.next_before <= 1 {
                    break;
                }
            }
            backward.reverse();
            assert_eq!(backward, due);
        }
    }

    /// snapshot(n) and the events n+1..m are snapshot(m).
    fn snapshot_at(&self, at: usize, upto: usize) {
        let count = self.model.rows.len() + 1;
        let (at, upto) = (at % count, upto % count);
        let (at, upto) = (at.min(upto), at.max(upto));
        let seq = |index: usize| Seq::new(i64::try_from(index).unwrap()).unwrap();
        if seq(at).get() < self.model.board_floor {
            let floor = Seq::new(self.model.board_floor).unwrap();
            assert_eq!(self.log.snapshot_at(seq(at)), Err(Error::Gone { floor }));
            return;
        }
        let earlier = self.log.snapshot_at(seq(at)).unwrap();
        assert_eq!(earlier.seq, seq(at));
        let mut board = board_of(&earlier.json());
        assert_eq!(board, self.model.board(seq(at).get()));
        for row in self.model.rows[at..upto].iter().filter(|row| !row.gone) {
            board.apply(&row.value());
        }
        let later = self.log.snapshot_at(seq(upto)).unwrap();
        assert_eq!(board, board_of(&later.json()));
        assert_eq!(self.log.snapshot().unwrap().json(), self.log.snapshot_at(seq(count - 1)).unwrap().json());
        assert!(matches!(self.log.snapshot_at(seq(count)), Err(Error::Refused(_))));
    }

    fn follow(&self, after: i64, wanted: &Wanted) {
        let head = Seq::new(self.model.head()).unwrap();
        let mut follower = self.log.follow_blocking(Seq::new(after).unwrap(), wanted.filter()).unwrap();
        if after > head.get() {
            let reset = Followed::Reset { reason: ResetReason::Future, seq: head };
            assert_eq!(follower.next(), Some(Ok(reset)));
        } else {
            if after < self.model.floor {
                let reset = Followed::Reset { reason: ResetReason::Pruned, seq: head };
                assert_eq!(follower.next(), Some(Ok(reset)));
            }
            let from = if after < self.model.floor { head.get() } else { after };
            for row in self.model.left().filter(|row| row.seq > from && wanted.wants(row)) {
                let Followed::Event(seen) = next(&mut follower) else { panic!("no row {}", row.seq) };
                assert_eq!(seen.line(), row.line());
            }
        }
        assert_eq!(next(&mut follower), Followed::CaughtUp(head));
    }
}

/// What is given, but for the word on how far that was.
fn next(follower: &mut hivelog::BlockingFollower) -> Followed {
    loop {
        match follower.next().unwrap().unwrap() {
            Followed::Passed(_) => {}
            given => return given,
        }
    }
}

fn text(row: &hivelog::Row) -> String {
    String::from_utf8(row.line().to_vec()).unwrap()
}

fn board_of(json: &[u8]) -> Board {
    Board::from_snapshot(&serde_json::from_slice::<Value>(json).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").map_or(64, |text| text.parse().unwrap()),
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::Direct("tests/model.regressions"),
        )),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_log_answers_as_a_plain_list_would(steps in prop::collection::vec(step(), 1..90)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
        }
        pair.take(&Step::Snapshot);
        pair.log.close();
        let report = hivelog::check(pair.folder.path().join("log.db")).unwrap();
        prop_assert_eq!(report.problems, Vec::<String>::new());
    }
}
