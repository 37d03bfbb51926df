//! The verb that serves a log: what is opened here is closed here, in reverse.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::failure::Failure;
use crate::cli::login::link;
use crate::cli::notify;
use crate::cli::output::{Form, Output, is_talk_on_terminal, say};
use crate::cli::place::{File, open_to_write};
use crate::cli::signals::{REST, Signals};
use crate::cli::socket::{Bound, HandedOver, SocketFile, SocketSpec, handed_over};
use crate::http::{Access, Listener};
use crate::limits::{
    BACKLOG_CONNECTIONS, DESCRIPTORS_MIN, DESCRIPTORS_WANTED, LAST_WORDS, REQUESTS_PER_TOKEN_MAX,
    WAL_BYTES_MAX, WAL_BYTES_MAX_LEAST,
};
use crate::{Checkpoints, Desk, Durability, Keep, Log, Options, Refusal, Retention};

/// Which logs are written where nothing is said.
const LOG: &str = "info,rusqlite_migration=warn";

/// Characters below which a credential of the environment is called short: 20 random ones are 96 bits or more.
const SHORT_TOKEN: usize = 20;

#[derive(Args, Debug)]
#[command(
    after_help = "The first start writes the operator's token to PATH.token beside the file. With HIVELOG_TOKEN \
                        set, that value is the operator's credential instead, and no file is written."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    door: Door,
    /// Listen on a unix socket too: `PATH[,agent=NAME][,mode=0600]`. With an agent's name whoever connects there is
    /// that agent and needs no token; may be given again
    #[arg(long = "socket", value_name = "PATH")]
    sockets: Vec<SocketSpec>,
    /// When an append is acknowledged: when it is on disk (full), or when the system has it (normal)
    #[arg(long, value_name = "MODE", value_enum, default_value = "full")]
    durability: Mode,
    /// Who moves the WAL into the database: this server, or (external) a program that copies it, as Litestream
    #[arg(long, value_name = "WHO", value_enum, default_value = "own")]
    checkpoint: By,
    /// The size of the WAL past which appends are refused while a reader holds it back
    #[arg(long, value_name = "BYTES", default_value_t = WAL_BYTES_MAX.unsigned_abs(), value_parser = wal_bytes)]
    wal_bytes_max: u64,
    /// Declare an event kind without a dot in its name; the file remembers it
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// How much of a kind is kept: an age (30d), a number (100000), a size of its text (2GiB), several divided by
    /// commas, or `all`; may be given again [default: sent=30d and delivered=30d, everything else for ever]
    ///
    /// `approvals`, `questions` and `transients` mean the closed ones with all of their events, `*` every kind that is
    /// an application's own and has no rule. What is younger than ten minutes stays.
    #[arg(long = "keep", value_name = "KIND=KEEP", value_parser = keep)]
    keeps: Vec<(String, Keep)>,
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
    /// Which logs are written: error, warn, info, debug or trace, or such a level for each part
    #[arg(long, value_name = "FILTER", env = "HIVELOG_LOG", hide_env_values = true, default_value = LOG, value_parser = log_filter)]
    log: String,
    /// How logs are written on stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Take from this file what no flag and no variable says: the flags' names with _ for -, as TOML
    #[arg(long, value_name = "FILE", env = "HIVELOG_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Print what holds, and where it comes from, instead of serving
    #[arg(long)]
    print_config: bool,
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
enum By {
    Own,
    External,
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

fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Reads a rule of retention.
fn keep(text: &str) -> Result<(String, Keep), String> {
    let (kind, keep) = text.split_once('=').ok_or("expected KIND=KEEP, such as sent=30d")?;
    let keep = keep.parse().map_err(|refusal: Refusal| refusal.to_string())?;
    Retention::forever().keep(kind, keep).map_err(|refusal| refusal.to_string())?;
    Ok((kind.to_owned(), keep))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a number from 1".into())
}

fn wal_bytes(text: &str) -> Result<u64, String> {
    let least = WAL_BYTES_MAX_LEAST.unsigned_abs();
    let bytes = text.parse().ok().filter(|bytes| *bytes >= least);
    bytes.ok_or_else(|| format!("expected a number of bytes from {least}"))
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
        // It listens already, with room for the 128 that are usual.
        socket2::SockRef::from(&listener).listen(BACKLOG_CONNECTIONS)?;
        Ok(listener)
    }
}

