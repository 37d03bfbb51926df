//! `GET /api/state`: the board and the seq that it stands at.

use std::sync::{Arc, Weak};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{Error, Refusal};
use crate::http::answer::{Load, Loaded};
use crate::http::caller::{Caller, READERS};
use crate::http::params::{Params, number};
use crate::http::problem::Problem;
use crate::http::{Shared, json};
use crate::log::snapshot;
use crate::seq::Seq;
use crate::store::readers::Lane;
use crate::sync::{Mutex, lock};

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(state))
}

/// The query of a snapshot.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the query is read by name; this is its documentation")]
struct Asked {
    /// The board as it stood at this seq.
    at: Option<i64>,
}

fn asked(mut params: Params) -> Result<Option<Seq>, Refusal> {
    let at = params.read("at", |text| {
        Seq::new(number("at", text)?).ok_or_else(|| Refusal::invalid("at", "is above the last possible seq"))
    })?;
    params.end()?;
    Ok(at)
}

/// A snapshot. A row is its opening event as on the wire plus what has become of it.
#[derive(Serialize, utoipa::ToSchema)]
#[allow(dead_code, reason = "the answer is pasted; this is its documentation")]
struct SnapshotOnWire {
    log_id: String,
    seq: i64,
    floor: i64,
    approvals: Vec<serde_json::Value>,
    questions: Vec<serde_json::Value>,
    transients: Vec<serde_json::Value>,
    recent_approvals: Vec<serde_json::Value>,
    recent_questions: Vec<serde_json::Value>,
}

/// Reads the board, as it stands or as it stood.
#[utoipa::path(
    get, path = "/api/state", tag = "state", params(Asked),
    responses(
        (status = 200, description = "the snapshot", body = SnapshotOnWire),
        (status = 304, description = "it is the one that `If-None-Match` names"),
        (status = 400, description = "the query is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "that past was pruned", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "too much of what was answered is not taken; another past board is being folded, or this one took too long", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn state(
    State(door): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    if let Some(at) = asked(params).map_err(|refusal| Problem::query(refusal.into()))? {
        return past(&door, at).await;
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).map(str::to_owned);
    let inside = Arc::clone(&door);
    let read = move |conn: &rusqlite::Connection| {
        let shared = inside.log.shared();
        let version = snapshot::version(conn, shared.log_id)?;
        if known.is_some_and(|known| matches(&known, &version)) {
            return Ok(Read::Known(version));
        }
        if let Some(board) = inside.boards.at(&version) {
            return Ok(Read::Shared(board));
        }
        snapshot::now(conn, shared.log_id, &shared.board)
            .map(|(snapshot, version)| Read::New(snapshot.json(), version))
    };
    let board = match door.log.shared().readers.run(Lane::Point, read).await? {
        Read::Known(version) => return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &version)),
        Read::Shared(board) => board,
        Read::New(json, version) => door.boards.share(&version, || {
            let load = door.room.take(caller.share(), json.len())?;
            Ok(Board { json, version: version.clone(), _load: load })
        })?,
    };
    let mut answer = tagged(json(Bytes::from_owner(OnItsWay(Arc::clone(&board)))), &board.version);
    // Its room is that of the board.
    answer.extensions_mut().insert(Loaded(None));
    Ok(answer)
}

/// What a look at the board gave.
enum Read {
    /// The client has it.
    Known(String),
    Shared(Arc<Board>),
    New(Bytes, String),
}

/// A board that is being sent.
struct Board {
    json: Bytes,
    version: String,
    _load: Option<Arc<Load>>,
}

/// Its bytes, to each of those who are sent it.
struct OnItsWay(Arc<Board>);

impl AsRef<[u8]> for OnItsWay {
    fn as_ref(&self) -> &[u8] {
        &self.0.json
    }
}

/// The board that was sent last, as long as somebody has not taken all of it: whoever asks meanwhile is sent the
/// same bytes.
#[derive(Default)]
pub(super) struct Boards(Mutex<Weak<Board>>);

impl Boards {
    fn at(&self, version: &str) -> Option<Arc<Board>> {
        lock(&self.0).upgrade().filter(|board| board.version == version)
    }

    /// The board of this version, which several may have made at once.
    fn share(
        &self,
        version: &str,
        make: impl FnOnce() -> Result<Board, Problem>,
    ) -> Result<Arc<Board>, Problem> {
        if let Some(board) = self.at(version) {
            return Ok(board);
        }
        let board = Arc::new(make()?);
        *lock(&self.0) = Arc::downgrade(&board);
        Ok(board)
    }
}

async fn past(door: &Shared, seq: Seq) -> Result<Response, Problem> {
    let turn = Arc::clone(&door.past).try_acquire_owned().map_err(|_| Error::Occupied)?;
    let log_id = door.log.id();
    let read = move |conn: &rusqlite::Connection| {
        // As long as it folds, whether somebody still waits for it or not.
        let _turn = turn;
        snapshot::at(conn, log_id, seq)
    };
    let snapshot = door.log.shared().readers.run(Lane::Point, read).await.map_err(Problem::query)?;
    Ok(json(snapshot.json()))
}

fn matches(known: &str, version: &str) -> bool {
    known.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(version)
    })
}

fn tagged(mut response: Response, version: &str) -> Response {
    // A log id and numbers: always a valid header.
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    super::set(response.headers_mut(), header::CACHE_CONTROL, "no-cache");
    response
}
