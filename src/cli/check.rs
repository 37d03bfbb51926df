//! The verb that asks the doctor about a file.

use std::io::Write as _;

use clap::Args;

use crate::Diagnosis;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, shown};
use crate::cli::place::File;
use crate::cli::render;

#[derive(Args, Debug)]
#[command(
    after_help = "Exits with 1 where something is not as it should be; of each it says what, why and what helps."
)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let path = args.file.path()?;
    let diagnosis = crate::examine(&path)?;
    let mut out = Output::stdout(args.form);
    if args.form.json {
        out.json(&serde_json::to_vec(&diagnosis).map_err(Failure::failed)?)?;
    } else {
        let raw = out.form().raw;
        let rows = facts(&path.display().to_string(), &diagnosis);
        let rows =
            rows.into_iter().map(|(name, value)| vec![name.to_owned(), shown(&value, raw).into_owned()]);
        out.text(render::table(&[], rows))?;
        for finding in &diagnosis.findings {
            out.text(format_args!("problem: {} [{}]", shown(&finding.what, raw), finding.word))?;
            out.text(format_args!("  cause: {}", shown(&finding.cause, raw)))?;
            out.text(format_args!("  cure: {}", shown(&finding.cure, raw)))?;
        }
        let is_whole = diagnosis.report.as_ref().is_some_and(|report| report.problems.is_empty());
        out.text(if is_whole { "the log is whole" } else { "the log is NOT whole" })?;
    }
    out.flush()?;
    if diagnosis.findings.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

fn facts(path: &str, diagnosis: &Diagnosis) -> Vec<(&'static str, String)> {
    let mut rows = vec![("file", path.to_owned())];
    if let Some(report) = &diagnosis.report {
        rows.extend([
            ("log", report.log_id.to_string()),
            ("head", report.head.to_string()),
            ("floor", report.floor.to_string()),
            ("events", report.rows.to_string()),
            ("schema", report.schema.to_string()),
            ("sqlite", report.sqlite.clone()),
            ("durability", report.durability.clone()),
            ("journal", report.journal_mode.clone()),
        ]);
    }
    if let Some(source) = &diagnosis.copy_of {
        rows.push(("copy of", format!("log {source}, until it is opened for writing")));
    }
    rows.push((
        "written by",
        match (diagnosis.writer_pid, &diagnosis.served_at) {
            (None, _) => "nobody".into(),
            (Some(pid), None) => format!("process {pid}"),
            (Some(pid), Some(url)) => format!("process {pid}, which serves it at {url}"),
        },
    ));
    rows.push(("size", size(diagnosis.file_bytes)));
    rows.push(("WAL", size(diagnosis.wal_bytes)));
    rows.push(("free space", diagnosis.free_bytes.map_or_else(|| "unknown".into(), size)));
    rows.push((
        "search index",
        diagnosis
            .indexed_upto
            .map_or_else(|| "none: the next server begins one".into(), |seq| format!("up to seq {seq}")),
    ));
    rows
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
