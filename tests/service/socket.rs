//! `serve --socket`: who may connect, who it is, and what becomes of the file.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Guarded, Place, Server, ended, hivelog, told};

fn mode(path: &Path) -> u32 {
    let found = path.symlink_metadata().expect("a file");
    assert!(found.file_type().is_socket());
    found.permissions().mode() & 0o777
}

/// The status of a call by curl, as an agent in a container makes it.
fn curl(socket: &Path, args: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket"]).arg(socket).args(args);
    told(&command.output().expect("curl"))
}

#[test]
fn an_agent_that_is_given_a_socket_needs_nothing_else() {
    let place = Place::new();
    let (alice, bob) = (place.text("alice.sock"), place.text("bob.sock"));
    let server =
        place.serve(&["--socket", &format!("{alice},agent=alice"), "--socket", &format!("{bob},agent=bob")]);
    // Another place, as in a container: neither the file nor a token of it is at hand.
    let elsewhere = Place::new();
    let by = |socket: &str, args: &[&str]| {
        let url = format!("unix:{socket}");
        hivelog(args).args(["--url", &url]).env("HOME", elsewhere.0.path()).output().expect("it runs")
    };
    told(&by(&alice, &["send", "bob", "please review"]));
    let message: Value = serde_json::from_str(&told(&by(&bob, &["recv", "bob", "--json"]))).expect("JSON");
    assert_eq!((&message["from"], &message["body"]), (&"alice".into(), &"please review".into()));

    let asking = std::thread::spawn({
        let (url, home) = (format!("unix:{alice}"), elsewhere.0.path().to_owned());
        move || {
            hivelog(&["ask", "ship it?", "--option", "yes", "--wait", "30s", "--url", &url])
                .env("HOME", home)
                .output()
        }
    });
    let question = crate::until("a question", || {
        let state: Value = serde_json::from_str(&place.told(&["state", "--json"])).expect("JSON");
        state["questions"].get(0).cloned()
    });
    assert_eq!(question["asker"], "alice");
    place.told(&["answer", &question["id"].to_string(), "--select", "yes"]);
    assert_eq!(told(&asking.join().expect("no panic").expect("it runs")), "yes");

    // Nothing of the log at large, and nobody else's name.
    assert!(!by(&alice, &["history"]).status.success());
    assert!(!by(&alice, &["recv", "bob"]).status.success());
    let told_why = String::from_utf8_lossy(&by(&alice, &["state"]).stderr).into_owned();
    assert!(told_why.contains("credential"), "{told_why}");
    assert_eq!(curl(Path::new(&alice), &["http://localhost/api/approvals?mine=true"]), "200");
    assert_eq!(curl(Path::new(&alice), &["http://localhost/api/state"]), "403");
    assert_eq!(curl(Path::new(&alice), &["http://elsewhere.example/api/state"]), "421");
    assert_eq!(server.stop(), Some(0));
    assert!(!Path::new(&alice).exists() && !Path::new(&bob).exists(), "the files of the sockets are left");
}

#[test]
fn who_sends_is_known_to_the_server_that_is_asked() {
    let place = Place::new();
    let (all, alice) = (place.text("all.sock"), place.text("alice.sock"));
    let server = place.serve(&["--no-auth", "--socket", &all, "--socket", &format!("{alice},agent=alice")]);
    // Another place, as in a container: neither the file nor a token of it is at hand.
    let elsewhere = Place::new();
    let by = |url: &str, token: Option<&str>, args: &[&str]| {
        let mut command = hivelog(args);
        command.args(["--url", url]).env("HOME", elsewhere.0.path());
        if let Some(token) = token {
            command.env("HIVELOG_TOKEN", token);
        }
        command.output().expect("it runs")
    };
    let (all, alice) = (format!("unix:{all}"), format!("unix:{alice}"));
    for (url, token, flags, sender) in [
        (&all, None, &[][..], "operator"),
        (&all, Some(""), &[], "operator"),
        (&all, None, &["--as", "carol"], "carol"),
        (&server.url, Some(""), &[], "operator"),
        (&server.url, Some("hvl_of_another_server"), &[], "operator"),
        (&alice, None, &[], "alice"),
        (&alice, Some(""), &[], "alice"),
    ] {
        told(&by(url, token, &[&["send", "bob", "hello"], flags].concat()));
        let inbox = told(&by(&all, None, &["recv", "bob", "--json", "--ack"]));
        let message: Value = serde_json::from_str(&inbox).expect("JSON");
        assert_eq!(message["from"], sender, "{url} {token:?} {flags:?}");
    }
    drop(server);
}

#[test]
fn a_plain_socket_asks_for_a_credential_as_the_port_does() {
    let place = Place::new();
    let (path, open) = (place.beside("log.sock"), place.text("open.sock"));
    let server =
        place.serve(&["--socket", path.to_str().expect("a path"), "--socket", &format!("{open},mode=0666")]);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(Path::new(&open)), 0o666);
    assert_eq!(curl(&path, &["http://localhost/api/state"]), "401");
    let bearer = format!("authorization: Bearer {}", place.token());
    assert_eq!(curl(&path, &["http://localhost/api/state", "-H", &bearer]), "200");
    let url = format!("unix:{}", path.display());
    let state = place.verb(&["state", "--json", "--url", &url]).env("HIVELOG_TOKEN", place.token()).output();
    assert!(told(&state.expect("it runs")).contains("\"seq\":0"));
    let login = place.verb(&["login", "--url", &url, "--token", &place.token()]).output().expect("it runs");
    assert_eq!(login.status.code(), Some(2), "a link that no browser can open");
    drop(server);
}

