//! The unix sockets that a server listens on: made, taken over from the dead, removed.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::access::credentials::check_name;
use crate::cli::failure::Failure;
use crate::http::Listener;
use crate::limits::BACKLOG_CONNECTIONS;
use crate::store::open::inode_of;

/// For whom a socket is where nothing is said: the owner.
const MODE: u32 = 0o600;
/// How long the lock of a folder is waited for: servers hold it for a moment, anybody else as long as they like.
const FOLDER_PATIENCE: Duration = Duration::from_secs(5);
/// The same at the end, where a file that is left is no harm.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// A unix socket as it is asked for: `PATH[,agent=NAME][,mode=OCTAL]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketSpec {
    path: PathBuf,
    agent: Option<String>,
    mode: u32,
}

impl FromStr for SocketSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let path = parts.next().filter(|path| !path.is_empty()).ok_or("expected a path")?;
        let mut spec = Self { path: path.into(), agent: None, mode: MODE };
        for part in parts {
            match part.split_once('=') {
                Some(("agent", name)) if spec.agent.is_none() => {
                    check_name("agent", name).map_err(|refusal| refusal.to_string())?;
                    spec.agent = Some(name.into());
                }
                Some(("mode", digits)) => {
                    spec.mode = u32::from_str_radix(digits, 8)
                        .ok()
                        .filter(|mode| *mode <= 0o777)
                        .ok_or("mode: expected octal digits, such as 0660")?;
                }
                _ => return Err(format!("{part}: expected PATH[,agent=NAME][,mode=OCTAL]")),
            }
        }
        Ok(spec)
    }
}

/// A socket that is listened on; its file, where it is ours, is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: UnixListener,
    agent: Option<String>,
    file: Option<SocketFile>,
}

/// What the service manager listens on for this process.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    pub(crate) port: Option<TcpListener>,
    pub(crate) sockets: Vec<Bound>,
}

/// Takes what the service manager hands over (`LISTEN_FDS`): one port at most, and unix sockets, of which one
/// named `agent=NAME` stands for that agent. To be called before there are threads: it changes the environment.
pub(crate) fn handed_over() -> Result<HandedOver, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut given = ListenFd::from_env();
    let mut taken = HandedOver::default();
    for index in 0..given.len() {
        let agent = names.next().unwrap_or_default().strip_prefix("agent=");
        if let Ok(Some(listener)) = given.take_unix_listener(index) {
            listener.set_nonblocking(true)?;
            taken.sockets.push(Bound { listener, agent: agent.map(Into::into), file: None });
        } else if let Ok(Some(port)) = given.take_tcp_listener(index)
            && agent.is_none()
            && taken.port.is_none()
        {
            port.set_nonblocking(true)?;
            taken.port = Some(port);
        } else {
            let what =
                "the service manager may hand over one port and unix sockets, of which some are agents'";
            return Err(Failure::usage(format!("LISTEN_FDS: descriptor {index}: {what}")));
        }
    }
    Ok(taken)
}

/// The file of a socket of this process.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
    /// The file itself, whatever the path names by now. As long as it is held, no other one gets its number.
    #[cfg(target_os = "linux")]
    place: File,
}

