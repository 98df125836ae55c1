//! The client of a running service.

use std::{path::PathBuf, time::Duration};

use bookstore_client::{Client, ClientOptions, ClientTls, InvalidAddress, ResumeTimer};
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
    /// How long to retry
    ///
    /// After a lost connection or a transient failure, counted from the last success
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    retry_for: Duration,
    #[command(flatten)]
    credentials: Credentials,
}

/// The files of TLS and of the token. TLS is used for addresses that begin with `https://`.
#[derive(Args, Clone, Debug, Default)]
pub struct Credentials {
    /// File of the service's authorities
    ///
    /// Those of the service's certificate, in PEM [default: well-known authorities]
    /// [env: BOOKSTORE_TLS_CA]
    #[arg(long, value_name = "PATH")]
    tls_ca: Option<PathBuf>,
    /// File of this client's certificate
    ///
    /// In PEM [env: BOOKSTORE_TLS_CERT]
    #[arg(long, value_name = "PATH")]
    tls_cert: Option<PathBuf>,
    /// File of the certificate's private key
    ///
    /// In PEM [default: the file of the certificate] [env: BOOKSTORE_TLS_KEY]
    #[arg(long, value_name = "PATH")]
    tls_key: Option<PathBuf>,
    /// File of the token that calls carry
    ///
    /// [env: BOOKSTORE_TOKEN_FILE]
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// The options of a client of this address.
    #[must_use]
    pub fn options(&self, address: String) -> ClientOptions {
        let path = |given: &Option<PathBuf>, variable: &str| {
            let named = || std::env::var_os(variable).filter(|path| !path.is_empty());
            given.clone().or_else(|| named().map(PathBuf::from))
        };
        let tls = ClientTls {
            ca_file: path(&self.tls_ca, "BOOKSTORE_TLS_CA"),
            cert_file: path(&self.tls_cert, "BOOKSTORE_TLS_CERT"),
            key_file: path(&self.tls_key, "BOOKSTORE_TLS_KEY"),
        };
        let mut options = ClientOptions::new([address]);
        options.token_file = path(&self.token_file, "BOOKSTORE_TOKEN_FILE");
        match tls == ClientTls::default() {
            true => options,
            false => options.tls(tls),
        }
    }
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
    /// If the address is malformed, or a file of TLS can't be used.
    pub fn client(&self) -> Result<Client, InvalidAddress> {
        self.credentials.options(self.url()).connect()
    }
}
