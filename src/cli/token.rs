//! The verbs that hand out tokens and take them back: through the running server, or on the file.

use std::io::Write as _;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::access::Role;
use crate::access::credentials::Credentials;
use crate::cli::client::{self, Client};
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, say, shown};
use crate::cli::place::{Place, Writer};
use crate::query::parse_time;
use crate::{Desk, Log};

#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make a token and print it; it is not shown again
    Add(AddArgs),
    /// List the tokens, without their secrets
    List(ListArgs),
    /// Take a token back: its sessions end, and what it has open
    Revoke(RevokeArgs),
}

impl TokenArgs {
    pub(crate) const fn place(&mut self) -> &mut Place {
        match &mut self.verb {
            TokenVerb::Add(args) => &mut args.place,
            TokenVerb::List(args) => &mut args.place,
            TokenVerb::Revoke(args) => &mut args.place,
        }
    }
}

#[derive(Args, Debug)]
struct AddArgs {
    #[command(flatten)]
    place: Place,
    /// What it may do: read, agent, operator, admin or metrics; repeat it for more
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// The name that it stands for; with the role agent that agent's
    #[arg(long, value_name = "NAME")]
    name: String,
    /// When it ends: unix seconds or RFC 3339 [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Print JSON, a token a line
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct RevokeArgs {
    #[command(flatten)]
    place: Place,
    /// The name of the token
    #[arg(value_name = "NAME")]
    name: String,
}

/// A token as it is listed.
#[derive(Deserialize)]
struct Listed {
    name: String,
    roles: Vec<String>,
    created_at: i64,
    expires_at: Option<i64>,
}

pub(crate) fn run(args: &TokenArgs) -> Result<(), Failure> {
    match &args.verb {
        TokenVerb::Add(args) => add(args),
        TokenVerb::List(args) => list(args),
        TokenVerb::Revoke(args) => revoke(args),
    }
}

fn credentials(log: &Log) -> Result<Credentials, Failure> {
    Ok(Desk::of(log)?.credentials().clone())
}

fn add(args: &AddArgs) -> Result<(), Failure> {
    let expires_at = match &args.expires {
        Some(text) => Some(parse_time("expires", text)?.div_euclid(1_000)),
        None => None,
    };
    let mut out = Output::stdout(Form::HUMAN);
    out.text(shown(&made(args, expires_at).map_err(Failure::without_winner)?, false))?;
    out.flush()?;
    Ok(())
}

/// The secret of the new token.
fn made(args: &AddArgs, expires_at: Option<i64>) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Made {
        token: String,
    }
    match args.place.writer()? {
        Writer::File(log) => {
            let credentials = credentials(&log)?;
            Ok(pollster::block_on(credentials.add(&args.name, &args.roles, expires_at))?)
        }
        Writer::Server(client) => {
            let roles: Vec<&str> = args.roles.iter().map(|role| role.as_str()).collect();
            let mut wanted = serde_json::json!({ "name": args.name, "roles": roles });
            if let (Some(wanted), Some(end)) = (wanted.as_object_mut(), expires_at) {
                wanted.insert("expires_at".into(), end.into());
            }
            let answer = call(&client, Method::POST, "/api/tokens", Some(wanted.to_string()))?;
            let made: Made = serde_json::from_slice(&answer).map_err(|error| client::not_ours(&error))?;
            Ok(made.token)
        }
    }
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Tokens<'a> {
        #[serde(borrow)]
        tokens: Vec<&'a RawValue>,
    }
    let answer = match args.place.writer()? {
        Writer::File(log) => {
            let tokens = serde_json::json!({ "tokens": credentials(&log)?.list() });
            tokens.to_string().into()
        }
        Writer::Server(client) => call(&client, Method::GET, "/api/tokens", None)?,
    };
    let answer: Tokens<'_> = serde_json::from_slice(&answer).map_err(|error| client::not_ours(&error))?;
    let mut out = Output::stdout(Form { json: args.json, raw: false });
    for token in answer.tokens {
        if args.json {
            out.json(token.get().as_bytes())?;
            continue;
        }
        let token: Listed = serde_json::from_str(token.get()).map_err(|error| client::not_ours(&error))?;
        let time = |seconds: i64| {
            jiff::Timestamp::from_second(seconds)
                .map_or_else(|_| seconds.to_string(), |time| time.to_string())
        };
        let end = token.expires_at.map_or_else(|| "never".to_owned(), time);
        let (name, roles) = (shown(&token.name, false), token.roles.join(","));
        let (roles, made) = (shown(&roles, false), time(token.created_at));
        out.text(format_args!("{name}  {roles}  made {made}  ends {end}"))?;
    }
    out.flush()?;
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    match args.place.writer()? {
        Writer::File(log) => pollster::block_on(credentials(&log)?.revoke(&args.name))?,
        Writer::Server(client) => {
            if !crate::event::is_name(&args.name) {
                return Err(Failure::not_found(format!("a token named {} is not known here", args.name)));
            }
            call(&client, Method::DELETE, &format!("/api/tokens/{}", args.name), None)?;
        }
    }
    say(format_args!("hivelog: {} is revoked", args.name));
    Ok(())
}

fn call(client: &Client, method: Method, path: &str, body: Option<String>) -> Result<bytes::Bytes, Failure> {
    client::block_on(async { Ok(client.call(method, path, body).await?) })
}
