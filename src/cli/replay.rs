//! A git repository as a swarm: authors are agents, commits are approvals, and a restart goes on
//! where it stopped.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use crate::cli::authors::agents;
use crate::cli::client::{self, Client};
use crate::cli::failure::Failure;
use crate::cli::git::{self, Commit, Diff};
use crate::cli::output;
use crate::cli::poster::{self, Piece, Poster};
use crate::event::OPERATOR;
use crate::limits::{PAGE_EVENTS_MAX, PAYLOAD_BYTES_MAX};

/// How many commits are open at a moment.
const OPEN: usize = 3;
/// Commits whose messages a restart posts again: one whose events went in two bodies may lack its own.
const AGAIN: usize = 2;
/// Digits of a commit's short name.
const SHORT: usize = 12;
/// Room in one event for all but its diff and its message.
const ENVELOPE_BYTES: usize = 8 << 10;
/// Text of a commit message that is kept.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Text of a subject that is sent as a message.
const SUBJECT_BYTES_MAX: usize = 4 << 10;

/// A repository, ready to be replayed.
struct Story {
    commits: Vec<Commit>,
    agents: Vec<String>,
}

/// What earlier replays left in this file.
#[derive(Default)]
struct Past {
    /// The ids of the commits that are in it, by their place in the story.
    ids: BTreeMap<usize, i64>,
    /// The commits that went in last.
    newest: Vec<usize>,
    /// Those that are open, the oldest first.
    open: VecDeque<usize>,
    /// The highest id of any approval.
    id_max: i64,
}

/// Replays the repository through the public API.
pub(crate) async fn play(
    client: &Client,
    repo: &Path,
    rate: f64,
    limit: Option<usize>,
) -> Result<(), Failure> {
    let folder = repo.to_owned();
    let commits =
        tokio::task::spawn_blocking(move || git::commits(&folder)).await.map_err(Failure::failed)??;
    let agents = agents(&commits);
    let story = Story { commits, agents };
    let Past { ids, newest, mut open, id_max } = past(client, &story).await?;
    // A repository that has grown need not have grown at its end: what is missing is played, wherever
    // it stands.
    let all = story.commits.len().min(limit.unwrap_or(usize::MAX));
    let missing: Vec<usize> = (0..all).filter(|index| !ids.contains_key(index)).collect();
    let mut poster = Poster::new(client.clone(), ids, id_max);
    for index in newest {
        poster.repeat(story.messages(index)).await?;
    }
    let hashes = missing.iter().filter_map(|index| story.commits.get(*index));
    let mut diffs = git::diffs(repo.to_owned(), hashes.map(|commit| commit.hash.clone()).collect());
    let bar = output::bar("replay");
    bar.set_length(missing.len() as u64);
    let pause = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
    let mut due = Instant::now();
    for index in missing {
        let diff = diffs.recv().await.ok_or_else(|| Failure::failed("git ended before its last diff"))??;
        if !pause.is_zero() {
            sleep_until(due).await;
            due = (due + pause).max(Instant::now());
        }
        let mut pieces = vec![story.added(index, poster.id_of(index), &diff)];
        pieces.extend(story.messages(index));
        open.push_back(index);
        let surplus = open.len().saturating_sub(OPEN);
        pieces.extend(story.closed(open.drain(..surplus), &poster));
        poster.post(pieces, pause.is_zero()).await?;
        bar.inc(1);
    }
    let rest = story.closed(open.into_iter(), &poster).collect();
    poster.post(rest, true).await?;
    poster.flush().await?;
    bar.finish_and_clear();
    output::say(format_args!("hivelog: replayed {all} of {} commits", story.commits.len()));
    Ok(())
}

