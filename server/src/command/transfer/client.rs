//! The client of a running service.

use std::time::Duration;

use bookstore_client::{Client, InvalidAddress, ResumeTimer};
use clap::Args;

use crate::config::duration;

const VARIABLE: &str = "BOOKSTORE_SERVER";
const DEFAULT: &str = "http://127.0.0.1:50051";

/// The service's address and how long to wait for it.
#[derive(Args, Clone, Debug)]
pub struct Service {
    /// Address of the service [default: http://127.0.0.1:50051] [env: BOOKSTORE_SERVER]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How long to retry after a lost connection or a transient failure, counted from the last
    /// success
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    retry_for: Duration,
}

/// A service's address: the one given, that of the environment, or the default.
#[must_use]
pub fn address(given: Option<String>) -> String {
    let given = given.or_else(|| std::env::var(VARIABLE).ok());
    given.filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT.to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(Duration::ZERO..=Duration::from_secs(24 * 60 * 60))(text)
}

impl Service {
    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        address(self.server.clone())
    }

    /// How long to retry after a failure.
    #[must_use]
    pub fn timer(&self) -> ResumeTimer {
        ResumeTimer::new(self.retry_for)
    }

    /// A client of it, which connects in the background.
    ///
    /// # Errors
    /// If the address is malformed.
    pub fn client(&self) -> Result<Client, InvalidAddress> {
        Client::connect(self.url())
    }
}
