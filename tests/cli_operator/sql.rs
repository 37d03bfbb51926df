//! Questions in SQL: those of the README by the real shell, and what `hivelog sql` does and refuses.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::{PATIENCE, Place, Ran, Server, beside_writes, shell};

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README")
}

/// The questions of the README, each with its comment.
fn queries() -> Vec<String> {
    let text = readme();
    let (_, rest) = text.split_once("```sql\n").expect("questions in the README");
    let (block, _) = rest.split_once("```\n").expect("their end");
    block.split("\n\n").map(str::to_owned).collect()
}

fn sqlite(place: &Place, sql: &str) -> Value {
    let mut command = Command::new("sqlite3");
    let piped = command.args(["-readonly", "-json"]).arg(place.db()).stdin(Stdio::piped());
    let mut child = piped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
    child.stdin.take().expect("its stdin").write_all(sql.as_bytes()).expect("a write");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success() && output.stderr.is_empty(), "{sql}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    if text.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&text).expect("JSON") }
}

fn ours(place: &Place, sql: &str) -> Value {
    let ran = place.run(&["sql", "--json", sql]).check(0, "");
    Value::Array(ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// A log in which every question of the README has an answer.
fn fill(server: &Server) {
    let post = |path: &str, body: &str| {
        let (status, text) = server.ask("POST", path, body);
        assert!((200..300).contains(&status), "{path} {body}: {text}");
    };
    for n in 0..4 {
        let body =
            format!(r#"{{"agent":"alice","approval_kind":"apply_commit","description":"change {n}"}}"#);
        post("/api/approvals", &body);
    }
    post("/api/approvals/1/resolve", r#"{"status":"approved","by":"grace"}"#);
    post("/api/approvals/2/resolve", r#"{"status":"denied","note":"not today","by":"grace"}"#);
    post("/api/questions", r#"{"asker":"bob","question":"which one?"}"#);
    let expired = r#"[{"kind":"question_added","id":9,"asker":"bob","question":"late?","options":[],"multi":false,"asked_at":1},
        {"kind":"question_resolved","id":9,"answer":"[expired]","answerer":"ttl-watchdog","answered_at":2,"cancelled":false,"outcome":"expired"}]"#;
    post("/api/events", expired);
    post("/api/messages", r#"{"from":"alice","to":"bob","body":"hello"}"#);
    // It is on the log once it is mirrored there.
    let begin = Instant::now();
    while !server.ask("GET", "/api/history?kind=sent", "").1.contains("hello") {
        assert!(begin.elapsed() < PATIENCE, "the message is not mirrored");
    }
    // What alice did yesterday: a log cannot be told to have been written then, so its clock is wrong by that much.
}

#[test]
fn the_questions_of_the_readme_are_answered_by_the_shell_while_the_server_writes() {
    if Command::new("sqlite3").arg("--version").stdout(Stdio::null()).status().is_err() {
        writeln!(std::io::stderr(), "skipped: there is no sqlite3").expect("stderr");
        return;
    }
    let place = Place::new();
    let server = place.serve(&[]);
    fill(&server);
    let queries = queries();
    assert_eq!(queries.len(), 10);
    let rows = beside_writes(&server, |_| {
        let answers = queries.iter().map(|query| sqlite(&place, query));
        answers.map(|answer| answer.as_array().map_or(0, Vec::len)).collect::<Vec<_>>()
    });
    for (query, rows) in queries.iter().zip(&rows) {
        // Nothing was yesterday here.
        assert!(*rows > 0 || query.contains("yesterday"), "{query}");
    }
    let today =
        queries[1].replace("at >= date('now', '-1 day') AND at < date('now')", "at >= date('now', '-2 day')");
    assert_ne!(today, queries[1]);
    assert!(sqlite(&place, &today).as_array().is_some_and(|rows| rows.len() >= 6), "{today}");
    let decided = sqlite(&place, &queries[3]);
    let first = &decided[0];
    assert_eq!(
        (&first["operator"], &first["approved"], &first["denied"]),
        (&"grace".into(), &1.into(), &1.into())
    );
    assert_eq!(sqlite(&place, &queries[5])[0]["note"], "not today");
    assert_eq!(sqlite(&place, &queries[8])[0]["expired"], 1);
    // Both shells say the same of a log that rests.
    for query in queries.iter().chain([&today]) {
        let begin = Instant::now();
        while sqlite(&place, query) != ours(&place, query) {
            // An age changes every second, and a mirrored message comes a moment later.
            assert!(begin.elapsed() < PATIENCE, "{query}");
        }
    }
    place.run(&["check"]).check(0, "the log is whole");
    server.stop();
}

/// P13: the view that a shell shows on a terminal has nothing in it that a terminal obeys.
#[test]
fn what_waits_is_shown_without_what_a_terminal_obeys() {
    let place = Place::new();
    let hostile: String = (0..0xa0)
        .chain([0x61c, 0x200b, 0x200f, 0x2028, 0x202e, 0x2066, 0xfeff])
        .filter_map(char::from_u32)
        .collect();
    let all: Vec<char> = hostile.chars().collect();
    for (id, part) in (1..).zip(all.chunks(11)) {
        let text = serde_json::Value::from(part.iter().collect::<String>() + "\u{e9}");
        let event = format!(
            r#"{{"kind":"question_added","id":{id},"asker":"eve","question":{text},"options":[],"multi":false,"asked_at":1}}"#
        );
        place.run(&["append", &event]).check(0, "");
    }
    let rows = ours(&place, "SELECT summary FROM v_attention ORDER BY id");
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), all.len().div_ceil(11));
    for (row, part) in rows.iter().zip(all.chunks(11)) {
        let shown = row["summary"].as_str().expect("a summary");
        let is_plain = |shown: char, was: char| match was {
            '\t' | '\n' | '\r' => shown == ' ',
            ' '..='~' => shown == was,
            _ => shown == '?',
        };
        // Up to a NUL, where text ends for SQLite.
        let until = part.iter().position(|was| *was == '\0').unwrap_or(part.len());
        let is_whole = until < part.len() || shown.ends_with('\u{e9}');
        assert!(is_whole, "{shown:?}");
        assert!(
            shown.chars().zip(part).take(until).all(|(shown, was)| is_plain(shown, *was)),
            "{shown:?} {part:?}"
        );
    }
}

#[test]
fn the_views_of_the_readme_have_the_columns_that_it_says() {
    let place = Place::new();
    place.run(&["append", r#"{"kind":"a.b"}"#]).check(0, "1");
    let text = readme();
    let mut views = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `v_")) {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let question =
            format!("SELECT group_concat(name, ' ') AS names FROM pragma_table_info('{}')", cells[1]);
        assert_eq!(ours(&place, &question)[0]["names"], cells[2], "{}", cells[1]);
        views.push(cells[1].to_owned());
    }
    let known = ours(&place, "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name");
    let known: Vec<_> = known.as_array().expect("rows").iter().map(|row| row["name"].clone()).collect();
    views.sort();
    assert_eq!(known, views);
}

#[test]
fn a_question_only_reads() {
    let place = Place::new();
    place.run(&["append", r#"{"kind":"a.b"}"#]).check(0, "1");
    let before = std::fs::read(place.db()).expect("the file");
    let elsewhere = place.path("elsewhere");
    for sql in [
        "INSERT INTO events (seq, recorded_at_ms, kind, agents, payload) VALUES (2, 1, 'a.b', '', '{}')",
        "UPDATE meta SET value = 1",
        "DELETE FROM keys",
        "REPLACE INTO meta VALUES ('floor', 9)",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "DROP VIEW v_events",
        "ALTER TABLE events RENAME TO x",
        "CREATE VIRTUAL TABLE x USING fts5(y)",
        &format!("ATTACH '{}' AS x", elsewhere.display()),
        &format!("VACUUM INTO '{}'", elsewhere.display()),
        "VACUUM",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "PRAGMA trusted_schema = ON",
        "PRAGMA user_version = 9",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA temp_store_directory = '/'",
        "SELECT load_extension('x')",
        "SELECT 1; DELETE FROM keys",
        "EXPLAIN DELETE FROM keys",
        "SELEKT 1",
        "SELECT * FROM nothing",
        "SELECT ?1 +",
    ] {
        let ran = place.run(&["sql", sql]).check(2, "hivelog: ");
        assert_eq!(ran.out, "", "{sql}");
    }
    assert!(std::fs::read(place.db()).expect("the file") == before, "the file was changed");
    assert!(!elsewhere.exists());
    for (sql, words) in [
        ("PRAGMA user_version", "4"),
        ("PRAGMA journal_mode", "wal"),
        ("SELECT name FROM pragma_table_info('events')", "recorded_at_ms"),
        ("SELECT value FROM json_each('[1,\"two\"]')", "two"),
        (
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5) SELECT sum(i) FROM n",
            "15",
        ),
        ("EXPLAIN QUERY PLAN SELECT * FROM events WHERE seq = 1", "SEARCH"),
        ("-- only a word\n", ""),
    ] {
        place.run(&["sql", sql]).check(0, words);
    }
    Ran::of(place.command(&["sql", "SELECT 1"]).env("HIVELOG_DB", &elsewhere)).check(3, "there is no log at");
    assert!(!elsewhere.exists());
}

#[test]
fn hashes_of_credentials_are_not_shown() {
    let place = Place::new();
    place.run(&["append", r#"{"kind":"a.b"}"#]).check(0, "1");
    let token = place.run(&["token", "add", "--role", "read", "--name", "eve"]).check(0, "hvl_").out;
    for sql in [
        "SELECT * FROM tokens",
        "SELECT t.hash AS x, name FROM tokens AS t",
        "SELECT quote(HASH) AS x, name FROM main.tokens",
        "SELECT max(hash) AS x, 'eve' AS name FROM (SELECT hash FROM tokens)",
        "WITH a AS (SELECT hash AS x, name FROM tokens) SELECT * FROM a",
    ] {
        let answer = ours(&place, sql);
        let row = &answer[0];
        assert_eq!(row["name"], "eve", "{sql}");
        let hash = if sql.contains('*') && !sql.contains('x') { &row["hash"] } else { &row["x"] };
        assert!(hash.is_null() || hash == "NULL", "{sql}: {row}");
    }
    assert!(
        ours(&place, "SELECT name FROM tokens WHERE hash IS NOT NULL").as_array().is_some_and(Vec::is_empty)
    );
    assert!(!token.trim().is_empty());
}

#[test]
fn an_answer_is_escaped_and_whole() {
    let place = Place::new();
    let nasty = r#"{"kind":"a.b","x":"\u001b[2J\u202egnp\n\u009b31m"}"#;
    place.run(&["append", nasty]).check(0, "1");
    let sql = "SELECT json_extract(payload, '$.x') AS x, NULL AS n, 1.0 AS r, 9007199254740993 AS i, x'00ff' AS b FROM events";
    let table = place.run(&["sql", sql]).check(0, "x").out;
    assert!(table.contains("\\u001b[2J\\u202egnp\\n\\u009b31m"), "{table}");
    assert!(
        table.contains("1.0") && table.contains("9007199254740993") && table.contains("x'00ff'"),
        "{table}"
    );
    let json = place.run(&["sql", "--json", sql]).check(0, "x").out;
    assert!(
        json.chars().all(|letter| letter == '\n' || !letter.is_control() && letter != '\u{202e}'),
        "{json:?}"
    );
    let row: Value = serde_json::from_str(json.trim()).expect("JSON");
    let due = serde_json::json!({"x": "\u{1b}[2J\u{202e}gnp\n\u{9b}31m", "n": null, "r": 1.0, "i": 9_007_199_254_740_993_i64, "b": "00ff"});
    assert_eq!(row, due);
    assert!(place.run(&["sql", "--raw", sql]).out.contains('\u{1b}'));
    let named = place.run(&["sql", "SELECT 1 AS \"\u{1b}[2J\""]).check(0, "1").out;
    assert!(!named.contains('\u{1b}'), "{named:?}");
    // Two columns of a name are two members, and each statement has its own table.
    assert_eq!(
        ours(&place, "SELECT 1 AS a, 2 AS a; SELECT 3 AS b"),
        serde_json::json!([{"a": 1, "a:1": 2}, {"b": 3}])
    );
    let mut piped = place.command(&["sql"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a command");
    child
        .stdin
        .take()
        .expect("its stdin")
        .write_all(b"SELECT count(*) AS c FROM events;\n")
        .expect("a write");
    assert!(String::from_utf8_lossy(&child.wait_with_output().expect("an end").stdout).contains('1'));
}

#[test]
fn a_question_has_bounds() {
    let place = Place::new();
    place.run(&["append", r#"{"kind":"a.b"}"#]).check(0, "1");
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    let query = format!("{endless} SELECT count(*) FROM n");
    // Without the flag it would be a minute.
    Ran::within(45, &place.command(&["sql", "--timeout", "1", &query])).check(1, "too long");
    place.run(&["sql", &format!("{endless} SELECT hex(zeroblob(1000000)) FROM n")]).check(2, "add a LIMIT");
    place.run(&["sql", "SELECT zeroblob(1000000000)"]).check(2, "too big");
    place.run(&["sql", "--timeout", &u64::MAX.to_string(), "SELECT 1"]).check(2, "than a clock can tell");
    // A pager left open holds nothing: the answer was taken before.
    let server = place.serve(&[]);
    for _ in 0..20 {
        assert_eq!(server.append(&crate::large()), 201);
    }
    let mut reading =
        place.command(&["sql", "SELECT * FROM events"]).stdout(Stdio::piped()).spawn().expect("a command");
    let begin = Instant::now();
    loop {
        // It has written what the pipe takes, so it reads no more.
        let mut pipe = [0];
        std::io::Read::read_exact(reading.stdout.as_mut().expect("its stdout"), &mut pipe).expect("a byte");
        let Some(_free) = shell(&place.db(), false, "PRAGMA wal_checkpoint(TRUNCATE);") else { break };
        let wal = std::fs::metadata(place.path("log.db-wal")).expect("the WAL").len();
        if wal == 0 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "the WAL is held: {wal}");
    }
    drop(reading.stdout.take());
    assert!(reading.wait().expect("an end").success(), "a closed pipe is no failure");
    server.stop();
}
