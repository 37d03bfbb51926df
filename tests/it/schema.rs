//! Files of earlier schemas: each released one is kept, and opens.

use hivelog::{Desk, Error, Filter, Followed, Log, Options, Range, Receive, Request, Resolve, Seq};
use serde_json::{Value, json};

use crate::seq;

/// A copy of the file that a hivelog of this schema left.
fn fixture(schema: i64) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hivelog.db");
    let kept = format!("{}/tests/fixtures/schema-{schema}.db", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(kept, &path).unwrap();
    (folder, path)
}

fn board(log: &Log) -> Value {
    log.snapshot().unwrap().decode().unwrap()
}

#[test]
fn a_file_of_schema_1_is_read_as_it_is() {
    let (_folder, path) = fixture(1);
    let log = Log::open_read_only(&path).unwrap();
    assert_eq!(log.tail(), seq(6));
    assert_eq!(log.range(&Range::default()).unwrap().rows().count(), 6);
    assert_eq!(board(&log)["recent_approvals"][0]["status"], "approved");
    assert!(matches!(Desk::of(&log), Err(Error::ReadOnly)));
    log.close();
    assert_eq!(hivelog::check(&path).unwrap().schema, 1);
}

#[test]
fn a_file_of_schema_1_goes_on() {
    let (_folder, path) = fixture(1);
    let before = Log::open_read_only(&path).unwrap();
    let (id, then) = (before.id(), board(&before));
    before.close();
    let log = Log::open(&path, Options::default()).unwrap();
    assert_eq!(log.id(), id);
    assert_eq!(board(&log), then);
    // A key of the old file still stands for what it stood for.
    let again = hivelog::Command::new(vec![
        hivelog::Draft::from_json(r#"{"kind":"deploy.finished","service":"web"}"#).unwrap(),
    ]);
    assert!(log.submit(again.key("first")).wait().is_err());

    let desk = Desk::of(&log).unwrap();
    // A transient that was appended without an end stays until somebody clears it.
    assert_eq!(board(&log)["transients"][0]["name"], "bob");
    let opened = desk
        .request(Request { agent: "bob".into(), approval_kind: "spawn".into(), ..Request::default() })
        .wait()
        .unwrap();
    assert_eq!((opened.id, opened.seq), (8, Some(seq(7))));
    let status = hivelog::event::ApprovalStatus::Denied;
    let resolve = Resolve { id: 8, status, note: None, by: Some("operator".into()) };
    assert_eq!(desk.resolve(resolve).wait().unwrap(), seq(8));
    assert_eq!(board(&log)["recent_approvals"][0]["id"], json!(8));
    let seen = log.follow_blocking(Seq::ZERO, Filter::default()).unwrap();
    let seqs = seen.map_while(|followed| match followed.unwrap() {
        Followed::Event(row) => Some(row.seq().get()),
        _ => None,
    });
    assert_eq!(seqs.collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    log.close();
    let report = hivelog::check(&path).unwrap();
    assert_eq!((report.schema, report.problems), (4, Vec::<String>::new()));
}

#[test]
fn a_file_of_schema_2_goes_on() {
    let (_folder, path) = fixture(2);
    let before = Log::open_read_only(&path).unwrap();
    let (id, then) = (before.id(), board(&before));
    assert_eq!(before.range(&Range::default()).unwrap().rows().count(), 10);
    before.close();
    // Soon after it was left: leases last. The declared kind is kept in the file.
    let log = Log::open(&path, Options::default().clock(|| 1_795_619_400_000)).unwrap();
    assert_eq!((log.id(), log.tail()), (id, seq(10)));
    assert_eq!(board(&log), then);
    let again = r#"{"kind":"state_changed","to":"up"}"#;
    let again = hivelog::Command::new(vec![hivelog::Draft::from_json(again).unwrap()]).key("s1");
    let appended = log.submit(again).wait().unwrap();
    assert_eq!((appended.seqs, appended.new), (vec![seq(10)], 0));

    let desk = Desk::of(&log).unwrap();
    let names = desk.credentials().list().into_iter().map(|token| token.name).collect::<Vec<_>>();
    assert_eq!(names, ["alice", "bob", "operator"]);
    // What bob was handed and did not acknowledge comes back, ahead of what nobody had.
    // Whether it is still out depends on how long ago the fixture was made.
    desk.requeue("bob").wait().unwrap();
    let got = desk.recv("bob", Receive::default().max(10)).wait().unwrap();
    let told: Vec<_> = got.iter().map(|message| (message.id, &*message.body, message.redelivered)).collect();
    assert_eq!(told, [(1, "please review", true), (2, "and this", false)]);
    assert_eq!(desk.peer_question(2).unwrap().outcome, "open");
    let status = hivelog::event::ApprovalStatus::Denied;
    let resolve = Resolve { id: 2, status, note: None, by: Some("operator".into()) };
    assert!(desk.resolve(resolve).wait().unwrap() > seq(10));
    let opened = desk
        .request(Request { agent: "bob".into(), approval_kind: "spawn".into(), ..Request::default() })
        .wait()
        .unwrap();
    assert_eq!(opened.id, 3);
    log.close();
    let report = hivelog::check(&path).unwrap();
    assert_eq!((report.schema, report.problems), (4, Vec::<String>::new()));
}

#[test]
fn a_file_of_schema_3_goes_on() {
    let (_folder, path) = fixture(3);
    let before = Log::open_read_only(&path).unwrap();
    let (id, then) = (before.id(), board(&before));
    before.close();
    let log = Log::open(&path, Options::default()).unwrap();
    assert_eq!((log.id(), log.tail(), board(&log)), (id, seq(4), then));
    let again =
        hivelog::Draft::from_json(r#"{"kind":"deploy.finished","service":"web","key":"k1"}"#).unwrap();
    assert_eq!(log.append(again).wait().unwrap(), seq(3));
    // What its view let through a terminal would obey.
    let summary = crate::foreign(&path).query_row("SELECT summary FROM v_attention", [], |row| row.get(0));
    assert_eq!(summary, Ok("why?not".to_owned()));
    log.close();
    let report = hivelog::check(&path).unwrap();
    assert_eq!((report.schema, report.problems), (4, Vec::<String>::new()));
}
