//! `GET /api/agents`: everyone who was seen on the log.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Shared;
use crate::http::caller::{Caller, READERS};
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::search::Agents;
use crate::store::readers::Lane;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(agents))
}

/// Lists everyone whom an event concerned, the one that was seen last first, up to the answer's `seq`. That
/// is the head, or behind it while the index of the log is being built.
#[utoipa::path(
    get, path = "/api/agents", tag = "events",
    responses(
        (status = 200, description = "who was seen", body = Agents),
        (status = 400, description = "the query is not valid", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn agents(
    State(door): State<Shared>,
    caller: Caller,
    _: NoParams,
) -> Result<axum::Json<Agents>, Problem> {
    caller.needs(READERS)?;
    let search = door.search.clone()?;
    let agents = door.log.shared().readers.work(Lane::Point, move || search.agents()).await?;
    Ok(axum::Json(agents))
}
