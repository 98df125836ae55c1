//! `bookstore users`: an operator's work on the accounts, in the database itself.

mod import;
mod record;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use crate::config::Config;

/// The arguments of `users`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: UsersCommand,
}

/// The subcommands of `users`.
#[derive(Subcommand)]
enum UsersCommand {
    /// Imports users with the hashes of their passwords from a file of JSON Lines.
    Import(import::Arguments),
}

/// Runs a subcommand.
///
/// # Errors
/// If the file or the database can't be used.
pub async fn run(
    config: &Config,
    known: Vec<String>,
    arguments: &Arguments,
) -> Result<ExitCode, Failure> {
    match &arguments.command {
        UsersCommand::Import(arguments) => import::run(config, &known, arguments).await,
    }
}
