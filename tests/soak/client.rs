//! A client that never gives up: it repeats a call until the answer is one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::account::Account;
use crate::dice::Dice;

/// A server that is away for longer than this is gone.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longer than any wait that is asked for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// One credential's client.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    /// The name that it acts under.
    pub name: String,
    pub account: Arc<Account>,
}

/// An answer of the server's, whatever it says.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub json: Value,
}

impl Answer {
    pub const fn is_good(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    pub fn id(&self) -> i64 {
        self.json["id"].as_i64().unwrap_or_default()
    }
}

/// What the clients of one swarm share: connections.
pub fn connections() -> reqwest::Client {
    // An error says that the algorithms were chosen already. They are for https, which nobody speaks here.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(std::iter::empty())
        .connect_timeout(Duration::from_secs(5))
        .build()
        .expect("a client")
}

impl Client {
    pub fn new(http: &reqwest::Client, base: &str, token: &str, name: &str, account: &Arc<Account>) -> Self {
        let (http, base, token, name) = (http.clone(), base.into(), token.into(), name.into());
        Self { http, base, token, name, account: Arc::clone(account) }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Makes a call as often as it takes. A write without a key has to bear being done twice.
    pub async fn call(&self, method: Method, path: &str, key: Option<&str>, body: Option<&Value>) -> Answer {
        let begin = Instant::now();
        let mut dice = Dice::from_seed(self.account.salt());
        loop {
            let mut request = self.request(method.clone(), path).timeout(ANSWER_TIMEOUT);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            // Who dies while it asks comes back and repeats it; the server may have done it meanwhile.
            if key.is_some() && dice.percent(3) {
                let life = Duration::from_micros(dice.below(15_000));
                let _answer_to_nobody = tokio::time::timeout(life, exchange(request)).await;
                self.account.cut.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            match exchange(request).await {
                Ok(answer) if !matches!(answer.status, 429 | 502..=504 | 507) => return answer,
                Ok(answer) => self.account.note_busy(&format!("{method} {path}"), &answer),
                Err(error) if begin.elapsed() > PATIENCE => {
                    panic!("{}: {method} {path}: no answer within {PATIENCE:?}: {error:?}", self.name)
                }
                Err(_) => self.account.note_retry(),
            }
            assert!(begin.elapsed() < PATIENCE, "{}: {method} {path} was put off for too long", self.name);
            tokio::time::sleep(Duration::from_millis(dice.between(20, 80))).await;
        }
    }

    /// A write that may be repeated under its key. Now and then it is, when it is done: the answer is the same.
    pub async fn write(&self, method: Method, path: &str, key: &str, body: &Value) -> Answer {
        let answer = self.call(method.clone(), path, Some(key), Some(body)).await;
        if answer.is_good() && Dice::from_seed(self.account.salt()).percent(5) {
            let again = self.call(method, path, Some(key), Some(body)).await;
            assert_eq!((again.status, &again.json), (200, &answer.json), "{path}: the same key again");
            self.account.repeats.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.write(Method::POST, path, key, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    /// Repeats a wait until the member says something else than at the beginning.
    pub async fn wait_for(&self, path: &str, member: &str, while_it_is: &str) -> Answer {
        loop {
            let answer = self.get(&format!("{path}?wait=5")).await;
            if !answer.is_good() || answer.json[member] != while_it_is {
                return answer;
            }
        }
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    Ok(Answer { status, json: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
}
