//! What a caller may see and do of items that belong to somebody.

use crate::access::Role;
use crate::event::{OPERATOR, is_name};
use crate::http::caller::{Caller, READERS, forbidden};
use crate::http::problem::Problem;

impl Caller {
    /// Refuses who may read neither everything nor what is its own.
    pub(super) fn may_see_own(&self) -> Result<(), Problem> {
        self.needs(&[Role::Read, Role::Operator, Role::Admin, Role::Agent])
    }

    /// Whether it may read everything on the log.
    pub(super) fn reads_all(&self) -> bool {
        self.needs(READERS).is_ok()
    }

    /// Whether it may see an item of this agent's.
    pub(super) fn sees(&self, agent: &str) -> bool {
        self.reads_all() || self.is_agent(agent)
    }

    /// Whether it is this agent.
    pub(super) fn is_agent(&self, agent: &str) -> bool {
        self.is(Role::Agent) && self.name() == Some(agent)
    }

    /// Whose items a list holds: one agent's, or everybody's.
    pub(super) fn lists(&self, mine: bool) -> Result<Option<String>, Problem> {
        match self.name() {
            Some(name) if mine || !self.reads_all() => Ok(Some(name.into())),
            None if mine => Err(Problem::header("`mine` needs a credential that says who asks")),
            Some(_) | None => Ok(None),
        }
    }

    /// Who decides: the operator's credential by its own name; where nobody is asked, whom the body names.
    pub(super) fn decider(&self, field: &str, given: Option<&str>) -> Result<String, Problem> {
        self.needs(&[Role::Operator])?;
        match (self.name(), given) {
            (Some(name), None) => Ok(name.into()),
            (Some(name), Some(given)) if name == given => Ok(name.into()),
            (Some(_), Some(_)) => Err(forbidden("a credential acts as nobody but itself").of_field(field)),
            (None, given) => named(field, given.unwrap_or(OPERATOR)),
        }
    }

    /// Who answers a question or takes it back: the operator as such, an agent by its name.
    pub(super) fn answerer(&self, field: &str, given: Option<&str>) -> Result<String, Problem> {
        if self.name().is_none() && given.is_none() {
            return Ok(OPERATOR.into());
        }
        self.agent_or_operator(field, given)
    }
}

fn named(field: &str, name: &str) -> Result<String, Problem> {
    if is_name(name) {
        return Ok(name.into());
    }
    Err(Problem::invalid(field, "is not a name: expected [a-z0-9][a-z0-9._-]{0,63}"))
}
