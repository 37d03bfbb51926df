//! The local authority: decide, insert, fold, in the writer's transaction.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use crate::board::{self, Intent};
use crate::draft::Draft;
use crate::error::{Error, Refusal};
use crate::log::authority::{Answer, Appended, Authority, Command, Work};
use crate::log::redact;
use crate::record::Record;
use crate::seq::Seq;
use crate::store::fault::Failure;
use crate::store::keys::{self, Known};
use crate::store::turn::{Job, Turn};
use crate::store::writer::Writer;

pub(crate) struct Local {
    writer: Arc<Writer>,
}

impl Local {
    pub(crate) const fn new(writer: Arc<Writer>) -> Self {
        Self { writer }
    }
}

impl Authority for Local {
    fn submit(&self, command: Command, answer: Answer) {
        self.writer.submit(Box::new(Append { command, done: None, answer }));
    }
}

struct Append {
    command: Command,
    done: Option<Result<Appended, Refusal>>,
    answer: Answer,
}

impl Job for Append {
    fn weight(&self) -> usize {
        self.command.weight()
    }

    fn deadline(&self) -> Option<Instant> {
        self.command.deadline
    }

    fn run(&mut self, turn: &Turn<'_>) -> Result<(), Failure> {
        let command = &self.command;
        let done = work(turn, command)?;
        if done.is_ok()
            && let Some(also) = &command.also
        {
            (also.0)(turn.conn)?;
        }
        self.done = Some(done);
        Ok(())
    }

    fn refusal(&self) -> Option<&'static str> {
        self.done.as_ref().and_then(|done| done.as_ref().err()).map(Refusal::word)
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        let Self { command, done, answer } = *self;
        let done = match (outcome, done) {
            (Ok(()), Some(done)) => done.map_err(Error::Refused),
            (Ok(()), None) => Err(Error::Closed),
            (Err(error), _) => Err(error),
        };
        // Nobody may be listening: the receipt was dropped.
        let _unheard = answer.send((done, command));
    }
}

fn work(turn: &Turn<'_>, command: &Command) -> Result<Result<Appended, Refusal>, Failure> {
    let actor = &*command.actor;
    match (&command.work, &command.key) {
        (Work::Intend(intent), key) => carry_out(turn, key.as_deref().map(|key| (actor, key)), intent),
        (Work::Redact(asked), key) => redact::carry_out(turn, key.as_deref().map(|key| (actor, key)), asked),
        (Work::Append(drafts), Some(key)) => append_under(turn, (actor, key), drafts),
        (Work::Append(drafts), None) => match drafts.as_slice() {
            // One event's first write comes after its last refusal, so it needs no way back.
            [draft] => Ok(append_one(turn, actor, draft)?.map(|(seq, is_new)| Appended {
                seqs: vec![seq],
                new: usize::from(is_new),
                id: None,
            })),
            drafts => turn.all_or_none(|| append_each(turn, actor, drafts)),
        },
    }
}

/// Appends a batch under one key, or finds that the key is known.
fn append_under(
    turn: &Turn<'_>,
    (actor, key): (&str, &str),
    drafts: &[Draft],
) -> Result<Result<Appended, Refusal>, Failure> {
    let content_hash = hash_all(drafts);
    if let Some(known) = keys::find(turn.conn, actor, key)? {
        let asked = (keys::APPEND, content_hash, drafts.len());
        return Ok(answer_known(known, asked, key).map(|()| Appended {
            seqs: (known.first.get()..=known.last.get()).map(Seq::clamped).collect(),
            new: 0,
            id: None,
        }));
    }
    turn.all_or_none(|| {
        let appended = append_each(turn, actor, drafts)?;
        if let Ok(Appended { seqs, .. }) = &appended
            && let (Some(&first), Some(&last)) = (seqs.first(), seqs.last())
        {
            keys::insert(turn.conn, (actor, key), Known { content_hash, first, last }, turn.now_ms)?;
        }
        Ok(appended)
    })
}

fn append_each(turn: &Turn<'_>, actor: &str, drafts: &[Draft]) -> Result<Result<Appended, Refusal>, Failure> {
    let mut appended = Appended { seqs: Vec::with_capacity(drafts.len()), new: 0, id: None };
    let head = turn.head();
    for (index, draft) in drafts.iter().enumerate() {
        match append_one(turn, actor, draft)? {
            Ok((seq, is_new)) => {
                appended.seqs.push(seq);
                appended.new += usize::from(is_new);
            }
            // What won is an event of this same append, which is now taken back: nobody may see it.
            Err(Refusal::Conflict { winner, .. }) if winner.seq() > head => {
                let refusal = Refusal::shape("contradicts an earlier event of the same append");
                return Ok(Err(refusal.at(index)));
            }
            Err(refusal) => return Ok(Err(refusal.at(index))),
        }
    }
    Ok(Ok(appended))
}

