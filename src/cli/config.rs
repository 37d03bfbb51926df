//! What `serve` is told by a file, the environment and flags, in this order: each wins over what was before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use config::{Config, Environment, FileFormat, Source as _, Value, ValueKind};

use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, shown};

/// The verb that can be told so.
const VERB: &str = "serve";
/// Flags that are about this, or are none that last.
const NOT_KEYS: [&str; 4] = ["config", "print-config", "help", "version"];
/// What separates the words of a variable: `HIVELOG__PUBLIC_URL`. One `_` would take those of other verbs.
const SEPARATOR: &str = "__";

/// Where values come from; the first is what the parser of the environment calls it too.
const ENVIRONMENT: &str = "the environment";
const COMMAND_LINE: &str = "the command line";

/// Why there are no matches.
pub(crate) enum Stop {
    /// What was typed is wrong, or asks for help.
    Typed(clap::Error),
    /// The file or the environment is.
    Told(Failure),
}

impl From<clap::Error> for Stop {
    fn from(error: clap::Error) -> Self {
        Self::Typed(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Told(failure)
    }
}

/// What was typed, with what file and environment say where nothing was.
pub(crate) struct Layered {
    pub(crate) matches: ArgMatches,
    /// Where a value comes from that was not typed, by the name of its flag.
    origins: BTreeMap<String, String>,
    verb: Option<Command>,
}

/// Lets the flags of the verb be turned off by what wins over a file: `--no-auth=false`.
pub(crate) fn switchable(command: Command) -> Command {
    command.mut_subcommand(VERB, |verb| {
        verb.mut_args(|arg| {
            if !matches!(arg.get_action(), ArgAction::SetTrue) {
                return arg;
            }
            arg.action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true)
                .value_parser(value_parser!(bool))
                .hide_possible_values(true)
                .value_name("BOOL")
        })
    })
}

/// Reads what was typed, then what it leaves to the environment and the file.
pub(crate) fn layered(command: Command, typed: Vec<OsString>) -> Result<Layered, Stop> {
    let mut command = switchable(command);
    command.build();
    let verb = command.find_subcommand(VERB).cloned();
    let (typed, mut origins) = without_off(verb.as_ref(), typed);
    let matches = command.clone().try_get_matches_from(typed.clone())?;
    let Some((VERB, given)) = matches.subcommand() else {
        return Ok(Layered { matches, origins, verb: None });
    };
    let mut all = typed;
    let file: Option<&PathBuf> = given.get_one("config");
    for (key, value) in told(file)? {
        // The file as it was named: the parser knows it by another name.
        let origin = match file {
            Some(path) if is_of_file(&value) => path.display().to_string(),
            Some(_) | None => ENVIRONMENT.to_owned(),
        };
        let flag = key.replace('_', "-");
        let arg = verb.iter().flat_map(Command::get_arguments).find(|arg| {
            !key.contains('-') && arg.get_long() == Some(&flag) && !NOT_KEYS.contains(&flag.as_str())
        });
        let arg = arg.ok_or_else(|| Failure::usage(format!("{origin}: unknown key {key}")))?;
        let is_told = |source| matches!(source, ValueSource::CommandLine | ValueSource::EnvVariable);
        if given.value_source(arg.get_id().as_str()).is_some_and(is_told) || origins.contains_key(&flag) {
            continue;
        }
        let mut texts =
            texts(arg, value).map_err(|what| Failure::usage(format!("{origin}: {key}: {what}")))?;
        if is_switch(arg) {
            // Given in words it would shut out what it excludes, although it is off.
            texts.retain(|text| text != "false");
        }
        all.extend(texts.into_iter().map(|text| format!("--{flag}={text}").into()));
        origins.insert(flag, origin);
    }
    let matches = command.try_get_matches_from(all).map_err(|error| {
        // What was typed alone was good.
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let places: BTreeSet<&str> = origins.values().map(String::as_str).collect();
        let places: Vec<&str> = places.into_iter().collect();
        Failure::usage(format!("{}: {line}", places.join(" or ")))
    })?;
    Ok(Layered { matches, origins, verb })
}

fn is_switch(arg: &Arg) -> bool {
    arg.get_default_values().first().is_some_and(|value| value == "false")
}

