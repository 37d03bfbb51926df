//! Live reading: subscribers in another process, a publisher at a steady pace.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hivelog::Durability;

use crate::audience::{Audience, Noted};
use crate::client::Client;
use crate::payload::Sample;
use crate::sender::Sender;
use crate::server::Server;
use crate::subscriber::now_us;
use crate::table::{Goal, Row, Table};
use crate::turns::Figures;
use crate::wire;

/// Events a second.
pub const PACE: f64 = 1_000.0;

/// What one run showed, in milliseconds where it is a time.
#[derive(Clone, Copy)]
struct Seen {
    frames_per_second: f64,
    ack_p50: f64,
    after_ack_p50: f64,
    after_ack_p99: f64,
    after_send_p50: f64,
    after_send_p99: f64,
    after_due_p99: f64,
    events_per_post: f64,
    cpu_us_per_frame: f64,
    frames_per_write: f64,
    sender: Sent,
}

/// The same of a plain sender.
#[derive(Clone, Copy)]
struct Sent {
    after_due_p50: f64,
    after_due_p99: f64,
    cpu_us_per_frame: f64,
    frames_per_write: f64,
}

pub fn section(samples: &[Sample], time: Duration, rounds: usize) {
    let mut table = Table::new("Live: subscribers in another process, 1000 events a second");
    for count in [1, 100, 1_000] {
        let seen: Vec<Seen> = (0..rounds).map(|_| run(samples, count, time)).collect();
        let (is_lone, is_crowd) = (count == 1, count == 1_000);
        let goal = |holds: bool, goal: Goal| if holds { goal } else { Goal::None };
        let who = if is_lone { "1 subscriber".to_owned() } else { format!("{count} subscribers") };
        let figures = |value: fn(&Seen) -> f64| Figures(seen.iter().map(value).collect());
        let mut row = |what: &str, unit: &str, goal: Goal, value: fn(&Seen) -> f64| {
            let what = format!("{who}: {what}");
            table.row(Row { what: &what, mode: "full", figures: &figures(value), unit, beside: None, goal });
        };
        let keeps_up = Goal::AtLeast(0.98 * PACE * count as f64);
        row("delivered", "frames/s", goal(is_crowd, keeps_up), |seen| seen.frames_per_second);
        row("ack after send, p50", "ms", Goal::None, |seen| seen.ack_p50);
        let at_most_1 = goal(is_lone, Goal::AtMost(1.0));
        row("receive after ack, p50", "ms", at_most_1, |seen| seen.after_ack_p50);
        row("receive after ack, p99", "ms", Goal::None, |seen| seen.after_ack_p99);
        row("receive after send, p50", "ms", Goal::None, |seen| seen.after_send_p50);
        let at_most_15 = goal(is_crowd, Goal::AtMost(15.0));
        row("receive after send, p99", "ms", at_most_15, |seen| seen.after_send_p99);
        row("receive after due, p99", "ms", at_most_15, |seen| seen.after_due_p99);
        row("events in a POST", "", Goal::None, |seen| seen.events_per_post);
        row("frames in a write", "", Goal::None, |seen| seen.frames_per_write);
        row("plain sender, receive after due, p50", "ms", Goal::None, |seen| seen.sender.after_due_p50);
        row("plain sender, receive after due, p99", "ms", Goal::None, |seen| seen.sender.after_due_p99);
        row("plain sender, frames in a write", "", Goal::None, |seen| seen.sender.frames_per_write);
        let plain = figures(|seen| seen.sender.cpu_us_per_frame);
        table.row(Row {
            what: &format!("{who}: processor time of a frame"),
            mode: "full",
            figures: &figures(|seen| seen.cpu_us_per_frame),
            unit: "µs",
            beside: Some(("plain sender", &plain)),
            goal: goal(is_crowd, Goal::RatioAtMost(1.2)),
        });
    }
    table.print();
}

/// One run alone.
pub fn alone(samples: &[Sample], count: usize, time: Duration) {
    let seen = serve(samples, count, time);
    println!("{count} subscribers (full): {:.0} frames/s", seen.frames_per_second);
    println!("after send: p50 {:.1} ms, p99 {:.1} ms", seen.after_send_p50, seen.after_send_p99);
    println!("after due: p99 {:.1} ms; ack p50 {:.1} ms", seen.after_due_p99, seen.ack_p50);
    println!("a frame: {:.2} µs; {:.1} in a write", seen.cpu_us_per_frame, seen.frames_per_write);
    println!("events in a POST: {:.1}", seen.events_per_post);
}

/// The plain sender alone.
pub fn alone_plain(count: usize, time: Duration) {
    let sent = send(count, time);
    println!("after due: p50 {:.1} ms, p99 {:.1} ms", sent.after_due_p50, sent.after_due_p99);
    println!("a frame: {:.2} µs; {:.1} in a write", sent.cpu_us_per_frame, sent.frames_per_write);
}

pub fn start_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

