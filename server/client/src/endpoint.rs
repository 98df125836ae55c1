//! The address of a service and the options of its connections.

use std::{fmt, time::Duration};

use http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::tls::ClientTls;

/// An address that can't be connected to: it is malformed, or the files of its TLS can't be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidAddress {
    address: String,
    reason: Option<String>,
}

impl InvalidAddress {
    /// The address as it was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, reason } = self;
        match reason {
            Some(reason) => write!(formatter, "{address:?} can't be connected to: {reason}"),
            None => write!(
                formatter,
                "{address:?} is no address of a service; one is http://127.0.0.1:50051 (without \
                 TLS), https://books.example:50051 (with TLS), or unix: and the path of a socket"
            ),
        }
    }
}

impl std::error::Error for InvalidAddress {}

/// The options of connections.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    /// How long a connection may take to be established.
    pub(crate) timeout: Duration,
    /// How often a connection is pinged (HTTP/2 PING).
    pub(crate) keepalive_time: Duration,
    /// How long the answer to a ping may take.
    pub(crate) keepalive_timeout: Duration,
    /// The files of TLS, if they are given.
    pub(crate) tls: Option<ClientTls>,
}

/// An instance of the service: how it is connected to.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    endpoint: Endpoint,
    /// None without TLS.
    tls: Option<ClientTls>,
}

impl Instance {
    pub(crate) fn uri(&self) -> &Uri {
        self.endpoint.uri()
    }

    /// Connects, with the files of TLS as they are now.
    ///
    /// # Errors
    /// The reason as text.
    pub(crate) async fn connect(&self) -> Result<Channel, String> {
        let endpoint = self.endpoint.clone();
        let endpoint = match self.tls.clone() {
            None => endpoint,
            Some(tls) => {
                // The files may be on a file system that hangs.
                let applied = tokio::task::spawn_blocking(move || tls.apply(endpoint)).await;
                applied.map_err(|error| error.to_string())??
            }
        };
        endpoint.connect().await.map_err(|error| describe(&error))
    }
}

impl Connecting {
    /// The instance at an address.
    ///
    /// # Errors
    /// If the address is none of `http://HOST:PORT`, `https://HOST:PORT` and `unix:/PATH`, or the
    /// files of TLS can't be used.
    pub(crate) fn instance(&self, address: &str) -> Result<Instance, InvalidAddress> {
        let invalid = |reason| InvalidAddress { address: address.to_owned(), reason };
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| invalid(None))?;
        let is_socket = address.starts_with("unix:/");
        let is_encrypted = address.starts_with("https://");
        let is_host = is_encrypted || address.starts_with("http://");
        let names_host = is_host && endpoint.uri().authority().is_some();
        if !is_socket && !names_host {
            return Err(invalid(None));
        }
        if self.tls.is_some() && !is_encrypted {
            let reason = "files of TLS are given, and the address doesn't begin with https://";
            return Err(invalid(Some(reason.to_owned())));
        }
        let tls = is_encrypted.then(|| self.tls.clone().unwrap_or_default());
        let endpoint = endpoint
            .connect_timeout(self.timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keepalive_time)
            .keep_alive_timeout(self.keepalive_timeout);
        if let Some(tls) = &tls {
            tls.apply(endpoint.clone()).map_err(|reason| invalid(Some(reason)))?;
        }
        Ok(Instance { endpoint, tls })
    }
}

/// An error of a connection with its causes.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_or_refused() {
        let second = Duration::from_secs(1);
        let plain = Connecting {
            timeout: second,
            keepalive_time: second,
            keepalive_timeout: second,
            tls: None,
        };
        let good = ["http://127.0.0.1:50051", "https://books.example", "unix:/run/books.sock"];
        for good in good {
            assert!(plain.instance(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:50051", "ftp://a:1", "http://", "https://", "unix:books.sock"] {
            let refused = plain.instance(bad).err().unwrap();
            assert_eq!(refused.address(), bad);
        }
        // A client that names an authority must not get a connection in plaintext.
        let encrypted = Connecting { tls: Some(ClientTls::default()), ..plain };
        assert!(encrypted.instance("https://books.example").is_ok());
        for bad in ["http://127.0.0.1:50051", "unix:/run/books.sock"] {
            let refused = encrypted.instance(bad).err().unwrap();
            assert!(refused.to_string().contains("https://"), "{refused}");
        }
    }
}
