//! PostgreSQL as it comes, with a table like the log's and prepared statements.
//!
//! The client is as much of the protocol as that takes: what a general one does for each answer
//! would be paid for on the cores that the server has.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::answer::{self, Answer};
use crate::connect::{self, Client};
use crate::folder::Folder;
use crate::mix::Text;
use crate::peer::{BATCH, Page, Peer};
use crate::process::{self, Process};

/// The time is the server's, as it is with the others. The index leaves out what comes by the thousand.
const SCHEMA: &str = "
CREATE TABLE events (
    id          bigserial PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    kind        text NOT NULL,
    agents      text NOT NULL,
    payload     text NOT NULL
);
CREATE INDEX events_rare ON events (kind)
WHERE kind <> 'sent' AND kind <> 'delivered' AND strpos(kind, '.') = 0;
";
const TEXT: u32 = 25;
const TEXTS: u32 = 1009;
const NUMBER: u32 = 20;
/// Name, statement, types of its parameters. All of them answer the ids, as the others do.
const STATEMENTS: [(&str, &str, &[u32]); 3] = [
    (
        "single",
        "INSERT INTO events (kind, agents, payload) VALUES ($1, $2, $3) RETURNING id",
        &[TEXT, TEXT, TEXT],
    ),
    (
        "batch",
        "INSERT INTO events (kind, agents, payload) SELECT * FROM unnest($1, $2, $3) RETURNING id",
        &[TEXTS, TEXTS, TEXTS],
    ),
    (
        "page",
        "SELECT id, recorded_at, kind, payload FROM events WHERE id > $1 ORDER BY id LIMIT 1000",
        &[NUMBER],
    ),
];
const _: () = assert!(BATCH == 1_000, "a page is as long as a batch");
const SETTINGS: &str = "SELECT concat_ws(' ', current_setting('server_version'), 'fsync',
    current_setting('fsync'), 'synchronous_commit', current_setting('synchronous_commit'))";

pub struct Postgres {
    process: Process,
    version: String,
    port: u16,
}

impl Postgres {
    /// Nothing where it is not installed.
    pub fn start(folder: &Folder) -> Option<Self> {
        let programs = programs()?;
        let data = folder.path().join("postgres");
        fs::create_dir(&data).unwrap();
        // It refuses to run as root.
        let other = rustix::process::geteuid().is_root().then(unprivileged);
        if let Some((user, group)) = other {
            std::os::unix::fs::chown(&data, Some(user), Some(group)).unwrap();
        }
        let command = |name: &str| {
            let mut command = Command::new(programs.join(name));
            if let Some((user, group)) = other {
                command.uid(user).gid(group);
            }
            command.current_dir(folder.path()).stdout(Stdio::null()).arg("-D").arg(&data);
            command
        };
        let made = command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = process::free_port();
        let log = folder.path().join("postgres.log");
        let mut server = command("postgres");
        server.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", "unix_socket_directories="]);
        // At once, with all of its children, and without leaving shared memory behind.
        let mut process = Process::start(&mut server, Signal::QUIT, &log);
        let socket = process.until(Duration::from_secs(30), || sign_in(port));
        let mut client = Client::new(socket);
        let mut ask = |sql: &str| {
            let request = message(b'Q', &[sql.as_bytes(), b"\0"].concat());
            let answer = client.ask(&request, &mut Answer::Postgres(answer::Postgres::default()));
            String::from_utf8_lossy(answer).into_owned()
        };
        let settings = ask(SETTINGS);
        assert!(settings.contains("fsync on synchronous_commit on"), "{settings}");
        ask(SCHEMA);
        let version = ask("SHOW server_version");
        let digit = |c: char| c.is_ascii_digit() || c == '.';
        let version = version.split(|c: char| !digit(c)).max_by_key(|part| part.len()).unwrap().to_owned();
        Some(Self { process, version, port })
    }
}

