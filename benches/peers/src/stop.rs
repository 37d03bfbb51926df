//! How an interrupted run ends: by unwinding, so that every server and the folder go with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal is noted instead of ending the process on the spot.
pub fn on_signals() {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(asked)).unwrap();
    }
}

pub fn is_asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}

/// Unwinds, without a word, if a signal came.
pub fn check() {
    if is_asked() {
        std::panic::resume_unwind(Box::new("interrupted"));
    }
}
