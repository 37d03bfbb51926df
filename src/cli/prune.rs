//! The verbs that take something out of a log: old events, or one event's text.

use std::io::Write as _;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::client;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output};
use crate::cli::place::{Place, Writer};
use crate::clock::{Clock as _, SystemClock};
use crate::event::OPERATOR;
use crate::limits::INTEGER_MAX;
use crate::log::prune::Prune;
use crate::log::retention::parse_age;
use crate::query::parse_time;
use crate::redact::Redact;
use crate::seq::Seq;

#[derive(Args, Debug)]
#[command(
    after_help = "What is open stays, and an approval, a question or a transient goes whole or not at all. \
                        `serve --keep` has it done day by day."
)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Only events before this: a seq (1000), a time (2026-01-31T00:00:00Z) or an age (30d)
    #[arg(long, value_name = "SEQ|TIME|AGE", allow_hyphen_values = true)]
    before: String,
    /// Of this kind; may be given again [default: sent and delivered]. `approvals`, `questions` and `transients` mean
    /// the closed ones with all of their events, `*` every kind that is an application's own
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `{"floor", "pruned"}`
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "A message is on the log twice, as `sent` and as `delivered`: --both takes the text out of both. \
                        What was exported, backed up or sent to a reader before is elsewhere, and stays. Exit code 75 \
                        says that the event is redacted, but a reader of the file (a shell?) still holds old pages: \
                        say it again once that is gone."
)]
pub(crate) struct RedactArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The event whose text is to go
    #[arg(value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..=INTEGER_MAX))]
    seq: i64,
    /// Of a message that was both sent and delivered, both events
    #[arg(long)]
    both: bool,
    /// Print JSON: `{"seq"}`, the event that says so
    #[arg(long)]
    json: bool,
}

/// What was pruned, from either door.
#[derive(Deserialize, Serialize)]
struct Told {
    floor: i64,
    pruned: u64,
}

impl PruneArgs {
    /// A number is a seq: whoever means unix seconds would prune the log's whole past.
    fn asked(&self) -> Result<Prune, Failure> {
        let text = self.before.as_str();
        let (mut before_seq, mut before_ms) = (None, None);
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let seq = text.parse().ok().filter(|seq| *seq <= INTEGER_MAX);
            before_seq = Some(seq.ok_or_else(|| Failure::usage("--before: is above the last possible seq"))?);
        } else if let Some(age) = parse_age(text) {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            before_ms = Some(SystemClock.now_ms().saturating_sub(age_ms).max(0));
        } else {
            let time = parse_time("--before", text);
            before_ms = Some(time.map_err(|_| {
                Failure::usage(format!("--before: {text:?} is no seq, RFC 3339 time or age (such as 30d)"))
            })?);
        }
        Ok(Prune { before_seq, before_ms, kinds: self.kinds.clone(), dry_run: self.dry_run })
    }
}

pub(crate) fn prune(args: &PruneArgs) -> Result<(), Failure> {
    let asked = args.asked()?;
    let told = match args.place.writer()? {
        Writer::File(log) => {
            let done = log.prune(&asked)?;
            if !asked.dry_run {
                // A server does it by itself.
                log.give_back()?;
            }
            Told { floor: done.floor.get(), pruned: done.pruned }
        }
        Writer::Server(client) => {
            let before = asked.before_ms.map(time).transpose()?;
            let Prune { before_seq, kinds, dry_run, .. } = asked;
            let body =
                json!({"before_seq": before_seq, "before": before, "kinds": kinds, "dry_run": dry_run});
            let told = client::block_on(async { Ok(client.labour("/api/prune", &body).await?) })?;
            serde_json::from_value(told).map_err(|error| client::not_ours(&error))?
        }
    };
    let mut out = Output::stdout(Form { json: args.json, raw: false });
    if args.json {
        out.json(&serde_json::to_vec(&told).map_err(Failure::failed)?)?;
    } else {
        let Told { floor, pruned } = told;
        let verb = if args.dry_run { "would be" } else { "were" };
        out.text(format_args!("{pruned} events {verb} pruned; above seq {floor} the log is whole"))?;
    }
    out.flush()?;
    Ok(())
}

/// A time as text that keeps its milliseconds.
fn time(ms: i64) -> Result<String, Failure> {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.to_string())
        .map_err(|error| Failure::usage(format!("--before: {error}")))
}

pub(crate) fn redact(args: &RedactArgs) -> Result<(), Failure> {
    let told = match args.place.writer()? {
        Writer::File(log) => {
            let seq = Seq::new(args.seq).unwrap_or_default();
            log.redact(&Redact { seq, by: Some(OPERATOR.into()), both: args.both })?.get()
        }
        Writer::Server(client) => {
            #[derive(Deserialize)]
            struct Done {
                seq: i64,
            }
            let path = format!("/api/events/{}/redact", args.seq);
            let body = json!({ "both": args.both });
            let done = client::block_on(async { Ok(client.labour(&path, &body).await?) })?;
            let done: Done = serde_json::from_value(done).map_err(|error| client::not_ours(&error))?;
            done.seq
        }
    };
    let mut out = Output::stdout(Form { json: args.json, raw: false });
    if args.json {
        out.json(json!({ "seq": told }).to_string().as_bytes())?;
    } else {
        out.text(format_args!("event {} is redacted; event {told} says so", args.seq))?;
    }
    out.flush()?;
    Ok(())
}
