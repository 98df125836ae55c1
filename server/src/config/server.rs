//! The settings of the port and of its end.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use bookstore_query::search::Language;

use super::{
    settings::{
        ADMIN_ADDR, LISTEN_ADDR, MAX_ANSWERED_BYTES, MAX_CALLS, MAX_CALLS_PER_CONNECTION,
        MAX_CALLS_WAITING, MAX_CONNECTION_AGE, MAX_CONNECTION_BYTES, MAX_CONNECTIONS,
        MAX_DECODED_BYTES, MAX_MESSAGE_SIZE, MAX_RECEIVED_BYTES, REQUEST_TIMEOUT, SEARCH_LANGUAGE,
        SHUTDOWN_PAUSE, SHUTDOWN_TIMEOUT, STREAM_IDLE_TIMEOUT,
    },
    values::{self, SettingValues},
};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address with a port.
    Tcp(SocketAddr),
    /// The path of a socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Whether only programs of this machine can connect: a loopback address or a socket's file.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// The settings of the listeners, of calls and of the shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `listen_addr`: the address for calls. Default 127.0.0.1:50051.
    pub listen_addr: Address,
    /// `admin_addr`: the address for operators and probes. Default none.
    pub admin_addr: Option<SocketAddr>,
    /// `max_connections`: how many there may be. Default 1000.
    pub max_connections: u32,
    /// `max_connection_age`: about how old a connection may become. Default 30 min; none is no
    /// limit.
    pub max_connection_age: Option<Duration>,
    /// `max_calls`: calls that are carried out at the same time. Default 1000.
    pub max_calls: u32,
    /// `max_calls_waiting`: calls that wait for their permits. Default 200.
    pub max_calls_waiting: u32,
    /// `max_calls_per_connection`: calls of one connection that are carried out at the same time.
    /// Default a quarter of `max_calls`.
    pub max_calls_per_connection: u32,
    /// `request_timeout`: within what a call's one request must come. Default 10 s.
    pub request_timeout: Duration,
    /// `stream_idle_timeout`: within what a stream's next message must come, and some of an
    /// answer be taken. Default 30 s.
    pub stream_idle_timeout: Duration,
    /// `max_connection_bytes`: what one connection may hold of requests and of answers, each.
    /// Default 8 MiB; at least twice `max_message_size`.
    pub max_connection_bytes: usize,
    /// `max_received_bytes`: what all may hold of requests. Default 48 MiB; at least four times
    /// `max_message_size`.
    pub max_received_bytes: usize,
    /// `max_decoded_bytes`: what all may hold of decoded requests. Default 48 MiB; at least
    /// eight times `max_message_size`.
    pub max_decoded_bytes: usize,
    /// `max_answered_bytes`: what all may hold of answers. Default 48 MiB; at least four times
    /// `max_message_size`.
    pub max_answered_bytes: usize,
    /// `max_message_size`: the largest request in bytes. Default 4 MiB.
    pub max_message_size: usize,
    /// `search_language`: how a search compares words. Default simple.
    pub search_language: Language,
    /// `shutdown_pause`: how long after SIGTERM calls are still accepted while health answers
    /// NOT_SERVING. Default 5 s.
    pub shutdown_pause: Duration,
    /// `shutdown_timeout`: how long calls in flight may take to end. Default 25 s.
    pub shutdown_timeout: Duration,
}

impl Server {
    pub(super) fn read(values: &mut SettingValues) -> Option<Self> {
        let pause = Duration::ZERO..=Duration::from_mins(5);
        let timeout = Duration::ZERO..=Duration::from_hours(1);
        let age = Duration::from_secs(1)..=Duration::from_hours(24);
        let listen_addr = values.read(&LISTEN_ADDR, address);
        let admin_addr = values.read(&ADMIN_ADDR, |text| match text {
            "off" => Ok(None),
            text => values::address(text).map(Some).map_err(|_| {
                "must be off or an IP address with a port, such as 127.0.0.1:50052".to_owned()
            }),
        });
        let max_connections = values.read(&MAX_CONNECTIONS, values::whole(1..=1_000_000));
        let max_connection_age = values.read(&MAX_CONNECTION_AGE, |text| {
            match values::duration(Duration::ZERO..=Duration::ZERO)(text) {
                Ok(_) => Ok(None),
                Err(_) => values::duration(age)(text)
                    .map(Some)
                    .map_err(|message| format!("{message}; 0s is never")),
            }
        });
        let max_calls = values.read(&MAX_CALLS, values::whole(1..=100_000));
        let max_calls_waiting = values.read(&MAX_CALLS_WAITING, values::whole(0..=100_000));
        let share = values.read(&MAX_CALLS_PER_CONNECTION, |text| match text {
            "auto" => Ok(None),
            text => values::whole(1..=100_000)(text)
                .map(Some)
                .map_err(|message| format!("{message}, or auto")),
        });
        let whole = Duration::from_millis(100)..=Duration::from_mins(10);
        let idle = Duration::from_millis(100)..=Duration::from_hours(1);
        let request_timeout = values.read(&REQUEST_TIMEOUT, values::duration(whole));
        let stream_idle_timeout = values.read(&STREAM_IDLE_TIMEOUT, values::duration(idle));
        let bytes = values::size(1 << 20..=64 << 30);
        let max_connection_bytes =
            values.read(&MAX_CONNECTION_BYTES, values::size(64 << 10..=1 << 30));
        let max_received_bytes = values.read(&MAX_RECEIVED_BYTES, &bytes);
        let max_decoded_bytes = values.read(&MAX_DECODED_BYTES, &bytes);
        let max_answered_bytes = values.read(&MAX_ANSWERED_BYTES, &bytes);
        let max_message_size = values.read(&MAX_MESSAGE_SIZE, values::size(64 << 10..=64 << 20));
        let search_language = values.read(&SEARCH_LANGUAGE, |text| {
            Language::parse(text).ok_or_else(|| "must be simple or english".to_owned())
        });
        let shutdown_pause = values.read(&SHUTDOWN_PAUSE, values::duration(pause));
        let shutdown_timeout = values.read(&SHUTDOWN_TIMEOUT, values::duration(timeout));
        let (max_calls, max_message_size) = (max_calls?, max_message_size?);
        // Less would take no request, or one at a time.
        let at_least = |bytes: usize, times: usize| bytes.max(max_message_size * times);
        Some(Self {
            listen_addr: listen_addr?,
            admin_addr: admin_addr?,
            max_connections: max_connections?,
            max_connection_age: max_connection_age?,
            max_calls,
            max_calls_waiting: max_calls_waiting?,
            max_calls_per_connection: share?.unwrap_or((max_calls / 4).max(1)),
            request_timeout: request_timeout?,
            stream_idle_timeout: stream_idle_timeout?,
            max_connection_bytes: at_least(max_connection_bytes?, 2),
            max_received_bytes: at_least(max_received_bytes?, 4),
            max_decoded_bytes: at_least(max_decoded_bytes?, 8),
            max_answered_bytes: at_least(max_answered_bytes?, 4),
            max_message_size,
            search_language: search_language?,
            shutdown_pause: shutdown_pause?,
            shutdown_timeout: shutdown_timeout?,
        })
    }
}

fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match cfg!(unix) && path.starts_with('/') {
            true => Ok(Address::Unix(path.into())),
            false => {
                Err("must name a socket by its whole path, such as unix:/run/bookstore.sock"
                    .to_owned())
            }
        };
    }
    values::address(text).map(Address::Tcp)
}
