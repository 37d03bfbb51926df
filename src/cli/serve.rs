//! The verb that serves a log: what is opened here is closed here, in reverse.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::failure::Failure;
use crate::cli::login::link;
use crate::cli::output::{Form, Output, is_talk_on_terminal, say};
use crate::cli::place::{File, open_to_write};
use crate::http::Access;
use crate::limits::REQUESTS_PER_TOKEN_MAX;
use crate::{Desk, Durability, Log, Options};

/// The signal of a write past the file size limit; its default is to kill the process.
const SIGXFSZ: i32 = 25;

/// Characters below which a credential of the environment is called short: 20 random ones are 96 bits or more.
const SHORT_TOKEN: usize = 20;

#[derive(Args, Debug)]
#[command(
    after_help = "The first start writes the operator's token to PATH.token beside the file. With HIVELOG_TOKEN \
                        set, that value is the operator's credential instead, and no file is written."
)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    door: Door,
    /// When an append is acknowledged: when it is on disk (full), or when the system has it (normal)
    #[arg(long, value_name = "MODE", value_enum, default_value = "full")]
    durability: Mode,
    /// Declare an event kind without a dot in its name; the file remembers it
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Ask nobody for a credential; only on a loopback address
    #[arg(long, conflicts_with_all = ["public_urls", "insecure_http", "connections_per_token"])]
    no_auth: bool,
    /// A URL under which the log is reached from elsewhere, as https through a proxy; may be given again
    #[arg(long = "public-url", value_name = "URL")]
    public_urls: Vec<String>,
    /// Let an agent answer another agent's question for the operator
    #[arg(long)]
    peer_answers: bool,
    /// Requests that one token may have open at once, streams and waits included
    #[arg(long, value_name = "N", default_value_t = REQUESTS_PER_TOKEN_MAX, value_parser = at_least_one)]
    connections_per_token: usize,
    /// Listen beyond loopback without https in front: credentials and events cross the network in the clear
    #[arg(long)]
    insecure_http: bool,
    /// How logs are written on stderr; the variable `HIVELOG_LOG` says which (default: info)
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

