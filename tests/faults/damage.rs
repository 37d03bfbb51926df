//! P13, P2: flipped bits and cut tails: refused, or told; never another event than the one that was stored.
//! And files that are no logs: refused, and left as they are.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hivelog::{Log, Options, Range, Seq};

use crate::dice::Dice;
use crate::rig::{Rig, command, figure, scratch, skip, start};
use crate::story::{Story, Told};

/// A whole log of some hundred events, closed in good order.
struct Whole {
    rig: Rig,
    bytes: Vec<u8>,
    lines: BTreeMap<i64, Vec<u8>>,
    state: Vec<u8>,
}

fn lines(log: &Log) -> Result<BTreeMap<i64, Vec<u8>>, hivelog::Error> {
    let mut lines = BTreeMap::new();
    let mut after = Seq::ZERO;
    loop {
        let page = log.range(&Range { after: Some(after.get()), limit: 500, ..Range::default() })?;
        let before = lines.len();
        for row in page.rows() {
            lines.insert(row.seq().get(), row.line().to_vec());
            after = row.seq();
        }
        if lines.len() == before {
            return Ok(lines);
        }
    }
}

fn whole() -> Whole {
    let rig = Rig::new();
    let mut server = rig.serve_plainly();
    let mut story = Story::new();
    for _ in 0..220 {
        assert!(matches!(story.make_next(&server.address(), None), Told::Acked | Told::Refused));
    }
    assert_eq!(server.stop().status.code(), Some(0));
    let log = Log::open_read_only(rig.db()).unwrap();
    let (lines, state) = (lines(&log).unwrap(), log.snapshot().unwrap().json().to_vec());
    drop(log);
    let bytes = std::fs::read(rig.db()).unwrap();
    assert!(lines.len() > 150);
    Whole { rig, bytes, lines, state }
}

/// What a reader and a writer are given of a damaged file.
#[derive(Debug, PartialEq, Eq)]
enum Given {
    /// The file, or a read of it, is refused.
    Refused,
    /// All is as it was.
    Same,
    /// Another event, or another board, without a word.
    Other(String),
}

fn read(whole: &Whole, path: &Path) -> Given {
    let open = || Log::open(path, Options::default().create(false));
    let Ok(log) = open() else { return Given::Refused };
    let (Ok(found), Ok(state)) = (lines(&log), log.snapshot()) else { return Given::Refused };
    for (seq, line) in &found {
        if whole.lines.get(seq) != Some(line) {
            return Given::Other(format!("event {seq}: {}", String::from_utf8_lossy(line)));
        }
    }
    if found.len() != whole.lines.len() {
        return Given::Other(format!("{} of {} events", found.len(), whole.lines.len()));
    }
    if state.json() != whole.state {
        return Given::Other("the board".into());
    }
    Given::Same
}

/// Whether the doctor finds the damage.
fn is_found(path: &Path) -> bool {
    hivelog::check(path).map_or(true, |report| !report.problems.is_empty())
}

#[test]
fn a_flipped_bit_is_refused_or_found_or_changes_nothing() {
    let (_, mut dice) = Dice::announced("flipped bits");
    let whole = whole();
    let folder = scratch();
    let path = folder.path().join("log.db");
    let flips = figure(300, 2_000);
    let (mut refused, mut same, mut found) = (0, 0, 0);
    let mut silent = Vec::new();
    for _ in 0..flips {
        let mut bytes = whole.bytes.clone();
        let (at, bit) = (dice.below(bytes.len() as u64), dice.below(8));
        bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        let is_found = is_found(&path);
        found += u64::from(is_found);
        match read(&whole, &path) {
            Given::Refused => refused += 1,
            Given::Same => same += 1,
            Given::Other(_) if is_found => {}
            Given::Other(what) => silent.push(format!("bit {bit} of byte {at}: {what}")),
        }
        for ending in ["-wal", "-shm"] {
            let _none = std::fs::remove_file(folder.path().join(format!("log.db{ending}")));
        }
    }
    println!(
        "{flips} flipped bits: {refused} refused to a reader, {same} changed nothing, {found} found by the check, {} \
         neither refused nor found",
        silent.len()
    );
    for silent in silent.iter().take(5) {
        println!("  {silent}");
    }
    assert!(refused > 0 && same > 0 && found > 0);
    assert_eq!(silent, Vec::<String>::new());
    drop(whole.rig);
}

