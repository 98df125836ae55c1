//! `bookstore config`: the settings in force.

use std::process::ExitCode;

use crate::config::Config;

/// Prints the settings as the file would have them.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's own output")]
pub fn run(config: &Config) -> ExitCode {
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    print!("{}", config.to_toml());
    ExitCode::SUCCESS
}