impl SocketFile {
    /// The file of a socket that this process has just bound to the path.
    fn at(path: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        let place = {
            use rustix::fs::{Mode, OFlags, open};
            File::from(open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
        };
        #[cfg(target_os = "linux")]
        let found = place.metadata()?;
        #[cfg(not(target_os = "linux"))]
        let found = path.symlink_metadata()?;
        if !found.file_type().is_socket() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("something else was put there meanwhile"));
        }
        Ok(Self {
            path: path.to_owned(),
            inode: inode_of(&found),
            #[cfg(target_os = "linux")]
            place,
        })
    }

    /// By the descriptor: the path may be a link by now.
    #[cfg(target_os = "linux")]
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let place = format!("/proc/self/fd/{}", self.place.as_raw_fd());
        std::fs::set_permissions(place, Permissions::from_mode(mode))
    }

    #[cfg(not(target_os = "linux"))]
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        use rustix::fs::{AtFlags, CWD, Mode, chmodat};
        Ok(chmodat(CWD, &self.path, Mode::from_raw_mode(mode as _), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own there meanwhile, or be about to. Where the folder cannot be locked
        // the file is left, as a killed server leaves it.
        let Ok(_alone) = lock_folder(&self.path, LAST_PATIENCE) else { return };
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

impl SocketSpec {
    /// Takes the path; what connects waits until the log is open. A socket whose server is dead is replaced.
    pub(crate) fn bind(&self) -> Result<Bound, Failure> {
        let failed =
            |error: io::Error| Failure::failed(format!("cannot listen on {}: {error}", self.path.display()));
        // It goes after the lock, which it takes for itself.
        let file;
        // Two servers that find the same dead socket must not both take its place. The lock is on the folder,
        // so that no file of it is left.
        let _alone = lock_folder(&self.path, FOLDER_PATIENCE).map_err(failed)?;
        clear(&self.path).map_err(failed)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        // The file gets the mode of its socket: there is no moment at which anybody else may connect.
        let socket = File::from(OwnedFd::from(socket));
        socket.set_permissions(Permissions::from_mode(MODE)).map_err(failed)?;
        let socket = Socket::from(OwnedFd::from(socket));
        socket.bind(&SockAddr::unix(&self.path).map_err(failed)?).map_err(failed)?;
        file = SocketFile::at(&self.path).map_err(failed)?;
        if self.mode != MODE {
            file.set_mode(self.mode).map_err(failed)?;
        }
        socket.listen(BACKLOG_CONNECTIONS).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Bound { listener: OwnedFd::from(socket).into(), agent: self.agent.clone(), file: Some(file) })
    }
}

impl Bound {
    /// The listener, and the file that has to be kept as long as it listens.
    pub(crate) fn listen(self) -> Result<(Listener, Option<SocketFile>), Failure> {
        Ok((listener(self.listener, self.agent.as_deref())?, self.file))
    }
}

/// What serves a socket: everybody with a credential, or one agent.
fn listener(socket: UnixListener, agent: Option<&str>) -> Result<Listener, Failure> {
    let listener = Listener::from(tokio::net::UnixListener::from_std(socket)?);
    match agent {
        Some(name) => {
            listener.for_agent(name).map_err(|refusal| Failure::usage(format!("--socket: {refusal}")))
        }
        None => Ok(listener),
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    Ok(inode_of(&path.symlink_metadata()?))
}

/// The folder of the path, locked.
fn lock_folder(path: &Path, patience: Duration) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (file, until) = (File::open(folder)?, Instant::now() + patience);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other(format!("another process keeps {} locked", folder.display())));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Removes a socket that nobody listens on.
fn clear(path: &Path) -> io::Result<()> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other("something that is no socket is there"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One that takes nobody in would be waited for without end.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Not ours: somebody is there.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        // Taken in, or one too many.
        Ok(()) | Err(_) => Err(io::Error::other("a server listens there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_somebody_keeps_locked_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.sock");
        let taken = lock_folder(&path, Duration::ZERO).unwrap();
        let told = lock_folder(&path, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(told.contains(&folder.path().display().to_string()), "{told}");
        drop(taken);
        lock_folder(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn the_socket_of_a_successor_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let spec = SocketSpec { path: folder.path().join("log.sock"), agent: None, mode: MODE };
        let Bound { listener, file, .. } = spec.bind().unwrap();
        // What it listened on is gone, and what is left of it is its file.
        drop(listener);
        let second = spec.bind().unwrap();
        drop(file);
        assert!(spec.path.exists(), "the file of another server was removed");
        drop(second);
        assert!(!spec.path.exists());
    }

    #[test]
    fn the_mode_of_a_socket_is_given_to_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("log.sock"), folder.path().join("target"));
        std::fs::write(&target, "").unwrap();
        let mode = || target.metadata().unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
        let _listener = UnixListener::bind(&path).unwrap();
        let file = SocketFile::at(&path).unwrap();
        file.set_mode(0o660).unwrap();
        assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, 0o660);
        // Planted once it was looked at, and before.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        file.set_mode(0o666).unwrap();
        SocketFile::at(&path).unwrap_err();
        SocketFile::at(&target).unwrap_err();
        drop(file);
        assert!(mode() == 0o600 && path.is_symlink(), "{:o}", mode());
    }

    #[test]
    fn a_server_that_takes_nobody_in_is_there_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.sock");
        let address = SockAddr::unix(&path).unwrap();
        let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let busy = socket();
        busy.bind(&address).unwrap();
        busy.listen(1).unwrap();
        let full = std::iter::repeat_with(socket).take(10).map(|client| {
            client.set_nonblocking(true).unwrap();
            (client.connect(&address), client)
        });
        let full: Vec<_> = full.collect();
        assert!(full.iter().any(|(done, _)| done.is_err()), "there is room for all of them");
        let told = clear(&path).unwrap_err().to_string();
        assert!(told.contains("a server listens there") && path.exists(), "{told}");
    }

    #[test]
    fn a_socket_is_said_in_one_word() {
        let spec = |path: &str, agent: Option<&str>, mode| {
            Ok(SocketSpec { path: path.into(), agent: agent.map(Into::into), mode })
        };
        assert_eq!("/run/a.sock".parse(), spec("/run/a.sock", None, 0o600));
        assert_eq!("a,agent=alice".parse(), spec("a", Some("alice"), 0o600));
        assert_eq!("a,mode=0660,agent=x".parse(), spec("a", Some("x"), 0o660));
        for bad in [
            "",
            ",agent=a",
            "a,agent",
            "a,b",
            "a,agent=x,agent=y",
            "a,mode=9",
            "a,mode=1777",
            "a,mode=",
            "a,agent=operator",
            "a,agent=A",
        ] {
            assert!(bad.parse::<SocketSpec>().is_err(), "{bad}");
        }
    }
}
