//! The agents: each works and asks in one task, and reads its mail in another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::account::{Sent, Told, Way, approval_end, count, question_end};
use crate::client::Client;
use crate::dice::Dice;
use crate::repository::Commit;

/// What every agent knows.
pub struct World {
    pub names: Vec<String>,
    pub commits: Vec<Commit>,
    /// No new work is begun.
    pub is_over: AtomicBool,
    /// Nothing is left to read.
    pub is_drained: AtomicBool,
}

/// Works until it is over; what was begun by then is finished.
pub async fn work(me: Client, world: Arc<World>, mut dice: Dice) {
    let mut step = 0;
    while !world.is_over.load(Ordering::Relaxed) {
        step += 1;
        let key = format!("{}-{step}", me.name);
        match dice.below(100) {
            0..55 => send(&me, &world, &mut dice, &key).await,
            55..68 => ask(&me, &mut dice, &key).await,
            68..76 => ask_peer(&me, &world, &mut dice, &key).await,
            76..90 => request(&me, &world, &mut dice, &key).await,
            _ => live(&me, &mut dice, &key).await,
        }
        tokio::time::sleep(Duration::from_millis(dice.between(5, 60))).await;
    }
}

fn peer<'a>(me: &Client, world: &'a World, dice: &mut Dice) -> &'a str {
    loop {
        let index = usize::try_from(dice.below(world.names.len() as u64)).unwrap();
        if world.names[index] != me.name {
            return &world.names[index];
        }
    }
}

async fn send(me: &Client, world: &World, dice: &mut Dice, key: &str) {
    let to = if dice.percent(10) { "operator" } else { peer(me, world, dice) };
    let body =
        format!("{key}: \u{1f41d} \"quoted\"\n{}", "x".repeat(usize::try_from(dice.below(300)).unwrap()));
    let begun = Instant::now();
    let sent = me.post("/api/messages", key, &json!({"to": to, "body": body})).await;
    assert!(sent.is_good(), "{sent:?}");
    me.account.note_sent(sent.id(), Sent { from: me.name.clone(), to: to.into(), body }, begun);
}

async fn ask(me: &Client, dice: &mut Dice, key: &str) {
    let mut question =
        json!({"question": format!("{key}?"), "options": ["yes", "no", "later"], "multi": dice.percent(30)});
    if dice.percent(30) {
        question["ttl_seconds"] = dice.between(1, 2).into();
    }
    let asked = me.post("/api/questions", key, &question).await;
    assert!(asked.is_good() && asked.json["seq"].is_i64(), "{asked:?}");
    let ended = me.wait_for(&format!("/api/questions/{}", asked.id()), "outcome", "open").await;
    note(me, |told| &mut told.questions, asked.id(), question_end(&ended.json));
}

async fn ask_peer(me: &Client, world: &World, dice: &mut Dice, key: &str) {
    let mut question = json!({"question": format!("{key}, between us?"), "to": peer(me, world, dice)});
    if dice.percent(30) {
        question["ttl_seconds"] = 1.into();
    }
    let asked = me.post("/api/questions", key, &question).await;
    assert!(asked.is_good() && asked.json["seq"].is_null(), "{asked:?}");
    let ended = me.wait_for(&format!("/api/questions/{}", asked.id()), "outcome", "open").await;
    note(me, |told| &mut told.peer_questions, asked.id(), question_end(&ended.json));
}

async fn request(me: &Client, world: &World, dice: &mut Dice, key: &str) {
    let commit = &world.commits[usize::try_from(dice.below(world.commits.len() as u64)).unwrap()];
    let wanted = json!({
        "approval_kind": "apply_commit", "sha_short": commit.sha_short, "diff": commit.diff,
        "description": commit.subject,
    });
    let asked = me.post("/api/approvals", key, &wanted).await;
    assert!(asked.is_good(), "{asked:?}");
    let id = asked.id();
    if dice.percent(20) {
        // As after a crash: the agent only knows its name, and finds what it had asked for.
        let open = me.get("/api/approvals?open=true&mine=true").await;
        let rows = open.json["approvals"].as_array().expect("a list").clone();
        assert!(rows.iter().all(|row| row["agent"] == me.name.as_str()), "{rows:?}");
        if rows.iter().any(|row| row["id"] == id && row["diff"] == commit.diff.as_str()) {
            me.account.found_again.fetch_add(1, Ordering::Relaxed);
        }
    }
    let ended = me.wait_for(&format!("/api/approvals/{id}"), "status", "pending").await;
    assert_eq!(ended.json["diff"], commit.diff.as_str());
    note(me, |told| &mut told.approvals, id, approval_end(&ended.json));
}

