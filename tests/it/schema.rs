//! Files of earlier schemas: each released one is kept, and opens.

use hivelog::{Desk, Error, Filter, Followed, Log, Options, Range, Request, Resolve, Seq};
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
    assert_eq!((report.schema, report.problems), (2, Vec::<String>::new()));
}
