//! A swarm on one server that is killed again and again: messages, questions, approvals with real diffs,
//! lifecycles. Afterwards everything was delivered, mirrored and decided exactly once.
//!
//! By default some seconds. `HIVELOG_SOAK_SECONDS=600 HIVELOG_SOAK_KILLS=10 HIVELOG_SOAK_AGENTS=64
//! cargo test --release --test soak -- --nocapture` is the whole of it. `HIVELOG_SOAK_REPO` names a git repository
//! whose diffs are asked for, `HIVELOG_SOAK_BIN` another build, `HIVELOG_SEED` repeats a run's choices.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

#[path = "soak/account.rs"]
mod account;
#[path = "soak/agents.rs"]
mod agents;
#[path = "soak/client.rs"]
mod client;
#[path = "soak/dashboard.rs"]
mod dashboard;
mod dice;
#[path = "soak/planted.rs"]
mod planted;
#[path = "soak/repository.rs"]
mod repository;
#[path = "soak/server.rs"]
mod server;
mod shell;
#[path = "soak/verdict.rs"]
mod verdict;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use account::{Account, Way, count};
use agents::World;
use client::Client;
use dice::Dice;
use hivelog::{Filter, Followed, Log, Seq};
use reqwest::Method;
use serde_json::json;
use server::Server;
use tokio::task::{JoinSet, spawn_blocking};

/// How long the swarm may take to finish what it began.
const DRAIN: Duration = Duration::from_mins(2);
/// Above so many events no faults are planted.
const PLANTED_EVENTS_MAX: usize = 100_000;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

#[test]
fn a_swarm_lives_on_a_server_that_is_killed() {
    let (_, dice) = Dice::announced("soak");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(soak(dice));
}

