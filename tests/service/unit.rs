//! The unit of systemd, judged by systemd.

use std::process::Command;

use crate::{Place, has, repository};

/// The unit as it is on a machine where the command of the tests is the installed one.
fn installed(place: &Place) -> String {
    let unit = repository("packaging/hivelog.service");
    let unit = unit.replace("/usr/bin/hivelog", env!("CARGO_BIN_EXE_hivelog"));
    let without_manual: String = unit
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .map(|line| format!("{line}\n"))
        .collect();
    let path = place.beside("hivelog.service");
    std::fs::write(&path, without_manual).expect("written");
    path.to_str().expect("a path").to_owned()
}

#[test]
fn systemd_takes_the_unit_and_finds_it_closed() {
    if !has("systemd-analyze", "the unit") {
        return;
    }
    let place = Place::new();
    let unit = installed(&place);
    let verified = Command::new("systemd-analyze").args(["verify", &unit]).output().expect("it runs");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("hivelog")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
    // 0 is closed, 10 is open.
    let args = ["security", "--offline=yes", "--threshold=20", "--no-pager", &unit];
    let judged = Command::new("systemd-analyze").args(args).output().expect("it runs");
    let said = String::from_utf8_lossy(&judged.stdout).into_owned();
    assert!(judged.status.success(), "exposed: {said}");
}

/// What the service manager watches for is what the command says.
#[test]
fn the_unit_waits_for_what_the_command_says() {
    let unit = repository("packaging/hivelog.service");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("no {key}"))
    };
    assert_eq!(value("Type"), "notify");
    // By /proc/locks the log says which process holds its WAL.
    assert!(!unit.lines().any(|line| line.starts_with("ProcSubset=")));
    let seconds = |key: &str| value(key).trim_end_matches('s').parse::<u64>().expect("seconds");
    // The watchdog is more patient than the log waits for a foreign lock, and the end than the drain.
    assert!(seconds("WatchdogSec") >= 2 * hivelog::limits::WRITER_SILENCE_MAX.as_secs());
    assert!(
        seconds("TimeoutStopSec")
            > hivelog::limits::DRAIN.as_secs() + hivelog::limits::MIRROR_DRAIN.as_secs()
    );
    let descriptors: usize = value("LimitNOFILE").parse().expect("a number");
    assert!(descriptors > 2 * hivelog::limits::CONNECTIONS_MAX);
    let listed = ["packaging/hivelog.toml", "/etc/hivelog/hivelog.toml"];
    assert!(value("ExecStart").ends_with(&format!("--config {}", listed[1])));
    assert!(repository("Cargo.toml").contains(listed[0]));
}