/// What was typed without the switches that it turns off; where those come from.
fn without_off(verb: Option<&Command>, typed: Vec<OsString>) -> (Vec<OsString>, BTreeMap<String, String>) {
    let mut origins = BTreeMap::new();
    if typed.get(1).is_none_or(|word| word != VERB) {
        return (typed, origins);
    }
    let kept = typed.into_iter().filter(|word| {
        let flag = word.to_str().and_then(|word| word.strip_prefix("--")?.strip_suffix("=false"));
        let mut args = verb.into_iter().flat_map(Command::get_arguments);
        let off = flag.filter(|flag| args.any(|arg| arg.get_long() == Some(flag) && is_switch(arg)));
        if let Some(flag) = off {
            origins.insert(flag.to_owned(), COMMAND_LINE.to_owned());
        }
        off.is_none()
    });
    (kept.collect(), origins)
}

fn is_of_file(value: &Value) -> bool {
    value.origin() != Some(ENVIRONMENT)
}

/// What the file and the environment say.
fn told(file: Option<&PathBuf>) -> Result<config::Map<String, Value>, Failure> {
    let mut builder = Config::builder();
    if let Some(path) = file {
        builder = builder.add_source(config::File::from(path.as_path()).format(FileFormat::Toml));
    }
    let environment = Environment::with_prefix("HIVELOG").prefix_separator(SEPARATOR).separator(SEPARATOR);
    let built = builder.add_source(environment).build();
    let config = built.map_err(|error| {
        // The parser's words have many lines, with a drawing of the place.
        let text = error.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        let place = file.map_or_else(|| ENVIRONMENT.to_owned(), |path| path.display().to_string());
        Failure::usage(format!("{place}: {}", words.join(" ")))
    })?;
    config.collect().map_err(Failure::usage)
}

/// The texts that a flag would be given.
fn texts(arg: &Arg, value: Value) -> Result<Vec<String>, String> {
    let from_file = is_of_file(&value);
    if !matches!(arg.get_action(), ArgAction::Append) {
        return Ok(vec![text(value.kind)?]);
    }
    if let ValueKind::Array(values) = value.kind {
        return values.into_iter().map(|value| text(value.kind)).collect();
    }
    let words = text(value.kind)?;
    // In a variable several stand in a row: neither URLs nor kinds have spaces in them.
    Ok(if from_file { vec![words] } else { words.split_whitespace().map(Into::into).collect() })
}

fn text(kind: ValueKind) -> Result<String, String> {
    match kind {
        ValueKind::Boolean(value) => Ok(value.to_string()),
        ValueKind::I64(value) => Ok(value.to_string()),
        ValueKind::I128(value) => Ok(value.to_string()),
        ValueKind::U64(value) => Ok(value.to_string()),
        ValueKind::U128(value) => Ok(value.to_string()),
        ValueKind::Float(value) => Ok(value.to_string()),
        ValueKind::String(value) => Ok(value),
        ValueKind::Nil | ValueKind::Table(_) | ValueKind::Array(_) => {
            Err("expected a text, a number, or true or false".into())
        }
    }
}

impl Layered {
    /// Whether only what holds is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        let given = self.matches.subcommand_matches(VERB);
        given.is_some_and(|given| given.get_one("print_config") == Some(&true))
    }

    /// Prints what holds, in the form of the file, and where each value comes from.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let mut out = Output::stdout(Form::HUMAN);
        let given = self.matches.subcommand_matches(VERB);
        for arg in self.verb.iter().flat_map(Command::get_arguments) {
            let (Some(given), Some(flag)) = (given, arg.get_long()) else { continue };
            let id = arg.get_id().as_str();
            if NOT_KEYS.contains(&flag) {
                continue;
            }
            let key = flag.replace('-', "_");
            let Some(raw) = given.get_raw(id) else {
                writeln!(out, "# {key} is not set")?;
                continue;
            };
            let values: Vec<String> = raw.map(|value| written(&value.to_string_lossy())).collect();
            let is_list = matches!(arg.get_action(), ArgAction::Append);
            let value = if is_list { format!("[{}]", values.join(", ")) } else { values.join("") };
            let origin = match (self.origins.get(flag), given.value_source(id)) {
                (Some(origin), _) => origin.as_str(),
                (None, Some(ValueSource::CommandLine)) => COMMAND_LINE,
                (None, Some(ValueSource::EnvVariable)) => ENVIRONMENT,
                (None, _) => "default",
            };
            writeln!(out, "{key} = {value}  # {}", shown(origin, false))?;
        }
        out.flush()?;
        Ok(())
    }
}

/// A value as TOML writes it.
fn written(text: &str) -> String {
    let is_plain = matches!(text, "true" | "false") || text.parse::<i64>().is_ok();
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
