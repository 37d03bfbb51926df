//! Live reading: subscribers in another process, a publisher at a steady pace.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hivelog::Durability;

use crate::client::Client;
use crate::payload::Sample;
use crate::server::Server;
use crate::subscriber::{self, now_us};
use crate::table::{Goal, Row, Table};
use crate::turns::Figures;
use crate::wire;

const PACE: f64 = 1_000.0;

/// What one run showed, in milliseconds where it is a time.
struct Seen {
    frames_per_second: f64,
    ack_p50: f64,
    after_ack_p50: f64,
    after_ack_p99: f64,
    after_send_p50: f64,
    after_send_p99: f64,
    events_per_post: f64,
}

pub fn section(samples: &[Sample], time: Duration, rounds: usize) {
    let mut table = Table::new("Live: subscribers in another process, 1000 events a second");
    for count in [1, 100, 1_000] {
        let seen: Vec<Seen> = (0..rounds).map(|_| run(samples, count, time)).collect();
        let (is_lone, is_crowd) = (count == 1, count == 1_000);
        let goal = |holds: bool, goal: Goal| if holds { goal } else { Goal::None };
        let who = if is_lone { "1 subscriber".to_owned() } else { format!("{count} subscribers") };
        let mut row = |what: &str, unit: &str, goal: Goal, value: fn(&Seen) -> f64| {
            let figures = Figures(seen.iter().map(value).collect());
            let what = format!("{who}: {what}");
            table.row(Row { what: &what, mode: "full", figures: &figures, unit, beside: None, goal });
        };
        let keeps_up = Goal::AtLeast(0.98 * PACE * count as f64);
        row("delivered", "frames/s", goal(is_crowd, keeps_up), |seen| seen.frames_per_second);
        row("ack after send, p50", "ms", Goal::None, |seen| seen.ack_p50);
        let at_most_1 = goal(is_lone, Goal::AtMost(1.0));
        row("receive after ack, p50", "ms", at_most_1, |seen| seen.after_ack_p50);
        row("receive after ack, p99", "ms", Goal::None, |seen| seen.after_ack_p99);
        row("receive after send, p50", "ms", Goal::None, |seen| seen.after_send_p50);
        let at_most_25 = goal(is_crowd, Goal::AtMost(25.0));
        row("receive after send, p99", "ms", at_most_25, |seen| seen.after_send_p99);
        row("events in a POST", "", Goal::None, |seen| seen.events_per_post);
    }
    table.print();
}

/// One run alone.
pub fn alone(samples: &[Sample], count: usize, time: Duration) {
    let seen = run(samples, count, time);
    println!("{count} subscribers (full): {:.0} frames/s", seen.frames_per_second);
    println!("after send: p50 {:.1} ms, p99 {:.1} ms", seen.after_send_p50, seen.after_send_p99);
}

/// The subscriber process.
struct Subscribers {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Subscribers {
    fn start(address: &str, count: usize, start_us: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([subscriber::ARGUMENT, address, &count.to_string(), &start_us.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { stdin: child.stdin.take(), child, stdout }
    }

    /// The frames that they noted, once they have the last one, and how often a seq was missing.
    fn finish(mut self, last: i64) -> (Vec<(u32, u32)>, u64) {
        let mut stdin = self.stdin.take().unwrap();
        writeln!(stdin, "{last}").unwrap();
        drop(stdin);
        let mut bytes = Vec::new();
        self.stdout.read_to_end(&mut bytes).unwrap();
        assert!(self.child.wait().unwrap().success());
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let gaps = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let frames = bytes[8..].chunks_exact(8).map(|note| (word(&note[..4]), word(&note[4..])));
        (frames.collect(), gaps)
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        // Already gone where all went well.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn run(samples: &[Sample], count: usize, time: Duration) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("log.db"), Durability::Full);
    let start_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let subscribers = Subscribers::start(&server.address, count, start_us);
    let mut client = Client::connect(&server.address);
    let (posts, times) = publish(&mut client, samples, time, start_us);
    let (frames, gaps) = subscribers.finish(times.len() as i64);
    assert_eq!(gaps, 0, "subscribers missed events");
    assert_eq!(frames.len(), times.len() * count, "subscribers missed the end");
    let (first, last) = (times[0].0, frames.iter().map(|frame| frame.1).max().unwrap());
    let since = |pick: fn(&(u32, u32)) -> u32| {
        let late = |&(seq, us): &(u32, u32)| i64::from(us) - i64::from(pick(&times[seq as usize - 1]));
        sorted(frames.iter().map(late).collect())
    };
    let (after_send, after_ack) = (since(|time| time.0), since(|time| time.1));
    let ack = sorted(times.iter().map(|time| i64::from(time.1) - i64::from(time.0)).collect());
    Seen {
        frames_per_second: frames.len() as f64 / (f64::from(last - first) / 1e6),
        ack_p50: at(&ack, 0.5),
        after_ack_p50: at(&after_ack, 0.5),
        after_ack_p99: at(&after_ack, 0.99),
        after_send_p50: at(&after_send, 0.5),
        after_send_p99: at(&after_send, 0.99),
        events_per_post: times.len() as f64 / posts as f64,
    }
}

/// Posts at a steady pace on one connection; what became due while an answer was awaited goes into
/// the next POST together. Gives the number of POSTs, and when each event was sent and acknowledged.
fn publish(
    client: &mut Client,
    samples: &[Sample],
    time: Duration,
    start_us: u64,
) -> (usize, Vec<(u32, u32)>) {
    let begin = Instant::now();
    let mut times = Vec::new();
    let mut posts = 0;
    while begin.elapsed() < time {
        let due = (begin.elapsed().as_secs_f64() * PACE) as usize;
        if due <= times.len() {
            let next = Duration::from_secs_f64((times.len() + 1) as f64 / PACE);
            std::thread::sleep(next.saturating_sub(begin.elapsed()));
            continue;
        }
        let lines = times.len()..due.min(times.len() + 1_000);
        let lines: Vec<&str> = lines.map(|index| samples[index % samples.len()].line.as_str()).collect();
        let media_type = if lines.len() == 1 { "application/json" } else { "application/x-ndjson" };
        let request = wire::post(&client.host, media_type, lines.join("\n").as_bytes());
        let sent = now_us(start_us);
        client.ask(&request);
        let acked = now_us(start_us);
        times.extend(lines.iter().map(|_| (sent, acked)));
        posts += 1;
    }
    (posts, times)
}

fn sorted(mut values: Vec<i64>) -> Vec<i64> {
    values.sort_unstable();
    values
}

/// A quantile in milliseconds.
fn at(values: &[i64], quantile: f64) -> f64 {
    values[((values.len() - 1) as f64 * quantile) as usize] as f64 / 1_000.0
}
