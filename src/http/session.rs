//! Signing in and out: `/session`, and the code of a login link.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Role;
use crate::http::caller::{Caller, READERS, unauthorized};
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::http::{Door, Shared, append, body};
use crate::limits::SESSION_SECONDS;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(sign_in, who, sign_out)).routes(routes!(login))
}

/// One of the two.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Shown {
    /// The code of a login link.
    code: Option<String>,
    /// A token.
    token: Option<String>,
}

/// Who is signed in.
#[derive(Serialize, utoipa::ToSchema)]
struct Who {
    /// The name that the credential stands for; `null` where nobody is asked for one.
    name: Option<String>,
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
}

/// Who signed in.
#[derive(Serialize, utoipa::ToSchema)]
struct SignedInAs {
    name: String,
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    /// The second secret: what writes by the cookie carry in `X-Hivelog-Session`.
    session: String,
}

/// Signs in with the code of a login link or with a token.
///
/// The answer sets a cookie that reads; writes need the answer's `session` in the header
/// `X-Hivelog-Session` too. The session ends 30 days after its last use, or with its token.
#[utoipa::path(
    post, path = "/session", tag = "access",
    request_body = Shown,
    responses(
        (status = 200, description = "signed in", body = SignedInAs),
        (status = 401, description = "the code or the token does not hold", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn sign_in(State(door): State<Shared>, _: NoParams, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let shown: Shown = read_secret(&parts.headers, body).await?;
    let credentials = door.credentials()?;
    let signed = match (&shown.code, &shown.token) {
        (Some(code), None) => credentials.sign_in_by_code(code).await?,
        (None, Some(token)) => credentials.sign_in(token).await?,
        (Some(_), Some(_)) | (None, None) => return Err(Problem::invalid("code", "or `token`: one of them")),
    };
    let signed = signed.ok_or_else(|| unauthorized().detail("the code or the token does not hold"))?;
    let answer = SignedInAs {
        name: signed.pass.name.as_ref().to_owned(),
        roles: signed.pass.roles.to_vec(),
        session: signed.write,
    };
    let mut response = axum::Json(answer).into_response();
    set_cookie(&door, &parts.headers, &mut response, &signed.cookie, SESSION_SECONDS);
    Ok(response)
}

/// Says who is signed in.
#[utoipa::path(
    get, path = "/session", tag = "access",
    responses(
        (status = 200, description = "who", body = Who),
        (status = 401, description = "nobody", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn who(caller: Caller, _: NoParams) -> Result<axum::Json<Who>, Problem> {
    caller.needs(&Role::ALL)?;
    let roles = match &caller {
        Caller::Known(pass) => pass.roles.to_vec(),
        Caller::Unknown | Caller::Unarmed | Caller::Anybody => Role::ALL.to_vec(),
    };
    Ok(axum::Json(Who { name: caller.name().map(Into::into), roles }))
}

/// Signs out: the session ends, and what it has open.
#[utoipa::path(
    delete, path = "/session", tag = "access",
    responses(
        (status = 204, description = "signed out"),
        (status = 401, description = "nobody is signed in", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn sign_out(
    State(door): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    _: NoParams,
) -> Result<Response, Problem> {
    refuse_key(&headers)?;
    caller.needs(&Role::ALL)?;
    if let Caller::Known(pass) = &caller {
        door.credentials()?.sign_out(pass).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&door, &headers, &mut response, "", 0);
    Ok(response)
}

/// A code to sign in with, once.
#[derive(Serialize, utoipa::ToSchema)]
struct Login {
    code: String,
    /// Until when it can be used, in unix seconds.
    expires_at: i64,
    /// What the link begins with: the first public URL; `null` where there is none.
    base: Option<String>,
}

/// Makes a code that signs in as the one who asks, once within ten minutes. The link that carries it is
/// `BASE/#login=CODE`: a fragment, which no server, proxy or log sees.
#[utoipa::path(
    post, path = "/api/login", tag = "access",
    responses(
        (status = 201, description = "the code", body = Login),
        (status = 403, description = "under `--no-auth` there is nobody to sign in as", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn login(
    State(door): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    _: NoParams,
) -> Result<Response, Problem> {
    refuse_key(&headers)?;
    caller.needs(READERS)?;
    let Caller::Known(pass) = &caller else {
        return Err(super::caller::forbidden("this server asks nobody for a credential"));
    };
    let made = door.credentials()?.login_code(pass).await?.ok_or_else(unauthorized)?;
    let login = Login { code: made.code, expires_at: made.expires_at, base: door.access.base() };
    Ok((StatusCode::CREATED, axum::Json(login)).into_response())
}

/// Puts the session's cookie where only this log's pages send it from.
fn set_cookie(door: &Door, headers: &HeaderMap, response: &mut Response, value: &str, seconds: i64) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let public = door.access.came_through(text(header::HOST), text(header::ORIGIN));
    let path = public.map_or("/", |public| &public.path);
    let secure = if public.is_some_and(|public| public.is_https) { "; Secure" } else { "" };
    let name = &door.cookie;
    let cookie = format!("{name}={value}; HttpOnly; SameSite=Strict; Path={path}; Max-Age={seconds}{secure}");
    // A log id, letters and a path that was read as one of a URL: always a valid header.
    if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// A call whose answer holds a secret cannot be answered again from what was kept.
pub(super) fn refuse_key(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key("idempotency-key") {
        return Err(Problem::header("this call takes no Idempotency-Key"));
    }
    Ok(())
}

/// Reads a body that holds a secret, which no error repeats.
async fn read_secret<T: DeserializeOwned>(headers: &HeaderMap, body: axum::body::Body) -> Result<T, Problem> {
    refuse_key(headers)?;
    let bytes = append::read(headers, body).await?;
    body::no_list(&bytes)?;
    if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_err() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "urn:hivelog:malformed", "the body is not JSON"));
    }
    serde_json::from_slice(&bytes)
        .map_err(|_| Problem::invalid("code", "expected {\"code\": …} or {\"token\": …}"))
}
