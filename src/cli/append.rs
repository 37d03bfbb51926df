//! The verb that appends events.

use std::io::{BufRead, Read as _, Write as _};
use std::sync::mpsc::{Receiver, sync_channel};

use clap::Args;
use serde_json::value::RawValue;

use crate::cli::client::{JSON, NDJSON};
use crate::cli::door::Door;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output};
use crate::cli::place::Place;
use crate::error::Refusal;
use crate::limits::{BATCH_EVENTS_MAX, BODY_BYTES_MAX};
use crate::{Command, Draft, Log};

#[derive(Args, Debug)]
pub(crate) struct AppendArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The event as JSON, or `-` for one event a line on stdin
    #[arg(value_name = "EVENT|-")]
    event: String,
    /// Store it once, however often it is appended under this key. With `-` the key stands for all of
    /// stdin, which is then stored whole or not at all
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub(crate) fn run(args: &AppendArgs) -> Result<(), Failure> {
    let mut out = Output::stdout(Form::HUMAN);
    if args.event != "-" {
        let door = Door::open(&args.place, true)?;
        let seqs = door.append_argument(&args.event, args.key.as_deref())?;
        return print(&mut out, &seqs);
    }
    let lines = read_lines();
    if let Some(key) = &args.key {
        let batch = all_of(&lines)?;
        let seqs = Door::open(&args.place, true)?.append_lines(&batch, Some(key))?;
        return print(&mut out, &seqs);
    }
    let door = Door::open(&args.place, true)?;
    let (mut kept, mut stored) = (None, 0);
    while let Some(batch) = next_batch(&lines, &mut kept)? {
        let seqs = door.append_lines(&batch, None).map_err(|failure| match stored {
            0 => failure,
            _ => failure.within(format_args!("{stored} events were stored, then")),
        })?;
        stored += seqs.len();
        print(&mut out, &seqs)?;
    }
    Ok(())
}

/// Prints what was stored. Who closes stdout wants no seqs; what is still to be stored is stored all the same.
fn print(out: &mut Output, seqs: &[i64]) -> Result<(), Failure> {
    let printed = seqs.iter().try_for_each(|seq| out.text(seq)).and_then(|()| out.flush());
    if out.is_closed() { Ok(()) } else { Ok(printed?) }
}

impl Door {
    fn append_argument(&self, text: &str, key: Option<&str>) -> Result<Vec<i64>, Failure> {
        match self {
            Self::Server(runtime, client) => {
                Ok(runtime.block_on(client.append((JSON, text.to_owned()), key))?.seqs())
            }
            Self::File(log) if text.trim_start().starts_with('[') => {
                let texts: Vec<&RawValue> =
                    serde_json::from_str(text).map_err(|error| Failure::usage(error.to_string()))?;
                store(log, texts.iter().map(|text| text.get()), key)
            }
            Self::File(log) => store(log, std::iter::once(text), key),
        }
    }

    fn append_lines(&self, batch: &Batch, key: Option<&str>) -> Result<Vec<i64>, Failure> {
        let stored = match self {
            Self::Server(runtime, client) => {
                let body = (NDJSON, batch.lines.join("\n"));
                runtime
                    .block_on(client.append(body, key))
                    .map(super::client::Posted::seqs)
                    .map_err(Into::into)
            }
            Self::File(log) => store(log, batch.lines.iter().map(String::as_str), key),
        };
        stored.map_err(|failure| failure.within(batch.place()))
    }
}

fn store<'a>(
    log: &Log,
    texts: impl Iterator<Item = &'a str>,
    key: Option<&str>,
) -> Result<Vec<i64>, Failure> {
    let texts: Vec<&str> = texts.collect();
    let is_one = texts.len() == 1;
    let drafts: Result<Vec<Draft>, Refusal> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            Draft::from_json(text).map_err(|refusal| if is_one { refusal } else { refusal.at(index) })
        })
        .collect();
    let mut command = Command::new(drafts?);
    if let Some(key) = key {
        command = command.key(key);
    }
    let appended = log.submit(command).wait()?;
    Ok(appended.seqs.iter().map(|seq| seq.get()).collect())
}

