//! The verbs of messages: send one, take what is there.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::ask::patience;
use crate::cli::client::{Client, Fault, not_ours};
use crate::cli::door::Door;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output, say, shown};
use crate::cli::place::Place;
use crate::event::{OPERATOR, is_name};
use crate::limits::{BODY_BYTES_MAX, MESSAGE_LEASE_MS, MESSAGE_LEASE_MS_MAX, RECV_MESSAGES_MAX};
use crate::{Desk, Receive};

/// How long one request of a longer wait waits: shorter than an answer may take.
const WAIT_OF_ONE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Who it is for: an agent, or `operator`
    #[arg(value_name = "TO")]
    to: String,
    /// What it says, or `-` for all of stdin
    #[arg(value_name = "BODY|-")]
    body: String,
    /// Who sends it [default: whom the credential stands for, `operator` without one]
    #[arg(long = "as", value_name = "NAME")]
    from: Option<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(Args, Debug)]
pub(crate) struct RecvArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Whose inbox
    #[arg(value_name = "NAME", default_value = OPERATOR)]
    name: String,
    /// Wait so long for a message: seconds, or with s, m or h behind. Without one nothing is printed, and the
    /// exit code is 0
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = patience)]
    wait: Duration,
    /// Take at most so many messages
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=RECV_MESSAGES_MAX as u64))]
    max: u64,
    /// They come back after so many seconds unless they are acknowledged
    #[arg(long, value_name = "SECONDS", default_value_t = MESSAGE_LEASE_MS / 1_000, value_parser = clap::value_parser!(i64).range(1..=MESSAGE_LEASE_MS_MAX / 1_000))]
    lease: i64,
    /// Acknowledge them once they are printed
    #[arg(long)]
    ack: bool,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn send(args: &SendArgs) -> Result<(), Failure> {
    let body = if args.body == "-" { stdin()? } else { args.body.clone() };
    let id = match Door::open(&args.place, false)? {
        Door::File(log) => {
            let from = args.from.as_deref().unwrap_or(OPERATOR);
            Desk::of(&log)?.send(from, &args.to, &body).wait()?
        }
        Door::Server(runtime, client) => {
            let sent = runtime.block_on(post(args, &client, &body))?;
            sent.get("id").and_then(serde_json::Value::as_i64).unwrap_or_default()
        }
    };
    let mut out = Output::stdout(args.form);
    if args.form.json {
        out.json(json!({"id": id}).to_string().as_bytes())?;
    } else {
        out.text(id)?;
    }
    out.flush()?;
    Ok(())
}

/// Sends it by way of a server. Only the server knows whether a credential, or the socket, says who sends.
async fn post(args: &SendArgs, client: &Client, body: &str) -> Result<serde_json::Value, Failure> {
    #[derive(Deserialize)]
    struct Who {
        name: Option<String>,
    }
    let mut message = json!({"to": args.to, "body": body});
    let from = if let Some(from) = &args.from {
        Some(&**from)
    } else {
        let who = client.get("/session", &[]).await?;
        let Who { name } = serde_json::from_slice(&who).map_err(|error| not_ours(&error))?;
        name.is_none().then_some(OPERATOR)
    };
    if let (Some(message), Some(from)) = (message.as_object_mut(), from) {
        message.insert("from".into(), json!(from));
    }
    Ok(client.post("/api/messages", &message).await?)
}

/// All of stdin, as far as it fits into a message.
fn stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > BODY_BYTES_MAX {
        return Err(Failure::usage("stdin is longer than a message can be"));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage("stdin is not UTF-8"))
}

/// A message as on the wire.
struct Letter {
    id: i64,
    line: String,
}

pub(crate) fn recv(args: &RecvArgs) -> Result<(), Failure> {
    if !is_name(&args.name) {
        return Err(Failure::usage(format!(
            "{:?} is not a name: expected [a-z0-9][a-z0-9._-]{{0,63}}",
            args.name
        )));
    }
    match Door::open(&args.place, false)? {
        Door::File(log) => {
            let desk = Desk::of(&log)?;
            let lease = Duration::from_secs(args.lease.unsigned_abs());
            let receive = Receive::default().max(usize::try_from(args.max).unwrap_or(1)).lease(lease);
            let deliveries = desk.recv(&args.name, receive).wait()?;
            if deliveries.is_empty() && !args.wait.is_zero() {
                // Nobody else could send while this process holds the file.
                say("hivelog: no server runs on this file, so nobody can send: not waiting");
            }
            let letters = deliveries.iter().map(|delivery| Letter {
                id: delivery.id,
                line: serde_json::to_string(delivery).unwrap_or_default(),
            });
            print(args, &letters.collect::<Vec<_>>(), |id| Ok(desk.ack(&args.name, id).wait()?))
        }
        Door::Server(runtime, client) => {
            let letters = runtime.block_on(take(args, &client))?;
            print(args, &letters, |id| {
                let path = format!("/api/messages/{id}/ack");
                Ok(runtime.block_on(client.call(Method::POST, &path, None)).map(drop)?)
            })
        }
    }
}

/// Asks again and again until there is something, or the time is over.
async fn take(args: &RecvArgs, client: &Client) -> Result<Vec<Letter>, Failure> {
    #[derive(Deserialize)]
    struct Inbox {
        messages: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct HasId {
        id: i64,
    }
    let until = Instant::now() + args.wait;
    loop {
        let wait = until.saturating_duration_since(Instant::now()).min(WAIT_OF_ONE);
        let path = format!(
            "/api/agents/{}/recv?wait={}&max={}&lease_seconds={}",
            args.name,
            wait.as_secs_f32().ceil(),
            args.max,
            args.lease
        );
        let inbox: Inbox = match client.call(Method::POST, &path, None).await {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| not_ours(&error))?,
            // A server that restarts is waited for too: the inbox is on its disk.
            Err(fault) if is_restart(&fault) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            Err(fault) => return Err(fault.into()),
        };
        if !inbox.messages.is_empty() || Instant::now() >= until {
            let letter = |raw: Box<RawValue>| {
                let HasId { id } = serde_json::from_str(raw.get()).map_err(|error| not_ours(&error))?;
                Ok(Letter { id, line: raw.get().to_owned() })
            };
            return inbox.messages.into_iter().map(letter).collect();
        }
    }
}

/// Whether waiting may help; an inbox with too much out is its owner's to see to.
fn is_restart(fault: &Fault) -> bool {
    fault.is_transient() && !matches!(fault, Fault::Refused { status, .. } if status.as_u16() == 429)
}

/// Prints each message, and acknowledges it where that was asked for once it is out of our hands.
fn print(
    args: &RecvArgs,
    letters: &[Letter],
    ack: impl Fn(i64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut out = Output::stdout(args.form);
    for letter in letters {
        if args.form.json {
            out.json(letter.line.as_bytes())?;
        } else {
            out.text(words(&letter.line, args.form.raw)?)?;
        }
        out.flush()?;
        if args.ack {
            ack(letter.id)?;
        }
    }
    Ok(())
}

/// One line for people.
fn words(line: &str, raw: bool) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Message {
        id: i64,
        from: String,
        body: String,
        redelivered: bool,
        question_id: Option<i64>,
    }
    let message: Message = serde_json::from_str(line).map_err(|error| not_ours(&error))?;
    let again = if message.redelivered { " (again)" } else { "" };
    let question = message.question_id.map(|id| format!(" (question {id})")).unwrap_or_default();
    let (from, body) = (shown(&message.from, raw), shown(&message.body, raw));
    Ok(format!("#{} {from}{question}{again}: {body}", message.id))
}
