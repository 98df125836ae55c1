//! The address of a service and the options of its connections.

use std::{fmt, time::Duration};

use tonic::transport::Endpoint;

/// A malformed address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl InvalidAddress {
    /// The address as it was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:?} is no address of a service; one is http://127.0.0.1:50051 (without TLS), or \
             unix: and the path of a socket",
            self.0
        )
    }
}

impl std::error::Error for InvalidAddress {}

/// The options of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connecting {
    /// How long a connection may take to be established.
    pub(crate) timeout: Duration,
    /// How often a connection is pinged (HTTP/2 PING).
    pub(crate) keepalive_time: Duration,
    /// How long the answer to a ping may take.
    pub(crate) keepalive_timeout: Duration,
}

impl Connecting {
    /// The endpoint of an address.
    ///
    /// # Errors
    /// If the address is neither `http://HOST:PORT` nor `unix:/PATH`.
    pub(crate) fn endpoint(&self, address: &str) -> Result<Endpoint, InvalidAddress> {
        let endpoint = Endpoint::from_shared(address.to_owned()).ok();
        let is_socket = address.starts_with("unix:/");
        let is_http = |endpoint: &Endpoint| {
            let uri = endpoint.uri();
            address.starts_with("http://") && uri.authority().is_some()
        };
        let endpoint = endpoint.filter(|endpoint| is_socket || is_http(endpoint));
        let endpoint = endpoint.ok_or_else(|| InvalidAddress(address.to_owned()))?;
        Ok(endpoint
            .connect_timeout(self.timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keepalive_time)
            .keep_alive_timeout(self.keepalive_timeout))
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
        let connecting =
            Connecting { timeout: second, keepalive_time: second, keepalive_timeout: second };
        for good in ["http://127.0.0.1:50051", "http://books.example", "unix:/run/books.sock"] {
            assert!(connecting.endpoint(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:50051", "https://a:1", "http://", "unix:books.sock"] {
            let refused = connecting.endpoint(bad).err().unwrap();
            assert_eq!(refused.address(), bad);
        }
    }
}