impl Peer for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn durability(&self) -> &'static str {
        "on"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn connect(&self) -> TcpStream {
        let mut client = Client::new(sign_in(self.port).expect("no connection"));
        for (name, sql, types) in STATEMENTS {
            let mut body = [name.as_bytes(), b"\0", sql.as_bytes(), b"\0"].concat();
            body.extend_from_slice(&(types.len() as u16).to_be_bytes());
            body.extend(types.iter().flat_map(|kind| kind.to_be_bytes()));
            let request = [message(b'P', &body), message(b'S', b"")].concat();
            client.ask(&request, &mut self.answer());
        }
        client.into_socket()
    }

    fn single(&self, text: &Text) -> Vec<u8> {
        execute("single", &[text.kind.as_bytes(), text.agents.as_bytes(), text.payload.as_bytes()])
    }

    fn batch(&self, texts: &[Text]) -> Vec<u8> {
        let array = |of: fn(&Text) -> &str| {
            // One dimension, no nulls, counted from 1.
            let mut bytes: Vec<u8> =
                [1, 0, TEXT, texts.len() as u32, 1].iter().flat_map(|word| word.to_be_bytes()).collect();
            for text in texts.iter().map(of) {
                bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
            bytes
        };
        let kinds = array(|text| &text.kind);
        execute("batch", &[&kinds, &array(|text| &text.agents), &array(|text| &text.payload)])
    }

    fn page(&self, after: &str) -> Vec<u8> {
        let after: i64 = if after.is_empty() { 0 } else { after.parse().unwrap() };
        execute("page", &[&after.to_be_bytes()])
    }

    fn answer(&self) -> Answer {
        Answer::Postgres(answer::Postgres::default())
    }

    fn read_page(&self, answer: &Answer, bytes: &[u8]) -> Page {
        let Answer::Postgres(answer) = answer else { unreachable!("it speaks its own protocol") };
        // Tag, length, number of columns, length of the id.
        let id = bytes[answer.last_row + 11..].first_chunk().map_or(0, |id| i64::from_be_bytes(*id));
        Page { rows: answer.rows, after: id.to_string() }
    }
}

/// A connection that is ready; nothing while the server does not take any.
fn sign_in(port: u16) -> Option<TcpStream> {
    let mut socket = connect::open(port)?;
    let body = [&196_608_u32.to_be_bytes(), b"user\0postgres\0database\0postgres\0\0".as_slice()].concat();
    let length = (body.len() as u32 + 4).to_be_bytes();
    socket.write_all(&[length.as_slice(), &body].concat()).ok()?;
    let (mut bytes, mut answer) = (Vec::new(), Answer::Postgres(answer::Postgres::default()));
    let mut buffer = [0; 4_096];
    loop {
        let count = socket.read(&mut buffer).ok()?;
        bytes.extend_from_slice(&buffer[..count]);
        // Not yet, it says, and hangs up.
        if count == 0 || bytes.first() == Some(&b'E') {
            return None;
        }
        if answer.is_whole(&bytes) {
            return Some(socket);
        }
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat()
}

/// A prepared statement with these parameters, in a transaction of its own. All are binary, and so is the answer.
fn execute(name: &str, parameters: &[&[u8]]) -> Vec<u8> {
    let mut bind = [b"\0", name.as_bytes(), b"\0"].concat();
    bind.extend_from_slice(&[0, 1, 0, 1]);
    bind.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        bind.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
        bind.extend_from_slice(parameter);
    }
    bind.extend_from_slice(&[0, 1, 0, 1]);
    [message(b'B', &bind), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()
}

/// The folder with the server's programs: Debian keeps them off the PATH, a folder for each version.
fn programs() -> Option<PathBuf> {
    let whole = |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let on_path = process::program("initdb").and_then(|file| Some(file.parent()?.to_owned()));
    if let Some(folder) = on_path.filter(|folder| whole(folder)) {
        return Some(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions.max_by_key(number).map(|path| path.join("bin")).filter(|folder| whole(folder))
}

/// Whom it runs as, where we are root: its own user, or one that has nothing.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map_while(|field| field.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    find("postgres").or_else(|| find("nobody")).expect("root alone has no user to run PostgreSQL as")
}