/// Appends one event, or finds that its key is known.
fn append_one(turn: &Turn<'_>, actor: &str, draft: &Draft) -> Result<Result<(Seq, bool), Refusal>, Failure> {
    let record = match &draft.record {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal.clone())),
    };
    let Some(key) = &draft.key else {
        return Ok(take(turn, record)?.map(|seq| (seq, true)));
    };
    let content_hash = hash(record);
    if let Some(known) = keys::find(turn.conn, actor, key)? {
        return Ok(answer_known(known, (keys::APPEND, content_hash, 1), key).map(|()| (known.first, false)));
    }
    let taken = take(turn, record)?;
    if let Ok(seq) = taken {
        keys::insert(turn.conn, (actor, key), Known { content_hash, first: seq, last: seq }, turn.now_ms)?;
    }
    Ok(taken.map(|seq| (seq, true)))
}

/// Makes the event that an intent comes to, if any, or finds that its key is known.
fn carry_out(
    turn: &Turn<'_>,
    key: Option<(&str, &str)>,
    intent: &Intent,
) -> Result<Result<Appended, Refusal>, Failure> {
    let content_hash = keys::content_hash(intent.name(), intent);
    if let Some((actor, key)) = key
        && let Some(known) = keys::find(turn.conn, actor, key)?
    {
        if let Err(refusal) = answer_known(known, (intent.name(), content_hash, 1), key) {
            return Ok(Err(refusal));
        }
        let id = keys::answer(turn.conn, actor, key)?.and_then(|answer| answer.parse().ok());
        let seqs = if known.first == Seq::ZERO { Vec::new() } else { vec![known.first] };
        return Ok(Ok(Appended { seqs, new: 0, id }));
    }
    // What is decided on may be an event of this very transaction.
    turn.flush()?;
    let event = match board::plan(turn.conn, intent, turn.wall_seconds())? {
        Ok(event) => event,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let id = event.as_ref().and_then(board::minted_id);
    let mut seqs = Vec::new();
    if let Some(event) = event {
        match Draft::from(event)
            .record
            .map_or_else(|refusal| Ok(Err(refusal)), |record| take(turn, &record))?
        {
            Ok(seq) => seqs.push(seq),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    board::settle(turn.conn, intent)?;
    if let Some((actor, key)) = key {
        let seq = seqs.first().copied().unwrap_or_default();
        keys::insert(turn.conn, (actor, key), Known { content_hash, first: seq, last: seq }, turn.now_ms)?;
        keys::set_answer(turn.conn, actor, key, &id)?;
    }
    Ok(Ok(Appended { new: seqs.len(), seqs, id }))
}

/// Decide, insert, fold.
fn take(turn: &Turn<'_>, record: &Arc<Record>) -> Result<Result<Seq, Refusal>, Failure> {
    let Some(step) = record.event.as_deref().and_then(board::step) else {
        return Ok(Ok(turn.insert(record, None)?));
    };
    // A refusal tells the event that won, which may be one of this very transaction.
    turn.flush()?;
    let others = match board::decide(turn.conn, step, record.payload().len())? {
        Ok(others) => others,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let agents = others
        .filter(|other| !record.agents().split(' ').any(|name| name == other))
        .map(|other| format!("{} {other}", record.agents()).into());
    let seq = turn.insert(record, agents)?;
    board::fold(turn.conn, step, seq, record.payload().len())?;
    board::count_id(turn.conn, step)?;
    Ok(Ok(seq))
}

pub(super) fn answer_known(
    known: Known,
    (what, content_hash, events): (&str, [u8; 32], usize),
    key: &str,
) -> Result<(), Refusal> {
    if known.stands_for(what, content_hash, events) { Ok(()) } else { Err(Refusal::KeyReused(key.into())) }
}

/// The hash of an event's content: kind and payload, as they are stored.
pub(crate) fn hash(record: &Record) -> [u8; 32] {
    Sha256::new_with_prefix(record.kind()).chain_update([0]).chain_update(record.payload()).finalize().into()
}

fn hash_all(drafts: &[Draft]) -> [u8; 32] {
    // One event under the batch's key is the same content as that event under a key of its own.
    let mut hashes = drafts.iter().filter_map(|draft| draft.record.as_ref().ok()).map(|record| hash(record));
    match drafts {
        [_] => hashes.next().unwrap_or_default(),
        _ => hashes.fold(Sha256::new(), sha2::Digest::chain_update).finalize().into(),
    }
}
