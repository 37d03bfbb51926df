//! Where the log is that a command means: a file, or a server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use etcetera::BaseStrategy as _;

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::{Error, Log, Options};

/// How long a file is waited for whose holder does not say where it serves.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

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
    /// The base URL of a server, instead of the file
    #[arg(long, value_name = "URL", env = "HIVELOG_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// The credential to show to the server
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
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match Log::open(path, options.clone()) {
            Err(Error::Locked { url: None, .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
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

    pub(crate) fn client(&self, url: &str) -> Result<Client, Failure> {
        Client::new(url, self.token.as_deref())
    }
}
