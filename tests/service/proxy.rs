//! The README's recipes for nginx and Caddy, cut out and run: the page and the stream under a path.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Guarded, PATIENCE, Place, Server, has, repository, told, until};

const DUMPS: usize = 3;

fn recipe(language: &str) -> String {
    let readme = repository("README.md");
    let (_, rest) = readme.split_once(&format!("```{language}\n")).expect("a recipe");
    rest.split_once("```").expect("its end").0.to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// The recipe with the ports of the test in it; the server's is the one that the README has.
fn filled(language: &str, server: &str) -> String {
    let text = recipe(language);
    assert!(text.contains("127.0.0.1:4483"), "{text}");
    text.replace("127.0.0.1:4483", server)
}

fn nginx(place: &Place, server: &str, port: u16) -> Guarded {
    let folder = place.0.path().display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {folder}/nginx-{what}; "))
        .collect();
    let text = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\nevents {{}}\n\
         http {{ access_log off; {paths}\nserver {{ listen 127.0.0.1:{port};\n{} }} }}\n",
        filled("nginx", server)
    );
    let path = place.beside("nginx.conf");
    std::fs::write(&path, text).expect("written");
    let program = if std::path::Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let mut command = Command::new(program);
    command.arg("-p").arg(place.0.path()).arg("-c").arg(path);
    Guarded(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nginx"))
}

fn caddy(place: &Place, server: &str, port: u16) -> Guarded {
    let recipe = filled("caddy", server);
    assert!(recipe.starts_with("hive.example {"), "{recipe}");
    let site = recipe.replacen("hive.example {", &format!("http://127.0.0.1:{port} {{"), 1);
    let path = place.beside("Caddyfile");
    std::fs::write(&path, format!("{{\n    admin off\n}}\n{site}")).expect("written");
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path).env("HOME", place.0.path());
    Guarded(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("caddy"))
}

/// Status, headers and body.
fn curl(url: &str, args: &[&str]) -> (u16, String, String) {
    let output =
        Command::new("curl").args(["-s", "-i", "-m", "20"]).args(args).arg(url).output().expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), body.to_owned())
}

/// The lines of a stream, each with when it came.
fn stream(url: &str, token: &str) -> (Guarded, std::sync::mpsc::Receiver<(Instant, String)>) {
    let bearer = format!("authorization: Bearer {token}");
    let mut command = Command::new("curl");
    let mut child = command.args(["-sN", "-H", &bearer, url]).stdout(Stdio::piped()).spawn().expect("curl");
    let out = BufReader::new(child.stdout.take().expect("stdout"));
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if send.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    (Guarded(child), lines)
}

/// The server and the proxy, on a port that nobody took meanwhile.
fn started(place: &Place, start: impl Fn(&Place, &str, u16) -> Guarded) -> (Guarded, Server, u16) {
    for _ in 0..5 {
        let port = free_port();
        let base = format!("http://127.0.0.1:{port}/log");
        let server = place.serve(&["--public-url", &base]);
        let mut proxy = start(place, server.url.strip_prefix("http://").expect("a URL"), port);
        let is_up = until("the proxy", || {
            let is_gone = proxy.0.try_wait().expect("its state").is_some();
            (is_gone || curl(&format!("{base}/livez"), &[]).0 == 200).then_some(!is_gone)
        });
        if is_up {
            return (proxy, server, port);
        }
        assert_eq!(server.stop(), Some(0));
    }
    panic!("the proxy does not start");
}