fn run(samples: &[Sample], count: usize, time: Duration) -> Seen {
    let sender = send(count, time);
    Seen { sender, ..serve(samples, count, time) }
}

/// The server.
fn serve(samples: &[Sample], count: usize, time: Duration) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("log.db"), Durability::Full);
    let start_us = start_us();
    let audience = Audience::start(&server.address, count, "/api/stream", start_us);
    let mut client = Client::connect(&server.address);
    let lines: Vec<&str> = samples.iter().map(|sample| &*sample.line).collect();
    let (before, writes) = (server.cpu(), server.writes());
    let (posts, times) = publish(&mut client, &lines, time, start_us);
    let noted = audience.finish(times.len() * count);
    let (cpu, writes) = (server.cpu() - before, server.writes() - writes);
    let frames = check(&noted, times.len(), count);
    let (first, last) = (times[0].sent, frames.iter().map(|frame| frame.1).max().unwrap());
    let since = |pick: fn(&Times) -> u32| {
        let late = |&(seq, us): &(u32, u32)| i64::from(us) - i64::from(pick(&times[seq as usize - 1]));
        sorted(frames.iter().map(late).collect())
    };
    let (after_send, after_ack) = (since(|time| time.sent), since(|time| time.acked));
    let after_due = since(|time| time.due);
    let ack = sorted(times.iter().map(|time| i64::from(time.acked) - i64::from(time.sent)).collect());
    Seen {
        frames_per_second: frames.len() as f64 / (f64::from(last - first) / 1e6),
        ack_p50: at(&ack, 0.5),
        after_ack_p50: at(&after_ack, 0.5),
        after_ack_p99: at(&after_ack, 0.99),
        after_send_p50: at(&after_send, 0.5),
        after_send_p99: at(&after_send, 0.99),
        after_due_p99: at(&after_due, 0.99),
        events_per_post: times.len() as f64 / posts as f64,
        cpu_us_per_frame: cpu.as_secs_f64() * 1e6 / frames.len() as f64,
        frames_per_write: frames.len() as f64 / writes,
        sender: Sent { after_due_p50: 0.0, after_due_p99: 0.0, cpu_us_per_frame: 0.0, frames_per_write: 0.0 },
    }
}

/// The plain sender, with the same frames.
fn send(count: usize, time: Duration) -> Sent {
    let mut sender = Sender::paced(count, time);
    let start_us = start_us();
    let audience = Audience::start(&sender.address, count, "/", start_us);
    let sent = sender.go();
    let events = (time.as_secs_f64() * PACE) as usize;
    let noted = audience.finish(events * count);
    let frames = check(&noted, events, count);
    let begin_us = (sent.begin_us - start_us) as f64;
    let due = |seq: u32| (begin_us + f64::from(seq) / PACE * 1e6) as i64;
    let after_due = sorted(frames.iter().map(|&(seq, us)| i64::from(us) - due(seq)).collect());
    Sent {
        after_due_p50: at(&after_due, 0.5),
        after_due_p99: at(&after_due, 0.99),
        cpu_us_per_frame: sent.cpu.as_secs_f64() * 1e6 / frames.len() as f64,
        frames_per_write: frames.len() as f64 / sent.writes,
    }
}

/// Everybody has everything.
fn check(noted: &Noted, events: usize, count: usize) -> &[(u32, u32)] {
    assert_eq!(noted.gaps, 0, "subscribers missed events");
    assert_eq!(noted.frames.len(), events * count, "subscribers missed the end");
    &noted.frames
}

/// When an event was due, sent and acknowledged, in microseconds.
pub struct Times {
    due: u32,
    sent: u32,
    acked: u32,
}

/// Posts at a steady pace on one connection; what became due while an answer was awaited goes into
/// the next POST together. Gives the number of POSTs, and the times of each event.
pub fn publish(client: &mut Client, lines: &[&str], time: Duration, start_us: u64) -> (usize, Vec<Times>) {
    let (begin, begin_us) = (Instant::now(), now_us(start_us));
    let mut times = Vec::new();
    let mut posts = 0;
    while begin.elapsed() < time {
        let due = (begin.elapsed().as_secs_f64() * PACE) as usize;
        if due <= times.len() {
            let next = Duration::from_secs_f64((times.len() + 1) as f64 / PACE);
            std::thread::sleep(next.saturating_sub(begin.elapsed()));
            continue;
        }
        let indices = times.len()..due.min(times.len() + 1_000);
        let batch: Vec<&str> = indices.clone().map(|index| lines[index % lines.len()]).collect();
        let media_type = if batch.len() == 1 { "application/json" } else { "application/x-ndjson" };
        let request = wire::post(&client.host, media_type, batch.join("\n").as_bytes());
        let sent = now_us(start_us);
        client.ask(&request);
        let acked = now_us(start_us);
        times.extend(indices.map(|index| {
            let due = begin_us + ((index + 1) as f64 / PACE * 1e6) as u32;
            Times { due, sent, acked }
        }));
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
