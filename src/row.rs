//! What is read: encoded rows, many in one shared piece of memory.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::error::{Error, Refusal};
use crate::event::Event;
use crate::seq::{LogId, Seq};
use crate::wire;

/// One stored event: its envelope and its text on the wire.
///
/// Cloning shares the memory.
#[derive(Clone)]
pub struct Row {
    segment: Arc<Segment>,
    index: usize,
}

impl Row {
    /// Its place in the log.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.meta().seq
    }

    /// When the log took it, in milliseconds since 1970; never goes back as seq grows.
    #[must_use]
    pub fn recorded_at_ms(&self) -> i64 {
        self.meta().recorded_at_ms
    }

    /// Its kind by name.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.segment.kind(self.meta())
    }

    /// The names that it concerns.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.segment.agents(self.meta()).split(' ').filter(|name| !name.is_empty())
    }

    /// The event as it goes over the wire: one JSON object on one line.
    #[must_use]
    pub fn line(&self) -> Bytes {
        self.segment.line(self.meta())
    }

    /// The stored payload object, byte for byte.
    #[must_use]
    pub fn payload(&self) -> String {
        let meta = self.meta();
        let members = self.segment.text(meta.payload_start, meta.line_end);
        if members == "}" { "{}".into() } else { format!("{{{members}") }
    }

    /// The event as typed; unknown kinds come as [`Event::Custom`].
    ///
    /// # Errors
    /// The stored text does not have the shape of its kind: the file was changed by hand.
    pub fn event(&self) -> Result<Event, Error> {
        Event::read(self.kind(), &self.payload()).map_err(|error| unreadable(&error))
    }

    /// The whole envelope as a type of the caller's.
    ///
    /// # Errors
    /// The line does not have that type's shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.line()).map_err(|error| unreadable(&error))
    }

    fn meta(&self) -> &Meta {
        // A row is only made for an index that is there.
        self.segment.metas.get(self.index).unwrap_or(&Meta::NONE)
    }
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::Refused(Refusal::shape(error.to_string()))
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({})", String::from_utf8_lossy(&self.line()))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.line() == other.line()
    }
}

/// One row as the store gives it, borrowed from where it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowRef<'a> {
    pub(crate) seq: Seq,
    pub(crate) recorded_at_ms: i64,
    pub(crate) kind: &'a str,
    pub(crate) agents: &'a str,
    pub(crate) payload: &'a [u8],
}

/// How the rows of a segment are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Frames of a stream of this log.
    Frames(LogId),
    /// Members of a JSON array, a comma between two.
    Array,
    /// One line each.
    Lines,
}

/// Encoded rows in one piece of memory, in the order in which they were read.
#[derive(Debug)]
pub(crate) struct Segment {
    bytes: Bytes,
    /// The agents of each row, which its line holds only in part.
    names: Box<str>,
    /// Empty where only the bytes are wanted.
    metas: Box<[Meta]>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Meta {
    seq: Seq,
    recorded_at_ms: i64,
    /// Where the row's frame or line ends, divider included. It begins where the last one ended.
    end: u32,
    line_start: u32,
    line_end: u32,
    payload_start: u32,
    kind_start: u32,
    kind_end: u32,
    agents_start: u32,
    agents_end: u32,
}

impl Meta {
    const NONE: Self = Self {
        seq: Seq::ZERO,
        recorded_at_ms: 0,
        end: 0,
        line_start: 0,
        line_end: 0,
        payload_start: 0,
        kind_start: 0,
        kind_end: 0,
        agents_start: 0,
        agents_end: 0,
    };
}

impl Segment {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The memory that it takes.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + self.names.len() + self.metas.len() * size_of::<Meta>()
    }

    pub(crate) fn first(&self) -> Option<Seq> {
        self.metas.first().map(|meta| meta.seq)
    }

    pub(crate) fn last(&self) -> Option<Seq> {
        self.metas.last().map(|meta| meta.seq)
    }

    /// How many rows stand at or before `cursor`, in a segment of rising seqs.
    pub(crate) fn position(&self, cursor: Seq) -> usize {
        self.metas.partition_point(|meta| meta.seq <= cursor)
    }

    /// The seq of a row.
    pub(crate) fn seq(&self, index: usize) -> Option<Seq> {
        self.metas.get(index).map(|meta| meta.seq)
    }

    /// Where the rows from an index on end that are at most so many bytes together, or one row.
    pub(crate) fn within(&self, from: usize, bytes: usize) -> usize {
        let begin =
            from.checked_sub(1).and_then(|index| self.metas.get(index)).map_or(0, |meta| meta.end as usize);
        let upto = self.metas.partition_point(|meta| meta.end as usize <= begin + bytes);
        upto.max(from + 1).min(self.metas.len())
    }

