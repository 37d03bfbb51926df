//! Where requests may come from, and whether they are asked who they are.

use std::borrow::Cow;

use axum::http::Uri;
use axum::http::uri::Authority;

use crate::error::Refusal;
use crate::limits::REQUESTS_PER_TOKEN_MAX;

/// Who may come in, under which names.
///
/// Only requests that name a known host are let in, which keeps a web page on another origin from reaching a
/// server through a name of its own (DNS rebinding): loopback with any port, and what is added here.
#[derive(Clone, Debug)]
pub struct Access {
    pub(super) asks: bool,
    pub(super) peer_answers: bool,
    pub(super) connections_per_token: usize,
    hosts: Vec<Box<str>>,
    public: Vec<PublicUrl>,
}

/// A URL under which the log is reached from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct PublicUrl {
    /// Scheme, host and port as a browser writes them in `Origin`.
    origin: String,
    host: String,
    /// Begins with a slash and does not end with one, unless it is one.
    pub(super) path: String,
    pub(super) is_https: bool,
}

impl PublicUrl {
    /// What links begin with.
    pub(super) fn base(&self) -> String {
        format!("{}{}", self.origin, self.path.trim_end_matches('/'))
    }
}

impl Access {
    const fn new(asks: bool) -> Self {
        Self {
            asks,
            peer_answers: false,
            connections_per_token: REQUESTS_PER_TOKEN_MAX,
            hosts: Vec::new(),
            public: Vec::new(),
        }
    }

    /// Asks nobody for a credential: whoever reaches the port may do everything. It is for loopback; a page
    /// of another origin is kept out, a process of this machine is not.
    #[must_use]
    pub const fn no_auth() -> Self {
        Self::new(false)
    }

    /// Asks everybody for a credential: those of [`Desk::credentials`](crate::Desk::credentials). A log that
    /// was opened to be read has none, so nobody comes in there.
    #[must_use]
    pub const fn credentials() -> Self {
        Self::new(true)
    }

    /// Lets in requests that name this host too, with any port.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.hosts.push(name.to_ascii_lowercase().into());
        self
    }

    /// Lets in requests that come through this URL: its host and its origin. Its scheme and its path are
    /// those of the session's cookie. May be called again for another URL.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where it is not an http or https URL of a host and a path.
    pub fn public_url(mut self, url: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::invalid("public_url", "expected http(s)://HOST[:PORT][/PATH]");
        if url.contains(['#', '?', '\\']) || !url.is_ascii() {
            return Err(invalid());
        }
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(invalid());
        };
        let is_https = scheme == "https";
        // A path that ended the cookie's attribute would begin another one.
        let is_plain = !uri.path().contains([';', ',', '"']) && !uri.path().contains("//");
        if !(is_https || scheme == "http") || !is_plain || authority.as_str().contains('@') {
            return Err(invalid());
        }
        let path = match uri.path().trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        let origin = format!("{scheme}://{}", bare_authority(authority.as_str(), is_https));
        self.public.push(PublicUrl { origin, host: authority.host().to_ascii_lowercase(), path, is_https });
        Ok(self)
    }

    /// Whether an agent may answer another one's question for the operator. Default: no.
    #[must_use]
    pub const fn peer_answers(mut self, may: bool) -> Self {
        self.peer_answers = may;
        self
    }

    /// Lets one token have this many requests open at once, streams and waits included. Default: 256.
    #[must_use]
    pub const fn connections_per_token(mut self, most: usize) -> Self {
        self.connections_per_token = most;
        self
    }

    /// Whether a request may name this host.
    pub(super) fn allows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        // A port that is none would be a name to some reader of the same text.
        let has_odd_port = authority.port().is_none() && authority.as_str() != authority.host();
        if has_odd_port || authority.as_str().contains('@') {
            return false;
        }
        let host = lower(authority.host());
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let is_ours = |name: &str| *name == *host || name == bare;
        host == "localhost"
            || is_loopback
            || self.hosts.iter().any(|name| is_ours(name))
            || self.public.iter().any(|public| is_ours(&public.host))
    }

    /// Whether a page of this origin is one of ours, for a request that names this host.
    pub(super) fn is_own(&self, origin: &str, host: &str) -> bool {
        if self.public.iter().any(|public| public.origin == origin) {
            return true;
        }
        // A public host has the origins that were given, and no others: not http where https was said.
        let is_public = self.of_host(host).is_some();
        !is_public && origin == format!("http://{}", bare_authority(host, false))
    }

    fn of_host(&self, host: &str) -> Option<&PublicUrl> {
        let authority = host.parse::<Authority>().ok()?;
        let name = authority.host().to_ascii_lowercase();
        let at = |is_https| {
            format!("{}://{}", if is_https { "https" } else { "http" }, bare_authority(host, is_https))
        };
        let same_host = || self.public.iter().filter(|public| public.host == name);
        same_host().find(|public| public.origin == at(public.is_https)).or_else(|| same_host().next())
    }

    /// The public URL that a request came through, if it came through one: a proxy may have put another
    /// host there, but not another origin.
    pub(super) fn came_through(&self, host: Option<&str>, origin: Option<&str>) -> Option<&PublicUrl> {
        let by_origin = origin.and_then(|origin| self.public.iter().find(|public| public.origin == origin));
        by_origin.or_else(|| host.and_then(|host| self.of_host(host)))
    }

    /// What links that are handed out begin with, where it is not where the server listens.
    pub(super) fn base(&self) -> Option<String> {
        self.public.first().map(PublicUrl::base)
    }
}

/// A name in small letters, as most come.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

/// Host and port in small letters, without the port that goes without saying.
fn bare_authority(authority: &str, is_https: bool) -> String {
    let authority = authority.to_ascii_lowercase();
    let usual = if is_https { ":443" } else { ":80" };
    authority.strip_suffix(usual).map(str::to_owned).unwrap_or(authority)
}
