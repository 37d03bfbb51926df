//! The verb that answers questions in SQL.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, shown};
use crate::cli::place::File;
use crate::cli::render;
use crate::limits::SQL_TIME_MAX;
use crate::store::sql::{self, Answer, Value};

#[derive(Args, Debug)]
#[command(
    after_help = "The question only reads, and cannot do otherwise. Hashes of credentials are read as NULL. \
                        An answer has 64 MiB at most."
)]
pub(crate) struct SqlArgs {
    #[command(flatten)]
    file: File,
    /// The question: one statement, or several with ; between them [default: what stdin says]
    #[arg(value_name = "QUERY", allow_hyphen_values = true)]
    query: Option<String>,
    /// How long one statement may take
    #[arg(long, value_name = "SECONDS", default_value_t = SQL_TIME_MAX.as_secs())]
    timeout: u64,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn run(args: &SqlArgs) -> Result<(), Failure> {
    let query = match args.query.as_deref().filter(|query| *query != "-") {
        Some(query) => query.to_owned(),
        None if args.query.is_none() && std::io::stdin().is_terminal() => {
            return Err(Failure::usage("say what is asked: hivelog sql 'SELECT * FROM v_attention'"));
        }
        None => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text)?;
            text
        }
    };
    let time_max = Duration::from_secs(args.timeout);
    let answers = sql::ask(&args.file.path()?, &query, time_max)?;
    let mut out = Output::stdout(args.form);
    for (index, answer) in answers.iter().enumerate() {
        if args.form.json {
            lines(answer, &mut out)?;
        } else {
            if index > 0 {
                out.text("")?;
            }
            out.text(table(answer, args.form.raw))?;
        }
    }
    out.flush()?;
    Ok(())
}

fn table(answer: &Answer, raw: bool) -> String {
    let header: Vec<_> = answer.columns.iter().map(|name| shown(name, raw)).collect();
    let header: Vec<&str> = header.iter().map(AsRef::as_ref).collect();
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => shown(text, raw).into_owned(),
        Value::Blob(blob) => format!("x'{}'", hex(blob)),
    };
    render::table(&header, answer.rows.iter().map(|row| row.iter().map(cell).collect()))
}

/// One object a row, its members in the order of the columns.
fn lines(answer: &Answer, out: &mut Output) -> Result<(), Failure> {
    let names = names(&answer.columns);
    for row in &answer.rows {
        let mut line = String::from("{");
        for (name, value) in names.iter().zip(row) {
            let value = match value {
                Value::Null => serde_json::Value::Null,
                Value::Integer(number) => (*number).into(),
                Value::Real(number) => (*number).into(),
                Value::Text(text) => text.as_str().into(),
                Value::Blob(blob) => hex(blob).into(),
            };
            let comma = if line.len() > 1 { "," } else { "" };
            // Writing to a String does not fail.
            let _infallible = write!(line, "{comma}{name}:{value}");
        }
        line.push('}');
        out.json(line.as_bytes())?;
    }
    Ok(())
}

/// The names as JSON, each once: a reader keeps one of two members with the same name.
fn names(columns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let mut name = serde_json::Value::from(column.as_str()).to_string();
        let mut count = 1;
        while names.contains(&name) {
            name = serde_json::Value::from(format!("{column}:{count}")).to_string();
            count += 1;
        }
        names.push(name);
    }
    names
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
