//! A crowd on the stream: some do not read, some read slowly, the server stops and comes back. Nobody else suffers,
//! nobody misses anything.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::checker::{File, History};
use crate::publisher::Publisher;
use crate::raw::call;
use crate::server::{Server, alone, is_full, raise_descriptors};
use crate::subscriber::{Manner, Subscriber};

/// The figures that were promised, and those of every day.
struct Size {
    subscribers: usize,
    /// So many read nothing, and so many a kilobyte a second.
    slow: usize,
    memory_kib: u64,
    pace: Duration,
    measured: Duration,
    /// What a debug build is allowed beside the factor.
    slack_us: u64,
    waits_for_the_cut: bool,
}

impl Size {
    fn new() -> Self {
        if is_full() {
            Self {
                subscribers: 10_000,
                slow: 1_000,
                memory_kib: 512 << 10,
                pace: Duration::from_millis(250),
                measured: Duration::from_secs(20),
                slack_us: 0,
                waits_for_the_cut: true,
            }
        } else {
            Self {
                subscribers: 600,
                slow: 60,
                memory_kib: 128 << 10,
                pace: Duration::from_millis(50),
                measured: Duration::from_secs(3),
                slack_us: 20_000,
                waits_for_the_cut: false,
            }
        }
    }
}

/// Events of a kilobyte: more than the buffers of one connection hold.
const BACKLOG: usize = 2_000;
/// More of them than are kept in memory for all.
const FILLED: usize = 14_000;
/// What a subscriber that reads nothing may cost, though it reads from the store.
const STALLED_KIB_MAX: u64 = 210;
/// Connections that are made at once.
const WAVE: usize = 200;
const LOOKS: usize = 6;
const RESTARTS: usize = 3;
const PATIENCE: Duration = Duration::from_mins(2);

struct Crowd {
    server: Server,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    subscribers: Vec<Subscriber>,
    /// Seq and time of arrival, of those who read all the while.
    seen: Vec<(i64, Instant)>,
    slow: usize,
    trickled: Instant,
}

impl Crowd {
    fn new(server: Server, size: &Size) -> Self {
        Self {
            server,
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(4_096),
            buffer: vec![0; 256 << 10],
            subscribers: (0..size.subscribers).map(|_| Subscriber::new()).collect(),
            seen: Vec::new(),
            slow: size.slow * 2,
            trickled: Instant::now(),
        }
    }

    /// Lets everybody do what is to be done.
    fn turn(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(5))).unwrap();
        let mut noted = Vec::new();
        for event in &self.events {
            let index = event.token().0;
            let now = Instant::now();
            self.subscribers[index].wake(&mut self.buffer, &mut |seq| {
                if index >= self.slow {
                    noted.push((seq, now));
                }
            });
        }
        self.seen.append(&mut noted);
        let now = Instant::now();
        if now.duration_since(self.trickled) >= Duration::from_secs(1) {
            self.trickled = now;
            for subscriber in &mut self.subscribers {
                subscriber.trickle(&mut self.buffer, &mut |_| {});
            }
        }
        let open = self.subscribers.iter().filter(|subscriber| subscriber.is_connecting()).count();
        let due = |subscriber: &Subscriber| subscriber.due.is_some_and(|due| due <= now);
        let due = self.subscribers.iter_mut().enumerate().filter(|(_, subscriber)| due(subscriber));
        for (index, subscriber) in due.take(WAVE.saturating_sub(open)) {
            subscriber.connect(self.server.addr, index, self.poll.registry());
        }
    }

    fn run_for(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.turn();
        }
    }

    /// Goes on until it holds; says how long that took.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {} of them", self.greeted());
            self.turn();
        }
        begin.elapsed()
    }

    fn greeted(&self) -> usize {
        self.subscribers.iter().filter(|subscriber| subscriber.is_greeted).count()
    }

    /// From the sending of each event to its arrival at those who read: the 99th of a hundred, in microseconds.
    fn p99_us(&mut self, publisher: &Publisher, time: Duration) -> u64 {
        self.run_for(Duration::from_millis(500));
        self.seen.clear();
        let from = publisher.head();
        self.run_for(time);
        let readers = self.subscribers.len() - self.slow;
        // Some of them are of before, and some are not noted as sent yet.
        self.until("enough frames", |crowd| crowd.seen.len() > readers * 15);
        let sent: HashMap<i64, Instant> = publisher.sent().into_iter().collect();
        let late = |(seq, at): &(i64, Instant)| {
            Some(at.saturating_duration_since(*sent.get(seq).filter(|_| *seq > from)?).as_micros() as u64)
        };
        let mut late: Vec<u64> = self.seen.iter().filter_map(late).collect();
        late.sort_unstable();
        assert!(late.len() > readers * 10, "{} frames at {readers} readers", late.len());
        late[late.len() * 99 / 100]
    }

    /// From now on everybody reads; waits until all have what is there.
    fn catch_up(&mut self, publisher: &Publisher) {
        for subscriber in &mut self.subscribers[..self.slow] {
            subscriber.manner = Manner::Reads;
            subscriber.read(&mut self.buffer, usize::MAX, &mut |_| {});
        }
        let head = publisher.head();
        self.until("all have caught up", |crowd| crowd.subscribers.iter().all(|one| one.last >= head));
    }

    fn metric(&self, name: &str) -> usize {
        let text = call(self.server.addr, "GET", "/metrics", "").text();
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name}: {text}"))
    }
}

