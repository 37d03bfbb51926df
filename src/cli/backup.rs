//! The verbs that copy a log's file, and that put a copy in its place.

use std::path::PathBuf;

use clap::Args;

use crate::Log;
use crate::cli::failure::Failure;
use crate::cli::output::{self, say};
use crate::cli::place::File;

#[derive(Args, Debug)]
#[command(
    after_help = "The copy is one file (0600) with everything in it: events, messages, tokens (as hashes). \
                        Opened for writing it becomes a log of its own: cursors of the first one are told `reset`."
)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    file: File,
    /// The file to write, which may not exist
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Tokens come back as they were when the copy was made: revoke anew what was revoked since \
                        (`hivelog token list`). Sessions end."
)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    file: File,
    /// The copy: a backup, or any other file of a log
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// Replace the log that is there; it is kept beside the new one
    #[arg(long)]
    replace: bool,
}

pub(crate) fn backup(args: &BackupArgs) -> Result<(), Failure> {
    let log = Log::open_read_only(args.file.path()?)?;
    let bar = output::bar("backup");
    let done = log.backup(&args.out, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let done = done?;
    say(format_args!(
        "copied log {} up to seq {} into {} ({} bytes), and checked it",
        done.log_id,
        done.head,
        args.out.display(),
        done.bytes
    ));
    Ok(())
}

pub(crate) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let bar = output::bar("restore");
    let done = crate::restore(&args.from, args.file.path_to_make()?, args.replace, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let done = done?;
    say(format_args!("restored as log {}, head {}", done.log_id, done.head));
    if let Some(kept) = done.kept {
        say(format_args!("the log that was there is kept at {}", kept.display()));
    }
    Ok(())
}
