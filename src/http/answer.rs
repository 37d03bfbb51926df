//! The room that answers take up in memory until they are with the system.
//!
//! A client that takes nothing leaves its answer behind the socket until the connection is cut, and how many it
//! may leave is no bound where an answer has megabytes. So a large one goes out with room of its own or not at
//! all. Bytes, not bodies, keep the room: a connection lets go of a body as soon as it has the last of them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::access::pass::Place;
use crate::http::problem::Problem;
use crate::limits::{ANSWER_BYTES_SMALL, ANSWER_PATIENCE, ANSWERS_BYTES_MAX, ANSWERS_BYTES_PER_TOKEN_MAX};

/// The room of a token.
pub(super) type Share = Arc<Semaphore>;

/// The room of all answers, counted in KiB.
pub(super) struct Room(Arc<Semaphore>);

/// What a large answer takes up of it, until this is dropped.
pub(super) struct Load {
    all: OwnedSemaphorePermit,
    share: Option<OwnedSemaphorePermit>,
}

/// Left on an answer that took its room before it was made, or has none of its own.
#[derive(Clone)]
pub(super) struct Loaded(pub(super) Option<Arc<Load>>);

const fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 10)
}

/// KiB that so many bytes take up. What is larger than all there is takes all of it, and goes out alone.
fn count(bytes: usize, most: usize) -> u32 {
    u32::try_from(kib(bytes.min(most))).unwrap_or(u32::MAX)
}

fn full() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "urn:hivelog:answers-full",
        "too much of what was answered is not taken",
    )
    .retry_after(1)
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(kib(ANSWERS_BYTES_MAX))))
    }

    /// Room for so many bytes, at once; a small answer needs none.
    ///
    /// Nobody waits with an answer in hand: what waits would be what there is no room for.
    pub(super) fn take(&self, share: Option<&Share>, bytes: usize) -> Result<Option<Arc<Load>>, Problem> {
        if bytes <= ANSWER_BYTES_SMALL {
            return Ok(None);
        }
        let take = |from: &Arc<Semaphore>, most| {
            Arc::clone(from).try_acquire_many_owned(count(bytes, most)).map_err(|_| full())
        };
        let share = share.map(|share| take(share, ANSWERS_BYTES_PER_TOKEN_MAX)).transpose()?;
        Ok(Some(Arc::new(Load { all: take(&self.0, ANSWERS_BYTES_MAX)?, share })))
    }

    /// Room for what cannot be taken back once it is made. Waits a little for it.
    pub(super) async fn reserve(&self, share: Option<&Share>, bytes: usize) -> Result<Load, Problem> {
        let take = |from: &Arc<Semaphore>, most| Arc::clone(from).acquire_many_owned(count(bytes, most));
        let both = async {
            let share = match share {
                Some(share) => Some(take(share, ANSWERS_BYTES_PER_TOKEN_MAX).await?),
                None => None,
            };
            Ok::<_, tokio::sync::AcquireError>(Load { all: take(&self.0, ANSWERS_BYTES_MAX).await?, share })
        };
        timeout(ANSWER_PATIENCE, both).await.map_err(|_| full())?.map_err(|_| full())
    }

    /// Lets an answer go out, where there is room for it, with its place among the open requests of its token.
    ///
    /// What is refused here has done nothing: who changes something is answered in a few words, or has its room
    /// before.
    pub(super) fn let_out(
        &self,
        share: Option<&Share>,
        mut answer: Response,
        place: Option<Place>,
    ) -> Response {
        let bytes = usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX);
        let loaded = answer.extensions_mut().remove::<Loaded>();
        let load = match loaded.map_or_else(|| self.take(share, bytes), |Loaded(load)| Ok(load)) {
            Ok(None) if place.is_none() => return answer,
            Ok(load) => load,
            Err(problem) => return problem.into_response(),
        };
        let kept = Arc::new(Kept { _place: place, _load: load });
        answer.map(|body| Body::new(Keeping { body, kept }))
    }
}

impl Load {
    /// What is left of it for so many bytes.
    pub(super) fn fit(mut self, bytes: usize) -> Option<Arc<Self>> {
        if bytes <= ANSWER_BYTES_SMALL {
            return None;
        }
        for permit in [Some(&mut self.all), self.share.as_mut()].into_iter().flatten() {
            drop(permit.split(permit.num_permits().saturating_sub(kib(bytes))));
        }
        Some(Arc::new(self))
    }
}

/// What an answer keeps until its last byte is with the system.
struct Kept {
    _place: Option<Place>,
    _load: Option<Arc<Load>>,
}

/// A body that keeps it.
struct Keeping {
    body: Body,
    kept: Arc<Kept>,
}

/// Bytes that keep it.
struct KeepingBytes {
    bytes: Bytes,
    _kept: Arc<Kept>,
}

impl AsRef<[u8]> for KeepingBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for Keeping {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let is_last = self.body.is_end_stream();
        // Of the others the body itself keeps it.
        let keep = |bytes: Bytes| {
            if is_last || bytes.len() > ANSWER_BYTES_SMALL {
                Bytes::from_owner(KeepingBytes { bytes, _kept: Arc::clone(&self.kept) })
            } else {
                bytes
            }
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(keep))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer in pieces, so that the largest of them is not copied into one with the others.
pub(super) struct Pieces(pub(super) std::array::IntoIter<Bytes, 3>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_slice().iter().map(|piece| piece.len() as u64).sum())
    }
}
