//! Faults planted into the accounts of a good run: a verdict that does not see them is worth nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;

use crate::account::Told;
use crate::dashboard::Run;
use crate::verdict;

type Plant = fn(&mut Told, &mut Vec<Run>, &mut Vec<String>);

/// The ends of two items, exchanged: neither is strange by itself.
fn exchange(ends: &mut std::collections::BTreeMap<i64, String>) {
    let ((first, one), (last, other)) = (ends.pop_first().unwrap(), ends.pop_last().unwrap());
    ends.extend([(first, other), (last, one)]);
}

/// The first line of this kind.
fn line(history: &[String], kind: &str) -> usize {
    let kind = format!("\"kind\":\"{kind}\"");
    history.iter().position(|line| line.contains(&kind)).expect("a line of that kind")
}

const PLANTS: [(&str, Plant); 14] = [
    ("a message that was not received", |told, _, _| drop(told.received.pop_first())),
    ("a message that changed on its way", |told, _, _| {
        told.received.first_entry().unwrap().get_mut().push('!');
    }),
    ("a message that nobody sent", |told, _, _| drop(told.sent.pop_last())),
    ("a message from somebody else", |told, _, _| {
        told.sent.first_entry().unwrap().get_mut().from = "mallory".into();
    }),
    ("the decision of another approval", |told, _, _| exchange(&mut told.approvals)),
    ("the answer of another question", |told, _, _| exchange(&mut told.questions)),
    ("the answer of another peer", |told, _, _| exchange(&mut told.peer_questions)),
    ("an approval that nobody was told of", |told, _, _| drop(told.approvals.pop_last())),
    ("a decision that is not there", |told, _, _| {
        let mut closed = told.closed.first_entry().unwrap();
        closed.get_mut().1 += 1_000_000;
    }),
    ("a transient that ended for another reason", |told, _, _| {
        told.cleared.first_entry().unwrap().get_mut().1 = "lease_expired".into();
    }),
    ("a frame that was lost", |_, runs, _| {
        runs[0].seqs.remove(7);
        runs[0].lines.remove(7);
    }),
    ("a frame that came twice", |_, runs, _| {
        let (seq, line) = (runs[1].seqs[7], runs[1].lines[7].clone());
        runs[1].seqs.insert(7, seq);
        runs[1].lines.insert(7, line);
    }),
    ("a frame that says something else", |_, runs, _| runs[0].lines[7].push(' ')),
    ("a delivery that was mirrored as another", |_, runs, history| {
        let index = line(history, "delivered");
        let text = history[index].replace("\"kind\":\"delivered\"", "\"kind\":\"sent\"");
        history[index].clone_from(&text);
        runs.iter_mut().for_each(|run| run.lines[index].clone_from(&text));
    }),
];

/// Looks once more at each account with a fault in it.
pub fn check_that_it_is_seen(db: &Path, told: &Told, runs: &[Run], history: &str) {
    let hook = take_hook();
    let mut unseen = Vec::new();
    for (what, plant) in PLANTS {
        let mut history: Vec<String> = history.lines().map(str::to_owned).collect();
        let (mut told, mut runs) = (told.clone(), runs.to_vec());
        plant(&mut told, &mut runs, &mut history);
        let history = history.join("\n");
        // What it says about a planted fault is of no interest.
        set_hook(Box::new(|_| {}));
        let looked = catch_unwind(AssertUnwindSafe(|| verdict::look(db, &told, &runs, &history)));
        if looked.is_ok() {
            unseen.push(what);
        }
    }
    set_hook(hook);
    assert_eq!(unseen, Vec::<&str>::new(), "faults that the verdict does not see");
}