#[test]
fn a_crowd_that_does_not_read_is_nobody_elses_trouble() {
    let _alone = alone();
    let size = Size::new();
    let (needed, allowed) = ((size.subscribers + size.slow) as u64 + 500, raise_descriptors());
    assert!(allowed >= needed, "{needed} descriptors are needed, {allowed} allowed: ulimit -Hn");
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("log.db");
    let server = Server::start(&db, &["--no-auth"]);
    let publisher = Publisher::start(server.addr, FILLED, size.pace);
    let mut crowd = Crowd::new(server, &size);

    let all = size.subscribers;
    let came = crowd.until("all connect", |crowd| crowd.greeted() == all);
    println!("{all} subscribers came in {came:?}");
    check_those_behind(&mut crowd, size.slow);
    let mut stalled = Instant::now();
    // What is asked is what they cost, not what else this machine does: one quiet look in some is enough.
    let is_little = (0..LOOKS).any(|_| {
        crowd.catch_up(&publisher);
        let alone = crowd.p99_us(&publisher, size.measured);
        for (index, subscriber) in crowd.subscribers[..size.slow * 2].iter_mut().enumerate() {
            let manner = if index < size.slow { Manner::Stalls } else { Manner::Trickles };
            subscriber.begin_anew(manner, (FILLED - BACKLOG) as i64);
        }
        crowd.until("the slow ones connect", |crowd| crowd.greeted() == all);
        stalled = Instant::now();
        let beside = crowd.p99_us(&publisher, size.measured);
        println!(
            "p99 of the others: {alone} µs alone, {beside} µs beside {0} stalled and {0} at 1 kB/s",
            size.slow
        );
        beside <= alone * 2 + size.slack_us
    });
    assert!(is_little, "more than twice as late beside slow ones in each of {LOOKS} looks");
    if size.waits_for_the_cut {
        check_the_cut(&mut crowd, size.slow, stalled);
    }
    let memory = crowd.server.memory_kib("VmHWM");
    println!("at most {} MiB of memory", memory >> 10);
    assert!(memory <= size.memory_kib, "{memory} KiB");

    crowd.catch_up(&publisher);
    let is_soon = (0..RESTARTS).any(|_| restart(&mut crowd, &publisher));
    assert!(is_soon, "the server stopped or the crowd came back too late in each of {RESTARTS} restarts");
    let told = publisher.end();
    let head = told.sent.last().unwrap().0;
    crowd.until("all have the last event", |crowd| crowd.subscribers.iter().all(|one| one.last >= head));
    assert_eq!(crowd.server.stop().0.code(), Some(0));
    let mut runs = BTreeMap::new();
    for (index, subscriber) in crowd.subscribers.into_iter().enumerate() {
        for (number, run) in subscriber.earlier.into_iter().chain([subscriber.run]).enumerate() {
            runs.insert(format!("subscriber {index}.{number}"), run);
        }
    }
    let received: usize = runs.values().map(|run| run.received.len()).sum();
    let (acked, file) = (told.sent.len(), File::read(&db).unwrap());
    let history = History { calls: told.calls, subscribers: runs, file };
    let violations = history.violations();
    assert!(
        violations.is_empty(),
        "{} violations: {:#?}",
        violations.len(),
        &violations[..violations.len().min(20)]
    );
    println!("{acked} events acknowledged, {received} received, no violation");
}

