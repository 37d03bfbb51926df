//! Who carries out a command that writes: the file's server if one holds it, else this process on the file.

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::place::{Place, for_a_verb, open_to_write};
use crate::{Error, Log};

/// Who carries out a command that writes.
pub(crate) enum Door {
    /// This process, on the file that nobody serves.
    File(Log),
    /// A server.
    Server(tokio::runtime::Runtime, Client),
}

impl Door {
    /// The server at the URL that is meant, or the file's server if one holds it, else the file itself. Trying
    /// to open it is the question: between a look at the lock and the opening another process could come.
    pub(crate) fn open(place: &Place, may_create: bool) -> Result<Self, Failure> {
        if let Some(url) = &place.url {
            return Self::server(place.client(url)?);
        }
        let path = if may_create { place.file.path_to_make()? } else { place.file.path()? };
        match open_to_write(&path, &for_a_verb().create(may_create)) {
            Ok(log) => Ok(Self::File(log)),
            Err(Error::Locked { url: Some(url), .. }) => Self::server(place.client(&url)?),
            Err(error @ Error::Locked { .. }) => Err(Failure::later(error)),
            Err(error) => Err(error.into()),
        }
    }

    fn server(client: Client) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self::Server(runtime, client))
    }
}
