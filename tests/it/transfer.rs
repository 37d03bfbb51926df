//! Export and import: a log goes through lines of text and comes out the same under a new name.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use hivelog::{
    Command, Desk, Draft, Error, Filter, Followed, ImportReport, Log, Prune, Range, Refusal, ResetReason,
};

use crate::{Place, append, approval, batch, foreign, lines, note, refusal, seq};

pub fn export(log: &Log) -> String {
    let mut out = Vec::new();
    let (mut last, mut total) = (0, 0);
    log.export(&mut out, &mut |done, of| (last, total) = (done, of)).unwrap();
    assert_eq!(last, total);
    String::from_utf8(out).unwrap()
}

fn import(place: &Place, text: &str) -> Result<ImportReport, Error> {
    hivelog::import(place.path(), &mut text.as_bytes(), &mut |_, _| {})
}

/// Everything of a log but its name.
fn check_same(log: &Log, copy: &Log) {
    assert_ne!(copy.id(), log.id());
    assert_eq!(lines(copy), lines(log));
    assert_eq!(copy.tail(), log.tail());
    let board = |log: &Log| String::from_utf8(log.snapshot().unwrap().json().to_vec()).unwrap();
    assert_eq!(board(copy).replace(copy.id().as_str(), ""), board(log).replace(log.id().as_str(), ""));
    assert_eq!(keys(copy), keys(log));
    assert_eq!(agents(copy), agents(log));
    assert_eq!(hivelog::check(copy.path()).unwrap().problems, Vec::<String>::new());
}

type Key = (String, String, Vec<u8>, i64, i64, i64);