fn check(start: impl Fn(&Place, &str, u16) -> Guarded) {
    let place = Place::new();
    let (_proxy, _server, port) = started(&place, start);
    let (origin, base) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{port}/log"));
    let token = place.token();
    let bearer = format!("authorization: Bearer {token}");

    // The page and its files, and the way there without the slash.
    let (status, head, _) = curl(&base, &[]);
    assert_eq!(status, 308, "{head}");
    assert!(head.contains("/log/\r\n") || head.ends_with("/log/"), "{head}");
    let (status, _, page) = curl(&format!("{base}/"), &[]);
    assert!(status == 200 && page.contains("main.js"), "{status} {page}");
    assert_eq!(curl(&format!("{base}/main.js"), &[]).0, 200);

    // A browser signs in with the link that the server makes, and writes.
    let link = place.told(&["login"]);
    let code = link.strip_prefix(&format!("{base}/#login=")).unwrap_or_else(|| panic!("{link}"));
    let json = "content-type: application/json";
    let (from_page, site) = (format!("origin: {origin}"), "sec-fetch-site: same-origin");
    let body = format!("{{\"code\":\"{code}\"}}");
    let of_page = ["-H", json, "-H", &from_page, "-H", site];
    let (status, head, body) = curl(&format!("{base}/session"), &[&of_page[..], &["-d", &body]].concat());
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("Path=/log;"), "{head}");
    let cookie = head
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")));
    let (_, cookie) = cookie.expect("a cookie");
    let cookie = format!("cookie: {}", cookie.split(';').next().expect("a value"));
    let signed: Value = serde_json::from_str(&body).expect("JSON");
    let session = format!("x-hivelog-session: {}", signed["session"].as_str().expect("a secret"));
    let by_page = [&of_page[..], &["-H", &cookie, "-H", &session, "-d", r#"{"kind":"test.first"}"#]].concat();
    assert_eq!(curl(&format!("{base}/api/events"), &by_page).0, 201);
    let foreign =
        ["-H", json, "-H", "origin: http://evil.example", "-H", &cookie, "-H", &session, "-d", "{}"];
    assert_eq!(curl(&format!("{base}/api/events"), &foreign).0, 403);

    // A live event comes at once: nothing on the way waits for more.
    let (_stream, lines) = stream(&format!("{base}/api/stream?after=0"), &token);
    let next = |what: &str| {
        loop {
            let (at, line) = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {what}"));
            if line.contains(what) {
                break at;
            }
        }
    };
    next("caught_up");
    let mut took: Vec<Duration> = (0..5)
        .map(|n| {
            place.told(&["append", &format!(r#"{{"kind":"test.live","n":{n}}}"#)]);
            let acked = Instant::now();
            next(&format!("\"n\":{n}}}")).saturating_duration_since(acked)
        })
        .collect();
    took.sort_unstable();
    // The median, as this machine may pause: what waits for more waits for the heartbeat, each time.
    assert!(took[2] < Duration::from_secs(2), "{took:?}");
    let waited = curl(&format!("{base}/api/history?after=6&wait=2"), &["-H", &bearer]);
    assert!(waited.0 == 200 && waited.2.contains("\"events\":[]"), "{waited:?}");
    // The heartbeat comes through, which keeps the stream alive.
    next("heartbeat");
    drawn(&place, &base);
}

/// A browser draws the page under its path: an event that is in the log is in the document.
fn drawn(place: &Place, base: &str) {
    let chromium = std::env::var("HIVELOG_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !std::path::Path::new(&chromium).exists() {
        writeln!(std::io::stderr(), "skipped: the page behind a proxy: chromium is missing").expect("stderr");
        return;
    }
    // Its own time runs on where this machine pauses, so a dump may come too early: one in some is enough.
    let mut pages = (0..DUMPS).map(|number| {
        let link = place.told(&["login"]);
        assert!(link.starts_with(base), "{link}");
        let mut command = Command::new(&chromium);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--timeout=60000",
            "--virtual-time-budget=4000",
        ]);
        let folder = place.text(&format!("chromium-{number}"));
        command.arg(format!("--user-data-dir={folder}")).args(["--dump-dom", &link]);
        let page = told(&command.stderr(Stdio::null()).output().expect("chromium"));
        println!("{page}");
        page
    });
    assert!(pages.any(|page| page.contains("test.live")), "no event in any of {DUMPS} dumps");
}

#[test]
fn nginx_under_a_path() {
    if has("nginx", "the recipe for nginx") {
        check(nginx);
    }
}

#[test]
fn caddy_under_a_path() {
    if has("caddy", "the recipe for Caddy") {
        check(caddy);
    }
}

/// A wait of the longest time must not be cut on the way, and neither must a stream between two heartbeats.
#[test]
fn nothing_is_cut_that_waits() {
    let recipe = recipe("nginx");
    for name in ["proxy_read_timeout", "proxy_send_timeout"] {
        let (_, rest) = recipe.split_once(name).expect("a timeout");
        let seconds: u64 = rest.trim().split('s').next().expect("seconds").parse().expect("a number");
        let longest = hivelog::limits::WAIT_MAX.max(hivelog::limits::HEARTBEAT);
        assert!(Duration::from_secs(seconds) >= longest + Duration::from_secs(30), "{name} {seconds}");
    }
}