/// A lifecycle action, ended, or left behind by an agent that dies over it.
async fn live(me: &Client, dice: &mut Dice, key: &str) {
    let path = format!("/api/transients/{}", me.name);
    let kinds = ["starting", "restarting", "rebuilding"];
    let kind = kinds[usize::try_from(dice.below(3)).unwrap()];
    let set = me.write(Method::PUT, &path, key, &json!({"transient_kind": kind, "lease_seconds": 1})).await;
    assert!(set.is_good(), "{set:?}");
    me.account.transients.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(dice.between(1, 100))).await;
    if dice.percent(25) {
        me.account.orphans.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let reason = if dice.percent(80) { "done" } else { "failed" };
    let cleared = me.write(Method::DELETE, &path, &format!("{key}-end"), &json!({"reason": reason})).await;
    // Its lease may have been over by then.
    assert!(cleared.is_good() || cleared.status == 404, "{cleared:?}");
    if let Some(seq) = cleared.json["seq"].as_i64() {
        me.account.told.lock().unwrap().cleared.insert(seq, (me.name.clone(), reason.into()));
    }
}

fn note(me: &Client, list: fn(&mut Told) -> &mut BTreeMap<i64, String>, id: i64, end: String) {
    let before = list(&mut me.account.told.lock().unwrap()).insert(id, end);
    assert!(before.is_none(), "{id} was asked twice");
}

/// What an inbox has handed out so far.
#[derive(Default)]
struct Inbox {
    acked: BTreeSet<i64>,
    /// The last that came for the first time.
    newest: i64,
}

impl Inbox {
    /// What comes for the first time comes in order; what was acknowledged does not come again.
    fn check(&mut self, message: &Value) {
        let id = message["id"].as_i64().expect("an id");
        assert!(!self.acked.contains(&id), "handed out after its acknowledgement: {message}");
        if message["redelivered"] == false {
            assert!(id > self.newest, "handed out after {}: {message}", self.newest);
            self.newest = id;
        }
    }
}