fn keys(log: &Log) -> Vec<Key> {
    let conn = foreign(log.path());
    let sql = "SELECT actor, key, content_hash, first_seq, last_seq, recorded_at_ms FROM keys ORDER BY 1, 2";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn agents(log: &Log) -> Vec<String> {
    let conn = foreign(log.path());
    let mut statement = conn.prepare("SELECT agents FROM events ORDER BY seq").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A log with something of everything.
fn full(place: &Place) -> Log {
    let log = Log::open(place.path(), hivelog::Options::default().kind("declared")).unwrap();
    append(&log, &approval(5, "alice")).unwrap();
    append(&log, &approval(6, "alice")).unwrap();
    append(&log, r#"{"kind":"approval_resolved","id":5,"agent":"alice","approval_kind":"spawn","status":"denied","resolved_at":5}"#).unwrap();
    append(&log, r#"{"kind":"question_added","id":1,"asker":"bob","question":"\u00e9?","options":[],"multi":false,"asked_at":1}"#).unwrap();
    append(&log, r#"{"kind":"question_resolved","id":1,"answer":"y","answerer":"operator","answered_at":2,"cancelled":false}"#).unwrap();
    append(&log, r#"{"kind":"transient_set","name":"w","transient_kind":"starting","since_unix":3}"#)
        .unwrap();
    append(&log, r#"{"kind":"declared","key":"one","z":1.50, "":[null],"\u0061":"\/"}"#).unwrap();
    batch(&log, Some("two"), &[r#"{"kind":"a.b"}"#, r#"{"kind":"a.b","n":1}"#]).unwrap();
    batch(&log, Some("single"), &[r#"{"kind":"a.b","n":2}"#]).unwrap();
    let keyed = Draft::from_json(r#"{"kind":"a.b","key":"one","actor":"x"}"#).unwrap();
    log.submit(Command::new(vec![keyed]).actor("carol")).wait().unwrap();
    log
}

#[test]
fn a_log_comes_out_as_it_went_in() {
    let (place, other) = (Place::new(), Place::new());
    let log = full(&place);
    let text = export(&log);
    assert!(text.lines().next().unwrap().contains(&format!("\"log_id\":\"{}\"", log.id())));
    let report = import(&other, &text).unwrap();
    assert_eq!((report.events, report.resumed, report.head), (11, 0, seq(11)));
    let copy = other.open();
    assert_eq!(copy.id(), report.log_id);
    check_same(&log, &copy);
    // Keys still know their content, kinds their declaration, ids their number.
    assert_eq!(
        append(&copy, r#"{"kind":"declared","key":"one","z":1.50,"":[null],"\u0061":"\/"}"#).unwrap(),
        7
    );
    assert!(matches!(refusal(append(&copy, r#"{"kind":"a.b","key":"one"}"#)), Refusal::KeyReused(_)));
    let two = batch(&copy, Some("two"), &[r#"{"kind":"a.b"}"#, r#"{"kind":"a.b","n":1}"#]).unwrap();
    assert_eq!(two, (vec![8, 9], 0));
    append(&copy, r#"{"kind":"declared"}"#).unwrap();
    assert!(matches!(refusal(append(&copy, &approval(5, "z"))), Refusal::Conflict { .. }));
    // A second way round gives the same again.
    let third = Place::new();
    import(&third, &export(&copy)).unwrap();
    check_same(&copy, &third.open());
}

#[test]
fn an_empty_log_can_be_exported() {
    let (place, other) = (Place::new(), Place::new());
    let log = place.open();
    import(&other, &export(&log)).unwrap();
    check_same(&log, &other.open());
}

#[test]
fn the_floor_of_a_pruned_log_is_kept() {
    let open_item = approval(9, "alice");
    let header = r#"{"log_id":"0123456789abcdef","seq":7,"floor":4,"board_floor":1}"#;
    let line =
        |seq: i64, rest: &str| format!("{{\"seq\":{seq},\"recorded_at_ms\":{},{}", 50 + seq, &rest[1..]);
    let note = r#"{"kind":"a.b","n":1}"#;
    // What is open is never pruned, so it may stand below the floor.
    let text =
        [header.to_owned(), line(3, &open_item), line(5, note), line(6, note), line(7, note)].join("\n");
    let place = Place::new();
    assert_eq!(import(&place, &text).unwrap().head, seq(7));
    let log = place.open();
    assert_eq!(log.range(&Range::default()).unwrap().floor, seq(4));
    assert_eq!(log.get(seq(2)), Err(Error::Gone { floor: seq(4) }));
    assert!(log.get(seq(3)).unwrap().is_some());
    let board: serde_json::Value = log.snapshot().unwrap().decode().unwrap();
    assert_eq!(board["approvals"][0]["seq"], 3);
    assert_eq!(log.snapshot_at(seq(0)), Err(Error::Gone { floor: seq(1) }));
    let mut behind = log.follow_blocking(seq(2), Filter::default()).unwrap();
    let reset = Followed::Reset { reason: ResetReason::Pruned, seq: seq(7) };
    assert_eq!(behind.next(), Some(Ok(reset)));
    let mut at_floor = log.follow_blocking(seq(4), Filter::default()).unwrap();
    assert!(matches!(at_floor.next(), Some(Ok(Followed::Event(row))) if row.seq() == seq(5)));
    assert_eq!(hivelog::check(log.path()).unwrap().problems, Vec::<String>::new());
    let again = Place::new();
    import(&again, &export(&log)).unwrap();
    check_same(&log, &again.open());
    assert_eq!(crate::note(&log, 8), 8);
}

/// Ids of messages and of the journal's rows are the file's own: begun anew they would stand for what came before.
#[test]
fn messages_go_on_after_an_import() {
    let sent = |log: &Log, count: usize| {
        let begin = Instant::now();
        loop {
            let texts =
                lines(log).into_iter().filter(|line| line.contains("\"kind\":\"sent\"")).collect::<Vec<_>>();
            if texts.len() >= count {
                return texts;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{texts:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let place = Place::new();
    let log = place.open();
    let desk = Desk::of(&log).unwrap();
    for body in ["one", "two"] {
        desk.send("alice", "bob", body).wait().unwrap();
    }
    sent(&log, 2);
    let text = export(&log);
    assert!(!text.contains(":broker"));
    // As an older version wrote it.
    let conn = foreign(log.path());
    let key = "SELECT lower(hex(content_hash)) FROM keys WHERE key = 'broker:1'";
    let hash: String = conn.query_row(key, [], |row| row.get(0)).unwrap();
    let key = format!(
        r#"{{"idempotency":{{"actor":":broker","key":"broker:1","content_hash":"{hash}","first_seq":1,"last_seq":1,"recorded_at_ms":1}}}}"#
    );
    let older = format!("{text}{key}\n").replacen(r#","message_id":2"#, "", 1);
    assert_ne!(older.len(), text.len() + key.len() + 1, "the mark was taken out");
    for text in [text, older] {
        let other = Place::new();
        import(&other, &text).unwrap();
        let copy = other.open();
        let desk = Desk::of(&copy).unwrap();
        assert_eq!(desk.send("carol", "dave", "three").wait().unwrap(), 3);
        assert!(sent(&copy, 3)[2].contains(r#""body":"three""#));
    }
}

/// What is pruned while it is read would be in one part of it and missing in another.
#[test]
fn an_export_beside_pruning_is_of_one_moment() {
    let place = Place::new();
    let log = place.open();
    append(&log, &approval(1, "alice")).unwrap();
    let large = format!(r#"{{"kind":"a.b","x":"{}"}}"#, "y".repeat(10_000));
    for _ in 0..5 {
        batch(&log, None, &[large.as_str(); 100]).unwrap();
    }
    append(&log, r#"{"kind":"approval_resolved","id":1,"agent":"alice","approval_kind":"spawn","status":"denied","resolved_at":5}"#).unwrap();
    let before = lines(&log);
    let (mut out, mut pruned) = (Vec::new(), 0);
    log.export(&mut out, &mut |_, _| {
        let asked =
            Prune { before_seq: Some(503), kinds: vec!["*".into(), "approvals".into()], ..Prune::default() };
        pruned += log.prune(&asked).unwrap().pruned;
    })
    .unwrap();
    assert_eq!(pruned, 502);
    let other = Place::new();
    import(&other, std::str::from_utf8(&out).unwrap()).unwrap();
    assert_eq!(lines(&other.open()), before);
}

/// Breaks off with an error after so many bytes.
struct Cut<'a>(std::io::Take<&'a [u8]>);

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::Error::other("cut off")),
            count => Ok(count),
        }
    }
}

#[test]
fn an_import_that_broke_off_is_resumed() {
    let (place, other) = (Place::new(), Place::new());
    let log = full(&place);
    for n in 0..5_000 {
        drop(log.append(Draft::from_json(&format!(r#"{{"kind":"a.b","key":"k{n}","n":{n}}}"#)).unwrap()));
    }
    note(&log, 0);
    let text = export(&log);
    let cut = Cut(text.as_bytes().take(text.len() as u64 * 2 / 3));
    let told = hivelog::import(other.path(), &mut BufReader::new(cut), &mut |_, _| {});
    assert!(matches!(told, Err(Error::Storage(_))), "{told:?}");
    // Half a log is no log, to a writer and to a reader.
    assert!(matches!(Log::open_read_only(other.path()), Err(Error::NotALog(_))));
    assert!(matches!(Log::open(other.path(), hivelog::Options::default()), Err(Error::NotALog(_))));
    // Nor may another log's export go on in it, nor a cut one end it.
    let stranger = text.replacen(log.id().as_str(), "0123456789abcdef", 1);
    refusal(import(&other, &stranger));
    let half: String = text.lines().take(4_500).map(|line| format!("{line}\n")).collect();
    assert!(refusal(import(&other, &half)).to_string().contains("cut off"));
    let report = import(&other, &text).unwrap();
    assert!(report.resumed > 0 && report.resumed + report.events == 5_012, "{report:?}");
    check_same(&log, &other.open());
    // A finished log is not imported into.
    refusal(import(&other, &text));
}

/// An import goes on with the export that it began with: what became of the log meanwhile would be half in it.
#[test]
fn an_import_does_not_go_on_with_a_later_export() {
    let (place, other) = (Place::new(), Place::new());
    let log = full(&place);
    for n in 0..5_000 {
        drop(log.append(Draft::from_json(&format!(r#"{{"kind":"a.b","n":{n},"text":"secret"}}"#)).unwrap()));
    }
    let last = note(&log, 0);
    let text = export(&log);
    let cut = Cut(text.as_bytes().take(text.len() as u64 * 2 / 3));
    hivelog::import(other.path(), &mut BufReader::new(cut), &mut |_, _| {}).unwrap_err();
    log.redact(&hivelog::Redact { seq: seq(last - 4_999), by: None, both: false }).unwrap();
    let told = refusal(import(&other, &export(&log)));
    assert!(told.to_string().contains("earlier export"), "{told}");
    import(&other, &text).unwrap();
    // What was redacted keeps its key, whose content nobody knows any more.
    append(&log, r#"{"kind":"a.b","key":"k","text":"secret"}"#).unwrap();
    log.redact(&hivelog::Redact { seq: log.tail(), by: None, both: false }).unwrap();
    let known = append(&log, r#"{"kind":"a.b","key":"k","text":"secret"}"#).unwrap();
    let copy = Place::new();
    import(&copy, &export(&log)).unwrap();
    assert_eq!(append(&copy.open(), r#"{"kind":"a.b","key":"k","text":"secret"}"#), Ok(known));
}

#[test]
fn lines_that_are_none_of_an_export_are_named() {
    let place = Place::new();
    let log = full(&place);
    let text = export(&log);
    let good: Vec<&str> = text.lines().collect();
    let broken = |index: usize, line: &str| {
        let mut all = good.clone();
        all[index] = line;
        all.join("\n")
    };
    for (number, line) in [
        (1, "{}"),
        (1, "nonsense"),
        (2, "nonsense"),
        (3, "{}"),
        (3, good[1]),
        (3, good[3]),
        (4, r#"{"seq":3,"recorded_at_ms":1,"kind":"a.b"}"#),
        (
            4,
            r#"{"seq":3,"recorded_at_ms":99999999999999,"kind":"approval_resolved","id":77,"agent":"a","approval_kind":"x","status":"denied","resolved_at":1}"#,
        ),
    ] {
        let other = Place::new();
        let told = import(&other, &broken(number - 1, line)).unwrap_err();
        let is_named = told.to_string().contains(&format!("line {number}"));
        // A repeated line is one that is known; the hole behind it is not.
        assert!(is_named || line == good[1], "{number} {line}: {told}");
        assert!(matches!(told, Error::Refused(_)), "{told:?}");
    }
    assert!(matches!(import(&Place::new(), ""), Err(Error::Refused(_))));
    let mut reader: &mut dyn BufRead = &mut text.as_bytes();
    assert!(hivelog::import(Place::new().path(), &mut reader, &mut |_, _| {}).is_ok());
}
