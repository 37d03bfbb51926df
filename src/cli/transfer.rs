//! The verbs that carry a whole log out of a file and into another.

use std::fs::File as Input;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Log;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Form, Output, say};
use crate::cli::place::File;

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    file: File,
    /// The file to write, which may not exist [default: stdout]
    #[arg(value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    file: File,
    /// The export to read [default: stdin]
    #[arg(value_name = "FILE")]
    from: Option<PathBuf>,
}

/// The path, unless it is `-` or left out.
fn named(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| *path != Path::new("-"))
}

pub(crate) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let log = Log::open_read_only(args.file.path()?)?;
    let bar = output::bar("export");
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let Some(path) = named(args.to.as_ref()) else {
        if output::is_on_terminal() {
            // It is written byte for byte as stored, which a terminal must not get.
            return Err(Failure::usage("an export is not for a terminal: name a file, or pipe it"));
        }
        let mut out = Output::stdout(Form::HUMAN);
        let exported = log.export(&mut out, &mut progress);
        bar.finish_and_clear();
        return match exported {
            Err(_) if out.is_closed() => Err(Failure::ClosedPipe),
            other => Ok(other?),
        };
    };
    let taken = || Failure::failed(format!("{} exists already", path.display()));
    if path.exists() {
        return Err(taken());
    }
    // Under its own name it is there whole or not at all.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    let mut out = BufWriter::with_capacity(256 << 10, unfinished.as_file_mut());
    let exported = log.export(&mut out, &mut progress);
    bar.finish_and_clear();
    exported?;
    out.flush()?;
    drop(out);
    unfinished.as_file().sync_all()?;
    unfinished.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists { taken() } else { error.error.into() }
    })?;
    Ok(())
}

pub(crate) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let bar = output::bar("import");
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let imported = if let Some(path) = named(args.from.as_ref()) {
        let file = Input::open(path).map_err(|error| {
            let text = format!("{}: {error}", path.display());
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            if is_missing { Failure::not_found(text) } else { Failure::failed(text) }
        })?;
        let mut input = BufReader::with_capacity(256 << 10, file);
        crate::import(args.file.path_to_make()?, &mut input, &mut progress)
    } else {
        crate::import(args.file.path_to_make()?, &mut std::io::stdin().lock(), &mut progress)
    };
    bar.finish_and_clear();
    let report = imported.map_err(Failure::of_input)?;
    let before = match report.resumed {
        0 => String::new(),
        known => format!(" ({known} were there from before)"),
    };
    say(format_args!(
        "imported {} events{before} as log {}, head {}",
        report.events, report.log_id, report.head
    ));
    Ok(())
}
