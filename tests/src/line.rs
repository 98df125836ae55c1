//! A TCP proxy between a service and PostgreSQL, or a client and a service. A test can cut and
//! freeze it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
};

use crate::{database::Database, wait::SOON};

/// The state of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All bytes are forwarded.
    Open,
    /// Nothing is forwarded, and no connection is closed.
    Frozen,
    /// Every connection is closed, a new one at once.
    Cut,
    /// Open until a client has sent these bytes; they are forwarded and the connections are cut.
    CutAt(&'static [u8]),
    /// The same, but the connections are frozen then.
    FreezeAt(&'static [u8]),
    /// Open until a server has sent these bytes. Then that connection alone is closed, behind them
    /// or before them.
    EndAtAnswer(&'static [u8], Side),
    /// The same behind them, and every connection is cut.
    CutBehindAnswer(&'static [u8]),
}

/// A side of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the first of them.
    Before,
    /// Behind the last of them.
    Behind,
}

/// A TCP proxy to a database of the tests' cluster, or to a service. Dropping it cuts its
/// connections.
#[derive(Debug)]
pub struct Line {
    url: String,
    state: watch::Sender<State>,
}

impl Line {
    /// A proxy to the database, open.
    ///
    /// # Panics
    /// If the database isn't PostgreSQL's.
    pub async fn to(database: &Database) -> Self {
        Self::to_url(database.url()).await
    }

    /// The same, by the URL of a PostgreSQL database on one node.
    ///
    /// # Panics
    /// If it isn't such a URL.
    pub async fn to_url(url: String) -> Self {
        let server = url.split_once('@').and_then(|(_, rest)| rest.split_once('/'));
        let (server, _) = server.expect("the address of a PostgreSQL database");
        let far: SocketAddr = server.parse().expect("an address with a port");
        let (near, state) = open(far, None).await;
        Self { url: url.replace(server, &near), state }
    }

    /// A proxy to a service, open.
    pub async fn to_service(far: SocketAddr) -> Self {
        let (near, state) = open(far, None).await;
        Self { url: format!("http://{near}"), state }
    }

    /// A proxy to a service that closes every connection after a random number of bytes, at most
    /// `most`.
    pub async fn breaking(far: SocketAddr, most: usize) -> Self {
        let (near, state) = open(far, Some(most)).await;
        Self { url: format!("http://{near}"), state }
    }

    /// The URL of the database or the service through this proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes every connection, and each new one at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Forwards the service's bytes up to the next ones that contain these, and then cuts: the
    /// request arrives, the answer doesn't.
    pub fn cut_at(&self, bytes: &'static [u8]) {
        self.state.send_replace(State::CutAt(bytes));
    }

    /// Forwards the client's bytes up to the next ones that contain these, and then freezes: the
    /// service reads the request, and its answer waits. A cut could lose what the service hasn't
    /// read yet.
    pub fn freeze_at(&self, bytes: &'static [u8]) {
        self.state.send_replace(State::FreezeAt(bytes));
    }

    /// Forwards the database's bytes up to the next ones that contain these, and closes that
    /// connection there. The others stay open.
    pub fn end_at_answer(&self, bytes: &'static [u8], side: Side) {
        self.state.send_replace(State::EndAtAnswer(bytes, side));
    }

    /// Waits until [`Self::cut_at`] has cut the connections.
    ///
    /// # Panics
    /// If that takes longer than [`SOON`].
    pub async fn is_cut(&self) {
        self.is(State::Cut).await;
    }

    /// Waits until [`Self::freeze_at`] has frozen the connections.
    ///
    /// # Panics
    /// If that takes longer than [`SOON`].
    pub async fn is_frozen(&self) {
        self.is(State::Frozen).await;
    }

    async fn is(&self, wanted: State) {
        let mut state = self.state.subscribe();
        let reached = tokio::time::timeout(SOON, state.wait_for(|state| *state == wanted)).await;
        assert!(reached.is_ok_and(|it| it.is_ok()), "{wanted:?}: the bytes were not sent");
    }

    /// Forwards the database's bytes up to the next ones that contain these, and cuts every
    /// connection behind them.
    pub fn cut_behind_answer(&self, bytes: &'static [u8]) {
        self.state.send_replace(State::CutBehindAnswer(bytes));
    }

    /// Forwards nothing more. Connections stay open, as with a lost network.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// Forwards again.
    pub fn restore(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Opens a proxy to an address; returns the proxy's own address.
async fn open(far: SocketAddr, most: Option<usize>) -> (String, watch::Sender<State>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let near = listener.local_addr().expect("the port's address").to_string();
    let state = watch::Sender::new(State::Open);
    tokio::spawn(accept(listener, far, most, state.clone()));
    (near, state)
}

async fn accept(
    listener: TcpListener,
    far: SocketAddr,
    most: Option<usize>,
    state: watch::Sender<State>,
) {
    while let Ok((near, _)) = listener.accept().await {
        let left = most.map_or(usize::MAX, |most| rand::rng().random_range(0..most));
        tokio::spawn(carry(near, far, AtomicUsize::new(left), state.clone()));
    }
}

/// Carries one connection until a side closes it, the proxy is cut, or its limit of bytes is
/// reached.
async fn carry(near: TcpStream, far: SocketAddr, left: AtomicUsize, state: watch::Sender<State>) {
    let mut seen = state.subscribe();
    if *seen.borrow() == State::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(far).await else { return };
    // Both fail only on a connection that is closed already.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pump(near_in, far_out, &left, &state, true) => {}
        () = pump(far_in, near_out, &left, &state, false) => {}
        _ = seen.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn pump(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    left: &AtomicUsize,
    state: &watch::Sender<State>,
    asks: bool,
) {
    let mut seen = state.subscribe();
    let mut bytes = vec![0; 16 << 10];
    while let Ok(size @ 1..) = from.read(&mut bytes).await {
        let thawed = seen.wait_for(|state| *state != State::Frozen).await;
        let Ok(now) = thawed.map(|state| *state) else { return };
        if now == State::Cut {
            return;
        }
        let end = match now {
            State::EndAtAnswer(wanted, side) => Some((wanted, side, State::Open)),
            State::CutBehindAnswer(wanted) => Some((wanted, Side::Behind, State::Cut)),
            _ => None,
        };
        if let Some((wanted, side, next)) = end.filter(|_| !asks)
            && let Some(at) = bytes[..size].windows(wanted.len()).position(|it| it == wanted)
        {
            let end = if side == Side::Behind { at + wanted.len() } else { at };
            let _ = to.write_all(&bytes[..end]).await;
            state.send_replace(next);
            return;
        }
        let may = left.load(Ordering::Relaxed).min(size);
        left.fetch_sub(may, Ordering::Relaxed);
        if to.write_all(&bytes[..may]).await.is_err() || may < size {
            return;
        }
        let (wanted, next) = match now {
            State::CutAt(wanted) if asks => (wanted, State::Cut),
            State::FreezeAt(wanted) if asks => (wanted, State::Frozen),
            _ => continue,
        };
        if bytes[..size].windows(wanted.len()).any(|part| part == wanted) {
            state.send_replace(next);
        }
    }
}