/// Where the server listens.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Door {
    /// The address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4483", value_parser = listen_address)]
    listen: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Full,
    Normal,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Reads an address to listen on.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    match local {
        Some(port) => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => text.parse().map_err(|_| "expected ADDR:PORT, such as 127.0.0.1:4483".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a number from 1".into())
}

impl Door {
    /// Refuses addresses that others than this machine can reach.
    pub(crate) fn check_loopback(self, why: &str) -> Result<(), Failure> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        Err(Failure::usage(format!("--listen {}: only loopback (127.0.0.1, [::1]): {why}", self.listen)))
    }

    /// Takes the address; what connects waits until the log is open.
    pub(crate) fn bind(self) -> Result<TcpListener, Failure> {
        let listener = TcpListener::bind(self.listen)
            .map_err(|error| Failure::failed(format!("cannot listen on {}: {error}", self.listen)))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

impl ServeArgs {
    /// Who may come in, as the flags say.
    fn access(&self) -> Result<Access, Failure> {
        if self.no_auth {
            self.door.check_loopback("--no-auth asks nobody for a credential")?;
            return Ok(Access::no_auth().peer_answers(self.peer_answers));
        }
        let mut access = Access::credentials()
            .peer_answers(self.peer_answers)
            .connections_per_token(self.connections_per_token);
        for url in &self.public_urls {
            access = access.public_url(url).map_err(|refusal| Failure::usage(format!("{url}: {refusal}")))?;
        }
        let has_https = self.public_urls.iter().any(|url| url.starts_with("https:"));
        if !has_https && !self.insecure_http {
            self.door.check_loopback("beyond it say --public-url https://…, or --insecure-http")?;
        }
        Ok(access)
    }

    /// Sees to it that somebody can come in; says where the credential is.
    async fn first_credential(&self, log: &Log) -> Result<(), Failure> {
        let desk = Desk::of(log)?;
        if let Some(token) = std::env::var_os("HIVELOG_TOKEN").filter(|token| !token.is_empty()) {
            // What is no text is refused there with everything else that is no credential.
            let token = token.to_str().unwrap_or_default();
            desk.credentials().set_operator(token)?;
            tracing::info!("the operator's credential is the one of HIVELOG_TOKEN");
            if token.len() < SHORT_TOKEN {
                tracing::warn!("HIVELOG_TOKEN is short: nothing slows down who tries to guess it");
            }
        } else if let Some(path) = desk.credentials().write_first_token(log.path()).await? {
            tracing::info!(path = %path.display(), "the operator's token was written");
        }
        Ok(())
    }

    /// Who starts a server by hand wants to look at it.
    async fn offer_login(&self, running: &Running) {
        let Ok(desk) = Desk::of(&running.log) else { return };
        // `hivelog login` offers it again, and says why where it cannot.
        if is_talk_on_terminal()
            && let Ok(Some(made)) = desk.credentials().operators_code().await
        {
            let base = self.public_urls.first().unwrap_or(&running.url);
            say(format_args!("hivelog: sign in, once within ten minutes: {}", link(base, &made.code)));
        }
    }
}

/// A log that is served.
pub(crate) struct Running {
    pub(crate) log: Log,
    pub(crate) url: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Serves the log and says where, on the first line of stdout and beside the file.
    pub(crate) fn start(log: Log, listener: TcpListener, access: Access) -> Result<Self, Failure> {
        let mut address = listener.local_addr()?;
        match address.ip() {
            // It means every address; this one leads there from here.
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        let url = format!("http://{address}");
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(crate::http::serve(log.clone(), listener, access, stop.clone()));
        log.announce(&url)?;
        let mut out = Output::stdout(Form::HUMAN);
        // Who closed stdout finds the URL beside the file.
        let _closed = out.text(&url).and_then(|()| out.flush());
        Ok(Self { log, url, stop, task })
    }

    /// Waits until somebody wants an end, or the log cannot go on.
    pub(crate) async fn wait(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        tokio::select! {
            () = signals.stop() => Ok(()),
            reason = self.log.failed() => Err(Failure::failed(reason)),
            ended = &mut self.task => {
                let why = ended.err().map_or_else(String::new, |error| format!(": {error}"));
                Err(Failure::failed(format!("the server ended by itself{why}")))
            }
        }
    }

    /// Answers what is under way, then closes the log.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        if !self.task.is_finished() {
            // How the task ended no longer matters.
            let _ended = (&mut self.task).await;
        }
        let log = self.log;
        // Closing commits what is queued, which blocks.
        let _closed = tokio::task::spawn_blocking(move || log.close()).await;
    }
}

/// The signals that a server listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    // Kept so that a write past the file size limit comes back as an error: a full disk, not a death.
    _file_size: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Waits for a signal to stop. Cancel-safe.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("HIVELOG_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,rusqlite_migration=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that a subscriber is there already, which is as good.
    let _started = match format {
        LogFormat::Text => builder.with_ansi(is_talk_on_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Nobody may take this server for a guarded one.
pub(crate) fn warn_of_no_credentials(url: &str) {
    say(format_args!(
        "hivelog: NO CREDENTIALS: whoever reaches {url} from this machine reads and writes the log"
    ));
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    start_logging(args.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let access = args.access()?;
    let mut signals = Signals::new()?;
    let listener = args.door.bind()?;
    let durability = match args.durability {
        Mode::Full => Durability::Full,
        Mode::Normal => Durability::Normal,
    };
    let options = args.kinds.iter().fold(Options::default(), |options, kind| options.kind(kind));
    let log = open_to_write(&args.file.path_to_make()?, &options.durability(durability))?;
    if !args.no_auth {
        args.first_credential(&log).await?;
    }
    let mut running = Running::start(log, listener, access)?;
    match args.log_format {
        _ if !args.no_auth => args.offer_login(&running).await,
        LogFormat::Text => warn_of_no_credentials(&running.url),
        LogFormat::Json => {
            tracing::warn!(url = running.url, "no credentials: whoever reaches it reads and writes");
        }
    }
    if args.insecure_http {
        tracing::warn!("--insecure-http: credentials and events cross the network in the clear");
    }
    tracing::info!(
        url = running.url,
        path = %running.log.path().display(),
        log_id = %running.log.id(),
        head = running.log.tail().get(),
        durability = durability.as_str(),
        "serving"
    );
    let ended = running.wait(&mut signals).await;
    tracing::info!("stopping");
    running.end().await;
    ended
}
