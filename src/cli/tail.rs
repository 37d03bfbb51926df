//! The verb that prints the newest events and follows the log.

use std::io::Write as _;

use clap::Args;

use crate::cli::client;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output};
use crate::cli::place::{Place, Source};
use crate::cli::read::{Asked, Wanted};
use crate::cli::stream::{Given, Live, say_reset};
use crate::limits::PAGE_EVENTS_MAX;
use crate::seq::Cursor;
use crate::{Followed, Log};

#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Follow the log: print what is appended from now on
    #[arg(short, long)]
    follow: bool,
    /// Begin with this many of the newest events
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10, conflicts_with = "after")]
    lines: usize,
    /// Begin after this position: a seq, or the id of a frame
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn run(args: &TailArgs) -> Result<(), Failure> {
    let filter = args.wanted.filter()?;
    if args.lines > PAGE_EVENTS_MAX {
        return Err(Failure::usage(format!("lines: is above {PAGE_EVENTS_MAX}")));
    }
    let after = match &args.after {
        Some(text) => {
            Some(text.parse::<Cursor>().map_err(|error| Failure::usage(format!("after: {error}")))?)
        }
        None => None,
    };
    let source = args.place.source()?;
    let mut out = Output::stdout(args.form);
    let start = match after {
        Some(cursor) => cursor,
        None => newest(args, &source, &mut out)?,
    };
    out.flush()?;
    if !args.follow && args.after.is_none() {
        return Ok(());
    }
    match &source {
        Source::File(log) => follow_file(log, start, filter, args.follow, &mut out),
        Source::Served(client) => {
            let (query, does_follow) = (args.wanted.query(), args.follow);
            let mut live = Live { client, query, cursor: start.to_string(), does_follow };
            client::block_on(follow_server(&mut live, &mut out))
        }
    }
}

/// Prints the newest events and tells where what follows them begins.
fn newest(args: &TailArgs, source: &Source, out: &mut Output) -> Result<Cursor, Failure> {
    // Asked for one at least: the answer also tells where the log stands.
    let asked = Asked::newest(args.lines.max(1), &args.wanted)?;
    let (log_id, seq, events) = asked.turned(source)?;
    for event in events.iter().take(args.lines) {
        out.event(event)?;
    }
    format!("{log_id}-{seq}").parse().map_err(Failure::failed)
}

fn follow_file(
    log: &Log,
    start: Cursor,
    filter: crate::Filter,
    does_follow: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut is_live = false;
    for followed in log.follow_blocking(start, filter)? {
        match followed? {
            Followed::Event(row) => out.event(&row.line())?,
            Followed::CaughtUp(_) if !does_follow => break,
            Followed::CaughtUp(_) => is_live = true,
            Followed::Reset { reason, seq } => say_reset(reason.as_str(), seq.get()),
        }
        if is_live {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(())
}

async fn follow_server(live: &mut Live<'_>, out: &mut Output) -> Result<(), Failure> {
    let mut is_live = false;
    live.run(|given| {
        match given {
            Given::Event(event) => out.event(&event)?,
            Given::CaughtUp => {
                is_live = true;
                out.flush()?;
            }
        }
        if is_live {
            out.flush()?;
        }
        Ok(())
    })
    .await
}
