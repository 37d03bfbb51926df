//! Who makes a request, and what that one may do.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::access::Role;
use crate::access::pass::Pass;
use crate::event::{OPERATOR, is_name};
use crate::http::answer::Share;
use crate::http::problem::Problem;
use crate::limits::LAPSE_TICK;

/// What ends within this time is looked at often.
const SOON_SECONDS: u64 = 7 * 24 * 3_600;

/// The roles that may read what happened and what is open.
pub(super) const READERS: &[Role] = &[Role::Read, Role::Operator, Role::Admin];

/// Who makes a request: a credential, or anybody where none is asked for.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Credentials are asked for, and this one was shown.
    Known(Pass),
    /// Credentials are asked for, and none that holds was shown.
    Unknown,
    /// A write by a session's cookie without the session's second secret: it is let in nowhere.
    Unarmed,
    /// Nobody is asked: the body says who acts.
    Anybody,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // The guard says who it is; what did not pass it is nobody.
        Ok(parts.extensions.get().cloned().unwrap_or(Self::Unknown))
    }
}

impl Caller {
    /// Refuses who has none of these roles.
    pub(super) fn needs(&self, any_of: &[Role]) -> Result<(), Problem> {
        match self {
            Self::Anybody => Ok(()),
            Self::Known(pass) if pass.roles.iter().any(|role| any_of.contains(role)) => Ok(()),
            Self::Known(_) => Err(forbidden("this credential does not have a role for that")),
            Self::Unknown => Err(unauthorized()),
            Self::Unarmed => Err(unarmed()),
        }
    }

    /// Whether it has this role; anybody has every role.
    pub(super) fn is(&self, role: Role) -> bool {
        match self {
            Self::Anybody => true,
            Self::Known(pass) => pass.roles.contains(&role),
            Self::Unknown | Self::Unarmed => false,
        }
    }

    /// The name that the credential stands for, where one was asked for.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Known(pass) => Some(&pass.name),
            Self::Unknown | Self::Unarmed | Self::Anybody => None,
        }
    }

    /// What its answers take their room from, where it is not from the room of all alone.
    pub(super) fn share(&self) -> Option<&Share> {
        match self {
            Self::Known(pass) => Some(&pass.room),
            Self::Unknown | Self::Unarmed | Self::Anybody => None,
        }
    }

    /// Waits until the credential does not hold any more: revoked, signed out, or at its end. For ever where
    /// none was asked for. Cancel-safe.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let pass = match self {
            Self::Known(pass) => Some(pass.clone()),
            Self::Unknown | Self::Unarmed | Self::Anybody => None,
        };
        async move {
            // Borrowed: a stream waits here all its life, and a second one would lie beside it.
            let Some(pass) = &pass else { return std::future::pending().await };
            let mut changes = pass.changes();
            while let Some(seconds) = pass.holds_for() {
                // One that ends soon is looked at often: the wall clock may be set forward.
                let nap = if seconds < SOON_SECONDS { LAPSE_TICK } else { LAPSE_TICK * 30 };
                tokio::select! {
                    // The sender lives as long as the pass.
                    _changed = changes.changed() => {}
                    () = tokio::time::sleep(nap) => {}
                }
            }
        }
    }

    /// Whose idempotency keys the request's are. The operator's are those of whoever writes the file without a
    /// server, or through one that asks nobody: `hivelog append --key` repeated by another way is stored once.
    pub(super) fn actor(&self) -> &str {
        self.name().filter(|name| *name != OPERATOR).unwrap_or_default()
    }

    /// The agent that acts: the credential's own name, or where nobody is asked the one that the body gives
    /// in this field.
    pub(super) fn agent(&self, field: &str, given: Option<&str>) -> Result<String, Problem> {
        self.needs(&[Role::Agent])?;
        match (self.name(), given) {
            (Some(name), None) => Ok(name.into()),
            (Some(name), Some(given)) if name == given => Ok(name.into()),
            (Some(_), Some(_)) => Err(another(field)),
            (None, Some(given)) if is_name(given) => Ok(given.into()),
            (None, Some(_)) => {
                Err(Problem::invalid(field, "is not a name: expected [a-z0-9][a-z0-9._-]{0,63}"))
            }
            (None, None) => Err(Problem::invalid(field, "is missing")),
        }
    }

    /// The one that acts for a call that agents and the operator share. With both roles it is the operator,
    /// unless the field names the agent.
    pub(super) fn agent_or_operator(&self, field: &str, given: Option<&str>) -> Result<String, Problem> {
        self.needs(&[Role::Agent, Role::Operator])?;
        let Self::Known(_) = self else { return self.agent(field, given) };
        if self.is(Role::Operator) && given.is_none_or(|given| given == OPERATOR) {
            return Ok(OPERATOR.into());
        }
        if self.is(Role::Agent) { self.agent(field, given) } else { Err(another(field)) }
    }
}

fn another(field: &str) -> Problem {
    forbidden("a credential acts as nobody but itself").of_field(field)
}

pub(super) fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "urn:hivelog:forbidden", "this credential may not do that")
        .detail(detail)
}

pub(super) fn unauthorized() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "urn:hivelog:unauthorized", "a credential is needed")
}

fn unarmed() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "urn:hivelog:session", "a session's cookie alone only reads")
        .detail("the header X-Hivelog-Session has to carry what signing in answered as `session`")
}
