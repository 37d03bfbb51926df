//! The page in a real browser, and its modules in Node: run where Node and Chromium are, else said to be skipped.
//!
//! `npm ci --prefix tests/browser` brings what the specs are driven by; Chromium is the system's own
//! (`HIVELOG_CHROMIUM` names another one). `HIVELOG_BROWSER_MUST=1` makes a part that is missing a failure,
//! `HIVELOG_FULL=1` demands the figures as they are promised, `HIVELOG_BIN` names the binary that is looked at,
//! `HIVELOG_SLOW=3` makes pages three times as slow: figures may be red then, all else is not.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Says aloud what was not looked at: past the harness, which keeps the words of tests that pass.
fn skip(what: &str, missing: &str) {
    assert!(
        std::env::var_os("HIVELOG_BROWSER_MUST").is_none(),
        "{what} could not be run: {missing} is missing"
    );
    writeln!(std::io::stderr(), "skipped: {what}: {missing} is missing").expect("stderr");
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// What is missing for the parts that come from npm, or for a browser.
fn missing(with_browser: bool) -> Option<&'static str> {
    let chromium = std::env::var("HIVELOG_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !has("node") {
        Some("node")
    } else if !folder().join("node_modules/@playwright/test").is_dir() {
        Some("tests/browser/node_modules (npm ci --prefix tests/browser)")
    } else if with_browser && !Path::new(&chromium).exists() {
        Some("chromium")
    } else {
        None
    }
}

#[track_caller]
fn check(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

fn npm(script: &str) -> Output {
    Command::new("npm").args(["run", "--silent", script]).current_dir(folder()).output().expect("npm runs")
}

#[test]
fn the_modules_pass_their_tests() {
    if !has("node") {
        skip("the tests of the page's modules", "node");
        return;
    }
    check(&npm("unit"));
}

#[test]
fn the_types_and_the_format_hold() {
    match missing(false) {
        Some(part) => skip("the types and the format of the page's modules", part),
        None => check(&npm("check")),
    }
}

#[test]
fn the_page_works_in_a_browser() {
    if let Some(part) = missing(true) {
        skip("the page in a browser", part);
        return;
    }
    let mut specs = Command::new("npm");
    specs.args(["run", "--silent", "test"]).current_dir(folder());
    // Another one than that of this build is named by who wants it: the one that ships, for one.
    if std::env::var_os("HIVELOG_BIN").is_none() {
        specs.env("HIVELOG_BIN", env!("CARGO_BIN_EXE_hivelog"));
    }
    specs.env("CI", "1");
    check(&specs.output().expect("npm runs"));
}
