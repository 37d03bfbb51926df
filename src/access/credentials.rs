//! The credentials of one log: shown, made, revoked.
//!
//! All of them are in memory, because one process writes the file; what changes is written first and
//! holds from the commit on.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;

use crate::access::Role;
use crate::access::pass::{Pass, SOCKET};
use crate::access::secret::{self, Hash};
use crate::access::state::{Code, ENVIRONMENT, Session, State, Token};
use crate::access::tables;
use crate::error::{Error, Refusal};
use crate::event::{OPERATOR, TTL_WATCHDOG, is_name};
use crate::limits::{CODE_SECONDS, COMMAND_TIMEOUT, INTEGER_MAX, SECRET_CHARS_MAX, SESSION_TOUCH_SECONDS};
use crate::store::file::Store;
use crate::store::keys::{self, Key, Once};
use crate::store::reading;
use crate::store::task::{Done, Task};
use crate::store::turn::Turn;
use crate::sync::{Mutex, MutexGuard, lock};

/// The credentials of one log: tokens, and the sessions and login codes that are made from them.
///
/// Clones share them. They end with the log.
#[derive(Clone)]
pub struct Credentials {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    state: Mutex<State>,
    /// Counts what was taken away, so that whoever waits looks again.
    changes: watch::Sender<u64>,
}

/// A token as it is listed: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TokenRow {
    /// The name that it stands for.
    pub name: String,
    /// What it may do.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub roles: Vec<Role>,
    /// When it was made, in unix seconds.
    pub created_at: i64,
    /// When it ends, in unix seconds.
    pub expires_at: Option<i64>,
}

/// A session that was just made: its secrets are told once.
pub(crate) struct SignedIn {
    pub(crate) cookie: String,
    pub(crate) write: String,
    pub(crate) pass: Pass,
}

/// A login code that was just made.
pub(crate) struct LoginCode {
    pub(crate) code: String,
    pub(crate) expires_at: i64,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads them from the file.
    pub(crate) fn open(store: Store) -> Result<Self, Error> {
        let state = store.readers.with(|conn| tables::load(conn).map_err(|error| reading(&error)))?;
        let (changes, _) = watch::channel(0);
        Ok(Self { inner: Arc::new(Inner { store, state: Mutex::new(state), changes }) })
    }

    /// Adds a token and gives its secret, which nobody can be told again. Waits for the disk; cancel-safe.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a name that is none or ours, no roles, or an end that is past;
    /// [`Refusal::Closed`] where a token has that name; what a write can fail with.
    pub async fn add(&self, name: &str, roles: &[Role], expires_at: Option<i64>) -> Result<String, Error> {
        check_name("name", name)?;
        if roles.is_empty() {
            return Err(Refusal::invalid("roles", "is empty: a token needs a role").into());
        }
        let now = self.now();
        if expires_at.is_some_and(|end| end <= now || end > INTEGER_MAX) {
            return Err(Refusal::invalid("expires_at", "is not a time to come, in unix seconds").into());
        }
        let secret = secret::mint("hvl_")?;
        let token = Token::new(secret::hash(&secret), roles, now, expires_at);
        let (inner, name): (_, Arc<str>) = (Arc::clone(&self.inner), name.into());
        let write = {
            let (name, token) = (Arc::clone(&name), token.clone());
            move |turn: &Turn<'_>| tables::add_token(turn.conn, &name, &token)
        };
        self.write_secret(write, move |()| inner.state().add_token(name, token)).await?;
        Ok(secret)
    }

    /// The tokens that are kept in the file, by name; those that ended by their time too.
    #[must_use]
    pub fn list(&self) -> Vec<TokenRow> {
        let state = self.inner.state();
        let row = |(name, token): (&Arc<str>, &Token)| TokenRow {
            name: name.as_ref().to_owned(),
            roles: token.roles.to_vec(),
            created_at: token.created_at,
            expires_at: token.expires_at,
        };
        state.tokens.iter().map(row).collect()
    }

    /// Takes a token back, with its sessions and login codes: what it has open ends. Waits for the disk;
    /// cancel-safe.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] where no token has that name; what a write can fail with.
    pub async fn revoke(&self, name: &str) -> Result<(), Error> {
        self.revoke_once(name, None).await
    }

