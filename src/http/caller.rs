//! Who makes a request, and what that one may do.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::access::Role;
use crate::event::{OPERATOR, is_name};
use crate::http::problem::Problem;

/// The roles that may read what happened and what is open.
pub(super) const READERS: &[Role] = &[Role::Read, Role::Operator, Role::Admin];

/// Who makes a request: a credential, or anybody where none is asked for.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Credentials are asked for, and this one was shown.
    Known {
        /// The name that it stands for.
        name: Box<str>,
        /// What it may do.
        roles: Box<[Role]>,
    },
    /// Credentials are asked for, and none that holds was shown.
    Unknown,
    /// Nobody is asked: the body says who acts.
    Anybody,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self::Anybody))
    }
}

impl Caller {
    /// Refuses who has none of these roles.
    pub(super) fn needs(&self, any_of: &[Role]) -> Result<(), Problem> {
        match self {
            Self::Anybody => Ok(()),
            Self::Known { roles, .. } if roles.iter().any(|role| any_of.contains(role)) => Ok(()),
            Self::Known { .. } => Err(forbidden("this credential does not have a role for that")),
            Self::Unknown => Err(unauthorized()),
        }
    }

    /// Whether it has this role; anybody has every role.
    pub(super) fn is(&self, role: Role) -> bool {
        match self {
            Self::Anybody => true,
            Self::Known { roles, .. } => roles.contains(&role),
            Self::Unknown => false,
        }
    }

    /// The name that the credential stands for, where one was asked for.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Known { name, .. } => Some(name),
            Self::Unknown | Self::Anybody => None,
        }
    }

    /// Whose idempotency keys the request's are.
    pub(super) fn actor(&self) -> &str {
        self.name().unwrap_or_default()
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
        let Self::Known { .. } = self else { return self.agent(field, given) };
        if self.is(Role::Operator) && given.is_none_or(|given| given == OPERATOR) {
            return Ok(OPERATOR.into());
        }
        if self.is(Role::Agent) { self.agent(field, given) } else { Err(another(field)) }
    }
}

impl Caller {
    /// Ends when the credential no longer holds.
    #[allow(clippy::unused_self, reason = "nobody can lose what nobody was asked for")]
    pub(super) async fn gone(&self) {
        std::future::pending().await
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
