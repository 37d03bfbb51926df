//! The first token of a log, in a file beside it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::access::Role;
use crate::access::credentials::Credentials;
use crate::access::secret;
use crate::access::state::Token;
use crate::access::tables;
use crate::error::Error;
use crate::event::OPERATOR;
use crate::store::open::{beside, make_anew};
use crate::store::turn::Turn;
use crate::store::{meta, reading};

/// In `meta`: the first token was made, so it is never made again.
const MADE: &str = "first_token";

/// The file that the first token is written to.
pub(crate) fn token_path(log: &Path) -> PathBuf {
    beside(log, ".token")
}

impl Credentials {
    /// Makes the operator's token, who is admin too, and writes it to `PATH.token` beside the log (0600);
    /// gives that path. Does so once in the life of a log: `None` where it was done before, also where the
    /// file or the token is gone since. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written; what a write can fail with.
    pub async fn write_first_token(&self, log: &Path) -> Result<Option<PathBuf>, Error> {
        let made = |conn: &rusqlite::Connection| meta::integer(conn, MADE).map_err(|error| reading(&error));
        if self.inner.store.readers.with(made)? > 0 {
            return Ok(None);
        }
        let secret = secret::mint("hvl_")?;
        let path = token_path(log);
        // First the file: a token that holds and that nobody was told could not be told again. Killed in
        // between, the next start makes another one.
        write_private(&path, &secret)?;
        let roles = [Role::Operator, Role::Admin];
        let token = Token::new(secret::hash(&secret), &roles, self.now(), None);
        let (inner, kept) = (Arc::clone(&self.inner), token.clone());
        let write = move |turn: &Turn<'_>| {
            tables::replace_token(turn.conn, OPERATOR, &token)?;
            meta::set_integer(turn.conn, MADE, 1)?;
            Ok(Ok(()))
        };
        self.write_secret(write, move |()| inner.state().add_token(OPERATOR.into(), kept)).await?;
        Ok(Some(path))
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, secret: &str) -> io::Result<()> {
    let fresh = beside(path, &format!(".{}", std::process::id()));
    let mut file = make_anew(&fresh, 0o600)?;
    file.write_all(format!("{secret}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
