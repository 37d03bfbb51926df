//! A second process that only reads the file: what it sees, how soon, and what it is told when the file goes.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use hivelog::{
    BlockingFollower, Cursor, Draft, Error, Filter, Followed, Log, Options, ResetReason, Seq, Start,
};

use crate::other::Other;
use crate::swarm::PATIENCE;
use crate::{Place, foreign, note, seq};

const LOOKS: usize = 12;

fn follow(log: &Log, after: i64) -> BlockingFollower {
    log.follow_blocking(seq(after), Filter::default()).unwrap()
}

fn next_event(follower: &mut BlockingFollower) -> i64 {
    loop {
        match follower.next().unwrap().unwrap() {
            Followed::Event(row) => return row.seq().get(),
            Followed::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Every read ends with it, and so does every follower, those that wait as well as those that come.
fn check_replaced(reader: &Log, mut follower: BlockingFollower) {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for followed in follower.by_ref() {
            if !matches!(followed, Ok(Followed::CaughtUp(_))) {
                tell.send(followed).unwrap();
            }
        }
    });
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Err(Error::Replaced)));
    assert_eq!(told.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(reader.snapshot().map(|_| ()), Err(Error::Replaced));
    assert_eq!(reader.get(seq(1)).map(|_| ()), Err(Error::Replaced));
    assert!(matches!(reader.follow(Seq::ZERO, Filter::default()), Err(Error::Replaced)));
    assert_eq!(reader.failure(), Some(Error::Replaced));
    assert_eq!(futures_executor::block_on(reader.failed()), Error::Replaced);
    reader.close();
}

#[test]
fn what_another_process_appends_is_seen_within_50_ms() {
    let place = Place::new();
    let mut other = Other::open(&place.path());
    let reader = Log::open_read_only(place.path()).unwrap();
    let mut follower = follow(&reader, 0);
    let mut notes = 1..;
    // What is asked is how often we look, not what else this machine does: one quiet look in some is enough.
    let is_soon = (0..LOOKS).any(|_| {
        let mut times = Vec::new();
        for n in notes.by_ref().take(40) {
            assert_eq!(other.note(n), n);
            let answered = Instant::now();
            assert_eq!(next_event(&mut follower), n);
            times.push(answered.elapsed());
        }
        times.sort_unstable();
        println!("a commit of another process is seen after p50 {:?}, p95 {:?}", times[20], times[37]);
        times[37] < Duration::from_millis(50)
    });
    assert!(is_soon, "more than 50 ms in each of {LOOKS} looks");
}

#[test]
fn kills_and_restarts_of_the_writer_leave_no_gap() {
    let place = Place::new();
    let mut other = Other::open(&place.path());
    assert_eq!(other.note(1), 1);
    let reader = Log::open_read_only(place.path()).unwrap();
    let mut follower = follow(&reader, 0);
    let mut seen = vec![next_event(&mut follower)];
    for round in 0..4 {
        for _ in 0..3 {
            let told = other.note(0);
            seen.push(next_event(&mut follower));
            assert_eq!(seen.last(), Some(&told));
        }
        // In turn: killed, and ended in good order.
        if round % 2 == 0 {
            other.kill()
        } else {
            drop(other)
        }
        other = Other::open(&place.path());
        assert_eq!(other.opened, "open", "a reader is no obstacle");
    }
    assert_eq!(seen, (1..=13).collect::<Vec<i64>>());
    assert_eq!(reader.failure(), None);
}

