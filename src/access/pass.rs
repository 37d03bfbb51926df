//! A credential that was shown and holds.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::access::Role;
use crate::access::credentials::Credentials;
use crate::access::secret::Hash;
use crate::access::state;
use crate::sync::{AtomicUsize, Ordering};

/// A credential that was shown and held at that moment.
#[derive(Clone)]
pub(crate) struct Pass {
    /// The name that it stands for.
    pub(crate) name: Arc<str>,
    /// What it may do.
    pub(crate) roles: Arc<[Role]>,
    pub(super) open: Arc<AtomicUsize>,
    /// KiB that the answers of its token may still take up.
    pub(crate) room: Arc<Semaphore>,
    pub(super) holder: Arc<str>,
    pub(super) token_hash: Hash,
    pub(super) session: Option<Hash>,
    pub(super) credentials: Credentials,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// Stands for a socket where a token's name is kept: no token can be named so.
pub(super) const SOCKET: &str = "--socket";

impl Pass {
    /// That of whoever connects to a socket that stands for this agent. It holds as long as the socket does.
    pub(crate) fn of_socket(credentials: &Credentials, agent: &str) -> Self {
        Self {
            name: agent.into(),
            roles: [Role::Agent].into(),
            open: Arc::default(),
            room: state::room(),
            holder: SOCKET.into(),
            token_hash: Hash::default(),
            session: None,
            credentials: credentials.clone(),
        }
    }

    pub(super) fn of_session(self, session: Hash) -> Self {
        Self { session: Some(session), ..self }
    }

    /// Seconds for which it holds if nobody takes it back; `None` where it does not hold any more.
    pub(crate) fn holds_for(&self) -> Option<u64> {
        let end = self.credentials.holds_until(self)?;
        Some(u64::try_from(end.saturating_sub(self.credentials.now())).unwrap_or(0))
    }

    /// Wakes when a credential was taken back; whose it was has to be asked.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.credentials.changes()
    }

    /// A place among the open requests of its token, unless it has as many as it may.
    pub(crate) fn enter(&self, most: usize) -> Option<Place> {
        // Nothing else is ordered by this count.
        let update = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).ok()?;
        Some(Place(Arc::clone(&self.open)))
    }
}

/// A place among the open requests of a token, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
