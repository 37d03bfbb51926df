//! Who may come in, as scripts and people meet it on the command line.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says best where it fails by failing there"
)]

mod shell;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

use crate::shell::clean;

const HIVELOG: &str = env!("CARGO_BIN_EXE_hivelog");
const EVENT: &str = r#"{"kind":"test.note"}"#;

fn process(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(HIVELOG);
    clean(&mut command).args(args);
    command
}

/// A folder with the path of a log in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn db(&self) -> PathBuf {
        self.0.path().join("log.db")
    }

    fn token_file(&self) -> PathBuf {
        self.0.path().join("log.db.token")
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.token_file()).expect("PATH.token").trim().to_owned()
    }

    fn run(&self, args: &[&str]) -> Command {
        let mut command = process(args);
        command.arg("--db").arg(self.db());
        let mut command = Command::from_std(command);
        command.timeout(Duration::from_mins(1));
        command
    }

    /// What a verb that goes well prints.
    fn told(&self, args: &[&str]) -> String {
        let output = self.run(args).assert().success().get_output().stdout.clone();
        String::from_utf8(output).expect("UTF-8").trim().to_owned()
    }
}

/// A server in a process of its own, killed when the test ends.
struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    fn start(place: &Place, args: &[&str], env: &[(&str, &str)]) -> Self {
        let log = place.0.path().join("stderr");
        let mut command = process(&["serve"]);
        command.args(args).arg("--db").arg(place.db()).envs(env.iter().copied());
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a file");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("a server");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its stdout")).read_line(&mut first).expect("a line");
        Self { child, url: first.trim_end().to_owned(), log }
    }

    fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        assert_eq!(self.child.wait().expect("an end").code(), Some(0));
        std::fs::read_to_string(&self.log).expect("what it said")
    }

    /// A call; gives the whole answer as text.
    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).expect("connected");
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let length = body.len();
        write!(stream, "{head}Content-Length: {length}\r\nContent-Type: application/json\r\n\r\n{body}")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn status(&self, token: &str, path: &str) -> String {
        let bearer = format!("Bearer {token}");
        let answer = self.call("GET", path, &[("Authorization", &bearer)], "");
        answer.split(' ').nth(1).expect("a status").to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

#[test]
fn the_first_start_writes_a_token_and_commands_find_it() {
    let place = Place::new();
    let server = Server::start(&place, &[], &[]);
    let mode = std::fs::metadata(place.token_file()).expect("PATH.token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = place.token();
    assert_eq!(server.status(&token, "/api/state"), "200");
    assert_eq!(server.status("", "/api/state"), "401");
    assert_eq!(place.told(&["append", EVENT]), "1");
    // By the URL too, also under another name of the same host.
    let other_name = server.url.replace("127.0.0.1", "localhost");
    for url in [&server.url, &other_name] {
        assert!(place.told(&["history", "--url", url]).contains("test.note"));
        assert_eq!(place.told(&["tail", "--after", "0", "--json", "--url", url]).lines().count(), 1);
    }
    // Through a link to the file.
    let link = place.0.path().join("link.db");
    std::os::unix::fs::symlink(place.db(), &link).expect("a link");
    let mut through = Command::from_std(process(&["append", EVENT, "--db"]));
    through.arg(&link).assert().success().stdout("2\n");
    // Given ones win, and a wrong one is told.
    for verb in [&["append", EVENT][..], &["history", "--url", &server.url], &["token", "list"], &["login"]] {
        place.run(verb).args(["--token", "hvl_wrong"]).assert().code(1).stderr(contains("--token"));
        place.run(verb).env("HIVELOG_TOKEN", "hvl_wrong").assert().code(1).stdout("");
        place.run(verb).env("HIVELOG_TOKEN", "hvl_wrong").args(["--token", &token]).assert().success();
    }
    // Once deleted it does not come back.
    std::fs::remove_file(place.token_file()).expect("removed");
    place.run(&["append", EVENT]).assert().code(1).stderr(contains("PATH.token"));
    server.stop();
    let server = Server::start(&place, &[], &[]);
    assert!(!place.token_file().exists());
    assert_eq!(server.status(&token, "/api/state"), "200");
}

#[test]
fn a_lost_credential_is_replaced_on_the_file() {
    let place = Place::new();
    for verb in [
        &["token", "add", "--role", "admin", "--name", "a"][..],
        &["token", "list"],
        &["token", "revoke", "a"],
        &["login"],
    ] {
        place.run(verb).assert().code(3).stdout("");
    }
    assert!(!place.db().exists());
    Server::start(&place, &[], &[]).stop();
    std::fs::remove_file(place.token_file()).expect("removed");
    let token = place.told(&["token", "add", "--role", "admin", "--role", "operator", "--name", "rescue"]);
    assert!(token.starts_with("hvl_") && token.len() == 47, "{token}");
    let listed = place.told(&["token", "list"]);
    assert!(
        listed.contains("rescue  operator,admin  made ") && listed.contains("operator  operator,admin"),
        "{listed}"
    );
    assert!(!listed.contains("hvl_"));
    place.run(&["login"]).assert().code(3).stderr(contains("nobody serves"));
    let server = Server::start(&place, &[], &[]);
    assert_eq!(server.status(&token, "/api/tokens"), "200");
    // The lost one can be taken back now.
    place.run(&["token", "revoke", "operator", "--token", &token]).assert().success().stdout("");
    let listed = place.told(&["token", "list", "--json", "--token", &token]);
    assert_eq!(listed.lines().count(), 1);
    assert!(listed.starts_with(r#"{"name":"rescue","roles":["operator","admin"],"created_at":"#), "{listed}");
    server.stop();
    place.run(&["token", "add", "--role", "read", "--name", "rescue"]).assert().code(4).stdout("");
    place.run(&["token", "revoke", "rescue"]).assert().success();
    place.run(&["token", "revoke", "rescue"]).assert().code(3);
    assert_eq!(place.told(&["token", "list"]), "");
}

#[test]
fn tokens_are_handed_out_through_the_server() {
    let place = Place::new();
    let server = Server::start(&place, &[], &[]);
    let add = |name: &str, role: &str| place.told(&["token", "add", "--role", role, "--name", name]);
    let (alice, reader) = (add("alice", "agent"), add("reader", "read"));
    assert_eq!(server.status(&reader, "/api/state"), "200");
    assert_eq!(server.status(&alice, "/api/state"), "403");
    place.run(&["append", EVENT, "--token", &alice]).assert().success();
    place.run(&["append", EVENT, "--token", &reader]).assert().code(1).stdout("");
    place.run(&["token", "list", "--token", &reader]).assert().code(1).stdout("");
    assert!(place.told(&["history"]).contains("alice"));
    place.run(&["token", "add", "--role", "read", "--name", "alice"]).assert().code(4).stdout("");
    for wrong in [
        &["--name", "x"][..],
        &["--role", "read"],
        &["--role", "king", "--name", "x"],
        &["--role", "read", "--name", "operator"],
        &["--role", "read", "--name", "A b"],
        &["--role", "read", "--name", "x", "--expires", "5"],
        &["--role", "read", "--name", "x", "--expires", "soon"],
    ] {
        place.run(&["token", "add"]).args(wrong).assert().code(2).stdout("");
    }
    let dated = place.told(&[
        "token",
        "add",
        "--role",
        "read",
        "--name",
        "dated",
        "--expires",
        "2100-01-01T00:00:00Z",
    ]);
    assert_eq!(server.status(&dated, "/api/state"), "200");
    assert!(place.told(&["token", "list"]).contains("ends 2100-01-01T00:00:00Z"));
    place.run(&["token", "revoke", "alice"]).assert().success();
    assert_eq!(server.status(&alice, "/version"), "401");
    place.run(&["token", "revoke", "alice"]).assert().code(3);
    place.run(&["token", "revoke", "../state"]).assert().code(3);
}

#[test]
fn the_environment_names_the_operators_credential() {
    let place = Place::new();
    let env = [("HIVELOG_TOKEN", "a-word-of-my-own")];
    let server = Server::start(&place, &[], &env);
    assert!(!place.token_file().exists());
    assert_eq!(server.status("a-word-of-my-own", "/api/tokens"), "200");
    place.run(&["append", EVENT]).assert().code(1);
    place.run(&["append", EVENT]).env("HIVELOG_TOKEN", "a-word-of-my-own").assert().success().stdout("1\n");
    server.stop();
    // The first start without it writes the file; with it again the file is not consulted.
    let server = Server::start(&place, &[], &[]);
    let token = place.token();
    assert_eq!(server.status("a-word-of-my-own", "/api/state"), "401");
    server.stop();
    let server = Server::start(&place, &[], &env);
    assert_eq!(server.status(&token, "/api/state"), "401");
    assert_eq!(server.status("a-word-of-my-own", "/api/state"), "200");
    drop(server);
    let mut bad = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    bad.env("HIVELOG_TOKEN", "two words").assert().code(2).stderr(contains("two words").not());
}

#[test]
fn a_login_link_signs_in_once() {
    let place = Place::new();
    let server = Server::start(&place, &[], &[]);
    let link = place.told(&["login"]);
    let (base, code) = link.split_once("/#login=").expect("a link");
    assert_eq!(base, server.url);
    let body = format!(r#"{{"code":"{code}"}}"#);
    let answer = server.call("POST", "/session", &[], &body);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""name":"operator""#), "{answer}");
    assert!(server.call("POST", "/session", &[], &body).starts_with("HTTP/1.1 401 "));
    server.stop();
    let server = Server::start(&place, &["--public-url", "https://swarm.example/hive/"], &[]);
    assert!(place.told(&["login"]).starts_with("https://swarm.example/hive/#login="));
    drop(server);
    let _server = Server::start(&place, &["--no-auth"], &[]);
    place.run(&["login"]).assert().code(1).stdout("");
}

#[test]
fn where_it_listens_decides_what_it_asks() {
    let place = Place::new();
    for wrong in [
        &["--listen", "0.0.0.0:0"][..],
        &["--listen", "0.0.0.0:0", "--no-auth"],
        &["--listen", "0.0.0.0:0", "--public-url", "http://swarm.example"],
        &["--listen", "[::]:0"],
        &["--no-auth", "--public-url", "https://swarm.example"],
        &["--no-auth", "--insecure-http"],
        &["--public-url", "swarm.example"],
        &["--public-url", "https://swarm.example/?a"],
        &["--connections-per-token", "0"],
    ] {
        place.run(&["serve"]).args(wrong).assert().code(2).stdout("");
    }
    place.run(&["demo", "--listen", "0.0.0.0:0"]).assert().code(2).stdout("");
    assert!(!place.db().exists());
    let server = Server::start(&place, &["--no-auth"], &[]);
    assert!(!place.token_file().exists());
    assert_eq!(server.status("", "/api/state"), "200");
    assert!(server.stop().contains("NO CREDENTIALS"));
    for args in [
        &["--listen", "0.0.0.0:0", "--insecure-http"][..],
        &["--listen", "0.0.0.0:0", "--public-url", "https://swarm.example"],
    ] {
        let server = Server::start(&place, args, &[]);
        assert!(server.url.starts_with("http://127.0.0.1:"), "{}", server.url);
        assert_eq!(server.status("", "/api/state"), "401");
        assert!(place.told(&["append", EVENT]).parse::<u32>().is_ok());
        let said = server.stop();
        assert_eq!(said.contains("in the clear"), args.contains(&"--insecure-http"), "{said}");
        std::fs::remove_file(place.0.path().join("stderr")).expect("removed");
    }
    let server = Server::start(&place, &["--connections-per-token", "1"], &[]);
    let bearer = format!("Authorization: Bearer {}", place.token());
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("connected");
    write!(stream, "GET /api/stream HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\n\r\n").expect("sent");
    let mut first = String::new();
    BufReader::new(&stream).read_line(&mut first).expect("an answer");
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert_eq!(server.status(&place.token(), "/api/state"), "429");
}

#[test]
fn no_secret_is_ever_said() {
    let place = Place::new();
    let env = [("HIVELOG_LOG", "trace")];
    let server = Server::start(&place, &[], &env);
    let root = place.token();
    let agent = place.told(&["token", "add", "--role", "agent", "--role", "metrics", "--name", "alice"]);
    let link = place.told(&["login"]);
    let code = link.split_once("/#login=").expect("a link").1.to_owned();
    let answer = server.call("POST", "/session", &[], &format!(r#"{{"code":"{code}"}}"#));
    let between = |text: &str, from: &str, to: char| {
        text.split_once(from).expect("there").1.split(to).next().expect("a value").to_owned()
    };
    let (cookie, second) = (between(&answer, "set-cookie: ", ';'), between(&answer, r#""session":""#, '"'));
    let value = cookie.split_once('=').expect("a value").1.to_owned();
    let secrets = [root.clone(), agent.clone(), code, second.clone(), value];
    let bearer = format!("Bearer {root}");
    let mut answers = Vec::new();
    for headers in [
        &[("Authorization", bearer.as_str())][..],
        &[("Cookie", &cookie), ("X-Hivelog-Session", &second)],
        &[],
    ] {
        for path in
            ["/api/tokens", "/metrics", "/readyz", "/session", "/api/state", "/version", "/openapi.json"]
        {
            answers.push(server.call("GET", path, headers, ""));
            answers.push(server.call("GET", &format!("{path}?token={root}"), headers, ""));
        }
        answers.push(
            server
                .call("POST", "/api/events", headers, &format!(r#"{{"kind":"{root}"}}"#))
                .replace(&root, ""),
        );
        answers.push(server.call(
            "POST",
            "/api/tokens",
            headers,
            &format!(r#"{{"name":"alice","roles":["read"],"secret":"x"}}"#),
        ));
    }
    answers.push(server.call("POST", "/session", &[], &format!(r#"{{"code":["{root}"]}}"#)));
    answers.push(server.call("POST", "/session", &[], &format!(r#"{{"token":"{root}","{agent}":1}}"#)));
    answers.push(place.told(&["token", "list", "--json"]));
    answers.push(place.told(&["history", "--json"]));
    answers.push(server.stop());
    for answer in answers {
        for secret in &secrets {
            assert!(!answer.contains(secret.as_str()), "{secret} is in {answer}");
        }
    }
}

#[test]
fn the_token_of_one_log_is_shown_to_no_other_server() {
    let (place, other) = (Place::new(), Place::new());
    let server = Server::start(&place, &[], &[]);
    let second = Server::start(&other, &[], &[]);
    place.run(&["history", "--url", &second.url]).assert().code(1).stdout("");
    place.run(&["history", "--url", &server.url]).assert().success();
    let (url, heard) = stranger("127.0.0.1:0", "401 Unauthorized", "");
    place.run(&["history", "--url", &url]).assert().code(1);
    let heard = heard.join().expect("what was sent").to_lowercase();
    assert!(heard.starts_with("get /api/history") && !heard.contains("authorization"), "{heard}");
}

/// Something else than a server of ours: answers one request, and gives what it heard.
fn stranger(address: &str, status: &str, body: &str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind(address).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let answer = head + body;
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = [0; 4_096];
        let read = stream.read(&mut bytes).expect("a request");
        stream.write_all(answer.as_bytes()).expect("sent");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    });
    (url, heard)
}

#[test]
fn what_a_terminal_obeys_is_escaped_in_tokens_and_links() {
    let place = Place::new();
    let evil = r"\u001b]52;c;aGk=\u0007\u009b2J\n";
    let listed =
        format!(r#"{{"tokens":[{{"name":"{evil}","roles":["{evil}"],"created_at":1,"expires_at":null}}]}}"#);
    for (verb, answer) in [
        (&["token", "list"][..], listed.clone()),
        (&["token", "list", "--json"], listed),
        (&["token", "add", "--role", "read", "--name", "x"], format!(r#"{{"token":"{evil}"}}"#)),
        (&["login"], format!(r#"{{"code":"{evil}","base":"http://{evil}"}}"#)),
    ] {
        let (url, _) = stranger("127.0.0.1:0", "200 OK", &answer);
        let told = place.told(&[verb, &["--url", &url]].concat());
        assert!(!told.contains(char::is_control) && told.contains(r"\u001b]52;c;"), "{verb:?}: {told:?}");
    }
}

#[test]
fn a_killed_servers_token_is_not_shown_to_who_has_its_port() {
    let place = Place::new();
    let mut server = Server::start(&place, &[], &[]);
    place.run(&["state", "--url", &server.url]).assert().success();
    server.child.kill().expect("a kill");
    server.child.wait().expect("an end");
    assert!(place.token_file().exists() && place.0.path().join("log.db.lock").exists());
    let (url, heard) = stranger(server.url.trim_start_matches("http://"), "401 Unauthorized", "");
    place.run(&["state", "--url", &url]).assert().code(1);
    let heard = heard.join().expect("what was sent").to_lowercase();
    assert!(heard.starts_with("get /api/state") && !heard.contains("authorization"), "{heard}");
}

#[test]
fn a_key_stands_for_the_same_event_by_every_way() {
    let place = Place::new();
    let ways = [&[][..], &["--no-auth"]];
    for way in ways {
        let server = Server::start(&place, way, &[]);
        assert_eq!(place.told(&["append", EVENT, "--key", "once"]), "1", "{way:?}");
        server.stop();
        assert_eq!(place.told(&["append", EVENT, "--key", "once"]), "1", "{way:?}");
    }
    let _server = Server::start(&place, &[], &[]);
    let other = place.told(&["token", "add", "--role", "admin", "--name", "other"]);
    assert_eq!(place.told(&["append", EVENT, "--key", "once", "--token", &other]), "2");
}