#[test]
fn a_restored_log_under_a_reader_is_told_and_the_old_position_is_void() {
    let place = Place::new();
    let log = place.open();
    for n in 1..=3 {
        note(&log, n);
    }
    let saved = place.beside("saved.db");
    log.backup(&saved, &mut |_, _| ()).unwrap();
    note(&log, 4);
    let old = log.id();
    log.close();
    let reader = Log::open_read_only(place.path()).unwrap();
    let waiting = follow(&reader, 4);
    let restored = hivelog::restore(&saved, place.path(), true, &mut |_, _| ()).unwrap();
    check_replaced(&reader, waiting);

    // Opened again it is the new log, before and after somebody writes it.
    let reader = Log::open_read_only(place.path()).unwrap();
    assert_eq!(reader.id(), restored.log_id);
    let start = Start::After(Cursor::new(old, seq(4)));
    let mut follower = reader.follow_blocking(start, Filter::default()).unwrap();
    let reset = Followed::Reset { reason: ResetReason::OtherLog, seq: seq(3) };
    assert_eq!(follower.next(), Some(Ok(reset)));
    let log = place.open();
    assert_eq!(note(&log, 4), 4);
    assert_eq!(next_event(&mut follower), 4);
    assert_eq!(reader.failure(), None);
}

#[test]
fn a_marked_copy_that_gets_its_own_name_under_a_reader_is_told() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    let out = place.beside("copy.db");
    log.backup(&out, &mut |_, _| ()).unwrap();
    let reader = Log::open_read_only(&out).unwrap();
    assert_eq!(reader.id(), log.id());
    let waiting = follow(&reader, 1);
    let copy = Log::open(&out, Options::default()).unwrap();
    check_replaced(&reader, waiting);
    assert_eq!(Log::open_read_only(&out).unwrap().id(), copy.id());
}

#[test]
fn a_file_that_is_removed_or_written_over_is_told() {
    for is_removed in [true, false] {
        let place = Place::new();
        let log = place.open();
        note(&log, 1);
        log.close();
        std::fs::copy(place.path(), place.beside("early.db")).unwrap();
        let log = place.open();
        note(&log, 2);
        log.close();
        let reader = Log::open_read_only(place.path()).unwrap();
        let waiting = follow(&reader, 2);
        if is_removed {
            std::fs::remove_file(place.path()).unwrap();
        } else {
            // As `cp` does it: the same inode, with less in it. SQLite's own copy does that with its locks.
            let mut target = foreign(&place.path());
            let early = foreign(&place.beside("early.db"));
            let backup = hivelog::rusqlite::backup::Backup::new(&early, &mut target).unwrap();
            assert_eq!(backup.step(-1).unwrap(), hivelog::rusqlite::backup::StepResult::Done);
        }
        check_replaced(&reader, waiting);
    }
}

#[test]
fn a_prune_is_told_to_whom_it_concerns() {
    let place = Place::new();
    let log = place.open();
    for _ in 0..5 {
        let drafts = (0..1_000).map(|_| Draft::from_json(r#"{"kind":"a.b"}"#).unwrap()).collect();
        log.submit(hivelog::Command::new(drafts)).wait().unwrap();
    }
    let reader = Log::open_read_only(place.path()).unwrap();
    let (mut behind, mut ahead) = (follow(&reader, 0), follow(&reader, 5_000));
    assert_eq!(next_event(&mut behind), 1);
    assert_eq!(ahead.next(), Some(Ok(Followed::CaughtUp(seq(5_000)))));
    let other = foreign(&place.path());
    other
        .execute_batch(
            "BEGIN IMMEDIATE;
             UPDATE meta SET value = 4000 WHERE name = 'floor';
             DELETE FROM events WHERE seq <= 4000;
             COMMIT;",
        )
        .unwrap();
    assert_eq!(note(&log, 1), 5_001);
    assert_eq!(next_event(&mut ahead), 5_001, "who is above the floor does not notice");
    let mut seen = 1;
    let told = loop {
        match behind.next().unwrap().unwrap() {
            Followed::Event(row) if row.seq() == seq(seen + 1) => seen += 1,
            other => break other,
        }
        assert!(seen < 4_000, "a pruned event was read");
    };
    assert!(matches!(told, Followed::Reset { reason: ResetReason::Pruned, .. }), "{told:?}");
    let mut late = follow(&reader, 1);
    let reset = Followed::Reset { reason: ResetReason::Pruned, seq: seq(5_001) };
    assert_eq!(late.next(), Some(Ok(reset)));
}
