//! P2: files that are taken away, replaced, cut or overwritten under a server: noticed within two seconds, and
//! nothing is acknowledged from then on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::rig::{PATIENCE, Rig, Server};
use crate::story::{Story, Told, ask};

/// What is noticed within this is noticed in time.
const NOTICE: Duration = Duration::from_secs(2);
/// An answer that was under way when the file went may still arrive.
const UNDER_WAY: Duration = Duration::from_millis(300);
const ROUNDS: usize = 3;

/// A client that appends, or rests, until its server is gone.
struct Client {
    /// When each call was sent that was acknowledged.
    acks: Arc<Mutex<Vec<Instant>>>,
    works: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Story>,
}

fn client(server: &Server, mut story: Story, rests: bool) -> Client {
    let acks: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let works = Arc::new(AtomicBool::new(true));
    let (address, told, goes_on) = (server.address(), Arc::clone(&acks), Arc::clone(&works));
    let thread = std::thread::spawn(move || {
        while goes_on.load(Ordering::SeqCst) {
            let number = story.next_call;
            story.next_call += 1;
            let sent = Instant::now();
            match story.note(number, ask(&address, number, None)) {
                Told::Acked => told.lock().unwrap().push(sent),
                // A shell that was paused in a transaction makes the server busy.
                Told::Refused | Told::Later(..) => {}
                Told::Failed(..) | Told::NoAnswer => break,
            }
            if rests && story.acks >= 20 {
                break;
            }
        }
        story
    });
    Client { acks, works, thread }
}

impl Client {
    fn acks(&self) -> usize {
        self.acks.lock().unwrap().len()
    }

    /// Whether it still has to come to so many.
    fn lacks(&self, acks: usize) -> bool {
        self.acks() < acks && !self.thread.is_finished()
    }
}

/// Does this to the files of a busy server, then to those of an idle one. Its last line has the word.
fn check_noticed(word: &str, fault: impl Fn(&Path)) {
    for rests in [false, true] {
        // What is asked is how soon it looks, not what else this machine does: one quiet round is enough.
        let is_soon = (0..ROUNDS).any(|_| noticed_after(word, &fault, rests) <= NOTICE);
        assert!(is_soon, "{word}, idle {rests}: noticed later than {NOTICE:?} in each of {ROUNDS} rounds");
    }
}

fn noticed_after(word: &str, fault: &impl Fn(&Path), rests: bool) -> Duration {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let client = client(&server, Story::new(), rests);
    let begin = Instant::now();
    while client.lacks(15) || (rests && !client.thread.is_finished()) {
        assert!(begin.elapsed() < Duration::from_mins(1), "no acks");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(client.acks() >= 15, "{} acks", client.acks());
    fault(&rig.db());
    let then = Instant::now();
    let ended = server.wait_for(PATIENCE);
    client.works.store(false, Ordering::SeqCst);
    let acks = Arc::clone(&client.acks);
    client.thread.join().unwrap();
    let acks = acks.lock().unwrap();
    let ended = ended.unwrap_or_else(|| panic!("{word}, idle {rests}: not noticed:\n{}", server.said()));
    let took = ended.at - then;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.last_line().contains(word), "{word}: {ended:?}");
    let late = acks.iter().filter(|sent| **sent > then + UNDER_WAY).count();
    assert!(late == 0 || ended.last_line().contains("overwritten"), "{word}: {late} acks after it");
    println!("{word}, idle {rests}: {} acks, noticed after {took:?}: {}", acks.len(), ended.last_line());
    took
}

fn beside(db: &Path, ending: &str) -> std::path::PathBuf {
    format!("{}{ending}", db.display()).into()
}

