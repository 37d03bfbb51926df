//! A restore, or a backup, whose process is killed in the middle.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use hivelog::{Log, Options};

use crate::{Place, lines, note, seq};

const VARIABLE: &str = "HIVELOG_IT_RESTORE";

/// Another process does it and dies at the point.
fn die_at(point: &str, place: &Place) {
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "backup::crash::process", "--nocapture"])
        .env(VARIABLE, format!("{point} {}", place.path().display()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9), "{point}: no kill: {ended}");
}

#[test]
#[ignore = "it is the other process of the tests beside it"]
fn process() {
    let Some(order) = std::env::var_os(VARIABLE) else { return };
    let order = order.into_string().unwrap();
    let (point, path) = order.split_once(' ').unwrap();
    let die = || {
        std::io::stdout().flush().unwrap();
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
    };
    fail::cfg_callback(point, die).unwrap();
    let path = Path::new(path);
    if point.starts_with("backup") {
        Log::open_read_only(path).unwrap().backup(path.with_extension("copy"), &mut |_, _| ()).unwrap();
    } else {
        hivelog::restore(path.with_extension("saved"), path, true, &mut |_, _| ()).unwrap();
    }
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_log_or_the_new_one() {
    for (point, is_new) in [
        ("restore.copied", false),
        ("restore.aside", false),
        ("restore.before-name", false),
        ("restore.named", true),
    ] {
        let place = Place::new();
        let log = place.open();
        note(&log, 1);
        let old = log.id();
        log.backup(place.beside("log.saved"), &mut |_, _| ()).unwrap();
        note(&log, 2);
        // As a killed server leaves it: the last event is in the WAL only.
        let (all, wal) = (lines(&log), std::fs::read(place.beside("log.db-wal")).unwrap());
        log.close();
        std::fs::write(place.beside("log.db-wal"), wal).unwrap();
        die_at(point, &place);
        let log = Log::open(place.path(), Options::default().create(false)).unwrap();
        assert_eq!(log.id() != old, is_new, "{point}");
        assert_eq!(lines(&log), all[..if is_new { 1 } else { 2 }], "{point}");
        assert_eq!(hivelog::check(place.path()).unwrap().problems, Vec::<String>::new(), "{point}");
        log.close();
        // Called again it comes to its end.
        let again = hivelog::restore(place.beside("log.saved"), place.path(), true, &mut |_, _| ()).unwrap();
        assert_eq!(again.head, seq(1));
        assert_eq!(lines(&place.open()), all[..1]);
    }
}

#[test]
fn a_backup_that_is_killed_leaves_no_copy_under_the_name() {
    let place = Place::new();
    let log = place.open();
    note(&log, 1);
    die_at("backup.before-name", &place);
    let out = place.beside("log.copy");
    assert!(!out.exists());
    log.backup(&out, &mut |_, _| ()).unwrap();
    assert_eq!(hivelog::check(out).unwrap().problems, Vec::<String>::new());
}
