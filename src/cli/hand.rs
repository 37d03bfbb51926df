//! How events are handed on: to stdout or to a command, and how far that has come.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, say, write_event};
use crate::seq::Cursor;
use crate::store::open::{beside, make_anew};

/// The first and the longest pause before a command that failed is run again.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Where events go, and where it is kept how far that has come.
#[derive(Args, Clone, Debug)]
pub(crate) struct HandArgs {
    /// Keep in this file how far the events were handed on, and go on from there at the next start. Without the
    /// file it begins as it would without this
    #[arg(long, value_name = "FILE")]
    pub(crate) cursor_file: Option<PathBuf>,
    /// Hand each event to this command of the shell, as a line on its stdin, instead of printing it. One that fails
    /// is run again until it does not
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
}

/// Hands events on.
pub(crate) struct Hand {
    out: Output,
    form: Form,
    command: Option<String>,
    file: Option<CursorFile>,
}

impl Hand {
    pub(crate) fn new(args: &HandArgs, form: Form) -> Self {
        let file = args.cursor_file.clone().map(CursorFile::new);
        Self { out: Output::stdout(form), form, command: args.exec.clone(), file }
    }

    /// Where an earlier run has come to.
    pub(crate) fn position(&self) -> Result<Option<Cursor>, Failure> {
        self.file.as_ref().map_or(Ok(None), CursorFile::read)
    }

    /// Hands an event on. Blocks until a command has taken it.
    pub(crate) fn event(&mut self, line: &[u8]) -> Result<(), Failure> {
        match &self.command {
            None => self.out.event(line)?,
            Some(command) => {
                let mut text = Vec::new();
                write_event(&mut text, line, self.form, false)?;
                run(command, &text)?;
            }
        }
        Ok(())
    }

    /// Writes down that everything up to here was handed on.
    pub(crate) fn mark(&mut self, at: Cursor) -> Result<(), Failure> {
        if let Some(file) = &mut self.file {
            // In this order: killed in between, an event comes twice rather than never.
            self.out.flush()?;
            file.write(at)?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// Runs a command until it goes well: what it was given is its to lose.
fn run(command: &str, text: &[u8]) -> Result<(), Failure> {
    let mut pause = PAUSE.0;
    loop {
        let mut child = Command::new("sh").arg("-c").arg(command).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read all of it says by its exit code whether that is well.
            let _taken = stdin.write_all(text);
        }
        let status = child.wait()?;
        if status.success() {
            return Ok(());
        }
        say(format_args!("hivelog: --exec: {status}; again in {} s", pause.as_secs()));
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// A file that holds a cursor.
struct CursorFile {
    path: PathBuf,
    written: Option<Cursor>,
}

impl CursorFile {
    const fn new(path: PathBuf) -> Self {
        Self { path, written: None }
    }

    fn read(&self) -> Result<Option<Cursor>, Failure> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        let cursor = text.trim().parse();
        let cursor = cursor.map_err(|error| Failure::failed(format!("{}: {error}", self.path.display())))?;
        Ok(Some(cursor))
    }

    /// Whole or not at all: another file takes its place. It need not survive a power loss, after which events
    /// come again.
    fn write(&mut self, at: Cursor) -> Result<(), Failure> {
        if self.written == Some(at) {
            return Ok(());
        }
        let new = beside(&self.path, ".new");
        let write = || {
            make_anew(&new, 0o666)?.write_all(format!("{at}\n").as_bytes())?;
            std::fs::rename(&new, &self.path)
        };
        write().map_err(|error| self.failed(&error))?;
        self.written = Some(at);
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("{}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_not_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("cursor"), folder.path().join("target"));
        std::fs::write(&target, "mine").unwrap();
        std::os::unix::fs::symlink(&target, beside(&path, ".new")).unwrap();
        let at = "0123456789abcdef-7".parse().unwrap();
        CursorFile::new(path.clone()).write(at).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0123456789abcdef-7\n");
    }
}