    pub(crate) async fn revoke_once(&self, name: &str, key: Option<Key>) -> Result<(), Error> {
        let (inner, name): (_, Arc<str>) = (Arc::clone(&self.inner), name.into());
        let write = {
            let name = Arc::clone(&name);
            move |turn: &Turn<'_>| {
                keys::once(turn, key.as_ref(), || {
                    let removed = tables::remove_token(turn.conn, &name)?;
                    let unknown = || Refusal::Unknown(format!("a token named {name}").into());
                    Ok(if removed { Ok(()) } else { Err(unknown()) })
                })
            }
        };
        self.write(write, move |once: &Once<()>| {
            if once.is_new {
                inner.state().remove_token(&name);
                inner.take_notice();
            }
        })
        .await?;
        Ok(())
    }

    /// Lets the operator in with this secret, which is kept in memory alone; a token of the file that is
    /// named `operator` does not hold meanwhile.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where it is not 1 to 256 visible ASCII characters.
    pub fn set_operator(&self, secret: &str) -> Result<(), Error> {
        if !secret::is_plausible(secret) {
            let detail = format!("needs 1 to {SECRET_CHARS_MAX} visible ASCII characters");
            return Err(Refusal::invalid(ENVIRONMENT, detail).into());
        }
        let token = Token::new(secret::hash(secret), &[Role::Operator, Role::Admin], self.now(), None);
        self.inner.state().environment = Some(token);
        self.inner.take_notice();
        Ok(())
    }

    /// Who shows this token, if it holds.
    pub(crate) fn by_token(&self, token: &str) -> Option<Pass> {
        if !secret::is_plausible(token) {
            return None;
        }
        let state = self.inner.state();
        let holder = state.holder(token)?;
        self.pass(&state, &holder, None)
    }

    /// Who shows this cookie, if its session holds; the session is then used. The second secret of the
    /// session is compared where one is shown.
    pub(crate) fn by_session(&self, cookie: &str, write: Option<&str>) -> Option<(Pass, bool)> {
        if !secret::is_plausible(cookie) {
            return None;
        }
        let now = self.now();
        let mut state = self.inner.state();
        let hash = state.hashes_of(cookie).find(|hash| state.sessions.contains_key(hash))?;
        let session = state.sessions.get_mut(&hash).filter(|session| now < session.ends_at())?;
        let may_write = write.is_some_and(|write| secret::is_same(&session.write_hash, &secret::hash(write)));
        let is_stale = now >= session.used_at.saturating_add(SESSION_TOUCH_SECONDS);
        if is_stale {
            session.used_at = now;
        }
        let holder = Arc::clone(&session.holder);
        let pass = self.pass(&state, &holder, Some(hash))?;
        drop(state);
        if is_stale {
            let touch = Task::new(move |turn| Ok(Ok(tables::touch_session(turn.conn, &hash, now)?)));
            // A lost touch costs the session an hour of its month.
            drop(self.inner.store.write(touch));
        }
        Some((pass, may_write))
    }

    /// Makes a session of a token, or none where the token does not hold.
    pub(crate) async fn sign_in(&self, token: &str) -> Result<Option<SignedIn>, Error> {
        match self.by_token(token) {
            Some(pass) => self.begin_session(pass, None).await,
            None => Ok(None),
        }
    }

    /// Makes a session of a login code, or none where the code is wrong, used or old.
    pub(crate) async fn sign_in_by_code(&self, code: &str) -> Result<Option<SignedIn>, Error> {
        let found = {
            let (state, now) = (self.inner.state(), self.now());
            if !secret::is_plausible(code) {
                return Ok(None);
            }
            let found = state.hashes_of(code).find_map(|hash| Some((hash, state.codes.get(&hash)?)));
            let found = found.filter(|(_, code)| now < code.expires_at);
            found.and_then(|(hash, code)| Some((hash, self.pass(&state, &code.holder, None)?)))
        };
        match found {
            Some((hash, pass)) => self.begin_session(pass, Some(hash)).await,
            None => Ok(None),
        }
    }

    async fn begin_session(&self, pass: Pass, code: Option<Hash>) -> Result<Option<SignedIn>, Error> {
        let (cookie, write) = (secret::mint("")?, secret::mint("")?);
        let now = self.now();
        let (hash, over) = {
            let state = self.inner.state();
            (state.hash_for(&pass.holder, &cookie), state.sessions_over(&pass.holder, now))
        };
        let session =
            Session { write_hash: secret::hash(&write), holder: Arc::clone(&pass.holder), used_at: now };
        let inner = Arc::clone(&self.inner);
        let insert = {
            let (holder, token_hash) = (Arc::clone(&pass.holder), pass.token_hash);
            let (session, over) = (session.clone(), over.clone());
            move |turn: &Turn<'_>| {
                let token = (&*holder, &token_hash);
                tables::add_session(turn.conn, token, (&hash, &session), code.as_ref(), &over)
            }
        };
        let written = self
            .write_secret(insert, move |()| {
                let mut state = inner.state();
                for hash in &over {
                    state.sessions.remove(hash);
                }
                if let Some(code) = code {
                    state.codes.remove(&code);
                }
                state.sessions.insert(hash, session);
                drop(state);
                inner.take_notice();
            })
            .await;
        match written {
            Ok(()) => Ok(Some(SignedIn { cookie, write, pass: pass.of_session(hash) })),
            Err(Error::Refused(Refusal::Unknown(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends a session.
    pub(crate) async fn sign_out(&self, pass: &Pass) -> Result<(), Error> {
        let Some(hash) = pass.session else { return Ok(()) };
        let inner = Arc::clone(&self.inner);
        let remove = move |turn: &Turn<'_>| Ok(Ok(tables::remove_session(turn.conn, &hash)?));
        self.write(remove, move |()| {
            inner.state().sessions.remove(&hash);
            inner.take_notice();
        })
        .await
    }

    /// Makes a login code of the credential that is shown; `None` where it went meanwhile.
    pub(crate) async fn login_code(&self, pass: &Pass) -> Result<Option<LoginCode>, Error> {
        let code = secret::mint("")?;
        let now = self.now();
        let made = Code { holder: Arc::clone(&pass.holder), expires_at: now + CODE_SECONDS };
        let (hash, over) = {
            let state = self.inner.state();
            (state.hash_for(&pass.holder, &code), state.codes_over(&pass.holder, now))
        };
        let (inner, expires_at) = (Arc::clone(&self.inner), made.expires_at);
        let insert = {
            let (holder, token_hash) = (Arc::clone(&pass.holder), pass.token_hash);
            let (made, over) = (made.clone(), over.clone());
            move |turn: &Turn<'_>| tables::add_code(turn.conn, (&holder, &token_hash), (&hash, &made), &over)
        };
        let written = self
            .write_secret(insert, move |()| {
                let mut state = inner.state();
                for hash in &over {
                    state.codes.remove(hash);
                }
                state.codes.insert(hash, made);
            })
            .await;
        match written {
            Ok(()) => Ok(Some(LoginCode { code, expires_at })),
            Err(Error::Refused(Refusal::Unknown(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a login code for the operator, where that credential is there.
    pub(crate) async fn operators_code(&self) -> Result<Option<LoginCode>, Error> {
        let pass = {
            let state = self.inner.state();
            let holder = if state.environment.is_some() { ENVIRONMENT } else { OPERATOR };
            self.pass(&state, &holder.into(), None)
        };
        match pass {
            Some(pass) => self.login_code(&pass).await,
            None => Ok(None),
        }
    }

    /// Until when this one holds, as things stand; `None` where it does not hold any more.
    pub(super) fn holds_until(&self, pass: &Pass) -> Option<i64> {
        if &*pass.holder == SOCKET {
            return Some(i64::MAX);
        }
        let (state, now) = (self.inner.state(), self.now());
        let token = state.token(&pass.holder, now).filter(|token| token.hash == pass.token_hash)?;
        let end = token.expires_at.unwrap_or(i64::MAX);
        match pass.session {
            None => Some(end),
            Some(hash) => {
                let session = state.sessions.get(&hash).filter(|session| now < session.ends_at())?;
                Some(end.min(session.ends_at()))
            }
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Wall time in unix seconds: what tokens, sessions and codes end by.
    pub(super) fn now(&self) -> i64 {
        self.inner.store.clock.now_ms().div_euclid(1_000)
    }

    fn pass(&self, state: &State, holder: &Arc<str>, session: Option<Hash>) -> Option<Pass> {
        let token = state.token(holder, self.now())?;
        let name = if &**holder == ENVIRONMENT { OPERATOR.into() } else { Arc::clone(holder) };
        Some(Pass {
            name,
            roles: Arc::clone(&token.roles),
            open: Arc::clone(&token.open),
            room: Arc::clone(&token.room),
            holder: Arc::clone(holder),
            token_hash: token.hash,
            session,
            credentials: self.clone(),
        })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnMut(&Turn<'_>) -> Done<T> + Send + 'static,
        after: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Error> {
        let task = Task::new(write).after(after).deadline(Some(Instant::now() + COMMAND_TIMEOUT));
        self.inner.store.write(task).await
    }

    /// Writes a secret, unless nobody waits for it any more: it could never be told.
    pub(super) async fn write_secret(
        &self,
        write: impl FnMut(&Turn<'_>) -> Done<()> + Send + 'static,
        after: impl FnOnce(&()) + Send + 'static,
    ) -> Result<(), Error> {
        let task = Task::new(write).after(after).deadline(Some(Instant::now() + COMMAND_TIMEOUT));
        self.inner.store.write(task.only_while_awaited()).await
    }
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets everything that is open look again whether its credential holds.
    pub(super) fn take_notice(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Refuses what is no name of an agent: a name, and none of hivelog's own.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    if !is_name(name) {
        return Err(Refusal::invalid(field, "is not a name: expected [a-z0-9][a-z0-9._-]{0,63}"));
    }
    if name == OPERATOR || name == TTL_WATCHDOG {
        return Err(Refusal::invalid(field, format!("{name} is a name of hivelog's own")));
    }
    Ok(())
}
