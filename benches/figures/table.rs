//! The printed table: the durability mode on every line, each figure beside its limit.

use std::sync::Mutex;

use crate::turns::Figures;

/// Every line that has to reach something, of all tables of a run, with the title of its table.
static GOALS: Mutex<Vec<[String; 8]>> = Mutex::new(Vec::new());

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    None,
    /// The quotient over the limit.
    Ratio(f64),
    /// The quotient, where less is better.
    RatioAtMost(f64),
    /// The figure itself, where less is better.
    AtMost(f64),
    /// The figure itself.
    AtLeast(f64),
}

/// One line.
pub struct Row<'a> {
    pub what: &'a str,
    pub mode: &'a str,
    pub figures: &'a Figures,
    pub unit: &'a str,
    /// What it stands beside, taken in the same run.
    pub beside: Option<(&'a str, &'a Figures)>,
    pub goal: Goal,
}

pub struct Table {
    title: String,
    lines: Vec<[String; 8]>,
}

impl Table {
    pub fn new(title: &str) -> Self {
        println!("\n## {title}\n");
        let head = ["what", "durability", "median", "min–max", "beside", "ratio", "must", "reach"];
        Self { title: title.to_owned(), lines: vec![head.map(String::from)] }
    }

    pub fn row(&mut self, row: Row<'_>) {
        let median = row.figures.median();
        let ratio = row.beside.map(|(_, base)| row.figures.over(base));
        let (must, reached) = match (row.goal, ratio) {
            (Goal::Ratio(goal), Some(ratio)) => (format!("≥ {goal}×"), Some(ratio >= goal)),
            (Goal::RatioAtMost(goal), Some(ratio)) => (format!("≤ {goal}×"), Some(ratio <= goal)),
            (Goal::AtMost(goal), _) => (format!("≤ {}", number(goal)), Some(median <= goal)),
            (Goal::AtLeast(goal), _) => (format!("≥ {}", number(goal)), Some(median >= goal)),
            _ => (String::new(), None),
        };
        let spread = if row.figures.0.len() > 1 {
            format!("{}–{}", number(row.figures.least()), number(row.figures.most()))
        } else {
            String::new()
        };
        self.lines.push([
            row.what.into(),
            row.mode.into(),
            format!("{} {}", number(median), row.unit),
            spread,
            row.beside.map_or_else(String::new, |(name, base)| format!("{name} {}", number(base.median()))),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            must,
            reached.map_or("", |reached| if reached { "ok" } else { "below" }).into(),
        ]);
    }

    pub fn print(self) {
        print(&self.lines);
        let to_reach = self.lines.iter().skip(1).filter(|[.., must, _]| !must.is_empty());
        for [what, mode, median, _, beside, ratio, must, reach] in to_reach {
            note_goal([&self.title, what, mode, median, beside, ratio, must, reach].map(Clone::clone));
        }
    }
}

/// Notes a line for the table of all that has to be reached.
pub fn note_goal(line: [String; 8]) {
    GOALS.lock().unwrap().push(line);
}

/// Prints all that was to be reached by the tables printed so far.
pub fn print_goals() {
    let lines = std::mem::take(&mut *GOALS.lock().unwrap());
    if !lines.is_empty() {
        println!("\n## What has to be reached\n");
        let head = ["table", "what", "durability", "median", "beside", "ratio", "must", "reach"];
        print(&[&[head.map(String::from)], lines.as_slice()].concat());
    }
}

/// Prints lines of cells, the first of which is their head, as Markdown that reads well on a terminal too.
pub fn print<L: AsRef<[String]>>(lines: &[L]) {
    let columns = lines.first().map_or(0, |head| head.as_ref().len());
    let width = |column: usize| {
        lines.iter().map(|line| line.as_ref()[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (index, line) in lines.iter().enumerate() {
        let cells = line.as_ref().iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
        println!("|{}|", cells.collect::<Vec<_>>().join("|"));
        if index == 0 {
            let rules = widths.iter().map(|width| "-".repeat(width + 2));
            println!("|{}|", rules.collect::<Vec<_>>().join("|"));
        }
    }
}

/// A number with as many digits as it is worth.
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.3}");
    }
    if value.abs() < 1_000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
