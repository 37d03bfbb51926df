//! P10, P9: programs beside the server: a real sqlite3 shell that holds the write lock, a second server, and
//! what the system refuses to give.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{append, get};
use crate::rig::{Rig, binary, command, skip, start};
use crate::story::{Story, Told};

const EVENT: &str = r#"{"kind":"test.note","n":1}"#;
const LOOKS: usize = 3;

/// A real shell on a file.
struct Shell(Child, BufReader<std::process::ChildStdout>);

impl Shell {
    fn open(rig: &Rig) -> Option<Self> {
        let mut shell = Command::new("sqlite3");
        let mut shell = shell.arg(rig.db()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let out = BufReader::new(shell.stdout.take().unwrap());
        Some(Self(shell, out))
    }

    /// Runs a statement, and waits until it ran.
    fn run(&mut self, sql: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql};\nSELECT 'done';").unwrap();
        let mut line = String::new();
        while line.trim_end() != "done" {
            line.clear();
            assert!(self.1.read_line(&mut line).unwrap() > 0, "the shell ended");
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn a_shell_that_holds_the_write_lock_is_waited_for_then_told() {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let address = server.address();
    assert_eq!(append(&address, None, EVENT).unwrap().status, 201);
    let Some(mut shell) = Shell::open(&rig) else { return skip("a held write lock", "sqlite3 is missing") };
    shell.run("BEGIN IMMEDIATE");
    let begin = Instant::now();
    let waiting = {
        let address = address.clone();
        std::thread::spawn(move || append(&address, None, EVENT).unwrap())
    };
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(get(&address, "/api/history").unwrap().status, 200, "reads go on");
    let reply = waiting.join().unwrap();
    let waited = begin.elapsed();
    assert_eq!((reply.status, reply.problem().as_str()), (503, "busy"));
    assert!(
        reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()),
        "{}",
        reply.head
    );
    assert!((4_800..14_000).contains(&waited.as_millis()), "{waited:?}");
    shell.run("ROLLBACK");
    let begin = Instant::now();
    assert_eq!(append(&address, None, EVENT).unwrap().json()["seq"], 2);
    // Less than a lock is waited for.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn a_start_that_meets_a_held_write_lock_says_so() {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    assert_eq!(append(&server.address(), None, EVENT).unwrap().status, 201);
    server.kill();
    let Some(mut shell) = Shell::open(&rig) else { return skip("a held write lock", "sqlite3 is missing") };
    shell.run("BEGIN IMMEDIATE");
    let mut command = command("serve", &rig.db());
    command.args(["--no-auth", "--listen", "127.0.0.1:0"]);
    let Err(ended) = start(command, &rig.trace().with_extension("stderr")) else { panic!("it serves") };
    assert_eq!(ended.status.code(), Some(75), "{ended:?}");
    assert!(ended.last_line().contains("another process holds the write lock"), "{ended:?}");
    shell.run("COMMIT");
    let mut server = rig.serve_plainly();
    assert_eq!(append(&server.address(), None, EVENT).unwrap().json()["seq"], 2);
    server.stop();
}

#[test]
fn a_second_server_is_refused_at_once_by_any_name() {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let (soft, hard) = (rig.data().join("soft.db"), rig.data().join("hard.db"));
    std::os::unix::fs::symlink(rig.db(), &soft).unwrap();
    std::fs::hard_link(rig.db(), &hard).unwrap();
    for db in [rig.db(), soft, hard.clone()] {
        // The hard link has no word of its own beside it that says where the file is served: it is waited for.
        let patience = Duration::from_secs(if db == hard { 3 } else { 1 });
        // One quiet look in some is enough.
        let is_soon = (0..LOOKS).any(|_| {
            let mut command = command("serve", &db);
            command.args(["--no-auth", "--listen", "127.0.0.1:0"]);
            let begin = Instant::now();
            let told = start(command, &rig.trace().with_extension("stderr"));
            let took = begin.elapsed();
            let Err(ended) = told else { panic!("two servers") };
            assert_eq!(ended.status.code(), Some(1), "{ended:?}");
            assert!(ended.last_line().contains(&format!("process {}", server.pid())), "{db:?}: {ended:?}");
            took < patience
        });
        assert!(is_soon, "{db:?}: more than {patience:?} in each of {LOOKS} looks");
    }
    assert_eq!(append(&server.address(), None, EVENT).unwrap().status, 201);
    server.kill();
    std::fs::remove_file(hard).unwrap();
    let mut server = rig.serve_plainly();
    assert_eq!(
        append(&server.address(), None, EVENT).unwrap().json()["seq"],
        2,
        "the lock went with its process"
    );
    server.stop();
}

/// Starts a server that may have so many descriptors.
fn with_descriptors(rig: &Rig, count: u32) -> Result<crate::rig::Server, crate::rig::Ended> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\"")]).arg(binary());
    command
        .args(["serve", "--no-auth", "--listen", "127.0.0.1:0", "--kind", "declared", "--db"])
        .arg(rig.db());
    start(command, &rig.trace().with_extension("stderr"))
}

#[test]
fn without_descriptors_it_refuses_in_one_line_or_recovers() {
    let rig = Rig::new();
    let mut served = 0;
    for count in (6..90).step_by(6) {
        match with_descriptors(&rig, count) {
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(1), "{count}: {ended:?}");
                assert!(ended.last_line().contains("file descriptors"), "{count}: {ended:?}");
                assert_eq!(ended.stderr.lines().count(), 1, "{count}: {ended:?}");
            }
            Ok(mut server) => {
                served += 1;
                server.kill_if_alive();
            }
        }
    }
    assert!(served > 0);
    let mut server = with_descriptors(&rig, 64).unwrap();
    let address = server.address();
    let mut story = Story::new();
    assert_eq!(story.make_next(&address, None), Told::Acked);
    let held: Vec<TcpStream> = (0..80).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!server.has_ended(), "{}", server.said());
    drop(held);
    let begin = Instant::now();
    while !matches!(story.make_next(&address, None), Told::Acked) {
        assert!(begin.elapsed() < Duration::from_mins(1), "it does not recover:\n{}", server.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("recovered after {:?}", begin.elapsed());
    assert_eq!(server.stop().status.code(), Some(0));
    story.judge(&rig);
}