/// The values that readers go by have no event of their own that could be compared with them.
#[test]
fn a_value_of_the_log_that_was_changed_is_found() {
    for sql in [
        "UPDATE meta SET value = 1 WHERE name = 'floor'",
        "UPDATE meta SET name = 'board_flook' WHERE name = 'board_floor'",
        "UPDATE meta SET value = iif(value GLOB '0*', '1', '0') || substr(value, 2) WHERE name = 'log_id'",
    ] {
        let whole = whole();
        let conn = hivelog::rusqlite::Connection::open(whole.rig.db()).unwrap();
        assert_eq!(conn.execute(sql, []).unwrap(), 1);
        drop(conn);
        let report = hivelog::check(whole.rig.db()).unwrap();
        assert!(report.problems.iter().any(|problem| problem.contains("is not what was written")), "{sql}");
    }
}

#[test]
fn a_cut_tail_is_refused_or_found() {
    let (_, mut dice) = Dice::announced("cut tails");
    let whole = whole();
    let folder = scratch();
    let path = folder.path().join("log.db");
    let cuts = figure(40, 300);
    for _ in 0..cuts {
        let mut bytes = whole.bytes.clone();
        bytes.truncate(usize::try_from(dice.below(bytes.len() as u64 - 1) + 1).unwrap());
        std::fs::write(&path, &bytes).unwrap();
        assert!(is_found(&path), "cut at {}", bytes.len());
        let given = read(&whole, &path);
        assert!(matches!(given, Given::Refused | Given::Same), "cut at {}: {given:?}", bytes.len());
        for ending in ["-wal", "-shm"] {
            let _none = std::fs::remove_file(folder.path().join(format!("log.db{ending}")));
        }
    }
    println!("{cuts} cut tails: each was refused or found");
}

#[test]
fn damage_is_told_by_the_server_and_by_the_check() {
    let whole = whole();
    let text = b"\"mark\":\"";
    let at = whole.bytes.windows(text.len()).position(|bytes| bytes == text).unwrap();
    let mut bytes = whole.bytes.clone();
    bytes[at + text.len()] ^= 1;
    std::fs::write(whole.rig.db(), bytes).unwrap();
    let check = command("check", &whole.rig.db()).output().unwrap();
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stdout).contains("is damaged"), "{check:?}");
    let mut server = whole.rig.serve_plainly();
    let reply = crate::client::get(&server.address(), "/api/history?after=0&limit=10000").unwrap();
    assert_eq!((reply.status, reply.problem().as_str()), (500, "storage"), "{reply:?}");
    assert!(reply.json()["detail"].as_str().unwrap().contains("is damaged"), "{reply:?}");
    // What is whole is still read, and appends go on.
    let last = *whole.lines.keys().last().unwrap();
    assert_eq!(crate::client::get(&server.address(), &format!("/api/history/{last}")).unwrap().status, 200);
    let event = r#"{"kind":"test.note"}"#;
    assert_eq!(crate::client::append(&server.address(), None, event).unwrap().status, 201);
    server.stop();
}

