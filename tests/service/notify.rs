//! What the service manager is told; the service manager is this test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Guarded, PATIENCE, Place, Server, has, told, until};

const LOOKS: usize = 3;

/// A socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn new(place: &Place) -> Self {
        let socket = UnixDatagram::bind(place.beside("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        Self { socket, told: Vec::new() }
    }

    fn start(place: &Place, watchdog_us: &str) -> Server {
        let mut command = place.verb(&["serve", "--no-auth", "--listen", "127.0.0.1:0"]);
        command.env("NOTIFY_SOCKET", place.beside("notify")).env("WATCHDOG_USEC", watchdog_us);
        Server::start(place, &mut command)
    }

    /// What came until now; waits for a moment.
    fn hear(&mut self) -> Vec<String> {
        let mut buffer = [0; 4_096];
        let mut new = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
            new.extend(text.lines().map(str::to_owned));
        }
        self.told.extend(new.clone());
        new
    }

    /// Waits for a line.
    fn wait(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        until(what, || self.hear().into_iter().find(|line| is_it(line)))
    }
}

fn curl(url: &str) -> String {
    let mut command = Command::new("curl");
    told(
        &command
            .args(["-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", url])
            .output()
            .expect("curl"),
    )
}

#[test]
fn the_service_manager_hears_of_ready_of_the_head_and_of_the_end() {
    let place = Place::new();
    let mut manager = Manager::new(&place);
    let server = Manager::start(&place, "2000000");
    manager.wait("readiness", |line| line == "READY=1");
    assert_eq!(curl(&format!("{}/readyz", server.url)), "200");
    assert_eq!(manager.told[0], "READY=1", "nothing was said before: {:?}", manager.told);
    assert!(manager.told.iter().any(|line| line.starts_with("STATUS=head 0, http://")), "{:?}", manager.told);
    // Often enough: half of its time is what a service manager recommends. One quiet look in some is enough.
    let is_often = (0..LOOKS).any(|_| {
        let (mut pings, begin) = (0, Instant::now());
        while pings < 4 {
            pings += manager.hear().iter().filter(|line| *line == "WATCHDOG=1").count();
            assert!(begin.elapsed() < PATIENCE, "{:?}", manager.told);
        }
        begin.elapsed() < Duration::from_secs(4)
    });
    assert!(is_often, "four pings took longer in each of {LOOKS} looks");
    place.told(&["append", r#"{"kind":"a.b"}"#]);
    manager.wait("the head", |line| line.starts_with("STATUS=head 1,"));
    assert_eq!(server.stop(), Some(0));
    manager.hear();
    let end = manager.told.iter().position(|line| line == "STOPPING=1").expect("that it stops");
    assert!(!manager.told[end..].iter().any(|line| line == "WATCHDOG=1" || line == "READY=1"));
    assert_eq!(manager.told.iter().filter(|line| *line == "READY=1").count(), 1);
}

#[test]
fn a_log_that_fails_says_why_as_its_last_word() {
    let place = Place::new();
    let mut manager = Manager::new(&place);
    let mut server = Manager::start(&place, "60000000");
    manager.wait("readiness", |line| line == "READY=1");
    std::fs::remove_file(place.db()).expect("removed");
    assert_eq!(server.child.0.wait().expect("an end").code(), Some(1));
    manager.hear();
    let last = manager.told.last().expect("a word");
    assert!(last.starts_with("STATUS=") && last.contains("was removed or replaced"), "{:?}", manager.told);
    assert!(manager.told.contains(&"STOPPING=1".to_owned()));
}

#[test]
fn without_a_service_manager_nothing_is_different() {
    let place = Place::new();
    let server = place.serve(&["--no-auth"]);
    assert_eq!(curl(&format!("{}/livez", server.url)), "200");
    assert_eq!(server.stop(), Some(0));
    assert!(!place.beside("notify").exists());
}

/// Stops one thread of a process, until its stdin is closed.
const STOP_A_THREAD: &str = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
tid = int(sys.argv[1])
if libc.ptrace(16, tid, None, None) != 0: sys.exit('ptrace: ' + os.strerror(ctypes.get_errno()))
os.waitpid(tid, 0x40000000)
print('stopped', flush=True)
sys.stdin.read()
libc.ptrace(17, tid, None, None)";

fn thread_of(pid: u32, name: &str) -> String {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut threads = threads.map(|entry| entry.expect("a thread").path());
    let thread =
        threads.find(|path| std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name));
    thread.expect("the thread").file_name().expect("its number").to_str().expect("digits").to_owned()
}

/// The writer's thread alone is stopped: everything else answers, and the watchdog hears nothing.
#[test]
fn a_stuck_writer_is_not_said_to_be_alive() {
    let what = "a writer that is stuck";
    if !has("python3", what) {
        return;
    }
    let place = Place::new();
    let mut manager = Manager::new(&place);
    let server = Manager::start(&place, "2000000");
    manager.wait("a ping", |line| line == "WATCHDOG=1");
    let thread = thread_of(server.child.0.id(), "hivelog-writer");
    let mut tracer = Command::new("python3")
        .args(["-c", STOP_A_THREAD, &thread])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut line = String::new();
    BufReader::new(tracer.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    if line.trim() != "stopped" {
        // Where one may not trace another process.
        let output = tracer.wait_with_output().expect("an end");
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        writeln!(std::io::stderr(), "skipped: {what}: {}", why.trim()).expect("stderr");
        return;
    }
    let mut tracer = Guarded(tracer);
    let begin = Instant::now();
    let mut last = Instant::now();
    // Silence for as long as the watchdog would have ended it.
    while last.elapsed() < Duration::from_secs(2) {
        if manager.hear().iter().any(|line| line == "WATCHDOG=1") {
            last = Instant::now();
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it says that it lives");
    }
    assert_eq!(curl(&format!("{}/livez", server.url)), "200", "the rest of it lives");
    until("unreadiness", || (curl(&format!("{}/readyz", server.url)) == "503").then_some(()));
    drop(tracer.0.stdin.take());
    tracer.0.wait().expect("an end");
    manager.wait("a ping", |line| line == "WATCHDOG=1");
    assert_eq!(curl(&format!("{}/readyz", server.url)), "200");
    place.told(&["append", r#"{"kind":"a.b"}"#]);
}

/// Whoever starts a failed server anew does not wait for a client that takes nothing.
#[test]
fn a_server_that_failed_ends_at_once_beside_a_client_that_takes_nothing() {
    let place = Place::new();
    let log = hivelog::Log::open(place.db(), hivelog::Options::default()).expect("a log");
    for _ in 0..16 {
        let draft = hivelog::Draft::of(&serde_json::json!({"kind": "a.b", "text": "x".repeat(1_000)}));
        log.submit(hivelog::Command::new(vec![draft; 1_000])).wait().expect("stored");
    }
    log.close();
    let mut server = place.serve(&["--no-auth"]);
    let address = server.url.strip_prefix("http://").expect("a URL");
    let mut client = TcpStream::connect(address).expect("a connection");
    let request = "GET /api/history HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n";
    client.write_all(request.as_bytes()).expect("sent");
    client.read_exact(&mut [0]).expect("an answer begins");
    let other = hivelog::rusqlite::Connection::open(place.db()).expect("the file");
    let row = "INSERT INTO events (recorded_at_ms, kind, agents, payload) VALUES (1, 'a.b', '', '{}')";
    other.execute(row, []).expect("a foreign row");
    // It looks after the file once in a while; an append has it look now.
    assert!(!place.verb(&["append", r#"{"kind":"a.b"}"#]).output().expect("it runs").status.success());
    let failed = Instant::now();
    let status = until("an end", || server.child.0.try_wait().expect("its state"));
    assert_eq!(status.code(), Some(1));
    // A slow machine takes its time; who waits for such a client to the end says so.
    assert!(failed.elapsed() < PATIENCE && !server.said().contains("were cut"), "{}", server.said());
}
