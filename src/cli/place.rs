//! Where the log is that a command means: a file, or a server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use etcetera::BaseStrategy as _;

use crate::access::first::token_path;
use crate::cli::client::{Client, is_same_server};
use crate::cli::failure::Failure;
use crate::store::lock;
use crate::{Error, Log, Options, Retention};

/// How long a file is waited for whose holder does not say where it serves.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long it is waited for in all, where one holder comes after another.
const QUEUE_PATIENCE: Duration = Duration::from_secs(30);

/// The file of a command that works on the file alone.
#[derive(Args, Debug)]
pub(crate) struct File {
    /// The file of the log [default: hivelog.db in the state directory]
    #[arg(long, value_name = "PATH", env = "HIVELOG_DB", hide_env_values = true)]
    pub(crate) db: Option<PathBuf>,
}

/// The file, or the server, of a command that can work on either.
#[derive(Args, Debug)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) file: File,
    /// The base URL of a server, or unix:PATH for its socket, instead of the file
    #[arg(long, value_name = "URL", env = "HIVELOG_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// The credential to show to the server [default: what PATH.token beside the file holds]
    #[arg(long, value_name = "TOKEN", env = "HIVELOG_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

impl File {
    /// The path that is meant.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        match &self.db {
            Some(path) => Ok(path.clone()),
            None => default_path(),
        }
    }

    /// The path that is meant, for a command that may make the file.
    pub(crate) fn path_to_make(&self) -> Result<PathBuf, Failure> {
        let path = self.path()?;
        if self.db.is_none()
            && let Some(folder) = path.parent()
        {
            make_private(folder)?;
        }
        Ok(path)
    }
}

/// Opens the file to write it. Waits a little for a holder that does not say where it serves: it is on
/// its way to say so, or it is another command that soon is through.
pub(crate) fn open_to_write(path: &Path, options: &Options) -> Result<Log, Error> {
    let mut patience = Patience::begin(Instant::now());
    loop {
        match Log::open(path, options.clone()) {
            Err(Error::Locked { pid, url: None }) => {
                if patience.is_over(pid, Instant::now()) {
                    return Err(Error::Locked { pid, url: None });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// How long one holder after another is waited for.
struct Patience {
    begin: Instant,
    holder: Option<u32>,
    since: Instant,
}

impl Patience {
    const fn begin(now: Instant) -> Self {
        Self { begin: now, holder: None, since: now }
    }

    /// Whether this holder has it for too long, or all of them have.
    fn is_over(&mut self, holder: Option<u32>, now: Instant) -> bool {
        if holder != self.holder {
            (self.holder, self.since) = (holder, now);
        }
        now - self.since > LOCK_PATIENCE || now - self.begin > QUEUE_PATIENCE
    }
}

/// The folder that we choose ourselves is for its owner only, as the file in it.
fn make_private(folder: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(())
}

fn default_path() -> Result<PathBuf, Failure> {
    let strategy = etcetera::choose_base_strategy()
        .map_err(|_| Failure::usage("there is no home directory: say --db PATH"))?;
    let folder = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Ok(folder.join("hivelog").join("hivelog.db"))
}

/// A log to read, wherever it is.
pub(crate) enum Source {
    /// A file, with or without a server that writes it.
    File(Log),
    /// A server.
    Served(Client),
}

impl Place {
    /// Opens the place to read.
    pub(crate) fn source(&self) -> Result<Source, Failure> {
        match &self.url {
            Some(url) => Ok(Source::Served(self.client(url)?)),
            None => Ok(Source::File(Log::open_read_only(self.file.path()?)?)),
        }
    }

    /// A client with the credential that was given, else with the one beside the file.
    pub(crate) fn client(&self, url: &str) -> Result<Client, Failure> {
        match self.token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => Client::new(url, Some(token)),
            None => Client::new(url, self.token_beside(url).as_deref()),
        }
    }

    /// The first token of the log, where this URL is the one that the log is served at: it is shown to no
    /// other server. A killed one leaves its word behind and gives up its port, so it is asked who has the lock.
    fn token_beside(&self, url: &str) -> Option<String> {
        let path = self.file.path().ok()?.canonicalize().ok()?;
        let served_at = lock::holder_by_trying(&path)?.url?;
        if !is_same_server(&served_at, url) {
            return None;
        }
        // Who cannot read it has no credential, which the server then says.
        let text = std::fs::read_to_string(token_path(&path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The running server, or the file that nobody serves, of a verb that makes no file. Trying to open it
    /// is the question: between a look at the lock and the opening another process could come.
    pub(crate) fn writer(&self) -> Result<Writer, Failure> {
        if let Some(url) = &self.url {
            return Ok(Writer::Server(self.client(url)?));
        }
        match open_to_write(&self.file.path()?, &for_a_verb().create(false)) {
            Ok(log) => Ok(Writer::File(log)),
            Err(Error::Locked { url: Some(url), .. }) => Ok(Writer::Server(self.client(&url)?)),
            Err(error @ Error::Locked { .. }) => Err(Failure::later(error)),
            Err(error) => Err(error.into()),
        }
    }
}

/// How a verb opens a file that nobody serves: what is kept for how long is `serve`'s to say, which is not running.
pub(crate) fn for_a_verb() -> Options {
    Options::default().retention(Retention::forever())
}

/// Who writes a log that is there.
pub(crate) enum Writer {
    /// This process.
    File(Log),
    /// A server.
    Server(Client),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_is_waited_for_and_not_all_of_them_for_ever() {
        let begin = Instant::now();
        let at = |tenths: u64| begin + Duration::from_millis(tenths * 100);
        let mut patience = Patience::begin(begin);
        for (holder, tenths) in [(1, 0), (1, 19), (2, 21), (2, 40)] {
            assert!(!patience.is_over(Some(holder), at(tenths)), "{holder} at {tenths}");
        }
        assert!(patience.is_over(Some(2), at(42)));
        let mut patience = Patience::begin(begin);
        assert!((0..300).all(|tenths| !patience.is_over(Some(tenths / 10), at(tenths.into()))));
        assert!(patience.is_over(Some(99), at(301)));
    }
}
