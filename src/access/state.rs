//! What is known of all credentials at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::access::Role;
use crate::access::secret::{self, Hash};
use crate::event::OPERATOR;
use crate::limits::{
    ANSWERS_BYTES_PER_TOKEN_MAX, CODES_PER_TOKEN_MAX, SESSION_SECONDS, SESSIONS_PER_TOKEN_MAX,
};
use crate::sync::AtomicUsize;

/// Stands for the credential of the environment where a token's name is kept: no token can be named so.
pub(super) const ENVIRONMENT: &str = "HIVELOG_TOKEN";

/// A token, without its secret and its name.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) hash: Hash,
    pub(super) roles: Arc<[Role]>,
    pub(super) created_at: i64,
    pub(super) expires_at: Option<i64>,
    /// Its open requests.
    pub(super) open: Arc<AtomicUsize>,
    /// KiB that its answers may still take up.
    pub(super) room: Arc<Semaphore>,
}

/// The room of one token's answers, in KiB.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ANSWERS_BYTES_PER_TOKEN_MAX >> 10))
}

impl Token {
    pub(super) fn new(hash: Hash, roles: &[Role], created_at: i64, expires_at: Option<i64>) -> Self {
        let roles = Role::ALL.into_iter().filter(|role| roles.contains(role)).collect();
        Self { hash, roles, created_at, expires_at, open: Arc::default(), room: room() }
    }

    fn is_good_at(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// A browser that signed in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) write_hash: Hash,
    /// The name of its token.
    pub(super) holder: Arc<str>,
    pub(super) used_at: i64,
}

impl Session {
    pub(super) const fn ends_at(&self) -> i64 {
        self.used_at.saturating_add(SESSION_SECONDS)
    }
}

/// A login code that was not used yet.
#[derive(Clone, Debug)]
pub(super) struct Code {
    /// The name of its token.
    pub(super) holder: Arc<str>,
    pub(super) expires_at: i64,
}

/// Every credential.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tokens: BTreeMap<Arc<str>, Token>,
    by_hash: HashMap<Hash, Arc<str>>,
    pub(super) sessions: HashMap<Hash, Session>,
    pub(super) codes: HashMap<Hash, Code>,
    /// The operator's credential as the environment gives it. It stands in for the stored one.
    pub(super) environment: Option<Token>,
}

impl State {
    pub(super) fn add_token(&mut self, name: Arc<str>, token: Token) {
        self.by_hash.insert(token.hash, Arc::clone(&name));
        self.tokens.insert(name, token);
    }

    /// Removes a token with its sessions and codes.
    pub(super) fn remove_token(&mut self, name: &str) {
        if let Some(token) = self.tokens.remove(name) {
            self.by_hash.remove(&token.hash);
        }
        self.sessions.retain(|_, session| &*session.holder != name);
        self.codes.retain(|_, code| &*code.holder != name);
    }

    /// The token that a session or a code is of, if it is good now.
    pub(super) fn token(&self, holder: &str, now: i64) -> Option<&Token> {
        let token = match (holder, &self.environment) {
            (ENVIRONMENT, environment) => environment.as_ref(),
            (OPERATOR, Some(_)) => None,
            (name, _) => self.tokens.get(name),
        };
        token.filter(|token| token.is_good_at(now))
    }

    /// Who has the token with this secret.
    pub(super) fn holder(&self, secret: &str) -> Option<Arc<str>> {
        let hash = secret::hash(secret);
        if self.environment.as_ref().is_some_and(|token| secret::is_same(&token.hash, &hash)) {
            return Some(ENVIRONMENT.into());
        }
        let name = self.by_hash.get(&hash)?;
        let token = self.tokens.get(name)?;
        secret::is_same(&token.hash, &hash).then(|| Arc::clone(name))
    }

    /// What a cookie or a code of this token is kept as.
    pub(super) fn hash_for(&self, holder: &str, secret: &str) -> Hash {
        match &self.environment {
            Some(token) if holder == ENVIRONMENT => secret::hash_under(&token.hash, secret),
            _ => secret::hash(secret),
        }
    }

    /// What this cookie or code may be kept as.
    pub(super) fn hashes_of(&self, secret: &str) -> impl Iterator<Item = Hash> {
        let under = self.environment.as_ref().map(|token| secret::hash_under(&token.hash, secret));
        [Some(secret::hash(secret)), under].into_iter().flatten()
    }

    /// Sessions that are over, and the one that was not used for the longest time where a token has as many
    /// as it may.
    pub(super) fn sessions_over(&self, holder: &str, now: i64) -> Vec<Hash> {
        let mut over: Vec<Hash> = Vec::new();
        let mut others: Vec<(i64, Hash)> = Vec::new();
        for (hash, session) in &self.sessions {
            if session.ends_at() <= now {
                over.push(*hash);
            } else if &*session.holder == holder {
                others.push((session.used_at, *hash));
            }
        }
        over.extend(oldest(others, SESSIONS_PER_TOKEN_MAX));
        over
    }

    /// The same for codes.
    pub(super) fn codes_over(&self, holder: &str, now: i64) -> Vec<Hash> {
        let mut over: Vec<Hash> = Vec::new();
        let mut others: Vec<(i64, Hash)> = Vec::new();
        for (hash, code) in &self.codes {
            if code.expires_at <= now {
                over.push(*hash);
            } else if &*code.holder == holder {
                others.push((code.expires_at, *hash));
            }
        }
        over.extend(oldest(others, CODES_PER_TOKEN_MAX));
        over
    }
}

/// Those that have to go so that one more has room.
fn oldest(mut others: Vec<(i64, Hash)>, most: usize) -> impl Iterator<Item = Hash> {
    others.sort_unstable();
    let too_many = (others.len() + 1).saturating_sub(most);
    others.into_iter().take(too_many).map(|(_, hash)| hash)
}
