//! An event, and a snapshot, in words for people.

use std::borrow::Cow;
use std::fmt::Write as _;

use comfy_table::{Table, presets};
use owo_colors::{OwoColorize as _, Style};
use serde_json::Value;

use crate::cli::failure::Failure;
use crate::cli::output::shown;

/// One event on one line.
pub(crate) fn event(line: &str, raw: bool, has_color: bool) -> String {
    let Ok(event) = serde_json::from_str::<Value>(line) else {
        return shown(line, raw).into_owned();
    };
    let fields = Fields { event: &event, raw };
    let style = |style: Style| if has_color { style } else { Style::new() };
    let kind = fields.text("kind");
    let seq = format!("{:>7}", fields.integer("seq"));
    let time = time(fields.integer("recorded_at_ms"));
    let words = words(&fields, line, &kind);
    format!(
        "{}  {}  {}  {words}",
        seq.style(style(Style::new().bold())),
        time.style(style(Style::new().dimmed())),
        format_args!("{kind:<17}").style(style(color(&kind))),
    )
}

fn color(kind: &str) -> Style {
    match kind {
        "approval_added" | "question_added" => Style::new().yellow(),
        "approval_resolved" | "question_resolved" => Style::new().green(),
        "transient_set" | "transient_cleared" => Style::new().magenta(),
        "sent" | "delivered" => Style::new().blue(),
        _ => Style::new().cyan(),
    }
}

/// A time in UTC, to the second.
fn time(recorded_at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(recorded_at_ms)
        .map_or_else(|_| recorded_at_ms.to_string(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn words(fields: &Fields<'_>, line: &str, kind: &str) -> String {
    let text = |name| fields.text(name);
    match kind {
        "sent" | "delivered" => format!("{} → {}: {}", text("from"), text("to"), text("body")),
        "approval_added" => format!(
            "#{} {} asks for {}{}{}{}",
            fields.integer("id"),
            text("agent"),
            text("approval_kind"),
            fields.before(" ", "sha_short"),
            changes(fields.event),
            fields.subject(": "),
        ),
        "approval_resolved" => format!(
            "#{} {} {}{}{}{}",
            fields.integer("id"),
            text("agent"),
            text("status"),
            fields.before(" by ", "by"),
            fields.before(": ", "note"),
            fields.subject(" — "),
        ),
        "question_added" => {
            let options = fields.list("options");
            let options = if options.is_empty() { options } else { format!(" [{options}]") };
            format!("#{} {} asks: {}{options}", fields.integer("id"), text("asker"), text("question"))
        }
        "question_resolved" => format!(
            "#{} {} by {}: {}",
            fields.integer("id"),
            fields.first(&["outcome"]).unwrap_or(Cow::Borrowed("closed")),
            text("answerer"),
            text("answer")
        ),
        "transient_set" => format!("{} is {}", text("name"), text("transient_kind")),
        "transient_cleared" => format!("{} is through: {}", text("name"), text("reason")),
        _ => payload(line, kind, fields.raw),
    }
}

/// How many lines a diff adds and takes away.
fn changes(event: &Value) -> String {
    let Some(diff) = event.get("diff").and_then(Value::as_str) else { return String::new() };
    let count = |mark: char, header: &str| {
        diff.lines().filter(|line| line.starts_with(mark) && !line.starts_with(header)).count()
    };
    format!(" (+{} −{})", count('+', "+++ "), count('-', "--- "))
}

/// The members behind the envelope, as they stand in the line.
fn payload(line: &str, kind: &str, raw: bool) -> String {
    let rest = line.split_once(&format!("\"kind\":\"{kind}\"")).map_or(line, |(_, rest)| rest);
    match rest.strip_prefix(',') {
        Some(members) => format!("{{{}", shown(members, raw)),
        None => String::new(),
    }
}

/// The fields of one object, made harmless.
struct Fields<'a> {
    event: &'a Value,
    raw: bool,
}

impl<'a> Fields<'a> {
    fn find(&self, name: &str) -> Option<Cow<'a, str>> {
        self.event.get(name).and_then(Value::as_str).map(|text| shown(text, self.raw))
    }

    fn text(&self, name: &str) -> Cow<'a, str> {
        self.find(name).unwrap_or_default()
    }

    /// The first of these fields that is there and not empty.
    fn first(&self, names: &[&str]) -> Option<Cow<'a, str>> {
        names.iter().find_map(|name| self.find(name)).filter(|text| !text.is_empty())
    }

    /// The field with what divides it from the words before, or nothing.
    fn before(&self, divider: &str, name: &str) -> String {
        self.first(&[name]).map_or_else(String::new, |text| format!("{divider}{text}"))
    }

    /// The first line of the description: the rest is for those who look at the whole event.
    fn subject(&self, divider: &str) -> String {
        let description = self.event.get("description").and_then(Value::as_str).unwrap_or_default();
        match description.lines().next() {
            Some(line) => format!("{divider}{}", shown(line, self.raw)),
            None => String::new(),
        }
    }

    fn integer(&self, name: &str) -> i64 {
        self.event.get(name).and_then(Value::as_i64).unwrap_or_default()
    }

    fn list(&self, name: &str) -> String {
        let items = self.event.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let words: Vec<_> =
            items.iter().filter_map(Value::as_str).map(|text| shown(text, self.raw)).collect();
        words.join(" | ")
    }
}

/// What is open, in tables.
pub(crate) fn state(json: &[u8], raw: bool) -> Result<String, Failure> {
    let state: Value = serde_json::from_slice(json).map_err(Failure::failed)?;
    let head = Fields { event: &state, raw };
    let mut out = format!("log {} at seq {}", head.text("log_id"), head.integer("seq"));
    let floor = head.integer("floor");
    if floor > 0 {
        // Writing to a String does not fail.
        let _written = write!(out, ", pruned up to {floor}");
    }
    section(&mut out, &state, "approvals", &["ID", "SINCE", "AGENT", "WANTS", "WHAT"], |row| {
        let row = Fields { event: row, raw };
        let wants = format!("{}{}", row.text("approval_kind"), row.before(" ", "sha_short"));
        let words = format!("{}{}", row.subject(""), changes(row.event));
        let since = time(row.integer("recorded_at_ms"));
        vec![row.integer("id").to_string(), since, row.text("agent").into(), wants, words]
    });
    section(&mut out, &state, "questions", &["ID", "SINCE", "ASKER", "QUESTION", "OPTIONS"], |row| {
        let row = Fields { event: row, raw };
        let (asker, question) = (row.text("asker").into_owned(), row.text("question").into_owned());
        let since = time(row.integer("recorded_at_ms"));
        vec![row.integer("id").to_string(), since, asker, question, row.list("options")]
    });
    section(&mut out, &state, "transients", &["NAME", "SINCE", "IS"], |row| {
        let row = Fields { event: row, raw };
        vec![row.text("name").into(), time(row.integer("recorded_at_ms")), row.text("transient_kind").into()]
    });
    Ok(out)
}

fn section(
    out: &mut String,
    state: &Value,
    name: &str,
    header: &[&str],
    cells: impl FnMut(&Value) -> Vec<String>,
) {
    let rows = state.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // Writing to a String does not fail.
    let _written = write!(out, "\n\nopen {name}: {}", rows.len());
    if !rows.is_empty() {
        let _written = write!(out, "\n{}", table(header, rows.iter().map(cells)));
    }
}

/// A table without lines, as wide as what is in it.
pub(crate) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
