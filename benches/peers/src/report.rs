//! What is printed: Markdown that reads well on a terminal too.

use crate::folder::Folder;
use crate::measure::{Case, Result};
use crate::peer::Peer;
use crate::turns::Figures;

type Peers = [Option<Box<dyn Peer>>];
type Results = [(Case, Vec<Option<Result>>)];

/// In the order in which the servers are started.
const NAMES: [&str; 3] = ["hivelog full", "Redis always", "PostgreSQL on"];

/// What hivelog is held against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Against {
    Redis,
    Postgres,
    /// The better one of the two, round by round.
    Best,
}

/// What has to be reached, and what should be.
struct Goal {
    against: Against,
    must: f64,
    goal: Option<f64>,
}

impl Case {
    fn what(self) -> String {
        match self {
            Self::History => "history, pages of 1000 (rows/s)".into(),
            Self::Append(1) => "single events, 1 connection (events/s)".into(),
            Self::Append(connections) => format!("single events, {connections} connections (events/s)"),
            Self::Batches => "batches of 1000, 1 connection (events/s)".into(),
        }
    }

    fn goals(self) -> Vec<Goal> {
        let must = |against, must| Goal { against, must, goal: None };
        match self {
            Self::History => vec![must(Against::Redis, 1.5), must(Against::Postgres, 3.0)],
            Self::Append(1) => vec![must(Against::Best, 0.9)],
            Self::Append(64) => vec![
                Goal { against: Against::Redis, must: 0.9, goal: Some(1.0) },
                must(Against::Postgres, 3.0),
            ],
            Self::Append(_) | Self::Batches => Vec::new(),
        }
    }
}

/// Says aloud who is not there, and what helps.
pub fn absent(peers: &Peers) {
    for (peer, name, package) in
        [(&peers[1], "Redis", "redis-server"), (&peers[2], "PostgreSQL", "postgresql")]
    {
        if peer.is_none() {
            eprintln!("{name} is absent, and its column stays empty: apt-get install {package}");
        }
    }
}

/// The machine, the disk and who runs on them.
pub fn surroundings(peers: &Peers, folder: &Folder) {
    let first = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("?", |(_, value)| value.trim()).to_owned()
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: f64 = first("/proc/meminfo", "MemTotal").split(' ').next().unwrap().parse().unwrap_or(0.0);
    println!(
        "{}, {cores} cores, {:.0} GiB, Linux {}, {}; client and servers on the same cores.",
        first("/proc/cpuinfo", "model name"),
        memory / 1_048_576.0,
        kernel.trim(),
        folder.kind()
    );
    for peer in peers.iter().flatten() {
        println!("- {} {}, durability {}", peer.name(), peer.version(), peer.durability());
    }
}

/// Events a second, and what hivelog reaches of the others'.
pub fn figures(results: &Results) {
    let head = ["case", NAMES[0], NAMES[1], NAMES[2], "÷ Redis", "÷ PostgreSQL", "must", "reach"];
    let mut lines = vec![head.map(String::from).to_vec()];
    for (case, results) in results {
        let rates = |index: usize| results[index].as_ref().map(|result| &result.rates);
        let ratio = |against| ratio(against, results);
        let text = |against| ratio(against).map_or_else(|| "absent".into(), |ratio| format!("{ratio:.2}"));
        let (must, reach): (Vec<_>, Vec<_>) =
            case.goals().iter().map(|goal| (goal.words(), goal.judge(ratio(goal.against)))).unzip();
        let mut line = vec![case.what()];
        line.extend((0..3).map(|index| rates(index).map_or_else(|| "absent".into(), spread)));
        line.extend([text(Against::Redis), text(Against::Postgres), must.join(", "), reach.join(", ")]);
        lines.push(line);
    }
    println!("\n## The same events, in turn\n");
    print(&lines);
    println!(
        "\nMedians (least–most) of five rounds of a second; ratios are medians of those round by round."
    );
}

/// Who pays for a figure: a server, or its client.
pub fn cpu(results: &Results) {
    let head = ["CPU ms for 1000 events: server + client", NAMES[0], NAMES[1], NAMES[2]];
    let mut lines = vec![head.map(String::from).to_vec()];
    for (case, results) in results {
        let cost = |result: &Option<Result>| {
            result.as_ref().map_or_else(
                || "absent".into(),
                |result| {
                    let (server, client) = result.cpu_ms();
                    format!("{} + {}", digits(server), digits(client))
                },
            )
        };
        lines.push(std::iter::once(case.what()).chain(results.iter().map(cost)).collect());
    }
    println!("\n## What they cost\n");
    print(&lines);
}

/// The median of the quotients of each round; nothing where one of them is absent.
fn ratio(against: Against, results: &[Option<Result>]) -> Option<f64> {
    let rates = |index: usize| results[index].as_ref().map(|result| &result.rates);
    let ours = rates(0)?;
    let base = match against {
        Against::Redis => rates(1)?.clone(),
        Against::Postgres => rates(2)?.clone(),
        Against::Best => {
            let (redis, postgres) = (&rates(1)?.0, &rates(2)?.0);
            Figures(redis.iter().zip(postgres).map(|(a, b)| a.max(*b)).collect())
        }
    };
    Some(ours.over(&base))
}

impl Goal {
    fn words(&self) -> String {
        let name = match self.against {
            Against::Redis => "Redis",
            Against::Postgres => "PostgreSQL",
            Against::Best => "the best",
        };
        let goal = self.goal.map_or_else(String::new, |goal| format!(" (goal {goal:.1})"));
        format!("≥ {:.1} × {name}{goal}", self.must)
    }

    fn judge(&self, ratio: Option<f64>) -> String {
        match (ratio, self.goal) {
            (None, _) => "absent".into(),
            (Some(ratio), _) if ratio < self.must => format!("{ratio:.2} below"),
            (Some(ratio), Some(goal)) if ratio < goal => format!("{ratio:.2} ok, goal not"),
            (Some(ratio), _) => format!("{ratio:.2} ok"),
        }
    }
}

fn spread(figures: &Figures) -> String {
    format!("{} ({}–{})", grouped(figures.median()), grouped(figures.least()), grouped(figures.most()))
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn digits(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

pub fn print(lines: &[Vec<String>]) {
    let columns = lines[0].len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<_> =
            line.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect();
        println!("|{}|", cells.join("|"));
        if index == 0 {
            let rules: Vec<_> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            println!("|{}|", rules.join("|"));
        }
    }
}
