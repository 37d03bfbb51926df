//! What the fuzz targets reach of parts that are nobody else's business; in their builds only.

#[path = "cli/escape.rs"]
mod escape;

pub use crate::http::probe::{Taken, asked, begins, events};

/// Foreign text as a terminal gets it: in JSON, and for people.
pub fn escaped(text: &str) -> (String, String) {
    (escape::escaped(text).into_owned(), escape::shown(text, false).into_owned())
}
