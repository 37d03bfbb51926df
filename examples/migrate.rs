//! A coordinator's broadcast channel, before and after.
//!
//! Before, an enum goes out over `tokio::sync::broadcast`, each value stamped with a `seq` that dies
//! with the process. After, the same enum goes to a log as it is: its `seq` is dropped, the log's own
//! takes its place, and nobody who comes back has missed anything.

use hivelog::{Draft, Filter, Followed, Log, Order, Range, Seq};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// The enum that the coordinator has today.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum DashboardEvent {
    Sent { seq: u64, from: String, to: String, body: String, at: i64 },
    ApprovalAdded { seq: u64, id: i64, agent: String, approval_kind: String, description: Option<String> },
    TransientSet { seq: u64, name: String, transient_kind: String, since_unix: i64 },
    TransientCleared { seq: u64, name: String },
}

fn events() -> Vec<DashboardEvent> {
    let (from, to) = ("alice".to_owned(), "bob".to_owned());
    let agent = "bob".to_owned();
    let description = Some("drop the old table".to_owned());
    vec![
        DashboardEvent::Sent { seq: 1, from, to, body: "please review".into(), at: 1_763_829_000 },
        DashboardEvent::ApprovalAdded {
            seq: 2,
            id: 1,
            agent,
            approval_kind: "apply_commit".into(),
            description,
        },
        DashboardEvent::TransientSet {
            seq: 3,
            name: "bob".into(),
            transient_kind: "restarting".into(),
            since_unix: 1_763_829_010,
        },
        DashboardEvent::TransientCleared { seq: 4, name: "bob".into() },
    ]
}

/// Before: a slow reader loses events, a restart loses all of them.
async fn before() {
    let (sender, mut slow) = broadcast::channel(2);
    for event in events() {
        // Nobody may be listening.
        let _unheard = sender.send(event);
    }
    assert!(matches!(slow.recv().await, Err(broadcast::error::RecvError::Lagged(2))));
    println!("before: the slow reader lost two events");
}

/// After: the same events, the same enum.
fn after(path: &std::path::Path) -> Result<(), hivelog::Error> {
    let log = Log::open(path, hivelog::Options::default())?;
    for event in events() {
        log.append(Draft::of(&event)).wait()?;
    }
    log.close();

    // The process is another one now. A reader that had seen the first event goes on after it.
    let log = Log::open(path, hivelog::Options::default())?;
    let seen = Seq::new(1).unwrap_or_default();
    for followed in log.follow_blocking(seen, Filter::default())? {
        let Followed::Event(row) = followed? else { break };
        println!("after: {} {:?}", row.seq(), row.decode::<DashboardEvent>()?);
    }
    let newest = log.range(&Range { order: Order::Desc, limit: 1, ..Range::default() })?;
    assert_eq!(newest.seq.get(), 4);
    println!("board: {}", String::from_utf8_lossy(&log.snapshot()?.json()));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    before().await;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("hivelog.db");
    tokio::task::spawn_blocking(move || after(&path)).await??;
    Ok(())
}
