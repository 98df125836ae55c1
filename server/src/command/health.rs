//! `bookstore health`: asks a running service for its health, for container probes. The exit codes
//! are those of `grpc_health_probe`.

use std::{process::ExitCode, time::Duration};

use bookstore_client::{HealthError, check_health};
use clap::Args;

use super::{
    failure::Failure,
    print,
    transfer::client::{Credentials, address},
};
use crate::config::duration;

/// A wrong command line.
pub const MISTYPED: u8 = 1;
const NO_CONNECTION: u8 = 2;
const NO_ANSWER: u8 = 3;
const NOT_SERVING: u8 = 4;

/// The arguments of `health`.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 serving; 1 wrong command line; 2 no connection; \
    3 no answer in time, or an error; 4 not serving.")]
pub struct Arguments {
    /// The health name: live, ready, write or the name of a service [default: the whole service]
    #[arg(default_value = "", hide_default_value = true)]
    name: String,
    /// Address of the service: a URL, or unix: and the path of its socket [default:
    /// http://127.0.0.1:50051] [env: BOOKSTORE_SERVER]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The timeout for connection and answer together
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = timeout)]
    timeout: Duration,
    #[command(flatten)]
    credentials: Credentials,
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(Duration::from_millis(1)..=Duration::from_mins(1))(text)
}

/// Asks for the health and prints the status.
///
/// # Errors
/// None: every end has its code.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (code, message) = ask(arguments).await;
    match code {
        0 => print::line(&message),
        _ => print::error(&message),
    }
    Ok(ExitCode::from(code))
}

async fn ask(arguments: &Arguments) -> (u8, String) {
    let address = address(arguments.address.clone());
    let options = arguments.credentials.options(address.clone());
    match check_health(&options, &arguments.name, arguments.timeout).await {
        Ok("SERVING") => (0, "SERVING".to_owned()),
        Ok(other) => (NOT_SERVING, other.to_owned()),
        Err(HealthError::Address(error)) => (MISTYPED, format!("error: {error}")),
        Err(HealthError::Connection(message)) => {
            (NO_CONNECTION, format!("error: no connection to {address}: {message}"))
        }
        Err(HealthError::Timeout) => (NO_ANSWER, "error: no answer within the timeout".to_owned()),
        Err(HealthError::Answer(error)) => (NO_ANSWER, format!("error: {}", error.message())),
    }
}
