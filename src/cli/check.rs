//! The verb that checks whether a file is whole.

use std::io::Write as _;

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, shown};
use crate::cli::place::File;
use crate::cli::render;

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let path = args.file.path()?;
    let report = crate::check(&path)?;
    let mut out = Output::stdout(args.form);
    if args.form.json {
        out.json(&serde_json::to_vec(&report).map_err(Failure::failed)?)?;
    } else {
        let raw = out.form().raw;
        let path = path.display().to_string();
        let rows = [
            ("file", shown(&path, raw).into_owned()),
            ("log", report.log_id.to_string()),
            ("head", report.head.to_string()),
            ("floor", report.floor.to_string()),
            ("events", report.rows.to_string()),
            ("schema", report.schema.to_string()),
            ("sqlite", report.sqlite.clone()),
            ("durability", shown(&report.durability, raw).into_owned()),
            ("journal", shown(&report.journal_mode, raw).into_owned()),
        ];
        out.text(render::table(&[], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value])))?;
        for problem in &report.problems {
            out.text(format_args!("problem: {}", shown(problem, raw)))?;
        }
        out.text(if report.problems.is_empty() { "the log is whole" } else { "the log is NOT whole" })?;
    }
    out.flush()?;
    if report.problems.is_empty() { Ok(()) } else { Err(Failure::Told) }
}