/// Reads mail until nothing is left. Now and then it takes messages and dies over them: then they come back.
pub async fn mail(me: Client, world: Arc<World>, mut dice: Dice) {
    let mut inbox = Inbox::default();
    while !world.is_drained.load(Ordering::Relaxed) {
        let dies = !world.is_over.load(Ordering::Relaxed) && dice.percent(4);
        let path = format!("/api/agents/{}/recv?wait=1&max={}&lease_seconds=2", me.name, dice.between(1, 8));
        if dies && dice.percent(50) {
            // What is handed out to nobody comes back when its lease ends.
            let life = Duration::from_millis(dice.below(60));
            let _for_nobody = tokio::time::timeout(life, me.call(Method::POST, &path, None, None)).await;
            me.account.cut.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let taken = me.call(Method::POST, &path, None, None).await;
        assert!(taken.is_good(), "{taken:?}");
        let messages = taken.json["messages"].as_array().expect("a list").clone();
        if dies && !messages.is_empty() {
            let back = me.call(Method::POST, &format!("/api/agents/{}/requeue", me.name), None, None).await;
            assert!(back.is_good(), "{back:?}");
            me.account.requeues.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        for message in &messages {
            inbox.check(message);
        }
        for message in &messages {
            inbox.acked.insert(read(&me, message, &mut dice).await);
        }
    }
}

/// Answers or takes a message, and acknowledges it; gives its id.
async fn read(me: &Client, message: &Value, dice: &mut Dice) -> i64 {
    let id = message["id"].as_i64().expect("an id");
    if message["redelivered"] == true {
        me.account.redeliveries.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(message["to"], me.name.as_str());
    if let Some(question) = message["question_id"].as_i64() {
        let answer = json!({"answer": format!("says {}", me.name)});
        let path = format!("/api/questions/{question}/answer");
        let answered = me.post(&path, &format!("{}-answer-{question}", me.name), &answer).await;
        // It may have expired; then the answer says how it ended.
        assert!(answered.is_good() || answered.status == 409, "{answered:?}");
        if answered.status == 409 {
            assert!(answered.json["winner"]["outcome"].is_string(), "{answered:?}");
            me.account.conflicts.fetch_add(1, Ordering::Relaxed);
        }
    } else {
        me.account.note_seen(id, Way::Recv);
        let body = message["body"].as_str().expect("a body").to_owned();
        me.account.told.lock().unwrap().received.insert((me.name.clone(), id), body);
    }
    if dice.percent(3) {
        let renewed = me.call(Method::POST, &format!("/api/messages/{id}/renew"), None, None).await;
        // Its lease may have been over, or its question answered.
        assert!(renewed.is_good() || renewed.status == 404, "{renewed:?}");
    }
    let acked = me.call(Method::POST, &format!("/api/messages/{id}/ack"), None, None).await;
    assert!(acked.is_good(), "{acked:?}");
    id
}

/// Decides what is open, as fast as it can see it; two of them race.
pub async fn operate(me: Client, world: Arc<World>, mut dice: Dice) {
    while !world.is_drained.load(Ordering::Relaxed) {
        let state = me.get("/api/state").await;
        let rows = |list: &str| state.json[list].as_array().expect("a list").clone();
        for approval in rows("approvals") {
            let status =
                ["approved", "approved", "denied", "failed"][usize::try_from(dice.below(4)).unwrap()];
            let note = format!("decision {}", me.account.salt());
            let body = json!({"status": status, "note": note});
            decide(&me, &approval, ("approvals", "resolve"), &body).await;
        }
        for question in rows("questions") {
            // What has a deadline is often left to it.
            if question["deadline_at"].is_i64() && dice.percent(90) {
                continue;
            }
            let (verb, body) = match dice.below(10) {
                0 => ("cancel", json!({})),
                1..4 => ("answer", json!({"answer": format!("answer {}", me.account.salt())})),
                _ => ("answer", json!({"selected": ["later"]})),
            };
            decide(&me, &question, ("questions", verb), &body).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.between(10, 80))).await;
    }
}

async fn decide(me: &Client, item: &Value, (list, verb): (&str, &str), body: &Value) {
    let path = &format!("/api/{list}/{}/{verb}", item["id"]);
    let key = format!("{}-{path}-{}", me.name, me.account.salt());
    let decided = me.post(path, &key.replace('/', "."), body).await;
    assert!(decided.is_good() || decided.status == 409, "{path}: {decided:?}");
    let told = if decided.status == 409 {
        me.account.conflicts.fetch_add(1, Ordering::Relaxed);
        &decided.json["winner"]["seq"]
    } else {
        &decided.json["seq"]
    };
    let seq = told.as_i64().unwrap_or_else(|| panic!("{path}: {decided:?}"));
    let kind = if list == "approvals" { "approval_resolved" } else { "question_resolved" };
    let closed = (kind.to_owned(), item["id"].as_i64().expect("an id"));
    let mut told = me.account.told.lock().unwrap();
    let before = told.closed.insert(seq, closed.clone());
    assert!(before.is_none_or(|before| before == closed), "{path}: {decided:?}");
}

/// Whether the swarm did everything that this is about.
pub fn check_that_it_happened(account: &crate::account::Account, kills: u64) {
    assert!(kills > 0, "no kill");
    let counts = [
        ("retries", count(&account.retries)),
        ("calls cut off", count(&account.cut)),
        ("repeats of what had succeeded", count(&account.repeats)),
        ("lost races", count(&account.conflicts)),
        ("redeliveries", count(&account.redeliveries)),
        ("requeues", count(&account.requeues)),
        ("requests found again", count(&account.found_again)),
        ("transients", count(&account.transients)),
        ("transients of the dead", count(&account.orphans)),
    ];
    for (what, count) in counts {
        assert!(count > 0, "there were no {what}: this run has shown nothing");
    }
}
