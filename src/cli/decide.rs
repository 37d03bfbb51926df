//! The verbs of the one who decides: approve, deny, answer.

use std::io::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::door::Door;
use crate::cli::failure::Failure;
use crate::cli::output::{Form, Output};
use crate::cli::place::Place;
use crate::event::{ApprovalStatus, OPERATOR};
use crate::{Answer, Desk, Resolve};

#[derive(Args, Debug)]
pub(crate) struct DecideArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The approval's id
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    id: i64,
    /// Why
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(Args, Debug)]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The question's id
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    id: i64,
    /// The answer in words
    #[arg(value_name = "TEXT", required_unless_present = "select", conflicts_with = "select")]
    answer: Option<String>,
    /// Choose this option instead; repeat it where several may be chosen
    #[arg(long, value_name = "OPTION")]
    select: Vec<String>,
    #[command(flatten)]
    form: Form,
}

pub(crate) fn decide(args: &DecideArgs, status: ApprovalStatus) -> Result<(), Failure> {
    let (id, word) = (args.id, status.as_str());
    let seq = match Door::open(&args.place, false)? {
        Door::File(log) => {
            let by = Some(OPERATOR.to_owned());
            Desk::of(&log)?.resolve(Resolve { id, status, note: args.note.clone(), by }).wait()?.get()
        }
        Door::Server(runtime, client) => {
            let body = json!({"status": word, "note": args.note});
            seq(&runtime.block_on(client.post(&format!("/api/approvals/{id}/resolve"), &body))?)
        }
    };
    tell(args.form, seq, &format!("approval {id} is {word}"))
}

pub(crate) fn answer(args: &AnswerArgs) -> Result<(), Failure> {
    let id = args.id;
    let selected = (!args.select.is_empty()).then(|| args.select.clone());
    let seq = match Door::open(&args.place, false)? {
        Door::File(log) => {
            let answer = Answer { id, answer: args.answer.clone(), selected, answerer: OPERATOR.into() };
            Desk::of(&log)?.answer(answer).wait()?.get()
        }
        Door::Server(runtime, client) => {
            let mut body = serde_json::Map::new();
            body.extend(args.answer.as_ref().map(|text| ("answer".to_owned(), json!(text))));
            body.extend(selected.map(|selected| ("selected".to_owned(), json!(selected))));
            let path = format!("/api/questions/{id}/answer");
            seq(&runtime.block_on(client.post(&path, &Value::Object(body)))?)
        }
    };
    tell(args.form, seq, &format!("question {id} is answered"))
}

fn seq(answer: &Value) -> i64 {
    answer.get("seq").and_then(Value::as_i64).unwrap_or_default()
}

/// Says what came of it: as JSON the answer of the server, for people a line.
fn tell(form: Form, seq: i64, text: &str) -> Result<(), Failure> {
    let mut out = Output::stdout(form);
    if form.json {
        // An answer between peers makes no event.
        out.json(json!({"seq": (seq > 0).then_some(seq)}).to_string().as_bytes())?;
    } else {
        out.text(text)?;
    }
    out.flush()?;
    Ok(())
}
