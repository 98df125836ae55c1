//! The settings of the port and of its end.

use std::net::SocketAddr;
use std::time::Duration;

use super::settings::{LISTEN_ADDR, MAX_MESSAGE_SIZE, SHUTDOWN_PAUSE, SHUTDOWN_TIMEOUT};
use super::values::{self, Values};

/// How calls come in, and how the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `listen_addr`: where calls come to. Default 127.0.0.1:50051.
    pub listen_addr: SocketAddr,
    /// `max_message_size`: the largest request in bytes. Default 4 MiB.
    pub max_message_size: usize,
    /// `shutdown_pause`: how long after SIGTERM calls are still taken while
    /// health says NOT_SERVING. Default 5 s.
    pub shutdown_pause: Duration,
    /// `shutdown_timeout`: how long calls in flight may take to end. Default 25 s.
    pub shutdown_timeout: Duration,
}

impl Server {
    pub(super) fn read(values: &mut Values) -> Option<Self> {
        let pause = Duration::ZERO..=Duration::from_mins(5);
        let timeout = Duration::ZERO..=Duration::from_hours(1);
        let listen_addr = values.read(&LISTEN_ADDR, values::address);
        let max_message_size = values.read(&MAX_MESSAGE_SIZE, values::size(64 << 10..=64 << 20));
        let shutdown_pause = values.read(&SHUTDOWN_PAUSE, values::duration(pause));
        let shutdown_timeout = values.read(&SHUTDOWN_TIMEOUT, values::duration(timeout));
        Some(Self {
            listen_addr: listen_addr?,
            max_message_size: max_message_size?,
            shutdown_pause: shutdown_pause?,
            shutdown_timeout: shutdown_timeout?,
        })
    }
}
