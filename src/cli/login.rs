//! The verb that prints a link to sign in with.

use std::io::Write as _;

use clap::Args;
use reqwest::Method;
use serde::Deserialize;

use crate::cli::client;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, say, shown};
use crate::cli::place::{Place, Writer};

#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Deserialize)]
struct Login {
    code: String,
    base: Option<String>,
}

pub(crate) fn run(args: &LoginArgs) -> Result<(), Failure> {
    let Writer::Server(client) = args.place.writer()? else {
        return Err(Failure::not_found("nobody serves this log: start `hivelog serve`, or say --url"));
    };
    let answer = client::block_on(async { Ok(client.call(Method::POST, "/api/login", None).await?) })?;
    let login: Login = serde_json::from_slice(&answer).map_err(|error| client::not_ours(&error))?;
    let base = login.base.or_else(|| client.base().map(Into::into)).ok_or_else(|| {
        Failure::usage("a browser cannot open a unix socket: give --url http://…, or serve with --public-url")
    })?;
    let mut out = Output::stdout(Form::HUMAN);
    out.text(shown(&link(&base, &login.code), false))?;
    out.flush()?;
    say("hivelog: the link works once, within ten minutes");
    Ok(())
}

/// The code sits behind the `#`: no server, proxy or log sees it.
pub(crate) fn link(base: &str, code: &str) -> String {
    format!("{}/#login={code}", base.trim_end_matches('/'))
}
