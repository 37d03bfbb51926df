//! Whether each server really syncs before it answers: counted from outside, by strace.
//!
//! The tracing slows all of them down, so nothing here is a speed.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::folder::Folder;
use crate::measure::singles;
use crate::mix::Text;
use crate::peer::Peer;
use crate::process::{self, Process};
use crate::report;

const TIME: Duration = Duration::from_secs(1);

pub fn count(peers: &[Option<Box<dyn Peer>>], texts: &[Text], folder: &Folder) {
    let Some(strace) = process::program("strace") else {
        eprintln!("strace is missing, so the syncs are not counted: apt-get install strace");
        return;
    };
    let head = ["server", "connections", "answers", "fdatasync", "fsync", "answers a sync"];
    let mut lines = vec![head.map(String::from).to_vec()];
    for peer in peers.iter().flatten() {
        for connections in [1, 64] {
            let mut load = singles(peer.as_ref(), texts, connections);
            // What a first answer sets up is not of interest.
            load.run(Duration::from_millis(100));
            let trace = folder.path().join("trace");
            let pids = peer.process().pids();
            let mut command = Command::new(&strace);
            command.args(["-f", "-q", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o"]).arg(&trace);
            command.args(pids.iter().map(|pid| format!("-p{pid}"))).stdout(Stdio::null());
            let said = trace.with_extension("said");
            let mut tracer = Process::start(&mut command, Signal::TERM, &said);
            tracer.until(Duration::from_secs(10), || pids.iter().all(|pid| is_traced(*pid)).then_some(()));
            let answers = load.run(TIME).answers;
            drop(tracer);
            let text = fs::read_to_string(&trace).unwrap();
            // A call that others came in between of has two lines, of which the last tells its outcome.
            let calls = |name: &str| {
                let done = |line: &&str| line.contains(" = 0") && line.contains(name);
                text.lines().filter(done).count()
            };
            let (data, whole) = (calls("fdatasync"), calls(" fsync"));
            for file in [trace, said] {
                let _gone = fs::remove_file(file);
            }
            lines.push(vec![
                format!("{} {}", peer.name(), peer.durability()),
                connections.to_string(),
                answers.to_string(),
                data.to_string(),
                whole.to_string(),
                format!("{:.2}", answers as f64 / (data + whole) as f64),
            ]);
        }
    }
    println!("\n## Syncs, under strace\n");
    report::print(&lines);
}

/// Whether all threads of this process are traced.
fn is_traced(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.lines().any(|line| line == "TracerPid:\t0")
    })
}
