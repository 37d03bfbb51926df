//! A client of a server's HTTP door.

use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::failure::Failure;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take: the longest wait that can be asked for, with room for the queue.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// A body that is one object or an array.
pub(crate) const JSON: &str = "application/json";
/// A body that is an object a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    is_socket: bool,
}

/// Why a call had no good answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No answer came. Whether the server had the request is unknown, unless it could not connect.
    Unreachable {
        /// What happened.
        text: String,
        /// Whether it is certain that the server never had the request.
        is_unsent: bool,
    },
    /// The server said no.
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// The server's words.
        text: String,
        /// The event that was first, as on the wire.
        winner: Option<String>,
    },
}

impl Fault {
    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504 | 507),
        }
    }

    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::CONFLICT)
    }

    /// Whether the idempotency key stands for other content.
    pub(crate) fn is_key_reused(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::UNPROCESSABLE_ENTITY)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { text, .. } | Self::Refused { text, .. } => f.write_str(text),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let is_transient = fault.is_transient();
        match fault {
            Fault::Unreachable { text, is_unsent: true } => Self::later(text),
            Fault::Unreachable { text, is_unsent: false } => Self::failed(text),
            Fault::Refused { status, text, winner } => match status.as_u16() {
                400 | 413 | 415 | 422 => Self::usage(text),
                401 => Self::failed(format!(
                    "{text}: give --token or HIVELOG_TOKEN, or be able to read PATH.token"
                )),
                404 | 410 => Self::not_found(text),
                409 => Self::conflict(text, winner),
                _ if is_transient => Self::later(text),
                _ => Self::failed(text),
            },
        }
    }
}

/// The answer to an append, of one event or of many.
#[derive(Debug, Deserialize)]
pub(crate) struct Posted {
    seq: Option<i64>,
    #[serde(default)]
    seqs: Vec<i64>,
}

impl Posted {
    pub(crate) fn seqs(self) -> Vec<i64> {
        self.seq.map_or(self.seqs, |seq| vec![seq])
    }
}

#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    winner: Option<Box<RawValue>>,
}

/// TLS needs its algorithms chosen once in a process.
fn choose_algorithms() {
    static ONCE: Once = Once::new();
    // An error says that they were chosen already, which is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

impl Client {
    /// A client of the server at this base URL: `http(s)://…`, or `unix:PATH` for a socket.
    pub(crate) fn new(url: &str, token: Option<&str>) -> Result<Self, Failure> {
        choose_algorithms();
        if let Some(path) = url.strip_prefix("unix:") {
            // The host is one that every server answers to.
            return Self::over("http://localhost", Some(path), token);
        }
        Self::over(url, None, token)
    }

    fn over(url: &str, socket: Option<&str>, token: Option<&str>) -> Result<Self, Failure> {
        let parsed =
            reqwest::Url::parse(url).map_err(|error| Failure::usage(format!("--url {url}: {error}")))?;
        let host = parsed.host_str().unwrap_or_default();
        if !matches!(parsed.scheme(), "http" | "https") || host.is_empty() {
            return Err(Failure::usage(format!("--url {url}: is no http or https URL, and no unix:PATH")));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Failure::usage("--token: holds characters that no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("hivelog/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect could take the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if parsed.scheme() == "http" {
            // Without https no certificates are looked for: a bare container has none.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        if let Some(path) = socket {
            builder = builder.unix_socket(path);
        }
        if is_local(host) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Failure::failed(chain(&error)))?;
        Ok(Self { http, base: url.trim_end_matches('/').to_owned(), is_socket: socket.is_some() })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// The URL that every path is put behind, where a browser can open it.
    pub(crate) fn base(&self) -> Option<&str> {
        (!self.is_socket).then_some(&*self.base)
    }

    /// Makes a call that is neither an append nor a read of the log.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Bytes, Fault> {
        answer(self.request_with(method, path, body).timeout(ANSWER_TIMEOUT)).await
    }

    fn request_with(&self, method: Method, path: &str, body: Option<String>) -> RequestBuilder {
        let request = self.request(method, path).header(ACCEPT, JSON);
        match body {
            Some(body) => request.header(CONTENT_TYPE, JSON).body(body),
            None => request,
        }
    }

    /// Gets JSON.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Bytes, Fault> {
        let request = self.request(Method::GET, path).query(query).header(ACCEPT, JSON);
        answer(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// Posts a command as JSON, and gives the answer.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.command(Method::POST, path, Some(body)).await
    }

    /// Gives a command, and gives the answer; `null` where it has none.
    pub(crate) async fn command(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Fault> {
        let text = self.call(method, path, body.map(ToString::to_string)).await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&text).map_err(|error| not_ours(&error))
    }

    /// Posts a command whose answer comes when its work is done, which takes as long as the log is large. That the
    /// server is there meanwhile is seen by the connection's keepalive.
    pub(crate) async fn labour(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        let text = answer(self.request_with(Method::POST, path, Some(body.to_string()))).await?;
        serde_json::from_slice(&text).map_err(|error| not_ours(&error))
    }

    /// Appends the events of this body.
    pub(crate) async fn append(
        &self,
        (format, body): (&'static str, String),
        key: Option<&str>,
    ) -> Result<Posted, Fault> {
        let mut request = self.request(Method::POST, "/api/events").header(CONTENT_TYPE, format).body(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let text = answer(request.timeout(ANSWER_TIMEOUT)).await?;
        serde_json::from_slice(&text).map_err(|error| not_ours(&error))
    }
}

/// Whether two URLs lead to the same port of the same host; all names of loopback are one host.
pub(crate) fn is_same_server(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (reqwest::Url::parse(one), reqwest::Url::parse(other)) else { return false };
    let (Some(host), Some(other_host)) = (one.host_str(), other.host_str()) else { return false };
    one.scheme() == other.scheme()
        && one.port_or_known_default() == other.port_or_known_default()
        && (host == other_host || (is_local(host) && is_local(other_host)))
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn answer(request: RequestBuilder) -> Result<Bytes, Fault> {
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let response = accepted(response).await?;
    response.bytes().await.map_err(|error| unreachable(&error))
}

/// Passes a good answer on, and reads what a bad one says.
pub(crate) async fn accepted(response: reqwest::Response) -> Result<reqwest::Response, Fault> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.bytes().await.unwrap_or_default();
    let problem: Option<Problem> = serde_json::from_slice(&text).ok();
    let (words, winner) = problem.map_or((None, None), |problem| {
        (problem.detail.or(problem.title), problem.winner.map(|winner| winner.get().to_owned()))
    });
    let text = words.unwrap_or_else(|| format!("the server answered {status}"));
    Err(Fault::Refused { status, text, winner })
}

pub(crate) fn unreachable(error: &reqwest::Error) -> Fault {
    Fault::Unreachable { text: chain(error), is_unsent: error.is_connect() }
}

/// An answer that does not have the shape of ours: something else listens there.
pub(crate) fn not_ours(error: &serde_json::Error) -> Fault {
    Fault::Refused {
        status: StatusCode::BAD_GATEWAY,
        text: format!("the answer is not one of a hivelog server: {error}"),
        winner: None,
    }
}

/// An error with its causes: the outermost alone does not say why.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

/// Runs a call of a verb that has nothing else to do meanwhile.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(future)
}