async fn soak(mut dice: Dice) {
    let seconds = setting("HIVELOG_SOAK_SECONDS", 9);
    let kills = setting("HIVELOG_SOAK_KILLS", 3);
    let agents = setting("HIVELOG_SOAK_AGENTS", 50);
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("swarm.db");
    let mut server = Server::start(&db, &mut dice);
    let (url, token) = (server.url(), server.token());
    let account = Arc::new(Account::default());
    let http = client::connections();
    let root = Client::new(&http, &url, &token, "operator", &account);
    let world = Arc::new(World {
        names: (1..=agents).map(|number| format!("agent-{number}")).collect(),
        commits: repository::commits(folder.path()),
        is_over: AtomicBool::new(false),
        is_drained: AtomicBool::new(false),
    });

    let last_seq = Arc::new(AtomicI64::new(i64::MAX));
    let mut dashboards = JoinSet::new();
    for _ in 0..2 {
        dashboards.spawn(dashboard::follow(root.clone(), Arc::clone(&last_seq)));
    }
    let (mut work, mut rest) = (JoinSet::new(), JoinSet::new());
    for name in &world.names {
        let me = enrol(&root, &http, &url, name).await;
        work.spawn(agents::work(me.clone(), Arc::clone(&world), dice.fork()));
        rest.spawn(agents::mail(me, Arc::clone(&world), dice.fork()));
    }
    rest.spawn(agents::mail(root.clone(), Arc::clone(&world), dice.fork()));
    for _ in 0..2 {
        rest.spawn(agents::operate(root.clone(), Arc::clone(&world), dice.fork()));
    }

    let begin = Instant::now();
    server =
        spawn_blocking(move || torment(server, Duration::from_secs(seconds), kills, dice)).await.unwrap();
    world.is_over.store(true, Ordering::Relaxed);
    finish(&mut work, &mut rest).await;
    let drained = Instant::now();
    while let Some(left) = verdict::left(&db) {
        assert!(drained.elapsed() < DRAIN, "not finished: {left}");
        if let Some(ended) = rest.try_join_next() {
            ended.expect("a reader of mail ended early");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.is_drained.store(true, Ordering::Relaxed);
    while let Some(ended) = rest.join_next().await {
        ended.expect("an agent's mail");
    }
    let head = root.get("/readyz").await.json["seq"].as_i64().expect("a seq");
    last_seq.store(head, Ordering::Relaxed);
    let runs: Vec<_> = tokio::time::timeout(DRAIN, dashboards.join_all()).await.expect("the dashboards");
    let lasted = begin.elapsed();

    let (stopped, kills, starts) =
        spawn_blocking(move || (server.stop(), server.kills, server.starts.clone())).await.unwrap();
    assert_eq!(stopped, Some(0), "the server did not end well");
    agents::check_that_it_happened(&account, kills);
    let (told, history) = (account.told.lock().unwrap().clone(), history(&db));
    let totals = verdict::look(&db, &told, &runs, &history);
    // Each fault costs a look at everything; a long run would show no more by it.
    if totals.events <= PLANTED_EVENTS_MAX {
        planted::check_that_it_is_seen(&db, &told, &runs, &history);
    }
    check(&db);
    let slowest = starts.iter().max().unwrap();
    println!("{agents} agents, {:.0} s, {kills} kills -9, durability full", lasted.as_secs_f64());
    println!("{totals:#?}");
    println!("{:.0} events/s; slowest start {slowest:?}", totals.events as f64 / lasted.as_secs_f64());
    println!("from the first try to send, kills and unread inboxes included:");
    for (what, way) in [("acknowledged", Way::Ack), ("received", Way::Recv), ("on a stream", Way::Stream)] {
        let (half, most) = account.times(way);
        println!("  {what}: p50 {half:.2} ms, p99 {most:.0} ms");
    }
    println!(
        "repeated calls {}, cut off {}, done again {}, put off {}, lost races {}, redelivered {}, requeued {}, found again {}, left by the dead {}",
        count(&account.retries),
        count(&account.cut),
        count(&account.repeats),
        count(&account.busy),
        count(&account.conflicts),
        count(&account.redeliveries),
        count(&account.requeues),
        count(&account.found_again),
        count(&account.orphans)
    );
    println!(
        "dashboards: {:?} connections; hivelog check: the log is whole",
        runs.iter().map(|run| run.connections).collect::<Vec<_>>()
    );
}

/// A client with a token of its own.
async fn enrol(root: &Client, http: &reqwest::Client, url: &str, name: &str) -> Client {
    let body = json!({"name": name, "roles": ["agent"]});
    let added = root.call(Method::POST, "/api/tokens", None, Some(&body)).await;
    let token = added.json["token"].as_str().unwrap_or_else(|| panic!("{added:?}"));
    Client::new(http, url, token, name, &root.account)
}

/// Kills the server that often in that time, sometimes while it starts.
fn torment(mut server: Server, time: Duration, kills: u64, mut dice: Dice) -> Server {
    let until = Instant::now() + time;
    let pause = time / u32::try_from(kills + 1).unwrap();
    for round in 0..kills {
        // The moment is the point: there is no event to wait for.
        std::thread::sleep(pause.mul_f64(dice.between(70, 130) as f64 / 100.0));
        server.kill();
        std::thread::sleep(Duration::from_millis(dice.between(0, 300)));
        if round % 3 == 2 {
            server.restart_and_kill(Duration::from_millis(dice.between(1, 30)));
        }
        server.restart();
    }
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    server
}

/// Waits for the agents to finish what they began.
async fn finish(work: &mut JoinSet<()>, rest: &mut JoinSet<()>) {
    let done = async {
        loop {
            tokio::select! {
                ended = work.join_next() => match ended {
                    Some(ended) => ended.expect("an agent's work"),
                    None => return,
                },
                Some(ended) = rest.join_next() => ended.expect("a reader of mail ended early"),
            }
        }
    };
    tokio::time::timeout(DRAIN, done).await.expect("an agent waits for ever");
}

/// The events as another process reads them from the file, a line each.
fn history(db: &Path) -> String {
    let log = Log::open_read_only(db).unwrap();
    let mut lines = Vec::new();
    for followed in log.follow_blocking(Seq::ZERO, Filter::default()).unwrap() {
        match followed.unwrap() {
            Followed::Event(row) => lines.push(String::from_utf8(row.line().to_vec()).unwrap()),
            Followed::CaughtUp(_) => break,
            other => panic!("{other:?}"),
        }
    }
    lines.join("\n")
}

fn check(db: &Path) {
    let output = server::command("check", db).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("the log is whole"), "{text}");
}
