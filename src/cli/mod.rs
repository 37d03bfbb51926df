//! The command line: a file per group of verbs, one printer, one table of exit codes.

mod append;
mod ask;
mod authors;
mod backup;
mod check;
mod client;
mod config;
mod decide;
mod demo;
mod door;
mod escape;
mod failure;
mod git;
mod hand;
mod login;
mod messages;
mod notify;
mod output;
mod place;
mod poster;
mod prune;
mod read;
mod render;
mod replay;
mod script;
mod serve;
mod shell;
mod signals;
mod socket;
mod sql;
mod stream;
mod swarm;
mod tail;
mod token;
mod transfer;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::cli::config::{Stop, switchable};
use crate::cli::failure::Failure;
use crate::cli::place::Place;
use crate::event::ApprovalStatus;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "hivelog",
    about = "A persistent event log on SQLite for the dashboards of AI-agent swarms",
    long_about = None,
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 75 try later."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve a log over HTTP; the first line on stdout is its base URL
    Serve(serve::ServeArgs),
    /// Serve a swarm to look at: scripted, or a git repository replayed as one
    Demo(demo::DemoArgs),
    /// Append events, through the running server or to the file
    Append(append::AppendArgs),
    /// Print a range of the log
    History(read::HistoryArgs),
    /// Print the newest events, and follow the log with -f
    Tail(tail::TailArgs),
    /// Print what is open now, or was open at a seq
    State(read::StateArgs),
    /// Approve what an agent asked for
    Approve(decide::DecideArgs),
    /// Deny what an agent asked for
    Deny(decide::DecideArgs),
    /// Answer a question
    Answer(decide::AnswerArgs),
    /// Ask the operator, or a peer, and wait for the answer
    Ask(ask::AskArgs),
    /// Send a message to an agent or to the operator
    Send(messages::SendArgs),
    /// Take the oldest messages of an inbox
    Recv(messages::RecvArgs),
    /// Print a link that signs a browser in, once
    Login(login::LoginArgs),
    /// Hand out tokens and take them back
    Token(token::TokenArgs),
    /// Take old events out of a log
    Prune(prune::PruneArgs),
    /// Take the text of one event out of a log, and leave the event
    Redact(prune::RedactArgs),
    /// Check that a file is whole
    Check(check::CheckArgs),
    /// Answer a question in SQL, which only reads
    Sql(sql::SqlArgs),
    /// Copy a log into a new file, also while it is served, and check the copy
    Backup(backup::BackupArgs),
    /// Put a copy in a log's place, under a name of its own
    Restore(backup::RestoreArgs),
    /// Write a log as lines of JSON
    Export(transfer::ExportArgs),
    /// Make a log out of an export; called again after a break it goes on where it stopped
    Import(transfer::ImportArgs),
    /// Print the completions of a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write all pages into a folder
    Man(shell::ManArgs),
}

impl Verb {
    const fn place(&mut self) -> Option<&mut Place> {
        match self {
            Self::Append(args) => Some(&mut args.place),
            Self::History(args) => Some(&mut args.place),
            Self::Tail(args) => Some(&mut args.place),
            Self::State(args) => Some(&mut args.place),
            Self::Approve(args) | Self::Deny(args) => Some(&mut args.place),
            Self::Answer(args) => Some(&mut args.place),
            Self::Ask(args) => Some(&mut args.place),
            Self::Send(args) => Some(&mut args.place),
            Self::Recv(args) => Some(&mut args.place),
            Self::Login(args) => Some(&mut args.place),
            Self::Token(args) => Some(args.place()),
            Self::Prune(args) => Some(&mut args.place),
            Self::Redact(args) => Some(&mut args.place),
            Self::Serve(_)
            | Self::Demo(_)
            | Self::Check(_)
            | Self::Sql(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Export(_)
            | Self::Import(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let layered = match config::layered(Cli::command(), std::env::args_os().collect()) {
        Ok(layered) => layered,
        Err(Stop::Typed(error)) => return output::usage(&error),
        Err(Stop::Told(failure)) => return failure.report(),
    };
    if layered.is_asked() {
        return layered.print().map_or_else(Failure::report, |()| ExitCode::SUCCESS);
    }
    match Cli::from_arg_matches(&layered.matches) {
        Ok(cli) => match execute(cli, &layered.matches) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        },
        Err(error) => output::usage(&error),
    }
}

fn execute(mut cli: Cli, matches: &ArgMatches) -> Result<(), Failure> {
    if let (Some(place), Some((_, given))) = (cli.verb.place(), matches.subcommand()) {
        let given = given.subcommand().map_or(given, |(_, inner)| inner);
        // What was typed now is meant more than what the environment has said for long.
        let is_typed = |name| given.value_source(name) == Some(ValueSource::CommandLine);
        if is_typed("db") && !is_typed("url") {
            place.url = None;
        }
    }
    match cli.verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Demo(args) => demo::run(args),
        Verb::Append(args) => append::run(&args),
        Verb::History(args) => read::history(&args),
        Verb::Tail(args) => tail::run(&args),
        Verb::State(args) => read::state(&args),
        Verb::Approve(args) => decide::decide(&args, ApprovalStatus::Approved),
        Verb::Deny(args) => decide::decide(&args, ApprovalStatus::Denied),
        Verb::Answer(args) => decide::answer(&args),
        Verb::Ask(args) => ask::run(&args),
        Verb::Send(args) => messages::send(&args),
        Verb::Recv(args) => messages::recv(&args),
        Verb::Login(args) => login::run(&args),
        Verb::Token(args) => token::run(&args),
        Verb::Prune(args) => prune::prune(&args),
        Verb::Redact(args) => prune::redact(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Sql(args) => sql::run(&args),
        Verb::Backup(args) => backup::backup(&args),
        Verb::Restore(args) => backup::restore(&args),
        Verb::Export(args) => transfer::export(&args),
        Verb::Import(args) => transfer::import(&args),
        Verb::Completions(args) => shell::completions(&args, switchable(Cli::command())),
        Verb::Man(args) => shell::man(&args, switchable(Cli::command())),
    }
}
