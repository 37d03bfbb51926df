//! The verb that prints the newest events and follows the log.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use serde::Deserialize;

use crate::cli::client;
use crate::cli::failure::Failure;
use crate::cli::hand::{Hand, HandArgs};
use crate::cli::output::Form;
use crate::cli::place::{Place, Source};
use crate::cli::read::{Asked, Wanted};
use crate::cli::stream::{Given, Live, say_reset};
use crate::limits::PAGE_EVENTS_MAX;
use crate::seq::{Cursor, Seq};
use crate::{Error, Followed, Log};

/// How long a file that was removed is waited for.
const REPLACEMENT_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Follow the log: print what is appended from now on
    #[arg(short, long)]
    follow: bool,
    /// Begin with this many of the newest events, 10,000 at most
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10, conflicts_with = "after")]
    lines: usize,
    /// Begin after this position: a seq, or the id of a frame
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    hand: HandArgs,
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
    let mut hand = Hand::new(&args.hand, args.form);
    let after = hand.position()?.or(after);
    let source = args.place.source()?;
    let start = match after {
        Some(cursor) => cursor,
        None => newest(args, &source, &mut hand)?,
    };
    hand.mark(start)?;
    hand.flush()?;
    if !args.follow && after.is_none() {
        return Ok(());
    }
    match source {
        Source::File(log) => follow_files(args, log, start, &filter, &mut hand),
        Source::Served(client) => {
            let (query, does_follow) = (args.wanted.query(), args.follow);
            let mut live = Live { client: &client, query, cursor: start.to_string(), does_follow };
            client::block_on(follow_server(&mut live, &mut hand))
        }
    }
}

/// Prints the newest events and tells where what follows them begins.
fn newest(args: &TailArgs, source: &Source, hand: &mut Hand) -> Result<Cursor, Failure> {
    // Asked for one at least: the answer also tells where the log stands.
    let asked = Asked::newest(args.lines.max(1), &args.wanted)?;
    let (log_id, head, events) = asked.turned(source)?;
    let at = |seq: i64| format!("{log_id}-{seq}").parse::<Cursor>().map_err(Failure::failed);
    let events = if args.lines > 0 { &*events } else { &[] };
    // Killed while its command fails, the next start goes on with these and not with what is newest by then.
    hand.mark(at(events.first().map(seq).transpose()?.map_or(head, |first| first - 1))?)?;
    for event in events {
        hand.event(event)?;
        hand.mark(at(seq(event)?)?)?;
    }
    at(head)
}

/// The seq of an event, from its line on the wire.
fn seq(event: &Bytes) -> Result<i64, Failure> {
    #[derive(Deserialize)]
    struct Placed {
        seq: i64,
    }
    let placed: Placed = serde_json::from_slice(event).map_err(|error| client::not_ours(&error))?;
    Ok(placed.seq)
}

/// Follows the file at the path, whichever it is: where it is replaced, as by a restore, the new one is opened,
/// and says what has become of the position in the old one.
fn follow_files(
    args: &TailArgs,
    mut log: Log,
    mut cursor: Cursor,
    filter: &crate::Filter,
    hand: &mut Hand,
) -> Result<(), Failure> {
    loop {
        match follow_file(&log, &mut cursor, filter.clone(), args.follow, hand) {
            Ok(Ended::Told) => return Ok(()),
            Ok(Ended::Replaced) => log = reopen(&args.place)?,
            Err(failure) => return Err(failure),
        }
    }
}

/// How a file's follower ended.
enum Ended {
    Told,
    Replaced,
}

/// Opens the file that is in the place of the one before. It may be on its way there.
fn reopen(place: &Place) -> Result<Log, Failure> {
    let until = Instant::now() + REPLACEMENT_PATIENCE;
    loop {
        match Log::open_read_only(place.file.path()?) {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            other => return Ok(other?),
        }
    }
}

fn follow_file(
    log: &Log,
    cursor: &mut Cursor,
    filter: crate::Filter,
    does_follow: bool,
    hand: &mut Hand,
) -> Result<Ended, Failure> {
    let mut is_live = false;
    let events = match log.follow_blocking(*cursor, filter) {
        Err(Error::Replaced) => return Ok(Ended::Replaced),
        other => other?,
    };
    for given in events {
        let followed = match given {
            Err(Error::Replaced) => return Ok(Ended::Replaced),
            other => other?,
        };
        match followed {
            Followed::Event(row) => {
                hand.event(&row.line())?;
                *cursor = Cursor::new(log.id(), row.seq());
            }
            Followed::Passed(seq) => *cursor = Cursor::new(log.id(), seq),
            Followed::CaughtUp(seq) => {
                // What came meanwhile may have been passed already.
                *cursor = Cursor::new(log.id(), seq.max(Seq::clamped(cursor.seq)));
                is_live = true;
            }
            Followed::Reset { reason, seq } => {
                say_reset(reason.as_str(), seq.get());
                *cursor = Cursor::new(log.id(), seq);
            }
        }
        hand.mark(*cursor)?;
        if is_live && !does_follow {
            break;
        }
        if is_live {
            hand.flush()?;
        }
    }
    hand.flush()?;
    Ok(Ended::Told)
}

async fn follow_server(live: &mut Live<'_>, hand: &mut Hand) -> Result<(), Failure> {
    let mut is_live = false;
    live.run(|given| {
        match given {
            Given::Event(event) => hand.event(&event)?,
            Given::CaughtUp => {
                is_live = true;
                hand.flush()?;
            }
            Given::Passed(cursor) => hand.mark(cursor)?,
        }
        if is_live {
            hand.flush()?;
        }
        Ok(())
    })
    .await
}
