//! Questions as their routes see them: those for the operator are on the board, those between peers are not.

use axum::http::HeaderMap;
use rusqlite::Connection;

use crate::access::Role;
use crate::board::question::{Answer, Ask};
use crate::board::{Which, join, question};
use crate::broker::peer::{self, PeerQuestion, Whose};
use crate::error::Error;
use crate::http::Door;
use crate::http::caller::{Caller, forbidden};
use crate::http::command::{self, Listed};
use crate::http::problem::Problem;
use crate::store::readers::{Lane, at_one_moment};

/// A question of either sort.
pub(super) enum Found {
    /// One for the operator.
    Board { asker: String, is_closed: bool },
    /// One between peers.
    Peers(Box<PeerQuestion>),
}

/// The question of this id.
pub(super) async fn look(door: &Door, id: i64) -> Result<Found, Problem> {
    let look = move |conn: &Connection| {
        at_one_moment(conn, |conn| {
            Ok(match question::look(conn, id)? {
                Some((asker, is_closed)) => Some(Found::Board { asker, is_closed }),
                None => peer::find(conn, id)?.map(|asked| Found::Peers(Box::new(asked))),
            })
        })
    };
    door.log.shared().readers.run(Lane::Point, look).await?.ok_or_else(Problem::not_found)
}

/// Puts a question to a peer: its id, and whether it is new.
pub(super) async fn ask(
    door: &Door,
    caller: &Caller,
    headers: &HeaderMap,
    (ask, to): (Ask, &str),
) -> Result<(i64, bool), Problem> {
    let key = command::key(caller, headers, "ask_peer", &(&ask, to))?;
    let asked = door.desk()?.broker().ask_peer(ask, to, key).await?;
    Ok((asked.answer, asked.is_new))
}

/// Lets the peer who was asked answer.
pub(super) async fn answer(
    door: &Door,
    caller: &Caller,
    headers: &HeaderMap,
    (asked, mut answer): (&PeerQuestion, Answer),
) -> Result<(), Problem> {
    answer.answerer = match caller.name() {
        // Nobody was asked for a credential: the one who was asked the question answers it.
        None => asked.to.clone(),
        Some(_) if caller.is_agent(&asked.to) => asked.to.clone(),
        Some(_) if caller.is_agent(&asked.asker) => {
            return Err(forbidden("nobody answers a question of their own"));
        }
        Some(_) => return Err(Problem::not_found()),
    };
    let key = command::key(caller, headers, "answer_peer", &answer)?;
    door.desk()?.broker().answer_peer(answer, key).await?;
    Ok(())
}

/// Lets the one who asked take it back.
pub(super) async fn cancel(
    door: &Door,
    caller: &Caller,
    headers: &HeaderMap,
    asked: &PeerQuestion,
) -> Result<(), Problem> {
    if caller.name().is_some() && !caller.is_agent(&asked.asker) {
        return Err(Problem::not_found());
    }
    let key = command::key(caller, headers, "cancel_peer", &asked.id)?;
    door.desk()?.broker().cancel_peer(asked.id, &asked.asker, key).await?;
    Ok(())
}

/// Whether it is one of the two whom the question concerns.
pub(super) fn sees(caller: &Caller, asked: &PeerQuestion) -> bool {
    caller.name().is_none() || caller.is_agent(&asked.asker) || caller.is_agent(&asked.to)
}

/// Which questions a list holds.
pub(super) fn listed(
    door: &Door,
    caller: &Caller,
    asked: &Listed,
) -> Result<impl Fn(&Connection) -> Result<Vec<u8>, Error> + Send + use<>, Problem> {
    let owner = caller.lists(asked.mine)?;
    let between = |name: &str| vec![Whose::AskedBy(name.into()), Whose::PutTo(name.into())];
    let whose = match (&owner, caller.name()) {
        (Some(name), _) if asked.mine => vec![Whose::AskedBy(name.clone())],
        (Some(name), _) => between(name),
        (None, None) => vec![Whose::All],
        (None, Some(name)) if caller.is(Role::Agent) => between(name),
        // Those between peers are theirs alone.
        (None, Some(_)) => Vec::new(),
    };
    // What any peer may answer is shown to every peer.
    let is_offered = door.access.peer_answers && owner.is_some() && !asked.mine;
    let (opens, closed) = (asked.open != Some(false), asked.open != Some(true));
    Ok(move |conn: &Connection| {
        at_one_moment(conn, |conn| {
            let mut out = Vec::new();
            if opens {
                let open = Which::Open(owner.clone().filter(|_| !is_offered));
                join(&mut out, |out| question::view(conn, &open, out))?;
                for whose in &whose {
                    join(&mut out, |out| peer::view(conn, &peer::Which::Open(whose.clone()), out))?;
                }
            }
            if closed {
                join(&mut out, |out| question::view(conn, &Which::Closed(owner.clone()), out))?;
                for whose in &whose {
                    join(&mut out, |out| peer::view(conn, &peer::Which::Closed(whose.clone()), out))?;
                }
            }
            Ok(out)
        })
    })
}

/// The row of one question, closed or, at the end of the wait, still open.
pub(super) async fn row(
    door: &Door,
    caller: &Caller,
    (asked, wait): (&PeerQuestion, std::time::Duration),
) -> Result<String, Problem> {
    if !asked.is_open() {
        return Ok(asked.json());
    }
    let ended = door.desk()?.broker().peer_outcome(asked.id);
    command::patiently(door, caller, wait, ended).await?;
    match look(door, asked.id).await? {
        Found::Peers(asked) => Ok(asked.json()),
        Found::Board { .. } => Err(Problem::not_found()),
    }
}
