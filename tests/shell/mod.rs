//! What the developer's own shell says, which must not reach a process under test.

use std::process::Command;

/// Takes it out of the environment; to be called before a test says something of its own there.
pub fn clean(command: &mut Command) -> &mut Command {
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.as_encoded_bytes().starts_with(b"HIVELOG_")) {
        command.env_remove(name);
    }
    for name in ["COLUMNS", "NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}
