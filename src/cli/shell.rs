//! The verbs that print what a shell and a manual reader want to know about the command itself.

use std::io::Write as _;

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output};

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write the page of every verb into this folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    // Into memory first: the generator panics where its writer fails.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "hivelog", &mut text);
    print(&text)
}

pub(crate) fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    if let Some(folder) = &args.folder {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(command, folder)?;
        return Ok(());
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = Output::stdout(Form::HUMAN);
    out.write_all(text)?;
    out.flush()?;
    Ok(())
}
