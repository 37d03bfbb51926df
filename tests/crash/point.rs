//! How a child dies at a named point, and says what it was told until then.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Marks a line for the parent: the test harness writes to stdout too.
pub const MARK: &str = "@@ ";

/// One write for each line, so that the parent has what was told before the kill.
pub fn tell(line: std::fmt::Arguments<'_>) {
    let line = format!("\n{MARK}{line}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

fn die() -> ! {
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

/// Has this process die when it comes to a point for the `due`th time.
pub fn arm(point: &str, due: u64) {
    let hits = AtomicU64::new(0);
    let name = point.to_owned();
    let strike = move || {
        if hits.fetch_add(1, Ordering::SeqCst) + 1 == due {
            tell(format_args!("K {name}"));
            die();
        }
    };
    fail::cfg_callback(point, strike).unwrap();
}
