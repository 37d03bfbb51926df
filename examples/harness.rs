//! A harness loop over HTTP: receives, asks the operator, waits, requests an approval, waits, sets a transient,
//! answers. `cargo run --example harness` shows it against a server of its own, with a scripted operator.
//!
//! Against a running server: `HIVELOG_URL=… HIVELOG_TOKEN=… AGENT=coder cargo run --example harness`.

use std::error::Error;
use std::time::Duration;

use hivelog::event::ApprovalStatus;
use hivelog::http::{Access, serve};
use hivelog::{Answer, Desk, Filter, Followed, Log, Receive, Resolve, Role, Seq};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A member of an answer; `null` where it is not there.
fn member(row: &Value, name: &str) -> Value {
    row.get(name).cloned().unwrap_or_default()
}

/// A member that is a text.
fn text(row: &Value, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// One agent's connection to a server.
struct Harness {
    http: Client,
    url: String,
    token: String,
    me: String,
}

impl Harness {
    /// Calls until the server answers: it may restart. A write with a key happens once, however often it is
    /// repeated.
    async fn call(&self, method: Method, path: &str, body: Value, key: Option<String>) -> Done<Value> {
        loop {
            let mut request =
                self.http.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
            if !body.is_null() {
                request = request.json(&body);
            }
            if let Some(key) = &key {
                request = request.header("idempotency-key", key);
            }
            match request.timeout(Duration::from_secs(90)).send().await {
                Ok(answer) if answer.status().is_success() => {
                    let text = answer.bytes().await?;
                    return Ok(if text.is_empty() { Value::Null } else { serde_json::from_slice(&text)? });
                }
                // The lease of a transient was over.
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND && method == Method::DELETE => {
                    return Ok(Value::Null);
                }
                Ok(answer) if matches!(answer.status().as_u16(), 429 | 500 | 502 | 503 | 504 | 507) => {}
                Ok(answer) => return Err(answer.text().await?.into()),
                Err(error) if error.is_builder() => return Err(error.into()),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn post(&self, path: &str, body: Value, key: String) -> Done<Value> {
        self.call(Method::POST, path, body, Some(key)).await
    }

    /// Waits until a member of what is at this path is no longer the one that says "still open".
    async fn wait(&self, path: &str, name: &str, pending: &str) -> Done<Value> {
        loop {
            let row = self.call(Method::GET, &format!("{path}?wait=30"), Value::Null, None).await?;
            if text(&row, name) != pending {
                return Ok(row);
            }
        }
    }

    /// Takes the next messages; says how many there were.
    async fn turn(&self) -> Done<usize> {
        // What was taken and not finished: by an earlier run, or an answer got lost.
        let requeue = format!("/api/agents/{}/requeue", self.me);
        self.call(Method::POST, &requeue, Value::Null, None).await?;
        let path = format!("/api/agents/{}/recv?wait=30&lease_seconds=86400", self.me);
        let taken = self.call(Method::POST, &path, Value::Null, None).await?;
        let messages = taken.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for message in messages {
            self.work(message).await?;
        }
        Ok(messages.len())
    }

    /// Does what one message wants. Done again after a crash it asks nothing twice: its keys are made of the
    /// message's id.
    async fn work(&self, message: &Value) -> Done<()> {
        let (id, from, job) = (member(message, "id"), text(message, "from"), text(message, "body"));
        let key = |step: &str| format!("message-{id}-{step}");
        let ask = json!({"question": format!("{from} wants: {job}. Shall I?"), "options": ["yes", "no"]});
        let asked = self.post("/api/questions", ask, key("ask")).await?;
        let path = format!("/api/questions/{}", member(&asked, "id"));
        let mut result = text(&self.wait(&path, "outcome", "open").await?, "answer");
        if result == "yes" {
            let change = json!({"approval_kind": "apply_commit", "diff": "-old\n+new\n", "description": job});
            let wanted = self.post("/api/approvals", change, key("approval")).await?;
            let path = format!("/api/approvals/{}", member(&wanted, "id"));
            result = text(&self.wait(&path, "status", "pending").await?, "status");
            let path = format!("/api/transients/{}", self.me);
            self.call(Method::PUT, &path, json!({"transient_kind": "rebuilding"}), None).await?;
            self.call(Method::DELETE, &path, json!({"reason": "done"}), None).await?;
        }
        let reply = json!({"to": from, "body": format!("{job}: {result}")});
        self.post("/api/messages", reply, key("reply")).await?;
        self.call(Method::POST, &format!("/api/messages/{id}/ack"), Value::Null, None).await?;
        Ok(())
    }
}

/// The operator of the show: says yes to everything, as soon as it is on the log.
async fn operate(log: Log) -> Done<()> {
    let desk = Desk::of(&log)?;
    let mut live = log.follow(Seq::ZERO, Filter::default())?;
    while let Some(followed) = live.next().await {
        let Followed::Event(row) = followed? else { continue };
        println!("{}", String::from_utf8_lossy(&row.line()));
        let event: Value = row.decode()?;
        let id = member(&event, "id").as_i64().unwrap_or_default();
        match row.kind() {
            "question_added" => {
                let selected = Some(vec!["yes".into()]);
                desk.answer(Answer { id, answer: None, selected, answerer: "operator".into() }).await?;
            }
            "approval_added" => {
                let (status, by) = (ApprovalStatus::Approved, Some("operator".into()));
                desk.resolve(Resolve { id, status, note: None, by }).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Shows the loop against a server of this process.
async fn show() -> Done<()> {
    let log = Log::temp()?;
    let desk = Desk::of(&log)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(log.clone(), listener, Access::credentials(), stop.clone()));
    let operator = tokio::spawn(operate(log.clone()));
    let token = desk.credentials().add("coder", &[Role::Agent], None).await?;
    let harness = Harness { http: Client::new(), url, token, me: "coder".into() };
    desk.send("operator", "coder", "rename the field").await?;
    harness.turn().await?;
    let replies = desk.recv_wait("operator", Receive::default()).await?;
    for reply in &replies {
        println!("the operator reads: {}", reply.body);
    }
    stop.cancel();
    server.await?;
    tokio::task::spawn_blocking(move || log.close()).await?;
    operator.await?
}

#[tokio::main]
async fn main() -> Done<()> {
    // This build of the client wants its TLS chosen; an error says that it was.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let from = |name: &str| std::env::var(name);
    let (Ok(url), Ok(token), Ok(me)) = (from("HIVELOG_URL"), from("HIVELOG_TOKEN"), from("AGENT")) else {
        return show().await;
    };
    let harness = Harness { http: Client::new(), url, token, me };
    loop {
        harness.turn().await?;
    }
}
