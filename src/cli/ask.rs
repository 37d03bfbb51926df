//! The verb of the one who asks, and waits for the answer.

use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::{Client, Fault};
use crate::cli::door::Door;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, say, shown};
use crate::cli::place::Place;
use crate::limits::WAIT_MAX;
use crate::{Ask, Desk};

#[derive(Args, Debug)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The question
    #[arg(value_name = "QUESTION")]
    question: String,
    /// An answer to choose from; repeat it for more. Free text is always allowed too
    #[arg(long = "option", value_name = "TEXT")]
    options: Vec<String>,
    /// Several options may be chosen
    #[arg(long)]
    multi: bool,
    /// Ask this agent instead of the operator
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// The question expires after so many seconds [default: never]
    #[arg(long = "ttl", value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..))]
    ttl_seconds: Option<i64>,
    /// Who asks; needed where no credential says it
    #[arg(long = "as", value_name = "NAME")]
    asker: Option<String>,
    /// Wait so long for the answer, and print it: seconds, or with s, m or h behind. 0 prints the id at once
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = patience)]
    wait: Duration,
    #[command(flatten)]
    form: Form,
}

/// Reads a time to wait, which the command line may ask for beyond what one request can.
pub(crate) fn patience(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) => (digits, text.chars().last()),
        None => (text, None),
    };
    let number: u64 = digits.parse().map_err(|_| "expected seconds, such as 30, 30s, 5m or 1h".to_owned())?;
    let seconds = number.saturating_mul(match unit {
        Some('m') => 60,
        Some('h') => 3_600,
        _ => 1,
    });
    if seconds <= 7 * 24 * 3_600 { Ok(Duration::from_secs(seconds)) } else { Err("a week at most".into()) }
}

pub(crate) fn run(args: &AskArgs) -> Result<(), Failure> {
    match Door::open(&args.place, false)? {
        // Nobody else could answer while this process holds the file.
        Door::File(log) => {
            if args.to.is_some() {
                return Err(Failure::usage("--to: a peer needs a server to answer through"));
            }
            let asker = args.asker.clone().ok_or_else(|| Failure::usage("--as NAME: who asks?"))?;
            let ask = Ask {
                asker,
                question: args.question.clone(),
                options: args.options.clone(),
                multi: args.multi,
                deadline_at: None,
                ttl_seconds: args.ttl_seconds,
            };
            let opened = Desk::of(&log)?.ask(ask).wait()?;
            if !args.wait.is_zero() {
                say("hivelog: no server runs on this file, so nobody can answer yet: not waiting");
            }
            tell_id(args, opened.id, opened.seq.map(crate::Seq::get))
        }
        Door::Server(runtime, client) => runtime.block_on(through(args, &client)),
    }
}

async fn through(args: &AskArgs, client: &Client) -> Result<(), Failure> {
    let mut body = json!({"question": args.question, "options": args.options, "multi": args.multi});
    if let Some(body) = body.as_object_mut() {
        body.extend(args.asker.as_ref().map(|name| ("asker".to_owned(), json!(name))));
        body.extend(args.to.as_ref().map(|name| ("to".to_owned(), json!(name))));
        body.extend(args.ttl_seconds.map(|ttl| ("ttl_seconds".to_owned(), json!(ttl))));
    }
    let opened = client.post("/api/questions", &body).await?;
    let id = opened.get("id").and_then(Value::as_i64).unwrap_or_default();
    if args.wait.is_zero() {
        return tell_id(args, id, opened.get("seq").and_then(Value::as_i64));
    }
    let until = Instant::now() + args.wait;
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(WAIT_MAX);
        let row = match look(client, id, left).await {
            // A server that restarts is waited for too: the question is on its disk.
            Err(fault) if fault.is_transient() && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            looked => looked?,
        };
        if let Some(ended) = end(args, id, &row) {
            return ended;
        }
        if Instant::now() >= until {
            return Err(Failure::later(format!("question {id} is still open")));
        }
    }
}

async fn look(client: &Client, id: i64, wait: Duration) -> Result<Value, Fault> {
    let wait = [("wait", wait.as_secs().max(1).to_string())];
    let body = client.get(&format!("/api/questions/{id}"), &wait).await?;
    serde_json::from_slice(&body).map_err(|error| crate::cli::client::not_ours(&error))
}

/// What a closed question ends the command with.
fn end(args: &AskArgs, id: i64, row: &Value) -> Option<Result<(), Failure>> {
    let outcome = row.get("outcome").and_then(Value::as_str).unwrap_or_default();
    if outcome == "open" {
        return None;
    }
    let print = || {
        let mut out = Output::stdout(args.form);
        if args.form.json {
            out.json(row.to_string().as_bytes())?;
        } else if outcome == "answered" {
            let answer = row.get("answer").and_then(Value::as_str).unwrap_or_default();
            for line in answer.lines() {
                out.text(shown(line, args.form.raw))?;
            }
        }
        out.flush()?;
        Ok(())
    };
    Some(match (print(), outcome) {
        (Ok(()), "answered") => Ok(()),
        (Ok(()), _) => Err(Failure::failed(format!("question {id} is {outcome}"))),
        (Err(failure), _) => Err(failure),
    })
}

fn tell_id(args: &AskArgs, id: i64, seq: Option<i64>) -> Result<(), Failure> {
    let mut out = Output::stdout(args.form);
    if args.form.json {
        out.json(json!({"id": id, "seq": seq}).to_string().as_bytes())?;
    } else {
        out.text(id)?;
    }
    out.flush()?;
    Ok(())
}
