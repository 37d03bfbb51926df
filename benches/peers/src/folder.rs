//! Where the data of all three is: one folder, so one disk, which goes in the end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub struct Folder(PathBuf);

impl Folder {
    pub fn make() -> Self {
        let parent = std::env::var_os("HIVELOG_PEERS").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = parent.join(format!("hivelog-peers-{}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = Self(path.canonicalize().unwrap());
        // PostgreSQL, as somebody else, has to get to its part.
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        let kind = folder.kind();
        assert!(
            !["tmpfs", "ramfs", "overlay"].contains(&kind.as_str()),
            "{} is on {kind}, where a sync tells nothing: name a folder on a disk in HIVELOG_PEERS",
            folder.0.display()
        );
        folder
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file system that it is on.
    pub fn kind(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let ours = fields.filter(|fields| fields.len() > 2 && self.0.starts_with(fields[1]));
        // A later mount lies over an earlier one.
        ours.max_by_key(|fields| fields[1].len()).map_or_else(|| "?".into(), |fields| fields[2].into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}
