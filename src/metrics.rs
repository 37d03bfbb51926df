//! What a log counts of itself.
//!
//! The numbers belong to one log, not to the process: two logs in one process do not mix.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Why an append was refused or failed: a word from a short list, never text of a client's.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// The counters of one log.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) appended: Counter,
    pub(crate) commits: Counter,
    pub(crate) append_seconds: Histogram,
    pub(crate) fsync_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_events: Histogram,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoint_errors: Counter,
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) wal_bytes: Gauge,
    pub(crate) wal_held: Gauge,
    pub(crate) followers: Gauge,
    pub(crate) resets: Family<Reason, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) refused_requests: Family<Reason, Counter>,
    pub(crate) pruned: Counter,
    pub(crate) redacted: Counter,
    pub(crate) messages: Messages,
}

/// What the broker did.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) sent: Counter,
    pub(crate) handed_out: Counter,
    pub(crate) redelivered: Counter,
    pub(crate) acked: Counter,
    pub(crate) mirrored: Counter,
}

/// Bounds of times: from a sync that costs nothing to a disk that hangs.
const SECONDS: [f64; 13] =
    [50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.6e-3, 3.2e-3, 6.4e-3, 12.8e-3, 25.6e-3, 0.1, 1.0, 5.0];

/// A counter for each reason, of which these are there from the start: a rate of what was never seen is no number.
fn by_reason<const N: usize>(reasons: [&'static str; N]) -> Family<Reason, Counter> {
    let family = Family::default();
    for reason in reasons {
        drop(family.get_or_create(&Reason { reason }));
    }
    family
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            appended: Counter::default(),
            commits: Counter::default(),
            append_seconds: Histogram::new(SECONDS),
            fsync_seconds: Histogram::new(SECONDS),
            commit_seconds: Histogram::new(SECONDS),
            commit_events: Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0]),
            checkpoints: Counter::default(),
            checkpoint_errors: Counter::default(),
            refused: by_reason([
                "conflict",
                "busy",
                "disk_full",
                "wal_held",
                "queue_full",
                "expired",
                "poisoned",
            ]),
            wal_bytes: Gauge::default(),
            wal_held: Gauge::default(),
            followers: Gauge::default(),
            resets: by_reason(["other_log", "future", "pruned"]),
            connections: Gauge::default(),
            refused_requests: by_reason(["unauthorized", "forbidden", "too-many-requests"]),
            pruned: Counter::default(),
            redacted: Counter::default(),
            messages: Messages::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("appended_events", "Events committed since the start", self.appended.clone());
        registry.register("commits", "Transactions committed since the start", self.commits.clone());
        registry.register_with_unit(
            "append",
            "Time from when the oldest append of a commit was given to when all of it were answered",
            Unit::Seconds,
            self.append_seconds.clone(),
        );
        registry.register_with_unit(
            "fsync",
            "Time of COMMIT, which writes the WAL and syncs it",
            Unit::Seconds,
            self.fsync_seconds.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time from BEGIN to the end of COMMIT",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register("commit_events", "Events in one commit", self.commit_events.clone());
        registry.register("checkpoints", "Checkpoints since the start", self.checkpoints.clone());
        registry.register("checkpoint_errors", "Checkpoints that failed", self.checkpoint_errors.clone());
        registry.register("refused_appends", "Appends not stored, by reason", self.refused.clone());
        registry.register_with_unit("wal", "Size of the WAL in use", Unit::Bytes, self.wal_bytes.clone());
        registry.register(
            "wal_held",
            "Whether a reader keeps the WAL from shrinking (0 or 1)",
            self.wal_held.clone(),
        );
        registry.register("followers", "Live readers", self.followers.clone());
        registry.register("stream_resets", "Streams told to reload, by reason", self.resets.clone());
        registry.register("connections", "Connections of clients that are open", self.connections.clone());
        registry.register(
            "refused_requests",
            "Requests answered with an error, by the type of the problem",
            self.refused_requests.clone(),
        );
        registry.register("pruned_events", "Events pruned since the start", self.pruned.clone());
        registry.register("redacted_events", "Events redacted since the start", self.redacted.clone());
        self.register_messages(registry);
    }

    /// Apart from the others only because they are many.
    fn register_messages(&self, registry: &mut Registry) {
        let Messages { sent, handed_out, redelivered, acked, mirrored } = &self.messages;
        registry.register("messages_sent", "Messages sent since the start", sent.clone());
        registry.register("messages_handed_out", "Messages handed out, each time", handed_out.clone());
        registry.register(
            "messages_redelivered",
            "Messages handed out that had been out before",
            redelivered.clone(),
        );
        registry.register("messages_acked", "Messages acknowledged", acked.clone());
        registry.register("messages_mirrored", "Events of messages that the mirror wrote", mirrored.clone());
    }

    pub(crate) fn refuse_request(&self, reason: &'static str) {
        self.refused_requests.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}
