//! `bookstore token`: makes static tokens. The service knows their hashes alone.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use bookstore_auth::credentials::new_token;
use chrono::DateTime;
use clap::{Args, Subcommand};

use super::{failure::Failure, print};

/// The arguments of `token`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Subcommand)]
enum TokenVerb {
    /// Makes a token and prints it on standard output, once: only its hash is kept.
    New(New),
}

#[derive(Args)]
struct New {
    /// The token's name, which the policy gives roles to: lower-case letters, digits and dashes
    name: String,
    /// When the token expires, such as 2027-01-31T12:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
    /// Adds the line to this file of tokens instead of printing it on standard error
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
}

/// A time (RFC 3339).
fn time(text: &str) -> Result<SystemTime, String> {
    let time = DateTime::parse_from_rfc3339(text).map(SystemTime::from);
    let time = time.map_err(|_| "must be as in 2027-01-31T12:00:00Z (RFC 3339)".to_owned())?;
    match time > SystemTime::now() {
        true => Ok(time),
        false => Err("has passed already".to_owned()),
    }
}

/// Makes a token.
///
/// # Errors
/// A wrong name, and a file that can't be written. No token is printed then.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let TokenVerb::New(New { name, until, append }) = &arguments.verb;
    let made = new_token(name, *until)?;
    match append {
        Some(path) => add(path, &made.line).map_err(|it| format!("{}: {it}", path.display()))?,
        None => print::error(&format!("# The line for tokens_file:\n{}", made.line)),
    }
    print::line(&made.token);
    Ok(ExitCode::SUCCESS)
}

/// Adds a line to a file, on a line of its own.
fn add(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let is_begun = std::fs::read(path)?.last().is_some_and(|last| *last != b'\n');
    let begin = if is_begun { "\n" } else { "" };
    // One write, so that the service never reads half of a line.
    file.write_all(format!("{begin}{line}\n").as_bytes())?;
    file.sync_all()
}