#[test]
fn a_dead_servers_socket_is_taken_over_and_a_live_ones_is_not() {
    let place = Place::new();
    let path = place.beside("log.sock");
    let flag = path.to_str().expect("a path").to_owned();
    let mut first = place.serve(&["--socket", &flag]);
    first.child.0.kill().expect("a kill");
    first.child.0.wait().expect("an end");
    assert!(path.exists(), "a killed server leaves its socket");
    let second = place.serve(&["--socket", &flag]);
    assert_eq!(curl(&path, &["http://localhost/livez"]), "200");

    let other = Place::new();
    let refused = ended(&mut other.verb(&["serve", "--listen", "127.0.0.1:0", "--socket", &flag]));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a server listens there"));
    assert_eq!(curl(&path, &["http://localhost/livez"]), "200", "the first one goes on");

    // What somebody else put there meanwhile is not ours to remove.
    std::fs::remove_file(&path).expect("removed");
    let foreign = UnixListener::bind(&path).expect("a socket");
    assert_eq!(second.stop(), Some(0));
    assert!(path.exists());
    drop(foreign);
}

/// Whether the process has something to do at this signal but end.
fn hears(pid: u32, signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its state");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("its signals");
    u64::from_str_radix(caught.trim(), 16).expect("a mask") >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
fn a_server_that_waits_for_its_place_ends_when_it_is_told_to() {
    let place = Place::new();
    let folder = std::fs::File::open(place.0.path()).expect("a folder");
    folder.lock().expect("a lock that anybody can take");
    let mut serve = place.verb(&["serve", "--listen", "127.0.0.1:0", "--socket", &place.text("log.sock")]);
    let mut server = Guarded(serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a server"));
    let term = rustix::process::Signal::TERM;
    crate::until("its ears", || hears(server.0.id(), term).then_some(()));
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.0), term).expect("a signal");
    let end = crate::until("an end", || server.0.try_wait().expect("its state"));
    assert_eq!(end.code(), Some(0));
    assert!(!place.db().exists(), "it went on");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let place = Place::new();
    let file = place.beside("notes.txt");
    std::fs::write(&file, "mine").expect("written");
    let link = place.beside("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let folder = place.beside("folder");
    std::fs::create_dir(&folder).expect("a folder");
    for path in [&file, &link, &folder, &place.beside("no/such/folder.sock")] {
        let flag = path.to_str().expect("a path");
        let refused = ended(&mut place.verb(&["serve", "--listen", "127.0.0.1:0", "--socket", flag]));
        assert_eq!(refused.status.code(), Some(1), "{flag}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(flag), "{flag}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "mine");
    for flag in ["a,agent=operator", "a,agent=A B"] {
        let flag = format!("{}{flag}", place.text(""));
        let refused = ended(&mut place.verb(&["serve", "--listen", "127.0.0.1:0", "--socket", &flag]));
        assert_eq!(refused.status.code(), Some(2), "{flag}");
    }
    assert!(!place.beside("a").exists(), "a socket that is not served is left");
}

/// The service manager's side is this test: it listens, and hands the descriptors over.
#[test]
fn sockets_of_the_service_manager_are_served() {
    let Some(activate) = activator() else { return };
    let place = Place::new();
    let (all, alice) = (place.text("all.sock"), place.text("alice.sock"));
    let mut command = Command::new("python3");
    command.args(["-c", &activate, &all, &alice, env!("CARGO_BIN_EXE_hivelog")]);
    command.env("HIVELOG_DB", place.db()).env("HOME", place.0.path());
    let server = Server::start(&place, &mut command);
    assert_eq!(curl(Path::new(&all), &["http://localhost/api/state"]), "401");
    assert_eq!(curl(Path::new(&alice), &["http://localhost/api/approvals?mine=true"]), "200");
    assert_eq!(curl(Path::new(&alice), &["http://localhost/api/state"]), "403");
    let state = place.told(&["state", "--json", "--url", &server.url, "--token", &place.token()]);
    assert!(state.contains("\"seq\":0"), "{state}");
    assert_eq!(server.stop(), Some(0));
    assert!(Path::new(&all).exists(), "the service manager's file is its own");
}

/// Who bound the port does not matter: beyond loopback nobody is let in without a credential, nor in clear text.
#[test]
fn a_port_of_the_service_manager_is_judged_as_one_of_ours() {
    let Some(activate) = activator() else { return };
    for flags in [&["--no-auth"][..], &[]] {
        let place = Place::new();
        let mut command = Command::new("python3");
        let sockets = [place.text("all.sock"), place.text("alice.sock")];
        command.args(["-c", &activate.replace("127.0.0.1", "0.0.0.0")]).args(sockets);
        command.arg(env!("CARGO_BIN_EXE_hivelog")).args(flags);
        command.env("HIVELOG_DB", place.db()).env("HOME", place.0.path());
        let output = command.output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("only loopback"), "{said}");
    }
}

/// Binds a port and two sockets, puts them at the descriptors 3 to 5, and becomes the server.
fn activator() -> Option<String> {
    crate::has("python3", "sockets of the service manager").then(|| {
        "import os, socket, sys
all, alice, hivelog, *flags = sys.argv[1:]
made = []
for kind, at in ((socket.AF_INET, ('127.0.0.1', 0)), (socket.AF_UNIX, all), (socket.AF_UNIX, alice)):
    s = socket.socket(kind, socket.SOCK_STREAM); s.bind(at); s.listen(16); made.append(s)
high = [os.dup2(s.fileno(), 20 + i, inheritable=False) for i, s in enumerate(made)]
for i, fd in enumerate(high): os.dup2(fd, 3 + i, inheritable=True)
env = dict(os.environ, LISTEN_FDS='3', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='http:all:agent=alice')
os.execve(hivelog, [hivelog, 'serve', *flags], env)"
            .to_owned()
    })
}
