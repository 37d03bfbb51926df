//! The verb that serves a swarm to look at.

use std::path::PathBuf;

use clap::Args;
use tempfile::TempDir;

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::cli::place::{for_a_verb, open_to_write};
use crate::cli::serve::{Door, Running, warn_of_no_credentials};
use crate::cli::signals::{REST, Signals};
use crate::cli::{replay, swarm};
use crate::http::Access;

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The file of the log, made if it is not there [default: a temporary one]
    #[arg(long, value_name = "PATH")]
    db: Option<PathBuf>,
    #[command(flatten)]
    door: Door,
    /// Replay this git repository: authors are agents, commits are approvals
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
    /// Commits (or steps of the script) a second; 0 is as fast as it can [default: 20 commits, 2 steps]
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Stop playing after this many commits (or steps)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Exit when all is played, instead of serving on
    #[arg(long)]
    exit_when_done: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    // With less than one in a quarter of an hour nobody sees it play, and a pause has to be a time.
    match text.parse() {
        Ok(rate @ (0.0 | 0.001..=1_000_000.0)) => Ok(rate),
        _ => Err("expected 0, or a number from 0.001 to 1000000".into()),
    }
}

pub(crate) fn run(args: DemoArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(demo(args));
    // A reader of git may still wait for a process that is about to end.
    runtime.shutdown_timeout(REST);
    ended
}

async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    args.door.check_loopback("the demo asks nobody for a credential")?;
    let listener = args.door.bind()?;
    let folder = if args.db.is_none() { Some(tempfile::tempdir()?) } else { None };
    let temporary = folder.as_ref().map(|folder| folder.path().join("hivelog.db"));
    let Some(path) = args.db.clone().or(temporary) else {
        return Err(Failure::failed("there is no place for a temporary file"));
    };
    let open = move || Ok(open_to_write(&path, &for_a_verb())?);
    let Some(log) = signals.beside(open).await? else { return Ok(()) };
    let mut running = Running::start(log, listener, Vec::new(), Access::no_auth())?;
    introduce(&running, folder.as_ref());
    let client = Client::new(&running.url, None)?;
    let played = tokio::select! {
        ended = running.wait(&mut signals) => Some(ended),
        played = play(&args, &client) => match played {
            Ok(()) if args.exit_when_done => Some(Ok(())),
            Ok(()) => None,
            Err(failure) => Some(Err(failure)),
        }
    };
    let ended = match played {
        Some(ended) => ended,
        None => running.wait(&mut signals).await,
    };
    running.end(ended.is_err()).await;
    ended
}

async fn play(args: &DemoArgs, client: &Client) -> Result<(), Failure> {
    match &args.repo {
        Some(repo) => replay::play(client, repo, args.rate.unwrap_or(20.0), args.limit).await,
        None => swarm::play(client, args.rate.unwrap_or(2.0), args.limit).await,
    }
}

fn introduce(running: &Running, folder: Option<&TempDir>) {
    let (url, path) = (&running.url, running.log.path().display());
    warn_of_no_credentials(url);
    say("");
    say(format_args!(
        "Open {url}/ in a browser. What waits there is left to you for a while: press ? for the keys."
    ));
    say("");
    say("Or try:");
    say(format_args!("  curl -N {url}/api/stream"));
    say(format_args!("  curl '{url}/api/history?limit=5'"));
    say(format_args!("  curl {url}/api/state"));
    say(format_args!("  sqlite3 -readonly '{path}' 'SELECT * FROM v_attention'"));
    say(format_args!("  hivelog tail -f --db '{path}'"));
    if folder.is_some() {
        say("The file goes when this command ends; --db PATH keeps one.");
    }
    say("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_one_that_can_be_kept() {
        for good in ["0", "-0", "0.001", "1e-3", "2.5", "1000000"] {
            assert_eq!(rate(good), Ok(good.parse().unwrap()));
        }
        for bad in ["1e-20", "0.0009", "-1", "1000001", "inf", "NaN", "", "fast"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
