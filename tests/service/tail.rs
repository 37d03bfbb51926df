//! `tail --cursor-file`: every event is handed on, whatever is restarted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::{Guarded, Place, Server, repository, told, until};

/// What a push service is: it takes what is posted, or fails.
struct Phone {
    url: String,
    taken: Arc<Mutex<Vec<String>>>,
    failed: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl Phone {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/topic", listener.local_addr().expect("an address"));
        let phone = Self { url, taken: Arc::default(), failed: Arc::default(), fails: Arc::default() };
        let (taken, failed, fails) =
            (Arc::clone(&phone.taken), Arc::clone(&phone.failed), Arc::clone(&phone.fails));
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let body = read_body(&mut stream);
                let status = if fails.load(Ordering::SeqCst) {
                    failed.fetch_add(1, Ordering::SeqCst);
                    "503 Service Unavailable"
                } else {
                    taken.lock().expect("not poisoned").push(body);
                    "200 OK"
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).expect("answered");
            }
        });
        phone
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().expect("not poisoned").clone()
    }

    fn wait(&self, count: usize) {
        until("a push", || (self.taken().len() >= count).then_some(()));
    }
}

fn read_body(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(digits) = line.strip_prefix("content-length:") {
            length = digits.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    String::from_utf8(body).expect("UTF-8")
}

/// The commands of the README, as they stand there.
fn recipe() -> String {
    let readme = repository("README.md");
    let (_, section) = readme.split_once("\n## A push to a phone\n").expect("the section");
    let (_, code) = section.split_once("```sh\n").expect("its commands");
    code.split_once("```").expect("their end").0.to_owned()
}

fn start(place: &Place, phone: &Phone, url: Option<&str>) -> Guarded {
    // `exec`, so that what is killed is the command and no shell around it.
    let script = recipe().replace("\nhivelog ", "\nexec hivelog ");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_hivelog")).parent().expect("a folder");
    let paths = std::env::var("PATH").expect("a PATH");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env_clear().env("PATH", format!("{}:{paths}", folder.display()));
    command.env("HOME", place.0.path()).env("PHONE_URL", &phone.url).env("HIVELOG_DB", place.db());
    if let Some(url) = url {
        command.env("HIVELOG_URL", url);
    }
    Guarded(command.stderr(Stdio::null()).spawn().expect("a shell"))
}

fn request(place: &Place, id: usize) {
    place.told(&["append", r#"{"kind":"test.noise"}"#]);
    let event = format!(
        r#"{{"kind":"approval_added","id":{id},"agent":"ada","approval_kind":"spawn","description":"@/etc/passwd $(id) number {id}."}}"#
    );
    place.told(&["append", &event]);
}

fn pushed_over_restarts(reads_the_file: bool) {
    let (place, phone) = (Place::new(), Phone::new());
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let listen = format!("127.0.0.1:{port}");
    // The port of a killed server may be taken for a moment.
    let serve = || Server::start(&place, &mut place.verb(&["serve", "--no-auth", "--listen", &listen]));
    let mut server = serve();
    let url = (!reads_the_file).then(|| server.url.clone());
    request(&place, 1);
    let tail = start(&place, &phone, url.as_deref());
    // Begins with what comes from now on.
    until("a cursor", || place.beside("phone.cursor").exists().then_some(()));
    request(&place, 2);
    request(&place, 3);
    phone.wait(2);

    // The server is killed under it; it goes on by itself.
    server.child.0.kill().expect("a kill");
    server.child.0.wait().expect("an end");
    let mut server = serve();
    request(&place, 4);
    phone.wait(3);

    // The phone is away when everything is killed, and more comes meanwhile.
    phone.fails.store(true, Ordering::SeqCst);
    request(&place, 5);
    request(&place, 6);
    until("a failure", || (phone.failed.load(Ordering::SeqCst) > 1).then_some(()));
    drop(tail);
    server.child.0.kill().expect("a kill");
    server.child.0.wait().expect("an end");
    request(&place, 7);
    phone.fails.store(false, Ordering::SeqCst);
    let server = serve();
    let tail = start(&place, &phone, url.as_deref());
    request(&place, 8);
    phone.wait(7);
    drop((tail, server));
    let taken = phone.taken();
    assert_eq!(taken.len(), 7, "{taken:#?}");
    for (text, id) in taken.iter().zip(2..) {
        assert!(
            text.contains(&format!("number {id}.")) && text.contains("@/etc/passwd $(id)"),
            "{id}: {text}"
        );
    }
}

#[test]
fn the_readmes_push_comes_once_over_restarts_of_server_and_tail() {
    pushed_over_restarts(false);
}

#[test]
fn the_readmes_push_comes_once_where_the_file_is_read() {
    pushed_over_restarts(true);
}

fn follow(place: &Place, url: Option<&str>) -> Child {
    let mut command =
        place.verb(&["tail", "-f", "--json", "-n", "0", "--cursor-file", &place.text("cursor")]);
    if let Some(url) = url {
        command.env("HIVELOG_URL", url);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a tail")
}

/// Killed at any moment, the next one begins after the last line that was handed on, or with that very one.
#[test]
fn lines_are_handed_on_without_a_hole_whenever_it_is_killed() {
    let place = Place::new();
    let server = place.serve(&["--no-auth"]);
    place.told(&["append", r#"{"kind":"test.first"}"#]);
    for url in [None, Some(server.url.as_str())] {
        let (mut last, mut kills) = (None, 0);
        let _old = std::fs::remove_file(place.beside("cursor"));
        let mut first = follow(&place, url);
        until("a cursor", || place.beside("cursor").exists().then_some(()));
        first.kill().expect("a kill");
        first.wait().expect("an end");
        let head = head_of(&place);
        // So large that a pipe holds some thirty of them: a kill that comes late leaves some for the next one.
        let text = "x".repeat(2_000);
        let events: String =
            (0..400).map(|n| format!("{{\"kind\":\"test.n\",\"n\":{n},\"text\":\"{text}\"}}\n")).collect();
        std::fs::write(place.beside("events"), events).expect("written");
        told(
            &place
                .verb(&["append", "-"])
                .stdin(std::fs::File::open(place.beside("events")).expect("opened"))
                .output()
                .expect("it runs"),
        );
        let end = head + 400;
        for lines in (7..).step_by(13) {
            let mut tail = follow(&place, url);
            let mut out = BufReader::new(tail.stdout.take().expect("stdout"));
            let mut seen: Vec<i64> = Vec::new();
            let mut text = String::new();
            while seen.len() < lines && seen.last() != Some(&end) {
                text.clear();
                out.read_line(&mut text).expect("a line");
                seen.push(seq(&text));
            }
            tail.kill().expect("a kill");
            tail.wait().expect("an end");
            kills += 1;
            // What was written before the kill was handed on; a line that was cut was not.
            let mut rest = String::new();
            out.read_to_string(&mut rest).expect("the rest");
            seen.extend(rest.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(seq));
            let begin = last.unwrap_or(head);
            assert!(seen[0] == begin + 1 || (last.is_some() && seen[0] == begin), "{begin}: {seen:?}");
            assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
            last = seen.last().copied();
            if last == Some(end) {
                break;
            }
        }
        assert!(kills > 3, "{kills}");
    }
}

#[test]
fn a_first_run_that_ends_while_its_command_fails_loses_nothing() {
    for is_served in [false, true] {
        let place = Place::new();
        let server = is_served.then(|| place.serve(&["--no-auth"]));
        let append = || place.told(&["append", r#"{"kind":"test.n"}"#]);
        (0..3).for_each(|_| drop(append()));
        let script =
            "read -r line; if [ -e well ]; then echo \"$line\" >> taken; else touch failed; exit 1; fi";
        let tail = |how: &str| {
            let mut command =
                place.verb(&["tail", how, "--json", "--cursor-file", "cursor", "--exec", script]);
            if let Some(server) = &server {
                command.env("HIVELOG_URL", &server.url);
            }
            command.current_dir(place.0.path());
            command
        };
        let first = Guarded(tail("-fn2").stderr(Stdio::null()).spawn().expect("a tail"));
        until("a failure", || place.beside("failed").exists().then_some(()));
        drop(first);
        (0..3).for_each(|_| drop(append()));
        std::fs::write(place.beside("well"), "").expect("written");
        told(&tail("-n2").output().expect("it runs"));
        let taken = std::fs::read_to_string(place.beside("taken")).expect("what was taken");
        assert_eq!(taken.lines().map(seq).collect::<Vec<_>>(), [2, 3, 4, 5, 6], "{is_served}");
    }
}

fn seq(line: &str) -> i64 {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    event["seq"].as_i64().expect("a seq")
}

fn head_of(place: &Place) -> i64 {
    let state: Value = serde_json::from_str(&place.told(&["state", "--json"])).expect("JSON");
    state["seq"].as_i64().expect("a seq")
}

#[test]
fn a_cursor_moves_past_what_is_not_wanted_and_no_cursor_is_said() {
    let place = Place::new();
    place.told(&["append", r#"{"kind":"test.first"}"#]);
    let cursor = place.text("cursor");
    let tail = |more: &[&str]| {
        place.verb(&[&["tail", "--json", "--cursor-file", &cursor], more].concat()).output().expect("it runs")
    };
    // Without -f it ends where the log does.
    assert!(told(&tail(&["--kind", "test.wanted"])).is_empty());
    let at = || std::fs::read_to_string(&cursor).expect("a cursor");
    assert!(at().ends_with("-1\n"), "{}", at());
    place.told(&["append", r#"{"kind":"test.other"}"#]);
    assert!(told(&tail(&["--kind", "test.wanted"])).is_empty());
    assert!(at().ends_with("-2\n"), "{}", at());
    place.told(&["append", r#"{"kind":"test.wanted"}"#]);
    assert_eq!(told(&tail(&["--kind", "test.wanted"])).lines().count(), 1);
    assert!(at().ends_with("-3\n"), "{}", at());
    for bad in ["", "x", "-1", "0123456789abcdef"] {
        std::fs::write(&cursor, bad).expect("written");
        let refused = tail(&[]);
        assert_eq!(refused.status.code(), Some(1), "{bad}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(&cursor), "{bad}");
        assert_eq!(at(), bad, "what is no cursor of ours is left alone");
    }
    // While it follows, too: what it stands at would be pruned otherwise, some day.
    std::fs::remove_file(&cursor).expect("removed");
    let follows = Guarded(
        place
            .verb(&["tail", "-f", "--cursor-file", &cursor, "--kind", "test.wanted"])
            .stdout(Stdio::null())
            .spawn()
            .expect("a tail"),
    );
    until("a cursor", || place.beside("cursor").exists().then_some(()));
    place.told(&["append", r#"{"kind":"test.other"}"#]);
    until("its move", || at().ends_with("-4\n").then_some(()));
    drop(follows);
    // A cursor of another log is said to be one.
    std::fs::write(&cursor, "0123456789abcdef-2").expect("written");
    let other = tail(&[]);
    assert!(String::from_utf8_lossy(&other.stderr).contains("reset (other_log)"), "{other:?}");
    assert!(at().ends_with("-4\n") && !at().starts_with("0123456789abcdef"), "{}", at());
}
