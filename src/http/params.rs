//! The query of a request, read strictly.
//!
//! A key that nobody asked for is an error, as is a second value where one is meant; an empty value is
//! a value and not an absence.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum_extra::extract::Query;

use crate::error::Refusal;
use crate::http::problem::Problem;

/// The pairs of a query that were not read yet.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if !parts.uri.query().is_none_or(is_encoded) {
            return Err(Problem::query(Refusal::shape("the query is not percent-encoded UTF-8").into()));
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
        Ok(Self(pairs))
    }
}

/// A query without anything in it.
#[derive(Debug)]
pub(super) struct NoParams;

impl<S: Send + Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_none() {
            return Ok(Self);
        }
        let params = Params::from_request_parts(parts, state).await?;
        params.end().map_err(|refusal| Problem::query(refusal.into()))?;
        Ok(Self)
    }
}

impl Params {
    /// Takes every value of a key that may be repeated.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// Takes the one value of a key.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let mut values = self.all(name);
        match (values.pop(), values.pop()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Refusal::invalid(name, "is given twice")),
        }
    }

    /// Takes the one value of a key and reads it.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        self.one(name)?.as_deref().map(read).transpose()
    }

    /// Refuses what nobody took.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.0.first() {
            Some((key, _)) => Err(Refusal::invalid(key, "is not a parameter of this call")),
            None => Ok(()),
        }
    }
}

/// Whether every `%` of a query begins an escape, and the whole is UTF-8: what is not would be read as
/// something else than was sent.
fn is_encoded(query: &str) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = query.bytes();
    let mut decoded = Vec::with_capacity(query.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        match (bytes.next().and_then(digit), bytes.next().and_then(digit)) {
            (Some(high), Some(low)) => decoded.push(high << 4 | low),
            _ => return false,
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// Reads a whole number without a sign.
pub(super) fn number(field: &str, text: &str) -> Result<i64, Refusal> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Refusal::invalid(field, "is not a whole number from 0 to 2^63-1"))
}
