//! A server's live stream, resumed for as long as there is a server to come back.

use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{Event, Eventsource as _};
use futures_util::StreamExt as _;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::Deserialize;

use crate::cli::client::{self, Client};
use crate::cli::failure::Failure;
use crate::cli::output::say;
use crate::seq::Cursor;

/// Silence after which a connection is taken for dead: three heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The first and the longest pause before a new connection.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Where a stream stands, and what it is asked for.
pub(crate) struct Live<'a> {
    pub(crate) client: &'a Client,
    pub(crate) query: Vec<(&'static str, String)>,
    /// The last id seen, or where to start.
    pub(crate) cursor: String,
    /// Whether to go on after what was there already.
    pub(crate) does_follow: bool,
}

/// What a stream gives to the one who prints it.
pub(crate) enum Given {
    Event(Bytes),
    /// Nothing more is at hand: a good moment to flush.
    CaughtUp,
    /// Everything up to here was given or is not wanted.
    Passed(Cursor),
}

#[derive(Deserialize)]
struct Reset {
    reason: String,
    seq: i64,
}

/// Why one connection ended.
enum End {
    /// All that was asked for was given.
    Done,
    /// The connection broke, or the server went away; `true` if it had given anything.
    Broke(bool, String),
}

impl Live<'_> {
    /// Gives events until it is told to stop, over as many connections as that takes.
    pub(crate) async fn run(
        &mut self,
        mut give: impl FnMut(Given) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut pause = PAUSE.0;
        let mut is_told = false;
        loop {
            match self.connection(&mut give, &mut is_told).await? {
                End::Done => return Ok(()),
                End::Broke(_, why) if !self.does_follow => return Err(Failure::later(why)),
                End::Broke(has_given, why) => {
                    if has_given {
                        pause = PAUSE.0;
                    }
                    if !is_told {
                        say(format_args!("hivelog: {why}; trying again, from {}", self.cursor));
                        is_told = true;
                    }
                    give(Given::CaughtUp)?;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    async fn connection(
        &mut self,
        give: &mut impl FnMut(Given) -> Result<(), Failure>,
        is_told: &mut bool,
    ) -> Result<End, Failure> {
        let request = self
            .client
            .request(Method::GET, "/api/stream")
            .query(&self.query)
            .header(ACCEPT, "text/event-stream")
            .header("last-event-id", &self.cursor);
        let response = match request.send().await {
            Ok(response) => client::accepted(response).await,
            Err(error) => Err(client::unreachable(&error)),
        };
        let response = match response {
            Ok(response) => response,
            Err(fault) if fault.is_transient() => return Ok(End::Broke(false, fault.to_string())),
            Err(fault) => return Err(fault.into()),
        };
        let mut events = response.bytes_stream().eventsource();
        let mut has_given = false;
        loop {
            let Ok(next) = tokio::time::timeout(SILENCE_MAX, events.next()).await else {
                return Ok(End::Broke(has_given, "the server fell silent".into()));
            };
            let event = match next {
                Some(Ok(event)) => event,
                Some(Err(_)) => return Ok(End::Broke(has_given, "the connection broke".into())),
                None => return Ok(End::Broke(has_given, "the server ended the stream".into())),
            };
            if std::mem::take(is_told) {
                say(format_args!("hivelog: connected again"));
            }
            has_given = true;
            if !event.id.is_empty() {
                self.cursor.clone_from(&event.id);
            }
            let is_last = self.frame(event, give)?;
            // After the event that it stands at.
            give(Given::Passed(self.position()?))?;
            if is_last {
                return Ok(End::Done);
            }
        }
    }

    fn position(&self) -> Result<Cursor, Failure> {
        self.cursor.parse().map_err(|error| Failure::failed(format!("{}: {error}", self.cursor)))
    }

    /// Passes one frame on; true when it was the last that is wanted.
    fn frame(
        &self,
        event: Event,
        give: &mut impl FnMut(Given) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        match event.event.as_str() {
            "message" | "" => give(Given::Event(event.data.into()))?,
            "caught_up" => {
                give(Given::CaughtUp)?;
                return Ok(!self.does_follow);
            }
            "reset" => {
                let reset: Reset =
                    serde_json::from_str(&event.data).map_err(|error| client::not_ours(&error))?;
                say_reset(&reset.reason, reset.seq);
            }
            // A word that a newer server has, or one that only keeps the connection awake.
            _ => {}
        }
        Ok(false)
    }
}

/// Says that events are missing between what was printed and what will be.
pub(crate) fn say_reset(reason: &str, seq: i64) {
    say(format_args!("hivelog: reset ({reason}): what follows begins after seq {seq}"));
}
