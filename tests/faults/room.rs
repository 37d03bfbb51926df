//! P2, P9: a disk that fills up, and a limit on the size of a file: 507, reads go on, appends resume by
//! themselves, nothing acknowledged is lost.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::get;
use crate::rig::{Rig, binary, figure, skip, start};
use crate::story::{Story, Told, pad};

/// Appends that do not resume by then, though there is room, do not resume.
const RESUME: Duration = Duration::from_mins(1);

/// A small file system in memory, over the folder of a rig.
pub struct Small(PathBuf);

impl Small {
    /// Needs root.
    pub fn over(folder: &Path, size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder)
            .output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(folder.to_owned()))
    }

    pub fn make_read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }

    fn resize(&self, size: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes all the room that there is.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

fn check_reads(address: &str) {
    for path in ["/api/state", "/api/history?limit=5", "/api/history?order=desc&limit=5", "/livez"] {
        let reply = get(address, path).unwrap_or_else(|| panic!("{path}: no answer"));
        assert_eq!(reply.status, 200, "{path}: {}", String::from_utf8_lossy(&reply.body));
    }
}

/// Makes calls until one is told that there is no room; that one has its key and can be repeated.
fn until_full(story: &mut Story, address: &str) -> u64 {
    for _ in 0..3_000 {
        match story.make_next(address, None) {
            Told::Acked | Told::Refused => {}
            Told::Later(507, word) => {
                assert_eq!(word, "disk-full");
                return story.next_call - 1;
            }
            told => panic!("{told:?}"),
        }
    }
    panic!("the disk does not fill up");
}

/// Repeats a call until it is stored; gives how long that took.
fn until_stored(story: &mut Story, address: &str, number: u64) -> Duration {
    let begin = Instant::now();
    loop {
        match story.make(address, number, None) {
            Told::Acked | Told::Refused => return begin.elapsed(),
            Told::Later(507, _) => assert!(begin.elapsed() < RESUME, "appends do not resume"),
            told => panic!("{told:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_is_told_and_appends_resume_when_there_is_room() {
    let rig = Rig::new();
    // A WAL of two thousand pages, as many again while it cannot go on, and what a hundred rounds leave in the file.
    let Some(_small) = Small::over(&rig.data(), "32m") else {
        return skip("a full disk", "mounting a small file system needs root");
    };
    let mut server = rig.serve_plainly();
    let address = server.address();
    let mut story = Story::new();
    let follower = story.subscriber.follow(&address, None, None);
    let ballast = rig.data().join("ballast");
    let rounds = figure(4, 100);
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        for _ in 0..5 {
            story.make_next(&address, None);
        }
        fill(&ballast);
        assert!(ballast.metadata().unwrap().len() > 1 << 20, "the log itself has taken all the room");
        let number = until_full(&mut story, &address);
        check_reads(&address);
        // A small one may still find its room.
        let told = story.make_next(&address, None);
        assert!(matches!(told, Told::Later(507, _) | Told::Refused | Told::Acked), "{told:?}");
        std::fs::remove_file(&ballast).unwrap();
        longest = longest.max(until_stored(&mut story, &address, number));
    }
    assert!(!server.has_ended(), "{}", server.said());
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    follower.join().unwrap();
    story.judge(&rig);
    println!(
        "{rounds} fill-and-free rounds, {} acks, resumed after {longest:?} at most, 0 violations",
        story.acks
    );
    assert!(story.acks > rounds * 5);
}

#[test]
fn a_log_that_fills_its_disk_goes_on_when_that_grows() {
    let rig = Rig::new();
    let Some(small) = Small::over(&rig.data(), "4m") else {
        return skip("a log that fills its disk", "mounting a small file system needs root");
    };
    let mut server = rig.serve_plainly();
    let address = server.address();
    let mut story = Story::new();
    for _ in 0..5 {
        story.make_next(&address, None);
    }
    let told: Vec<u16> = (0..8).map(|_| pad(&address)).collect();
    assert!(told.contains(&507) && told.iter().all(|status| matches!(status, 201 | 507)), "{told:?}");
    let number = until_full(&mut story, &address);
    check_reads(&address);
    small.resize("32m");
    let took = until_stored(&mut story, &address, number);
    assert_eq!(pad(&address), 201);
    assert_eq!(server.stop().status.code(), Some(0));
    story.judge(&rig);
    println!("filled by {told:?}, resumed after {took:?}");
}

#[test]
fn a_limit_on_the_size_of_a_file_is_told_and_kills_nobody() {
    let rig = Rig::new();
    let mut command = Command::new("sh");
    // Blocks of 512 or 1024 bytes, as the shell likes.
    command.args(["-c", "ulimit -f 4000; exec \"$0\" \"$@\""]).arg(binary());
    command
        .args(["serve", "--no-auth", "--listen", "127.0.0.1:0", "--kind", "declared", "--db"])
        .arg(rig.db());
    let mut server = start(command, &rig.trace().with_extension("stderr")).unwrap();
    let address = server.address();
    let mut story = Story::new();
    for _ in 0..5 {
        story.make_next(&address, None);
    }
    let told: Vec<u16> = (0..12).map(|_| pad(&address)).collect();
    assert!(told.contains(&507) && told.iter().all(|status| matches!(status, 201 | 507)), "{told:?}");
    let number = until_full(&mut story, &address);
    check_reads(&address);
    assert!(!server.has_ended(), "{}", server.said());
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let mut server = rig.serve_plainly();
    until_stored(&mut story, &server.address(), number);
    server.stop();
    story.judge(&rig);
}
