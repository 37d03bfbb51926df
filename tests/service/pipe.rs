//! A command in a pipe whose other end is gone.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::{Place, told};

#[test]
fn events_are_stored_whoever_reads_their_seqs() {
    for is_served in [false, true] {
        let place = Place::new();
        let _server = is_served.then(|| place.serve(&["--no-auth"]));
        let mut command = place.verb(&["append", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        drop(child.stdout.take());
        // More than go together.
        let lines = "{\"kind\":\"test.note\"}\n".repeat(3_500);
        child.stdin.take().expect("its stdin").write_all(lines.as_bytes()).expect("all of it is read");
        assert!(told(&child.wait_with_output().expect("an end")).is_empty());
        let state: Value = serde_json::from_str(&place.told(&["state", "--json"])).expect("JSON");
        assert_eq!(state["seq"], 3_500, "{is_served}");
    }
}