#[test]
fn a_page_that_has_begun_ends_before_damage_and_the_next_one_tells_of_it() {
    let rig = Rig::new();
    let log = Log::open(rig.db(), Options::default()).unwrap();
    for number in 1..=1_000 {
        let line = format!(r#"{{"kind":"test.note","text":"mark-{number}.{}"}}"#, "t".repeat(300));
        log.append(hivelog::Draft::from_json(&line).unwrap()).wait().unwrap();
    }
    log.close();
    let mut bytes = std::fs::read(rig.db()).unwrap();
    let at = bytes.windows(9).position(|found| found == b"mark-700.").unwrap();
    bytes[at + 50] ^= 1;
    std::fs::write(rig.db(), bytes).unwrap();
    let mut server = rig.serve_plainly();
    let page = |after: i64| {
        crate::client::get(&server.address(), &format!("/api/history?after={after}&limit=1000")).unwrap()
    };
    let mut after = 0;
    let told = loop {
        let reply = page(after);
        if reply.status != 200 {
            break reply;
        }
        let begun = reply.json();
        let seqs: Vec<i64> =
            begun["events"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        let next = begun["next_after"].as_i64().unwrap();
        assert_eq!(seqs, (after + 1..=next).collect::<Vec<_>>(), "no event is left out");
        assert!(next > after && next < 700, "{next}");
        after = next;
    };
    assert!(after > 0, "the first page has begun");
    assert!(told.status == 500 && told.json()["detail"].as_str().unwrap().contains("event 700 is damaged"));
    assert_eq!(page(700).json()["events"].as_array().unwrap().len(), 300);
    server.stop();
}

#[test]
fn an_event_that_another_program_put_in_place_of_one_is_found() {
    let whole = whole();
    let conn = hivelog::rusqlite::Connection::open(whole.rig.db()).unwrap();
    let sql = "REPLACE INTO events (seq, recorded_at_ms, kind, agents, payload)
               SELECT seq, recorded_at_ms, kind, agents, '{\"forged\":1}' FROM events WHERE seq = 7";
    conn.execute(sql, []).unwrap();
    drop(conn);
    let report = hivelog::check(whole.rig.db()).unwrap();
    assert!(report.problems.iter().any(|problem| problem.contains("another program")), "{report:?}");
}

/// All that stands in a folder, by name.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// The lines that were said, without the word on this machine's limits.
fn lines_of(stderr: &str) -> usize {
    stderr.lines().filter(|line| !line.contains("few descriptors")).count()
}

fn stderr_of(db: &Path) -> PathBuf {
    std::env::temp_dir().join(format!(
        "hivelog-{}-{}",
        std::process::id(),
        db.to_string_lossy().replace('/', "-")
    ))
}

/// `serve` and the verbs that read end with one line that has the word, and change nothing.
fn check_refused(db: &Path, word: &str) {
    let before = contents(db.parent().unwrap());
    let mut serve = command("serve", db);
    serve.args(["--no-auth", "--listen", "127.0.0.1:0"]);
    let stderr = stderr_of(db);
    let Err(ended) = start(serve, &stderr) else { panic!("{}: it is served", db.display()) };
    let _gone = std::fs::remove_file(stderr);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(lines_of(&ended.stderr), 1, "{ended:?}");
    assert!(ended.last_line().contains(word), "{word}: {ended:?}");
    for verb in ["check", "history", "state", "export"] {
        let out = command(verb, db).output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{verb}: {out:?}");
        assert_eq!(stderr.lines().count(), 1, "{verb}: {stderr}");
        assert!(stderr.contains(word), "{verb}: {stderr}");
    }
    let import = command("import", db).arg("/dev/null").output().unwrap();
    assert_ne!(import.status.code(), Some(0), "{import:?}");
    let mut after = contents(db.parent().unwrap());
    // A reader of a file in WAL mode leaves these.
    after.retain(|name, bytes| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty()));
    assert!(after == before, "{}: something was changed", db.display());
}

#[test]
fn what_is_no_log_is_refused_and_left_as_it_is() {
    let folder = scratch();
    let place = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder.join("log.db")
    };
    let text = place("text");
    std::fs::write(&text, "seq,kind\n1,sent\n").unwrap();
    check_refused(&text, "not an SQLite database");

    let foreign = place("foreign");
    let conn = hivelog::rusqlite::Connection::open(&foreign).unwrap();
    conn.execute_batch("CREATE TABLE events (seq INTEGER PRIMARY KEY, payload TEXT)").unwrap();
    drop(conn);
    check_refused(&foreign, "log");

    let directory = place("directory");
    std::fs::create_dir(&directory).unwrap();
    check_refused(&directory, "the path is not a file");

    let newer = place("newer");
    std::fs::copy(whole().rig.db(), &newer).unwrap();
    let conn = hivelog::rusqlite::Connection::open(&newer).unwrap();
    conn.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 99; PRAGMA journal_mode = WAL;")
        .unwrap();
    drop(conn);
    check_refused(&newer, "use a newer hivelog");

    let empty = place("empty");
    std::fs::write(&empty, "").unwrap();
    let mut serve = command("serve", &empty);
    serve.args(["--no-auth", "--listen", "127.0.0.1:0"]);
    let mut server = start(serve, &stderr_of(&empty)).unwrap();
    assert_eq!(crate::client::append(&server.address(), None, r#"{"kind":"a.b"}"#).unwrap().json()["seq"], 1);
    assert_eq!(server.stop().status.code(), Some(0));
    let _gone = std::fs::remove_file(stderr_of(&empty));
}

/// A user who may write nothing of root's.
const NOBODY: u32 = 65_534;

#[test]
fn a_file_or_a_folder_that_may_only_be_read_is_refused_in_one_line_and_can_be_read() {
    if !rustix::process::geteuid().is_root() {
        return skip("a file that may only be read", "to be another user needs root");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let set =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let whole = whole();
    let folder = scratch();
    let binary = folder.path().join("hivelog");
    // By another process: what another test starts meanwhile would hold a descriptor of ours that writes it.
    assert!(Command::new("cp").arg(crate::rig::binary()).arg(&binary).status().unwrap().success());
    set(&binary, 0o755);
    set(folder.path(), 0o755);
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let db = data.join("log.db");
    std::fs::copy(whole.rig.db(), &db).unwrap();
    set(&db, 0o444);
    set(&data, 0o555);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).arg("--db").arg(&db).uid(NOBODY).gid(NOBODY).env("HOME", "/").current_dir("/");
        command.output().unwrap()
    };
    let before = contents(&data);
    let out = as_nobody(&["serve", "--no-auth", "--listen", "127.0.0.1:0"]);
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!((out.status.code(), lines_of(&stderr)), (Some(1), 1), "{out:?}");
    assert!(stderr.contains("denied") || stderr.contains("read-only"), "{stderr}");
    // Another user may be writing it, so it is not taken for one that cannot change.
    let out = as_nobody(&["history"]);
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!((out.status.code(), stderr.lines().count()), (Some(1), 1), "{out:?}");
    assert!(stderr.contains("a folder that may be written"), "{stderr}");
    assert!(contents(&data) == before, "something was changed");
}

#[test]
fn a_log_on_a_medium_that_is_read_only_is_read_and_not_served() {
    let whole = whole();
    let folder = scratch();
    let data = folder.path().join("a ?#% folder");
    std::fs::create_dir(&data).unwrap();
    let Some(small) = crate::room::Small::over(&data, "4g") else {
        return skip("a medium that is read-only", "mounting a file system needs root");
    };
    let db = data.join("log.db");
    std::fs::copy(whole.rig.db(), &db).unwrap();
    small.make_read_only();
    let mut serve = command("serve", &db);
    serve.args(["--no-auth", "--listen", "127.0.0.1:0"]);
    let Err(ended) = start(serve, &folder.path().join("stderr")) else { panic!("it is served") };
    assert_eq!((ended.status.code(), lines_of(&ended.stderr)), (Some(1), 1), "{ended:?}");
    assert!(ended.last_line().contains("Read-only file system"), "{ended:?}");
    let copy = folder.path().join("copy.db");
    for (verb, word) in [
        ("check", None),
        ("state", None),
        ("sql", Some("SELECT count(*) FROM events")),
        ("backup", copy.to_str()),
    ] {
        let out = command(verb, &db).args(word).output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{verb}: {out:?}");
    }
    let out = command("history", &db).args(["--json", "--after", "0", "--limit", "10000"]).output().unwrap();
    let found: Vec<Vec<u8>> = out.stdout.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(found.len() - 1, whole.lines.len());
    assert!(found.iter().zip(whole.lines.values()).all(|(found, due)| found == due));
}