    pub(crate) fn row(self: &Arc<Self>, index: usize) -> Option<Row> {
        (index < self.metas.len()).then(|| Row { segment: Arc::clone(self), index })
    }

    /// Gives seq, kind and agents of each row from `index` on.
    pub(crate) fn rows_from(&self, index: usize) -> impl Iterator<Item = (Seq, &str, &str)> {
        let metas = self.metas.get(index..).unwrap_or_default();
        metas.iter().map(|meta| (meta.seq, self.kind(meta), self.agents(meta)))
    }

    /// The encoded rows `from..to`, dividers included.
    pub(crate) fn slice(&self, from: usize, to: usize) -> Bytes {
        let end = |count: usize| {
            count.checked_sub(1).and_then(|index| self.metas.get(index)).map_or(0, |meta| meta.end as usize)
        };
        self.bytes.slice(end(from)..end(to))
    }

    fn kind(&self, meta: &Meta) -> &str {
        self.text(meta.kind_start, meta.kind_end)
    }

    fn agents(&self, meta: &Meta) -> &str {
        self.names.get(meta.agents_start as usize..meta.agents_end as usize).unwrap_or_default()
    }

    fn line(&self, meta: &Meta) -> Bytes {
        self.bytes.slice(meta.line_start as usize..meta.line_end as usize)
    }

    fn text(&self, start: u32, end: u32) -> &str {
        let bytes = self.bytes.get(start as usize..end as usize).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// More than most rows have.
pub(crate) const ROW_BYTES: usize = 4 << 10;

/// Encodes rows into a segment.
#[derive(Debug)]
pub(crate) struct Builder {
    style: Style,
    bytes: Vec<u8>,
    names: String,
    metas: Option<Vec<Meta>>,
    len: usize,
}

impl Builder {
    pub(crate) const fn new(style: Style) -> Self {
        Self { style, bytes: Vec::new(), names: String::new(), metas: Some(Vec::new()), len: 0 }
    }

    pub(crate) fn with_capacity(style: Style, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::new(style) }
    }

    /// Keeps only the bytes: no row can be taken out of the segment.
    pub(crate) fn bare(self) -> Self {
        Self { metas: None, ..self }
    }

    /// Encoded bytes so far.
    pub(crate) const fn weight(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Takes out what is encoded so far; what comes next goes on after it. Only of a bare one: a row's place is
    /// counted from the first byte.
    pub(crate) fn take(&mut self) -> Bytes {
        // A little more than this time: what comes out at the same bound is some bytes over it, and a text that
        // grows is copied.
        let next = Vec::with_capacity(self.bytes.len() + ROW_BYTES);
        Bytes::from(std::mem::replace(&mut self.bytes, next))
    }

    pub(crate) fn push(&mut self, row: RowRef<'_>) {
        self.push_with(row, None);
    }

    /// Adds a row, with the key that it was appended under.
    pub(crate) fn push_with(&mut self, row: RowRef<'_>, key: Option<&str>) {
        match self.style {
            Style::Frames(log_id) => {
                wire::frame_id(&mut self.bytes, log_id, row.seq);
                self.bytes.extend_from_slice(wire::FRAME_DATA);
            }
            Style::Array if self.len > 0 => self.bytes.push(b','),
            Style::Array | Style::Lines => {}
        }
        let line_start = self.bytes.len();
        let place = (row.seq, row.recorded_at_ms);
        let kind_end = wire::envelope(&mut self.bytes, place, row.kind, key, row.payload);
        let line_end = self.bytes.len();
        match self.style {
            Style::Frames(_) => self.bytes.extend_from_slice(wire::FRAME_END),
            Style::Lines => self.bytes.push(b'\n'),
            Style::Array => {}
        }
        self.len += 1;
        let Some(metas) = &mut self.metas else { return };
        let agents_start = self.names.len();
        self.names.push_str(row.agents);
        metas.push(Meta {
            seq: row.seq,
            recorded_at_ms: row.recorded_at_ms,
            end: offset(self.bytes.len()),
            line_start: offset(line_start),
            line_end: offset(line_end),
            payload_start: offset(line_end - row.payload.len().saturating_sub(1).max(1)),
            kind_start: offset(kind_end - row.kind.len()),
            kind_end: offset(kind_end),
            agents_start: offset(agents_start),
            agents_end: offset(self.names.len()),
        });
    }

    pub(crate) fn finish(mut self) -> Arc<Segment> {
        // What is kept for a while, or waits to be taken, is no more than twice what is in it.
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
        Arc::new(Segment {
            bytes: Bytes::from(self.bytes),
            names: self.names.into(),
            metas: self.metas.unwrap_or_default().into(),
            len: self.len,
        })
    }
}

/// An offset into a segment; a commit and a page are far below 4 GiB.
fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
