//! What a search may ask beforehand: where in the log words can be.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::query::{Filter, Order};
use crate::seq::Seq;
use crate::store::rows::Stretch;
use crate::words::Words;

/// Knows where in the log words can be, up to a seq.
///
/// Every seq that it gives is looked at all the same: it may name too many, and must not leave one out.
pub(crate) trait Hints: Send + Sync {
    /// The seq up to which it knows the log.
    fn upto(&self) -> Seq;

    /// Gives seqs of the stretch at which all words may be found, in order, until `each` has enough.
    fn candidates(
        &self,
        words: Option<&Words>,
        filter: &Filter,
        stretch: Stretch,
        order: Order,
        each: &mut dyn FnMut(Seq) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error>;
}