/// Lines that go together, with where they stood in the input.
struct Batch {
    first: usize,
    last: usize,
    lines: Vec<String>,
}

impl Batch {
    fn place(&self) -> String {
        if self.lines.len() == 1 {
            format!("line {}", self.first)
        } else {
            format!("lines {} to {}", self.first, self.last)
        }
    }
}

type Line = Result<(usize, String), Failure>;

/// Reads lines on a thread of their own, so that what is there can be appended while a slow writer
/// still thinks about the next line. The channel's bound is one batch; the thread ends with its input
/// or with the process.
fn read_lines() -> Receiver<Line> {
    let (send, lines) = sync_channel(BATCH_EVENTS_MAX);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        for number in 1.. {
            let line = read_line(&mut input, number);
            let is_last = !matches!(&line, Some(Ok(_)));
            let is_blank = matches!(&line, Some(Ok((_, text))) if text.trim().is_empty());
            if is_blank {
                continue;
            }
            if line.is_none_or(|line| send.send(line).is_err()) || is_last {
                return;
            }
        }
    });
    lines
}

/// One line, if it fits into a body; no input can make it grow beyond that.
fn read_line(input: &mut impl BufRead, number: usize) -> Option<Line> {
    let mut bytes = Vec::new();
    let read = input.by_ref().take(BODY_BYTES_MAX as u64 + 2).read_until(b'\n', &mut bytes);
    let wrong = |what: &str| Some(Err(Failure::usage(format!("line {number}: {what}"))));
    match read {
        Err(error) => Some(Err(error.into())),
        Ok(0) => None,
        Ok(_) => {
            while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                bytes.pop();
            }
            if bytes.len() > BODY_BYTES_MAX {
                return wrong("is longer than an event can be");
            }
            match String::from_utf8(bytes) {
                Ok(text) => Some(Ok((number, text))),
                Err(_) => wrong("is not UTF-8"),
            }
        }
    }
}

/// Waits for a line, and takes what is there behind it, as far as it fits into one append. A bad
/// line ends the batch before it, so that what came before it is stored.
fn next_batch(lines: &Receiver<Line>, kept: &mut Option<Line>) -> Result<Option<Batch>, Failure> {
    let first = match kept.take() {
        Some(line) => line,
        None => match lines.recv() {
            Ok(line) => line,
            Err(_) => return Ok(None),
        },
    };
    let (number, text) = first?;
    let mut bytes = text.len();
    let mut batch = Batch { first: number, last: number, lines: vec![text] };
    while batch.lines.len() < BATCH_EVENTS_MAX {
        match lines.try_recv() {
            Ok(Ok((number, text))) if bytes + text.len() < BODY_BYTES_MAX => {
                bytes += text.len() + 1;
                batch.last = number;
                batch.lines.push(text);
            }
            Ok(line) => {
                *kept = Some(line);
                break;
            }
            Err(_) => break,
        }
    }
    Ok(Some(batch))
}

/// All of the input as one batch.
fn all_of(lines: &Receiver<Line>) -> Result<Batch, Failure> {
    let mut batch = Batch { first: 1, last: 1, lines: Vec::new() };
    let mut bytes = 0;
    for line in lines {
        let (number, text) = line?;
        bytes += text.len() + 1;
        batch.last = number;
        batch.lines.push(text);
        if batch.lines.len() > BATCH_EVENTS_MAX || bytes > BODY_BYTES_MAX + 1 {
            let detail = format!(
                "stdin is too much for one key: {BATCH_EVENTS_MAX} events and {BODY_BYTES_MAX} bytes at most"
            );
            return Err(Failure::usage(detail));
        }
    }
    Ok(batch)
}
