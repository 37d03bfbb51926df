//! The tables of tokens, sessions and login codes.

use std::sync::Arc;

use rusqlite::Connection;

use crate::access::Role;
use crate::access::secret::Hash;
use crate::access::state::{Code, ENVIRONMENT, Session, State, Token};
use crate::error::Refusal;
use crate::limits::TOKENS_MAX;
use crate::store::fault::Failure;
use crate::store::task::Done;

/// Reads all of them.
pub(super) fn load(conn: &Connection) -> rusqlite::Result<State> {
    let mut state = State::default();
    let mut tokens = conn.prepare("SELECT name, hash, roles, created_at, expires_at FROM tokens")?;
    let mut rows = tokens.query([])?;
    while let Some(row) = rows.next()? {
        let roles: String = row.get(2)?;
        // A role that a newer hivelog knows gives nothing here.
        let roles: Vec<Role> = roles.split(' ').filter_map(|role| role.parse().ok()).collect();
        let token = Token::new(row.get(1)?, &roles, row.get(3)?, row.get(4)?);
        state.add_token(row.get::<_, String>(0)?.into(), token);
    }
    let mut sessions = conn.prepare("SELECT hash, write_hash, token, used_at FROM sessions")?;
    let mut rows = sessions.query([])?;
    while let Some(row) = rows.next()? {
        let holder: Arc<str> = row.get::<_, String>(2)?.into();
        let session = Session { write_hash: row.get(1)?, holder, used_at: row.get(3)? };
        state.sessions.insert(row.get(0)?, session);
    }
    let mut codes = conn.prepare("SELECT hash, token, expires_at FROM login_codes")?;
    let mut rows = codes.query([])?;
    while let Some(row) = rows.next()? {
        let holder: Arc<str> = row.get::<_, String>(1)?.into();
        state.codes.insert(row.get(0)?, Code { holder, expires_at: row.get(2)? });
    }
    Ok(state)
}

/// Adds a token, whose name has to be new.
pub(super) fn add_token(conn: &Connection, name: &str, token: &Token) -> Done<()> {
    let count: i64 = conn.query_row("SELECT count(*) FROM tokens", [], |row| row.get(0))?;
    if usize::try_from(count).is_ok_and(|count| count >= TOKENS_MAX) {
        return Ok(Err(Refusal::TooManyOpen(format!("there are {TOKENS_MAX} tokens already").into())));
    }
    if is_taken(conn, name)? {
        let row = serde_json::json!({ "name": name }).to_string().into();
        return Ok(Err(Refusal::Closed { detail: format!("a token is named {name} already").into(), row }));
    }
    insert_token(conn, name, token)?;
    Ok(Ok(()))
}

fn is_taken(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM tokens WHERE name = ?1")?.exists([name])
}

fn insert_token(conn: &Connection, name: &str, token: &Token) -> rusqlite::Result<()> {
    let roles: Vec<&str> = token.roles.iter().map(|role| role.as_str()).collect();
    conn.prepare_cached(
        "INSERT INTO tokens (name, hash, roles, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((name, token.hash, roles.join(" "), token.created_at, token.expires_at))?;
    Ok(())
}

/// Puts a token in the place of the one that had its name, if one had.
pub(super) fn replace_token(conn: &Connection, name: &str, token: &Token) -> Result<(), Failure> {
    remove_token(conn, name)?;
    Ok(insert_token(conn, name, token)?)
}

/// Removes a token with its sessions and codes; false where there is none.
pub(super) fn remove_token(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("DELETE FROM sessions WHERE token = ?1")?.execute([name])?;
    conn.prepare_cached("DELETE FROM login_codes WHERE token = ?1")?.execute([name])?;
    Ok(conn.prepare_cached("DELETE FROM tokens WHERE name = ?1")?.execute([name])? > 0)
}

/// Whether that token is still there: it may have been revoked while this transaction was waited for.
fn is_held(conn: &Connection, (holder, hash): (&str, &Hash)) -> rusqlite::Result<bool> {
    if holder == ENVIRONMENT {
        return Ok(true);
    }
    conn.prepare_cached("SELECT 1 FROM tokens WHERE name = ?1 AND hash = ?2")?.exists((holder, hash))
}

fn gone() -> Refusal {
    Refusal::Unknown("the credential".into())
}

/// Adds a session, in the place of some that are over. One that is made from a code takes the code.
pub(super) fn add_session(
    conn: &Connection,
    token: (&str, &Hash),
    (hash, session): (&Hash, &Session),
    code: Option<&Hash>,
    over: &[Hash],
) -> Done<()> {
    if !is_held(conn, token)? {
        return Ok(Err(gone()));
    }
    if let Some(code) = code {
        let used = conn.prepare_cached("DELETE FROM login_codes WHERE hash = ?1")?.execute([code])?;
        if used == 0 {
            return Ok(Err(gone()));
        }
    }
    for hash in over {
        remove_session(conn, hash)?;
    }
    conn.prepare_cached(
        "INSERT INTO sessions (hash, write_hash, token, created_at, used_at) VALUES (?1, ?2, ?3, ?4, ?4)",
    )?
    .execute((hash, session.write_hash, &*session.holder, session.used_at))?;
    Ok(Ok(()))
}

pub(super) fn remove_session(conn: &Connection, hash: &Hash) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM sessions WHERE hash = ?1")?.execute([hash])?;
    Ok(())
}

pub(super) fn touch_session(conn: &Connection, hash: &Hash, used_at: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE sessions SET used_at = ?2 WHERE hash = ?1")?.execute((hash, used_at))?;
    Ok(())
}

/// Adds a login code, in the place of some that are over.
pub(super) fn add_code(
    conn: &Connection,
    token: (&str, &Hash),
    (hash, code): (&Hash, &Code),
    over: &[Hash],
) -> Done<()> {
    if !is_held(conn, token)? {
        return Ok(Err(gone()));
    }
    for hash in over {
        conn.prepare_cached("DELETE FROM login_codes WHERE hash = ?1")?.execute([hash])?;
    }
    conn.prepare_cached("INSERT INTO login_codes (hash, token, expires_at) VALUES (?1, ?2, ?3)")?
        .execute((hash, &*code.holder, code.expires_at))?;
    Ok(Ok(()))
}