/// Finds what there is of the story in the log.
async fn past(client: &Client, story: &Story) -> Result<Past, Failure> {
    let places: HashMap<&str, usize> =
        story.commits.iter().enumerate().map(|(index, commit)| (short(commit), index)).collect();
    let place = |event: &Value| {
        event.get("sha_short").and_then(Value::as_str).and_then(|name| places.get(name)).copied()
    };
    let mut past = Past::default();
    let mut before: Option<i64> = None;
    loop {
        let mut query = vec![("kind", "approval_added".into()), ("order", "desc".into())];
        query.push(("limit", PAGE_EVENTS_MAX.to_string()));
        query.extend(before.map(|seq| ("before", seq.to_string())));
        let page = poster::patiently(|| super::read::ask(client, &query)).await?;
        for event in &page.events {
            let event: Value = serde_json::from_slice(event).map_err(Failure::failed)?;
            let id = event.get("id").and_then(Value::as_i64).unwrap_or_default();
            past.id_max = past.id_max.max(id);
            if let Some(index) = place(&event) {
                if past.newest.len() < AGAIN {
                    past.newest.push(index);
                }
                past.ids.insert(index, id);
            }
        }
        before = page.earlier(before);
        if before.is_none() {
            break;
        }
    }
    let body = poster::patiently(|| async { Ok(client.get("/api/state", &[]).await?) }).await?;
    let state: Value = serde_json::from_slice(&body).map_err(|error| client::not_ours(&error))?;
    let open = state.get("approvals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    past.open = open.iter().filter_map(place).collect();
    Ok(past)
}

fn short(commit: &Commit) -> &str {
    commit.hash.get(..SHORT).unwrap_or(&commit.hash)
}

impl Story {
    fn agent(&self, index: usize) -> Option<&String> {
        self.agents.get(index)
    }

    fn added(&self, index: usize, id: i64, diff: &Diff) -> Piece {
        let Some((commit, agent)) = self.commits.get(index).zip(self.agent(index)) else {
            return Piece::default();
        };
        let message = cut(&commit.message, MESSAGE_BYTES_MAX, commit.message.len());
        let room = PAYLOAD_BYTES_MAX - ENVELOPE_BYTES - escaped_length(&message);
        piece(
            index,
            "approval_added",
            &commit.hash,
            "added",
            json!({
                "id": id,
                "agent": agent,
                "approval_kind": "apply_commit",
                "sha_short": short(commit),
                "diff": cut(&diff.text, room, diff.bytes),
                "description": message,
            }),
        )
    }

    fn resolved(&self, index: usize, id: i64) -> Piece {
        let Some((commit, agent)) = self.commits.get(index).zip(self.agent(index)) else {
            return Piece::default();
        };
        piece(
            index,
            "approval_resolved",
            &commit.hash,
            "resolved",
            json!({
                "id": id,
                "agent": agent,
                "approval_kind": "apply_commit",
                "sha_short": short(commit),
                "status": "approved",
                "resolved_at": commit.at,
                "description": cut(&commit.subject, SUBJECT_BYTES_MAX, commit.subject.len()),
                "by": OPERATOR,
            }),
        )
    }

    /// The decisions of these commits.
    fn closed<'a>(
        &'a self,
        indexes: impl Iterator<Item = usize> + 'a,
        poster: &'a Poster,
    ) -> impl Iterator<Item = Piece> + 'a {
        indexes.filter_map(|index| poster.known_id(index).map(|id| self.resolved(index, id)))
    }

    /// The author tells the author of the next commit, unless that is the same one.
    fn messages(&self, index: usize) -> Vec<Piece> {
        let (Some(commit), Some(from), Some(to)) =
            (self.commits.get(index), self.agent(index), self.agent(index + 1))
        else {
            return Vec::new();
        };
        if from == to {
            return Vec::new();
        }
        let body = cut(&commit.subject, SUBJECT_BYTES_MAX, commit.subject.len());
        let message = json!({"from": from, "to": to, "body": body, "at": commit.at});
        let told = |kind| piece(index, kind, &commit.hash, kind, message.clone());
        vec![told("sent"), told("delivered")]
    }
}

fn piece(index: usize, kind: &str, hash: &str, what: &str, payload: Value) -> Piece {
    let mut event = if let Value::Object(event) = payload { event } else { Map::new() };
    event.insert("kind".into(), kind.into());
    event.insert("key".into(), format!("git:{hash}:{what}").into());
    Piece { index, event }
}

/// As much of the text as takes `room` bytes in JSON, up to the end of a line, and a mark where it is
/// cut. `whole` is the length of the text that it is the beginning of.
fn cut(text: &str, room: usize, whole: usize) -> String {
    if text.len() >= whole && escaped_length(text) <= room {
        return text.to_owned();
    }
    // A mark of 80 characters fits in here, whatever the numbers in it.
    let mut rest = room.saturating_sub(96);
    let mut end = 0;
    for (start, character) in text.char_indices() {
        let length = escaped_width(character);
        if length > rest {
            break;
        }
        rest -= length;
        end = start + character.len_utf8();
    }
    let kept = text.get(..end).unwrap_or_default();
    let kept = kept.rfind('\n').and_then(|line_end| kept.get(..=line_end)).unwrap_or(kept);
    let divider = if kept.is_empty() || kept.ends_with('\n') { "" } else { "\n" };
    // A line that begins so is a remark to whatever reads a diff.
    format!("{kept}{divider}\\ [cut by the replay: {} of {whole} bytes are shown]\n", kept.len())
}

fn escaped_length(text: &str) -> usize {
    text.chars().map(escaped_width).sum()
}

/// The bytes of a character in a JSON string.
const fn escaped_width(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_diff_is_cut_where_it_fits() -> Result<(), serde_json::Error> {
        let text = "+\"quoted\"\n".repeat(1_000);
        assert_eq!(cut(&text, 20_000, text.len()), text);
        let short = cut(&text, 5_000, text.len());
        assert!(escaped_length(&short) <= 5_000 && escaped_length(&short) > 4_800, "{}", short.len());
        assert!(short.ends_with("of 10000 bytes are shown]\n"), "{short}");
        assert!(cut(&text, 20_000, 99_999).contains("of 99999 bytes"));
        let json = serde_json::to_string(&text)?;
        assert_eq!(escaped_length(&text) + 2, json.len());
        assert_eq!(escaped_length("\0\u{7f}\u{2028}é🐝\t"), 6 + 1 + 3 + 2 + 4 + 2);
        Ok(())
    }
}
