//! `bookstore config`: the settings in force.

use std::process::ExitCode;

use super::print;
use crate::config::Config;

/// Prints the settings as the file would have them.
pub fn run(config: &Config) -> ExitCode {
    for warning in &config.warnings {
        print::error(&format!("warning: {warning}"));
    }
    print::line(config.to_toml().trim_end());
    ExitCode::SUCCESS
}
