//! Where connections come from: a TCP port, or a socket in the file system.

use std::io;
#[cfg(unix)]
use std::path::PathBuf;

use http::Extensions;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::config::Address;

/// A listening socket. Dropping it closes it and removes its file.
#[derive(Debug)]
pub enum Socket {
    /// A TCP port.
    Tcp(TcpListener),
    /// A socket in the file system.
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

/// The file of a socket, removed with it.
#[cfg(unix)]
#[derive(Debug)]
pub struct SocketFile(PathBuf);

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        // The file may have been removed already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An accepted connection.
pub(super) enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Listens on the address. Replaces the file of a socket on which no process listens, as a
    /// killed process leaves it.
    ///
    /// # Errors
    /// If the address is taken or isn't this machine's.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            #[cfg(unix)]
            Address::Unix(path) => {
                let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
                if UnixStream::connect(path).await.is_err_and(refused) && is_socket(path) {
                    std::fs::remove_file(path)?;
                }
                Ok(Self::Unix(UnixListener::bind(path)?, SocketFile(path.clone())))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The bound address. With port 0 it has the port that the system chose.
    ///
    /// # Errors
    /// If the operating system can't give it.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            #[cfg(unix)]
            Self::Unix(_, file) => Ok(Address::Unix(file.0.clone())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => Ok(Accepted::Tcp(listener.accept().await?.0)),
            #[cfg(unix)]
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

#[cfg(unix)]
fn is_socket(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// A connection of either kind.
pub(super) trait Peer: Send + 'static {
    /// Whether it comes over a socket in the file system, whose path it may name as its authority.
    const IS_LOCAL: bool;

    /// Its two halves: for reading and for writing.
    fn halves(
        self,
    ) -> (impl AsyncRead + Unpin + Send + 'static, impl AsyncWrite + Unpin + Send + 'static);

    /// Sets TCP_NODELAY, so that small answers are sent at once.
    fn without_delay(&self) -> io::Result<()>;

    /// Adds the peer's address to the extensions of all requests. Returns it as text for the log.
    fn add_connect_info(&self, extensions: &mut Extensions) -> String;
}

impl Peer for TcpStream {
    const IS_LOCAL: bool = false;

    fn halves(
        self,
    ) -> (impl AsyncRead + Unpin + Send + 'static, impl AsyncWrite + Unpin + Send + 'static) {
        self.into_split()
    }

    fn without_delay(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    fn add_connect_info(&self, extensions: &mut Extensions) -> String {
        let info = self.connect_info();
        let peer = info.remote_addr.map(|address| address.to_string()).unwrap_or_default();
        extensions.insert(info);
        peer
    }
}

impl Peer for TlsStream<TcpStream> {
    const IS_LOCAL: bool = false;

    fn halves(
        self,
    ) -> (impl AsyncRead + Unpin + Send + 'static, impl AsyncWrite + Unpin + Send + 'static) {
        tokio::io::split(self)
    }

    fn without_delay(&self) -> io::Result<()> {
        self.get_ref().0.without_delay()
    }

    fn add_connect_info(&self, extensions: &mut Extensions) -> String {
        self.get_ref().0.add_connect_info(extensions)
    }
}

#[cfg(unix)]
impl Peer for UnixStream {
    const IS_LOCAL: bool = true;

    fn halves(
        self,
    ) -> (impl AsyncRead + Unpin + Send + 'static, impl AsyncWrite + Unpin + Send + 'static) {
        self.into_split()
    }

    fn without_delay(&self) -> io::Result<()> {
        Ok(())
    }

    fn add_connect_info(&self, extensions: &mut Extensions) -> String {
        let info = self.connect_info();
        let peer = info.peer_cred.map(|peer| format!("unix, user {}", peer.uid()));
        extensions.insert(info);
        peer.unwrap_or_default()
    }
}
