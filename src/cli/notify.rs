//! What the service manager is told: ready, alive, stopping, and a line of status.

use std::fmt::Display;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::Log;
use crate::cli::output::shown;
use crate::limits::{WRITER_TICK, WRITER_TICKS_MISSED};

/// How often the status is told anew, where no watchdog wants to hear of us more often.
const STATUS_PERIOD: Duration = Duration::from_secs(5);

fn tell(state: &[NotifyState<'_>]) {
    // Without a service manager nothing is sent. One that does not hear us has its own means.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

fn status(text: impl Display) -> String {
    // A line of the protocol is a line: what is foreign in it must not begin another one.
    shown(&text.to_string(), false).into_owned()
}

fn serving(log: &Log, url: &str) -> String {
    status(format_args!("head {}, {url}", log.tail()))
}

/// Says that it serves.
pub(crate) fn ready(log: &Log, url: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&serving(log, url))]);
}

/// Says that it ends, and why where something failed.
pub(crate) fn stopping(why: Option<&str>) {
    tell(&[NotifyState::Stopping, NotifyState::Status(&status(why.unwrap_or("stopping")))]);
}

/// Tells the watchdog that all is well for as long as that is so. Never ends; cancel-safe.
///
/// A writer that is stuck, or a runtime that does not come to this, is silent: then the service is started anew.
pub(crate) async fn keep(log: &Log, url: &str) {
    let watchdog = sd_notify::watchdog_enabled();
    let period = watchdog.map_or(STATUS_PERIOD, |time| (time / 4).min(STATUS_PERIOD));
    // What a slow disk or a foreign lock may cost the writer is no reason to end it.
    let patience = watchdog.map_or(Duration::MAX, |time| time / 2).max(WRITER_TICK * WRITER_TICKS_MISSED);
    let mut told = String::new();
    loop {
        let now = serving(log, url);
        if now != told {
            tell(&[NotifyState::Status(&now)]);
            told = now;
        }
        if watchdog.is_some() && log.failure().is_none() && log.silence() < patience {
            tell(&[NotifyState::Watchdog]);
        }
        tokio::time::sleep(period).await;
    }
}
