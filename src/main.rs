//! The `hivelog` command.

fn main() -> std::process::ExitCode {
    hivelog::cli::run()
}
