//! `bookstore config`: the settings in force.

use std::process::ExitCode;

use crate::config::Config;

/// Prints the settings as the file would have them.
#[expect(clippy::print_stdout, reason = "a command's own output")]
pub fn run(config: &Config) -> ExitCode {
    print!("{}", config.to_toml());
    ExitCode::SUCCESS
}
