//! The running service that a command talks to.

use std::time::Duration;

use clap::Args;
use tonic::transport::{Channel, Endpoint};

use super::retry::Patience;
use crate::config::duration;

const VARIABLE: &str = "BOOKSTORE_SERVER";
const DEFAULT: &str = "http://127.0.0.1:50051";

/// How often a silent connection is tried, and how long its answer may take: a network
/// that swallows everything is noticed in twice that time.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Which service, and how long to wait for it.
#[derive(Args, Clone, Debug)]
pub struct Service {
    /// Address of the service [default: http://127.0.0.1:50051] [env: BOOKSTORE_SERVER]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How long to go on after a lost connection or a failure that passes, counted from
    /// the last success
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = patience)]
    retry_for: Duration,
}

/// A service's address: the one given, that of the environment, or the default.
#[must_use]
pub fn address(given: Option<String>) -> String {
    let given = given.or_else(|| std::env::var(VARIABLE).ok());
    given.filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT.to_owned())
}

fn patience(text: &str) -> Result<Duration, String> {
    duration(Duration::ZERO..=Duration::from_secs(24 * 60 * 60))(text)
}

impl Service {
    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        address(self.server.clone())
    }

    /// How long to wait for it.
    #[must_use]
    pub fn patience(&self) -> Patience {
        Patience::new(self.retry_for)
    }

    /// A channel to it. It connects at the first call, and again when it has to.
    ///
    /// # Errors
    /// If the address is none.
    pub fn channel(&self) -> Result<Channel, String> {
        let url = self.url();
        let endpoint = Endpoint::from_shared(url.clone()).ok();
        let endpoint = endpoint.filter(|endpoint| {
            endpoint.uri().scheme_str() == Some("http") && endpoint.uri().authority().is_some()
        });
        let endpoint = endpoint.ok_or_else(|| {
            format!("{url:?} is no address of a service; one is {DEFAULT} (without TLS)")
        })?;
        Ok(endpoint
            .connect_timeout(KEEP_ALIVE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .connect_lazy())
    }
}
