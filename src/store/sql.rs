//! Questions of people in SQL: they read, change nothing, and have bounds.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode, Statement};

use crate::error::{Error, Refusal};
use crate::limits::{SQL_BYTES_MAX, SQL_TICK};
use crate::store::readers::Readers;
use crate::store::{open, reading};

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// What one statement gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// What is read as NULL: nobody has a question to it, and a credential that somebody chose could be guessed
/// from it.
const SECRETS: [(&str, &str); 4] =
    [("tokens", "hash"), ("sessions", "hash"), ("sessions", "write_hash"), ("login_codes", "hash")];

/// Those that tell something of the file and change nothing, whatever their argument.
const PRAGMAS: [&str; 16] = [
    "application_id",
    "collation_list",
    "compile_options",
    "data_version",
    "database_list",
    "foreign_key_list",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "page_count",
    "page_size",
    "table_info",
    "table_list",
    "table_xinfo",
];
/// Those that tell without an argument, and change something with one.
const BARE_PRAGMAS: [&str; 4] = ["auto_vacuum", "encoding", "journal_mode", "user_version"];

/// Answers the statements of `sql` from the file at the path, each within `time_max`, with or without a server
/// that writes it. An answer is taken whole before it is given, so that no slow reader of it holds a moment of
/// the file.
pub(crate) fn ask(path: &Path, sql: &str, time_max: Duration) -> Result<Vec<Answer>, Error> {
    let path = open::readable(path)?;
    Readers::open(&path, None)?.alone(|conn| {
        guard(conn).map_err(|error| reading(&error))?;
        let mut answers = Vec::new();
        let mut bytes = 0;
        let mut batch = Batch::new(conn, sql);
        while let Some(mut statement) = batch.next().map_err(|error| told(&error))? {
            let until = Instant::now().checked_add(time_max);
            let until = until
                .ok_or_else(|| Refusal::shape("the time for a statement is more than a clock can tell"))?;
            conn.progress_handler(SQL_TICK, Some(move || Instant::now() >= until))
                .map_err(|error| reading(&error))?;
            let answer = take(&mut statement, &mut bytes)?;
            // A pragma or an empty statement that gives nothing has no columns.
            if !answer.columns.is_empty() {
                answers.push(answer);
            }
        }
        Ok(answers)
    })
}

fn guard(conn: &Connection) -> rusqlite::Result<()> {
    // A large sort goes to a file without a name, not into memory.
    conn.execute_batch("PRAGMA temp_store = FILE; PRAGMA query_only = ON;")?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(SQL_BYTES_MAX).unwrap_or(i32::MAX))?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    conn.authorizer(Some(|asked: AuthContext<'_>| judge(&asked.action)))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here, and what is yet to come, is denied"
)]
fn judge(action: &AuthAction<'_>) -> Authorization {
    match action {
        AuthAction::Select | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Read { table_name, column_name } => {
            let is_secret = |(table, column): &(&str, &str)| {
                table_name.eq_ignore_ascii_case(table) && column_name.eq_ignore_ascii_case(column)
            };
            if SECRETS.iter().any(is_secret) { Authorization::Ignore } else { Authorization::Allow }
        }
        AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
            Authorization::Allow
        }
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let is_in = |list: &[&str]| list.iter().any(|name| pragma_name.eq_ignore_ascii_case(name));
            if is_in(&PRAGMAS) || (is_in(&BARE_PRAGMAS) && pragma_value.is_none()) {
                Authorization::Allow
            } else {
                Authorization::Deny
            }
        }
        _ => Authorization::Deny,
    }
}

fn take(statement: &mut Statement<'_>, bytes: &mut usize) -> Result<Answer, Error> {
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut answer = Answer { columns, rows: Vec::new() };
    let mut rows = statement.query([]).map_err(|error| told(&error))?;
    while let Some(row) = rows.next().map_err(|error| told(&error))? {
        let mut values = Vec::with_capacity(answer.columns.len());
        for index in 0..answer.columns.len() {
            let value = match row.get_ref(index).map_err(|error| told(&error))? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Real(number) => Value::Real(number),
                ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
            };
            *bytes += size_of::<Value>()
                + match &value {
                    Value::Text(text) => text.len(),
                    Value::Blob(blob) => blob.len(),
                    Value::Null | Value::Integer(_) | Value::Real(_) => 0,
                };
            values.push(value);
        }
        if *bytes > SQL_BYTES_MAX {
            let most = SQL_BYTES_MAX >> 20;
            return Err(Refusal::shape(format!("the answer has more than {most} MiB: add a LIMIT")).into());
        }
        answer.rows.push(values);
    }
    Ok(answer)
}

/// What is wrong with the question is the asker's to mend; the rest is not.
fn told(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly) => {
            Refusal::shape(format!("{error}: questions only read the log")).into()
        }
        None
        | Some(
            ErrorCode::Unknown | ErrorCode::TooBig | ErrorCode::TypeMismatch | ErrorCode::ParameterOutOfRange,
        ) => Refusal::shape(error.to_string()).into(),
        Some(_) => reading(error),
    }
}