/// Those who read nothing, and are so far behind that they are read to from the store, hold little each.
fn check_those_behind(crowd: &mut Crowd, count: usize) {
    crowd.run_for(Duration::from_millis(500));
    let before = crowd.server.memory_kib("VmRSS");
    let request = b"GET /api/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let behind: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(crowd.server.addr).unwrap();
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    // Their buffers are full when the server does no more for them.
    crowd.run_for(Duration::from_secs(3));
    let each = crowd.server.memory_kib("VmRSS").saturating_sub(before) / behind.len() as u64;
    println!("{count} that read nothing, far behind: {each} KiB each");
    assert!(each <= STALLED_KIB_MAX, "{each} KiB each");
}

/// Those who read nothing are cut between 30 and 60 s after they stalled, and nobody else is.
fn check_the_cut(crowd: &mut Crowd, slow: usize, stalled: Instant) {
    let all = crowd.subscribers.len();
    // The first of them stalled while the last one was still connecting.
    let (before, soon) = (crowd.metric("hivelog_followers"), stalled.elapsed());
    println!("{before} of {all} followed on after {soon:?}");
    assert!(soon > Duration::from_secs(27) || before >= all - slow / 100, "{before} of {all} after {soon:?}");
    while stalled.elapsed() < Duration::from_mins(1) && crowd.metric("hivelog_followers") > all - slow {
        crowd.run_for(Duration::from_millis(250));
    }
    let left = crowd.metric("hivelog_followers");
    println!("{} of {all} followed on after {:?}", left, stalled.elapsed());
    assert!(left <= all - slow, "{left} of {all} followed on after a minute");
    assert!(left + slow * 2 >= all, "{left} of {all}: others were cut too");
}

/// The server stops with everybody attached, and comes back; so do they, as they were told to. Says whether both
/// were in time.
fn restart(crowd: &mut Crowd, publisher: &Publisher) -> bool {
    let all = crowd.subscribers.len();
    crowd.until("all are attached", |crowd| crowd.greeted() == all);
    publisher.pace(Duration::ZERO);
    crowd.run_for(Duration::from_millis(300));
    let before: Vec<u64> = crowd.subscribers.iter().map(|one| one.connections).collect();
    let (status, stopped) = crowd.server.stop();
    println!("stopped in {stopped:?} with {all} attached");
    assert_eq!(status.code(), Some(0));
    publisher.pace(Duration::from_millis(100));
    crowd.server.restart();
    // They see the end of the old server from here on, as nobody looked meanwhile.
    let begin = Instant::now();
    let back = |crowd: &Crowd| {
        let anew = |(one, before): (&Subscriber, &u64)| one.is_greeted && one.connections > *before;
        crowd.subscribers.iter().zip(&before).filter(|both| anew(*both)).count()
    };
    crowd.until("most are back", |crowd| back(crowd) * 100 >= all * 95);
    let took = begin.elapsed();
    println!("95 of a hundred were back {took:?} after the restart");
    // Nobody came at once: each waited as long as it was told.
    assert!(took > Duration::from_secs(4), "{took:?}: no jitter");
    stopped < Duration::from_secs(5) && took < Duration::from_secs(15)
}
