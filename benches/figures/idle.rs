//! What a subscriber costs that waits.

use hivelog::Durability;

use crate::audience::Audience;
use crate::client::Client;
use crate::fanout::start_us;
use crate::server::Server;
use crate::table::{Goal, Row, Table};
use crate::turns::Figures;
use crate::wire;

/// Events that everybody got, after which they wait again.
const EVENTS: usize = 20;

pub fn section() {
    let mut table = Table::new("Memory of subscribers that wait");
    for count in [5_000, 10_000] {
        let (idle, fresh, used) = run(count);
        let mut row = |what: &str, unit: &str, value: f64, goal: Goal| {
            let what = format!("{count} subscribers: {what}");
            let figures = Figures(vec![value]);
            table.row(Row { what: &what, mode: "full", figures: &figures, unit, beside: None, goal });
        };
        let each = |mib: f64| (mib - idle) * 1_024.0 / count as f64;
        let goal = |goal: Goal| if count == 5_000 { goal } else { Goal::None };
        row("VmRSS without them", "MiB", idle, Goal::None);
        row("VmRSS above that, each", "KiB", each(fresh), goal(Goal::AtMost(16.0)));
        row("the same after 20 events for all", "KiB", each(used), goal(Goal::AtMost(16.0)));
        let at_most = if count == 10_000 { Goal::AtMost(160.0) } else { Goal::None };
        row("VmRSS with them", "MiB", fresh, at_most);
        row("VmRSS after the events", "MiB", used, at_most);
    }
    table.print();
}

/// The server's memory in MiB: alone, with the subscribers, and after some events.
fn run(count: usize) -> (f64, f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("log.db"), Durability::Full);
    let mut client = Client::connect(&server.address);
    let request = wire::post(&client.host, "application/json", br#"{"kind":"test.idle"}"#);
    client.ask(&request);
    let memory = || server.memory_mib("VmRSS");
    let idle = memory();
    let audience = Audience::start(&server.address, count, "/api/stream", start_us());
    let fresh = memory();
    for _ in 0..EVENTS {
        client.ask(&request);
    }
    let noted = audience.finish(EVENTS * count);
    // They are gone by now, but what they took was theirs to the end.
    assert_eq!(noted.frames.len(), EVENTS * count);
    (idle, fresh, memory())
}
