//! Waiting for a decision: a look at the board, then the log from there on.

use std::sync::Arc;

use rusqlite::Connection;
use serde::Deserialize;

use crate::error::{Error, Refusal};
use crate::log::Log;
use crate::log::feed::Feed;
use crate::log::follower::{Followed, Follower};
use crate::query::Filter;
use crate::store::readers::{Lane, at_one_moment};
use crate::store::{meta, rows};

/// Waits until `look` says that the item is decided, or that an event of this kind with its id follows.
///
/// The look and the position are of one moment, so nothing falls between them. While it waits it looks at
/// nothing but what is committed, from memory; `seat` may give the wait a place where it is told only of what is for
/// it. Cancel-safe.
pub(crate) async fn decided(
    log: &Log,
    kind: &'static str,
    id: i64,
    seat: impl Fn(Feed, &Arc<Filter>) -> Feed,
    look: impl Fn(&Connection) -> rusqlite::Result<Option<bool>> + Clone + Send + 'static,
) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct HasId {
        id: i64,
    }
    let filter = Arc::new(Filter::default().kind(kind)?);
    loop {
        let look = look.clone();
        let readers = log.readers();
        let (found, head, floor) = readers
            .run(Lane::Point, move |conn| {
                at_one_moment(conn, |conn| Ok((look(conn)?, rows::head(conn)?, meta::floor(conn)?)))
            })
            .await?;
        match found {
            None => return Err(Refusal::Unknown(format!("{} {id}", noun(kind)).into()).into()),
            Some(true) => return Ok(()),
            Some(false) => {}
        }
        let feed = Feed::begin(Arc::clone(log.shared()), head.into(), (head, floor));
        let mut live = Follower::new(seat(feed, &filter), (*filter).clone());
        loop {
            match live.next().await {
                Some(Ok(Followed::Event(row))) if row.decode::<HasId>().is_ok_and(|it| it.id == id) => break,
                Some(Ok(Followed::Event(_) | Followed::Passed(_) | Followed::CaughtUp(_))) => {}
                // What is pruned meanwhile is told by the next look.
                Some(Ok(Followed::Reset { .. })) => break,
                Some(Err(error)) => return Err(error),
                None => return Err(Error::Closed),
            }
        }
    }
}

/// What a kind is about: its first word.
fn noun(kind: &str) -> &str {
    kind.split('_').next().unwrap_or(kind)
}
