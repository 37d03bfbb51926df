//! What a subscriber costs that a commit does not concern.

use std::time::Duration;

use hivelog::Durability;

use crate::audience::Audience;
use crate::client::Client;
use crate::fanout::{publish, start_us};
use crate::server::Server;
use crate::table::{Goal, Row, Table};
use crate::turns::Figures;

const SUBSCRIBERS: usize = 1_000;
const PATH: &str = "/api/stream?agent=agent-{}";
/// How often an event concerns the first subscriber, where most concern none.
const SELDOM: usize = 10;

pub fn section(time: Duration, rounds: usize) {
    let mut table = Table::new("Live: subscribers of an agent each, 1000 events a second");
    let (mut one, mut many, mut each) = (Figures::default(), Figures::default(), Figures::default());
    let elsewhere: Vec<String> = (0..SUBSCRIBERS).map(seldom).collect();
    let everywhere: Vec<String> = (0..SUBSCRIBERS).map(of_agent).collect();
    for _ in 0..rounds {
        one.0.push(run(&elsewhere, 1, time));
        many.0.push(run(&elsewhere, SUBSCRIBERS, time));
        each.0.push(run(&everywhere, SUBSCRIBERS, time));
    }
    let mut row = |what: &str, figures: &Figures, beside: Option<&Figures>, goal: Goal| {
        let beside = beside.map(|figures| ("1 subscriber", figures));
        table.row(Row { what, mode: "full", figures, unit: "µs", beside, goal });
    };
    row("1 subscriber, every tenth event for it: processor time of an event", &one, None, Goal::None);
    row("1000 subscribers, every tenth event for the first", &many, Some(&one), Goal::RatioAtMost(1.2));
    row("1000 subscribers, every event for one of them", &each, Some(&one), Goal::None);
    table.print();
}

/// One run alone.
pub fn alone(time: Duration) {
    let lines: Vec<String> = (0..SUBSCRIBERS).map(seldom).collect();
    println!("1000 of an agent each: {:.0} µs of an event", run(&lines, SUBSCRIBERS, time));
}

fn of_agent(agent: usize) -> String {
    format!(r#"{{"kind":"agent.status","agent":"agent-{agent}","state":"working","task":"{:0200}"}}"#, agent)
}

fn seldom(index: usize) -> String {
    if index % SELDOM == 0 { of_agent(0) } else { of_agent(SUBSCRIBERS + index) }
}

/// The server's processor time of an event, in microseconds.
fn run(lines: &[String], count: usize, time: Duration) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("log.db"), Durability::Full);
    let start_us = start_us();
    let audience = Audience::start(&server.address, count, PATH, start_us);
    let mut client = Client::connect(&server.address);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let before = server.cpu();
    let (_, times) = publish(&mut client, &lines, time, start_us);
    let agent = |index: usize| lines[index % lines.len()].split('"').nth(7).unwrap();
    let number = |index: usize| agent(index)["agent-".len()..].parse::<usize>().unwrap();
    let expected = (0..times.len()).filter(|&index| number(index) < count).count();
    let noted = audience.finish(expected);
    assert_eq!(noted.frames.len(), expected, "subscribers missed events, or got some of others");
    (server.cpu() - before).as_secs_f64() * 1e6 / times.len() as f64
}
