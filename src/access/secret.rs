//! Secrets: how they are made, kept and compared.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::Error;
use crate::limits::SECRET_CHARS_MAX;

/// What is kept of a secret. A random secret needs no slow hash: there is nothing to guess.
pub(super) type Hash = [u8; 32];

/// A new secret of 256 random bits.
pub(super) fn mint(prefix: &str) -> Result<String, Error> {
    let mut bits = [0_u8; 32];
    getrandom::fill(&mut bits)
        .map_err(|error| Error::Storage(format!("the system gives no random bits: {error}").into()))?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits)))
}

/// Whether it could be a secret at all: what is longer is not even hashed.
pub(super) fn is_plausible(secret: &str) -> bool {
    (1..=SECRET_CHARS_MAX).contains(&secret.len()) && secret.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

pub(super) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// The hash of a secret that is only good together with another one. That other one may be a word that a
/// person chose: its hash alone could be guessed from, so it is kept nowhere.
pub(super) fn hash_under(other: &Hash, secret: &str) -> Hash {
    Sha256::new_with_prefix(other).chain_update(secret.as_bytes()).finalize().into()
}

/// Compares in constant time.
pub(super) fn is_same(one: &Hash, other: &Hash) -> bool {
    one.ct_eq(other).into()
}