impl ServeArgs {
    /// Who may come in, as the flags say.
    fn access(&self, door: Door) -> Result<Access, Failure> {
        if self.no_auth {
            door.check_loopback("--no-auth asks nobody for a credential")?;
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
            door.check_loopback("beyond it say --public-url https://…, or --insecure-http")?;
        }
        Ok(access)
    }

    /// How the log is opened, as the flags say.
    fn options(&self) -> Result<Options, Failure> {
        let durability = match self.durability {
            Mode::Full => Durability::Full,
            Mode::Normal => Durability::Normal,
        };
        let checkpoints = match self.checkpoint {
            By::Own => Checkpoints::Own,
            By::External => Checkpoints::External,
        };
        let options = self.kinds.iter().fold(Options::default(), |options, kind| options.kind(kind));
        let options = options.retention(self.retention()?).durability(durability);
        Ok(options.checkpoints(checkpoints).wal_bytes_max(self.wal_bytes_max))
    }

    /// How long events are kept, as the flags say.
    fn retention(&self) -> Result<Retention, Refusal> {
        self.keeps.iter().try_fold(Retention::default(), |all, (kind, keep)| all.keep(kind, *keep))
    }

    /// Sees to it that somebody can come in; says where the credential is.
    async fn first_credential(&self, desk: &Desk) -> Result<(), Failure> {
        if let Some(token) = std::env::var_os("HIVELOG_TOKEN").filter(|token| !token.is_empty()) {
            // What is no text is refused there with everything else that is no credential.
            let token = token.to_str().unwrap_or_default();
            desk.credentials().set_operator(token)?;
            tracing::info!("the operator's credential is the one of HIVELOG_TOKEN");
            if token.len() < SHORT_TOKEN {
                tracing::warn!("HIVELOG_TOKEN is short: nothing slows down who tries to guess it");
            }
        } else if let Some(path) = desk.credentials().write_first_token(desk.log().path()).await? {
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
    /// Goes when nobody listens any more.
    sockets: Vec<SocketFile>,
}

impl Running {
    /// Serves the log and says where, on the first line of stdout and beside the file.
    pub(crate) fn start(
        log: Log,
        listener: TcpListener,
        sockets: Vec<Bound>,
        access: Access,
    ) -> Result<Self, Failure> {
        let mut address = listener.local_addr()?;
        match address.ip() {
            // It means every address; this one leads there from here.
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        let url = format!("http://{address}");
        let mut listeners: Vec<Listener> = vec![tokio::net::TcpListener::from_std(listener)?.into()];
        let mut files = Vec::new();
        for socket in sockets {
            let (listener, file) = socket.listen()?;
            listeners.push(listener);
            files.extend(file);
        }
        let stop = CancellationToken::new();
        let task = tokio::spawn(crate::http::serve_on(log.clone(), listeners, access, stop.clone()));
        log.announce(&url)?;
        let mut out = Output::stdout(Form::HUMAN);
        // Who closed stdout finds the URL beside the file.
        let _closed = out.text(&url).and_then(|()| out.flush());
        Ok(Self { log, url, stop, task, sockets: files })
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

    /// Answers what is under way, then closes the log. After a failure nobody is waited for: whoever starts it
    /// anew waits for its end.
    pub(crate) async fn end(mut self, has_failed: bool) {
        self.stop.cancel();
        if has_failed && !self.task.is_finished() {
            let _in_time = tokio::time::timeout(LAST_WORDS, &mut self.task).await;
            self.task.abort();
        }
        if !self.task.is_finished() {
            // How the task ended no longer matters.
            let _ended = (&mut self.task).await;
        }
        // Each may wait for its folder, and closing commits what is queued.
        let sockets = self.sockets.into_iter().map(|file| tokio::task::spawn_blocking(move || drop(file)));
        let sockets: Vec<_> = sockets.collect();
        let log = self.log;
        let _closed = tokio::task::spawn_blocking(move || log.close()).await;
        for socket in sockets {
            let _gone = socket.await;
        }
    }
}

fn start_logging(filter: &str, format: LogFormat) {
    let filter = EnvFilter::new(filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that a subscriber is there already, which is as good.
    let _started = match format {
        LogFormat::Text => builder.with_ansi(is_talk_on_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Asks for the descriptors that the promised connections take. Where the system allows fewer, connections wait;
/// with so few that the runtime would not survive it, nothing is started.
fn raise_descriptors() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(DESCRIPTORS_WANTED).min(DESCRIPTORS_WANTED);
    let has = limit.current.unwrap_or(u64::MAX);
    if has < most {
        // What was there before is left where it is refused.
        let _kept = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    }
    let has = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if has < DESCRIPTORS_MIN {
        return Err(Failure::failed(format!(
            "only {has} file descriptors are allowed, {DESCRIPTORS_MIN} are needed: raise `ulimit -n`"
        )));
    }
    if has < DESCRIPTORS_WANTED {
        tracing::warn!(
            allowed = has,
            wanted = DESCRIPTORS_WANTED,
            "few descriptors: each connection takes one"
        );
    }
    Ok(())
}

/// Nobody may take this server for a guarded one.
pub(crate) fn warn_of_no_credentials(url: &str) {
    say(format_args!(
        "hivelog: NO CREDENTIALS: whoever reaches {url} from this machine reads and writes the log"
    ));
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    start_logging(&args.log, args.log_format);
    raise_descriptors()?;
    let handed_over = handed_over()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(args, handed_over));
    runtime.shutdown_timeout(REST);
    ended
}

async fn serve(args: &ServeArgs, handed_over: HandedOver) -> Result<(), Failure> {
    let HandedOver { port, mut sockets } = handed_over;
    // Who may come in depends on where it does listen, whoever bound that.
    let door = match &port {
        Some(port) => Door { listen: port.local_addr()? },
        None => args.door,
    };
    let access = args.access(door)?;
    let mut signals = Signals::new()?;
    let listener = port.map_or_else(|| args.door.bind(), Ok)?;
    let asked = args.sockets.clone();
    let bind = move || asked.iter().map(SocketSpec::bind).collect::<Result<Vec<_>, _>>();
    let Some(bound) = signals.beside(bind).await? else { return Ok(()) };
    sockets.extend(bound);
    let (path, options) = (args.file.path_to_make()?, args.options()?);
    let open = move || Ok(open_to_write(&path, &options)?);
    let Some(log) = signals.beside(open).await? else { return Ok(()) };
    if !args.no_auth {
        let desk = log.clone();
        let Some(desk) = signals.beside(move || Ok(Desk::of(&desk)?)).await? else { return Ok(()) };
        args.first_credential(&desk).await?;
    }
    let mut running = Running::start(log, listener, sockets, access)?;
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
        durability = running.log.durability().as_str(),
        "serving"
    );
    notify::ready(&running.log, &running.url);
    let (log, url) = (running.log.clone(), running.url.clone());
    let ended = tokio::select! {
        ended = running.wait(&mut signals) => ended,
        () = notify::keep(&log, &url) => Ok(()),
    };
    drop(log);
    notify::stopping(ended.as_ref().err().map(Failure::text));
    tracing::info!("stopping");
    running.end(ended.is_err()).await;
    ended
}
