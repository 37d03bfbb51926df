//! Commits with their diffs, as git tells them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What an agent wants applied.
#[derive(Clone, Debug)]
pub struct Commit {
    pub sha_short: String,
    pub subject: String,
    /// The raw unified diff.
    pub diff: String,
}

const COMMITS_MAX: &str = "40";
/// Larger ones would be another test: that of the door's bounds.
const DIFF_BYTES_MAX: usize = 64 << 10;

fn git(repository: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = command.args(args).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The last commits of the repository that `HIVELOG_SOAK_REPO` names, or of a small one made in this folder.
pub fn commits(folder: &Path) -> Vec<Commit> {
    let given = std::env::var_os("HIVELOG_SOAK_REPO").map(PathBuf::from);
    let repository = given.unwrap_or_else(|| made(&folder.join("repository")));
    let list = git(&repository, &["log", "--no-merges", "-n", COMMITS_MAX, "--format=%H%x09%h%x09%s"]);
    let mut commits = Vec::new();
    for line in list.lines() {
        let [sha, sha_short, subject] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else { continue };
        let diff = git(&repository, &["show", "--format=", "--no-color", "--no-ext-diff", sha]);
        if !diff.is_empty() && diff.len() <= DIFF_BYTES_MAX {
            let (sha_short, subject) = (sha_short.into(), subject.into());
            commits.push(Commit { sha_short, subject, diff });
        }
    }
    assert!(commits.len() >= 3, "{} has too few commits with a diff", repository.display());
    commits
}

/// A repository with a few commits: text added, changed, renamed and removed.
fn made(repository: &Path) -> PathBuf {
    std::fs::create_dir(repository).unwrap();
    git(repository, &["init", "-q"]);
    let line = |number: u32| format!("line {number} \u{2014} \"quoted\", back\\slash,\ttab\n");
    for number in 1..=12 {
        let file = repository.join(format!("file{}.txt", number % 4));
        let text: String = (0..number * 9).filter(|other| other % (number + 1) != 0).map(line).collect();
        std::fs::write(&file, text).unwrap();
        if number == 8 {
            std::fs::rename(repository.join("file2.txt"), repository.join("moved.txt")).unwrap();
        }
        git(repository, &["add", "-A"]);
        git(repository, &["commit", "-q", "-m", &format!("Change number {number}")]);
    }
    repository.into()
}
