//! The task that tells the streams of what was committed.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::http::Door;
use crate::limits::{WAVE_PAUSE_PER_STREAM, WAVE_STREAMS};
use crate::log::Shared;
use crate::log::feed::Feed;
use crate::log::herald::{Herald, Office};
use crate::query::Filter;
use crate::tail::Woken;

/// What is shorter costs a timer more than it saves.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Sees to it that somebody tells, as long as there are streams. Called with one that has its seat.
///
/// A task, not the writer's thread: waking a thousand streams takes it longer than a commit. It ends with the
/// last stream or the log, at the commit after that.
fn keep(herald: &Arc<Herald>, shared: &Arc<Shared>) {
    if let Some(office) = herald.take_office() {
        tokio::spawn(tell(office, Arc::clone(shared)));
    }
}

/// Gives a live read its seat.
pub(super) fn seat(door: &Door) -> impl Fn(Feed, &Arc<Filter>) -> Feed {
    |feed, filter| {
        let feed = feed.seated(&door.herald, filter);
        keep(&door.herald, door.log.shared());
        feed
    }
}

async fn tell(mut office: Office, shared: Arc<Shared>) {
    while shared.tail.wait(office.told()).await == Woken::More {
        let begin = Instant::now();
        let streams = office.tell(&shared.recent, shared.tail.head());
        let pause = WAVE_PAUSE_PER_STREAM * u32::try_from(streams.len()).unwrap_or(u32::MAX);
        wake(streams).await;
        if office.leave_if_empty() {
            return;
        }
        if pause >= PAUSE_MIN {
            sleep_until(begin + pause).await;
        }
    }
    wake(office.close()).await;
}

async fn wake(streams: Vec<Waker>) {
    for (index, stream) in (1..).zip(streams) {
        stream.wake();
        if index % WAVE_STREAMS == 0 {
            yield_now().await;
        }
    }
}
