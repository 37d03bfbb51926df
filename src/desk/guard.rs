//! Transients of this process: set, renewed, cleared when a guard is dropped.

use std::time::Duration;

use crate::board::Intent;
use crate::board::transient::{Clear, Only};
use crate::desk::{Desk, seq};
use crate::error::Error;
use crate::event::{ClearReason, TransientKind};
use crate::log::authority::Receipt;
use crate::seq::Seq;

impl Desk {
    /// Begins a lifecycle action, or renews it where it is set already, which is no event (`None`). Another
    /// kind for the same name replaces what is set. Does not block.
    ///
    /// It is cleared by [`Desk::clear`], or when nobody renews it within `lease` (reason `lease_expired`), or
    /// at the next opening of the file where this process is gone by then (reason `restart`).
    ///
    /// The receipt ends with [`Refusal::Invalid`](crate::Refusal::Invalid) for a lease that is not between a
    /// millisecond and a day, and with [`Refusal::TooManyOpen`](crate::Refusal::TooManyOpen).
    pub fn set(&self, name: &str, transient_kind: TransientKind, lease: Duration) -> Receipt<Option<Seq>> {
        match self.set_intent(name, transient_kind, lease, true) {
            Ok(intent) => self.submit(intent, seq),
            Err(error) => Receipt::failed(error),
        }
    }

    /// Ends a lifecycle action. Does not block; refused as unknown where none is set for this name.
    pub fn clear(&self, name: &str, reason: ClearReason) -> Receipt<Seq> {
        let clear = Clear { name: name.into(), reason, only: None };
        self.submit(Intent::Clear(clear), |appended| seq(appended).unwrap_or_default())
    }

    /// The same as [`Desk::set`], with a guard that ends the action when it is dropped.
    ///
    /// A receipt that is dropped unread leaves the transient to its lease. Two guards of one name and kind hold
    /// one action, which ends with the first of them.
    pub fn hold(
        &self,
        name: &str,
        transient_kind: TransientKind,
        lease: Duration,
    ) -> Receipt<TransientGuard> {
        let set = self.set(name, transient_kind, lease);
        let (desk, name) = (self.clone(), name.into());
        // There is a guard only once there is something to guard: one that goes with its receipt, or with a
        // refusal, would end what an earlier guard holds.
        Receipt::of(async move {
            set.await?;
            Ok(TransientGuard { desk, name, transient_kind, lease, reason: Some(ClearReason::Done) })
        })
    }
}

/// A lifecycle action in progress, which ends when this is dropped.
///
/// Dropping it does not block and does not wait. Where the queue of appends is full at that moment, or the
/// guard is leaked, the lease ends the action.
#[derive(Debug)]
#[must_use = "the action ends when the guard is dropped"]
pub struct TransientGuard {
    desk: Desk,
    name: Box<str>,
    transient_kind: TransientKind,
    lease: Duration,
    /// What its drop says; nothing, where its end was said already.
    reason: Option<ClearReason>,
}

impl TransientGuard {
    /// Renews the lease: needed where the action takes longer than it. Does not block.
    pub fn renew(&self) -> Receipt<Option<Seq>> {
        self.desk.set(&self.name, self.transient_kind, self.lease)
    }

    /// Ends the action as failed.
    pub fn fail(mut self) {
        self.reason = Some(ClearReason::Failed);
    }

    /// Whose action it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends the action, unless that was said already.
    fn clear(&mut self) -> Option<Receipt<Option<Seq>>> {
        let reason = self.reason.take()?;
        let only = Only::Held { owner: self.desk.inner.owner.clone(), kind: self.transient_kind };
        let clear = Clear { name: self.name.clone().into(), reason, only: Some(only) };
        Some(self.desk.submit(Intent::Clear(clear), seq))
    }

    /// Ends the action and waits until that is on disk, which blocks.
    ///
    /// # Errors
    /// The machine failed; the lease ends the action then.
    pub fn finish(mut self) -> Result<(), Error> {
        self.clear().map_or(Ok(()), |cleared| cleared.wait().map(drop))
    }
}

impl Drop for TransientGuard {
    fn drop(&mut self) {
        // Not waited for: a drop must not block. What is cleared already makes no event.
        drop(self.clear());
    }
}
