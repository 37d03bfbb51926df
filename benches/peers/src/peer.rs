//! What every one of the three is to the measuring.

use std::net::TcpStream;

use crate::answer::Answer;
use crate::mix::Text;
use crate::process::Process;

/// Rows of a page and of a batch.
pub const BATCH: usize = 1_000;

/// How a page was answered.
pub struct Page {
    pub rows: usize,
    /// The position that the next page begins after.
    pub after: String,
}

pub trait Peer {
    fn name(&self) -> &'static str;
    /// What an answer to an append means, in the system's own word.
    fn durability(&self) -> &'static str;
    fn version(&self) -> &str;
    fn process(&self) -> &Process;

    /// A connection that takes the requests below at once.
    fn connect(&self) -> TcpStream;
    /// Appends one event.
    fn single(&self, text: &Text) -> Vec<u8>;
    /// Appends all of them or none.
    fn batch(&self, texts: &[Text]) -> Vec<u8>;
    /// Asks for the rows after this position, [`BATCH`] of them; empty: from the start.
    fn page(&self, after: &str) -> Vec<u8>;

    /// What reads the answer to a single event or a page.
    fn answer(&self) -> Answer;
    /// What reads the answer to a batch.
    fn batch_answer(&self) -> Answer {
        self.answer()
    }
    fn read_page(&self, answer: &Answer, bytes: &[u8]) -> Page;
}