fn cut(path: &Path, bytes: u64) {
    std::fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_removed_file_ends_the_server() {
    check_noticed("log.db was removed or replaced", |db| std::fs::remove_file(db).unwrap());
    check_noticed("log.db-wal was removed or replaced", |db| {
        std::fs::remove_file(beside(db, "-wal")).unwrap()
    });
}

#[test]
fn a_replaced_file_ends_the_server() {
    for ending in ["", "-wal"] {
        check_noticed(&format!("log.db{ending} was removed or replaced"), |db| {
            let copy = beside(db, ".copy");
            std::fs::copy(beside(db, ending), &copy).unwrap();
            std::fs::rename(&copy, beside(db, ending)).unwrap();
        });
    }
}

#[test]
fn a_file_that_is_cut_in_place_ends_the_server() {
    check_noticed("log.db was truncated or overwritten", |db| cut(db, 0));
    check_noticed("log.db was truncated or overwritten", |db| cut(db, 40_960));
}

#[test]
fn a_wal_that_is_cut_in_place_ends_the_server() {
    check_noticed("log.db-wal was truncated", |db| cut(&beside(db, "-wal"), 0));
    // Behind the first commits, so that the next one makes a hole of zeros.
    check_noticed("log.db-wal was truncated", |db| cut(&beside(db, "-wal"), 32 + 3 * 4_120));
}

#[test]
fn another_log_that_is_copied_over_this_one_ends_the_server() {
    let other = Rig::new();
    let mut server = other.serve_plainly();
    crate::story::pad(&server.address());
    server.stop();
    let bytes = std::fs::read(other.db()).unwrap();
    check_noticed("log.db was ", |db| {
        // As `cp` does it, and as a program that does not cut the file first.
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::options().write(true).open(db).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    });
    check_noticed("log.db was ", |db| std::fs::write(db, &bytes).unwrap());
}

#[test]
fn a_cut_index_of_the_wal_loses_nothing() {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let client = client(&server, Story::new(), false);
    while client.lacks(20) {
        std::thread::sleep(Duration::from_millis(1));
    }
    cut(&beside(&rig.db(), "-shm"), 0);
    // It may end by a signal, or go on: the system gives it zeros or takes it away.
    let ended = server.wait_for(NOTICE);
    client.works.store(false, Ordering::SeqCst);
    let mut story = client.thread.join().unwrap();
    println!("the index was cut: {:?}", ended.map(|ended| ended.status));
    server.kill_if_alive();
    story.judge(&rig);
}

#[test]
fn a_shell_that_checkpoints_or_vacuums_disturbs_nobody() {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let client = client(&server, Story::new(), false);
    let conn = hivelog::rusqlite::Connection::open(rig.db()).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < Duration::from_millis(2_500) || rounds < 4 || client.lacks(51) {
        for sql in [
            "PRAGMA wal_checkpoint(PASSIVE)",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "CREATE TABLE IF NOT EXISTS scratch (x)",
            "INSERT INTO scratch SELECT randomblob(20000)",
            "PRAGMA incremental_vacuum(3)",
            "PRAGMA wal_checkpoint(RESTART)",
            "DROP TABLE scratch",
            "VACUUM",
        ] {
            // What meets a lock of another meets it: the server has to bear it, not the shell.
            let _done = conn.query_row(sql, [], |_| Ok(()));
        }
        rounds += 1;
    }
    client.works.store(false, Ordering::SeqCst);
    let mut story = client.thread.join().unwrap();
    assert!(!server.has_ended(), "{}", server.said());
    assert!(rounds > 3 && story.acks > 50, "{rounds} rounds, {} acks", story.acks);
    server.stop();
    drop(conn);
    story.judge(&rig);
    println!("{rounds} rounds of checkpoints and vacuums beside {} acks", story.acks);
}

#[test]
fn a_server_that_ends_writes_nothing_into_a_log_that_was_copied_over_its_own() {
    let other = Rig::new();
    let mut server = other.serve_plainly();
    crate::story::pad(&server.address());
    server.stop();
    let bytes = std::fs::read(other.db()).unwrap();
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let mut story = Story::new();
    while story.acks < 10 {
        story.make_next(&server.address(), None);
    }
    use std::os::unix::fs::FileExt as _;
    std::fs::File::options().write(true).open(rig.db()).unwrap().write_all_at(&bytes, 0).unwrap();
    server.stop();
    assert!(std::fs::read(rig.db()).unwrap() == bytes, "the end of the server changed the other log");
}
