//! The only printer: data on stdout, talk on stderr, nothing that a terminal would obey.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

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
        if self.form.json {
            return self.json(line);
        }
        let text = render::event(&String::from_utf8_lossy(line), self.form.raw, self.has_color);
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// One JSON value on one line.
    pub(crate) fn json(&mut self, json: &[u8]) -> io::Result<()> {
        if self.form.raw || is_plain(json) {
            self.out.write_all(json)?;
        } else {
            self.out.write_all(escaped(&String::from_utf8_lossy(json)).as_bytes())?;
        }
        self.out.write_all(b"\n")
    }

    /// Text of ours, whose foreign parts were made harmless where they were put in.
    pub(crate) fn text(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }
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

/// Foreign text that moves no cursor and hides nothing: what a terminal would obey, or show as
/// nothing, is written as `\uXXXX`. In JSON such characters only occur in strings, where this is the
/// same character.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    for character in text.chars() {
        if is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _written = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

const fn is_unsafe(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// The same for people: line ends and tabs in the short form that they know.
pub(crate) fn shown(text: &str, raw: bool) -> Cow<'_, str> {
    if raw {
        return Cow::Borrowed(text);
    }
    if text.contains(['\n', '\r', '\t']) {
        let short = text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        return Cow::Owned(escaped(&short).into_owned());
    }
    escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(escaped("a\u{1b}[2Jb"), "a\\u001b[2Jb");
        assert_eq!(escaped("\u{9b}31m\u{7f}"), "\\u009b31m\\u007f");
        assert_eq!(escaped("x\u{202e}y\u{200b}z"), "x\\u202ey\\u200bz");
        assert_eq!(escaped("\u{e0041}"), "\\udb40\\udc41");
        assert_eq!(escaped("grün 漢字 🐝"), "grün 漢字 🐝");
        assert_eq!(shown("a\nb\t\0", false), "a\\nb\\t\\u0000");
        assert_eq!(shown("a\nb", true), "a\nb");
    }

    #[test]
    fn escaped_json_is_the_same_json() -> Result<(), serde_json::Error> {
        let json = "{\"a\":\"\u{202e}\u{7f}\u{e0041}\"}";
        let before: serde_json::Value = serde_json::from_str(json)?;
        let after: serde_json::Value = serde_json::from_str(&escaped(json))?;
        assert_eq!(before, after);
        Ok(())
    }
}
