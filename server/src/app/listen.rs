//! Opens the listening sockets.

use tokio::net::TcpListener;

use super::error::AppError;
use crate::{
    config::{Address, Config},
    listener::Socket,
};

/// The listening sockets.
pub(super) struct Listening {
    pub(super) socket: Socket,
    pub(super) address: Address,
    pub(super) admin: Option<TcpListener>,
}

/// Opens the listening sockets.
///
/// # Errors
/// If an address is taken or isn't this machine's.
pub(super) async fn listen(config: &Config) -> Result<Listening, AppError> {
    let address = &config.server.listen_addr;
    let failed =
        |source| AppError::Listen { setting: "listen_addr", address: address.clone(), source };
    let socket = Socket::bind(address).await.map_err(failed)?;
    let address = socket.address().map_err(failed)?;
    let admin = match config.server.admin_addr {
        None => None,
        Some(given) => {
            let failed = |source| AppError::Listen {
                setting: "admin_addr",
                address: Address::Tcp(given),
                source,
            };
            let listener = TcpListener::bind(given).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            tracing::info!(%address, "listening for operators");
            Some(listener)
        }
    };
    Ok(Listening { socket, address, admin })
}
