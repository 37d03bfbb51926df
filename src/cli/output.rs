//! The only printer: data on stdout, talk on stderr, nothing that a terminal would obey.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use crate::cli::escape::{escaped, shown};
use crate::cli::render;

/// How data is printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Form {
    /// Print JSON as on the wire
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave control characters, bidi marks and zero-width marks as they are stored
    #[arg(long)]
    pub(crate) raw: bool,
}

impl Form {
    pub(crate) const JSON: Self = Self { json: true, raw: false };
    pub(crate) const HUMAN: Self = Self { json: false, raw: false };
}

/// Where data goes.
pub(crate) struct Output {
    out: BufWriter<Box<dyn Write + Send>>,
    form: Form,
    has_color: bool,
    is_closed: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.is_closed |= is_closed_pipe(&written);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.is_closed |= is_closed_pipe(&flushed);
        flushed
    }
}

fn is_closed_pipe<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl Output {
    pub(crate) fn stdout(form: Form) -> Self {
        let stdout = io::stdout();
        // Only the choice: a stream that strips escapes would strip those of the data under --raw.
        let choice = anstream::AutoStream::choice(&stdout);
        let has_color = !form.json && !matches!(choice, anstream::ColorChoice::Never);
        Self { out: BufWriter::with_capacity(64 << 10, Box::new(stdout)), form, has_color, is_closed: false }
    }

    /// Whether the reader went away: behind the crate's errors the reason can no longer be seen.
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// One event, from its line on the wire.
    pub(crate) fn event(&mut self, line: &[u8]) -> io::Result<()> {
        write_event(&mut self.out, line, self.form, self.has_color)
    }

    /// One JSON value on one line.
    pub(crate) fn json(&mut self, json: &[u8]) -> io::Result<()> {
        write_json(&mut self.out, json, self.form)
    }

    /// Text of ours, whose foreign parts were made harmless where they were put in.
    pub(crate) fn text(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self, "{text}")
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }
}

/// Writes one event, from its line on the wire.
pub(crate) fn write_event(out: &mut impl Write, line: &[u8], form: Form, has_color: bool) -> io::Result<()> {
    if form.json {
        return write_json(out, line, form);
    }
    let text = render::event(&String::from_utf8_lossy(line), form.raw, has_color);
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

fn write_json(out: &mut impl Write, json: &[u8], form: Form) -> io::Result<()> {
    if form.raw || is_plain(json) {
        out.write_all(json)?;
    } else {
        out.write_all(escaped(&String::from_utf8_lossy(json)).as_bytes())?;
    }
    out.write_all(b"\n")
}

/// Says one line to the people at stderr.
pub(crate) fn say(text: impl Display) {
    let text = text.to_string();
    // Nobody is left to be told that stderr is closed.
    let _unheard = writeln!(io::stderr(), "{}", escaped(&text));
}

/// A bar on stderr for work that takes long; it hides itself where stderr is no terminal.
pub(crate) fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(0).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Whether stderr is a terminal.
pub(crate) fn is_talk_on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether stdout is read by a person as it is written.
pub(crate) fn is_on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Help and version are data; anything else that clap says is talk, with exit code 2.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        // It repeats what was typed, which may come out of a file or a page.
        for line in error.render().to_string().trim_end().lines() {
            say(line);
        }
    } else {
        // A closed pipe behind `--help` is no failure.
        let _closed = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (0x20..0x7f).contains(byte))
}
