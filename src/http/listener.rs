//! Where a server takes connections, and who connects there.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::access::credentials::{Credentials, check_name};
use crate::access::pass::Pass;
use crate::error::Refusal;

/// Where a server takes connections: a port, or a unix socket.
///
/// A unix socket can stand for one agent: then whoever connects is that agent and shows no credential, so the
/// file's mode and place decide who that is.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    agent: Option<Box<str>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection as it was accepted.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Who makes every request of a connection, where its listener says so: then no credential is looked at.
#[derive(Clone, Debug)]
pub(super) struct Bound(Arc<Agent>);

#[derive(Debug)]
struct Agent {
    name: Box<str>,
    /// Made once there are credentials.
    pass: OnceLock<Pass>,
}

impl Bound {
    pub(super) fn to(name: &str) -> Self {
        Self(Arc::new(Agent { name: name.into(), pass: OnceLock::new() }))
    }

    pub(super) fn pass(&self, credentials: &Credentials) -> Pass {
        self.0.pass.get_or_init(|| Pass::of_socket(credentials, &self.0.name)).clone()
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: Socket::Tcp(listener), agent: None }
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self { socket: Socket::Unix(listener), agent: None }
    }
}

impl Listener {
    /// Makes whoever connects here this agent, with the role `agent` and no other.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where the name is none or ours, or where this is a port: a web page can reach one.
    pub fn for_agent(mut self, name: &str) -> Result<Self, Refusal> {
        check_name("agent", name)?;
        if matches!(self.socket, Socket::Tcp(_)) {
            return Err(Refusal::invalid("agent", "needs a unix socket: anybody can reach a port"));
        }
        self.agent = Some(name.into());
        Ok(self)
    }

    /// The agent that whoever connects here is.
    pub(super) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// The host of the address that is listened on, where it has one.
    pub(super) fn host(&self) -> Option<String> {
        let Socket::Tcp(listener) = &self.socket else { return None };
        let address = listener.local_addr().ok().filter(|address| !address.ip().is_unspecified())?;
        Some(address.ip().to_string())
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| Accepted::Tcp(stream)),
            Socket::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}
