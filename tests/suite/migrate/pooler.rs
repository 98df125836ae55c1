//! A pooler that shares the server's sessions between transactions is refused.

use std::{net::SocketAddr, sync::Arc};

use bookstore_tests::{Engine, catalog};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::{Migrator, migrated, names};

/// A message of PostgreSQL's protocol: its type, and all of its bytes.
async fn message(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let length = stream.read_u32().await.ok()?;
    let mut bytes = vec![kind];
    bytes.extend(length.to_be_bytes());
    let mut body = vec![0; usize::try_from(length).ok()? - 4];
    stream.read_exact(&mut body).await.ok()?;
    bytes.extend(body);
    Some((kind, bytes))
}

/// The startup message, which has no type. A request for TLS is declined.
async fn startup(stream: &mut TcpStream) -> Option<Vec<u8>> {
    loop {
        let length = stream.read_u32().await.ok()?;
        let mut body = vec![0; usize::try_from(length).ok()? - 4];
        stream.read_exact(&mut body).await.ok()?;
        if body.starts_with(&80_877_103_u32.to_be_bytes()) {
            stream.write_all(b"N").await.ok()?;
            continue;
        }
        return Some([length.to_be_bytes().to_vec(), body].concat());
    }
}

/// The server's first messages of the only session, and that session.
type Server = (Vec<u8>, TcpStream);

/// Begins a session of the server with a client's first message.
async fn begin(server: SocketAddr, first: &[u8]) -> Option<Server> {
    let mut session = TcpStream::connect(server).await.ok()?;
    session.write_all(first).await.ok()?;
    let mut said = Vec::new();
    loop {
        let (kind, bytes) = message(&mut session).await?;
        said.extend(bytes);
        if kind == b'Z' {
            return Some((said, session));
        }
    }
}

/// Gives the single server session to each transaction, as poolers in transaction mode do.
pub(crate) async fn pool(listener: TcpListener, server: SocketAddr) {
    let shared: Arc<Mutex<Option<Server>>> = Arc::default();
    while let Ok((mut client, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let first = startup(&mut client).await?;
            let mut held = shared.clone().lock_owned().await;
            if held.is_none() {
                *held = Some(begin(server, &first).await?);
            }
            client.write_all(&held.as_ref()?.0).await.ok()?;
            drop(held);
            let mut held = None;
            loop {
                let (kind, bytes) = message(&mut client).await?;
                if kind == b'X' {
                    return Some(());
                }
                let mut session = match held.take() {
                    Some(session) => session,
                    None => shared.clone().lock_owned().await,
                };
                let server = &mut session.as_mut()?.1;
                server.write_all(&bytes).await.ok()?;
                let mut is_free = false;
                // A simple query and a Sync are answered up to ReadyForQuery.
                if kind == b'Q' || kind == b'S' {
                    is_free = loop {
                        let (kind, bytes) = message(server).await?;
                        client.write_all(&bytes).await.ok()?;
                        if kind == b'Z' {
                            break bytes.ends_with(b"I");
                        }
                    };
                }
                if !is_free {
                    held = Some(session);
                }
            }
        });
    }
}

/// Gives the single server session to one client after the other, as it was left. Others are
/// refused meanwhile.
pub(crate) async fn hand_down(listener: TcpListener, server: SocketAddr) {
    let shared: Arc<Mutex<Option<Server>>> = Arc::default();
    while let Ok((mut client, _)) = listener.accept().await {
        let Ok(mut held) = shared.clone().try_lock_owned() else { continue };
        tokio::spawn(async move {
            let first = startup(&mut client).await?;
            if held.is_none() {
                *held = Some(begin(server, &first).await?);
            }
            let (said, session) = held.as_mut()?;
            client.write_all(said).await.ok()?;
            loop {
                let (kind, bytes) = message(&mut client).await?;
                if kind == b'X' {
                    return Some(());
                }
                session.write_all(&bytes).await.ok()?;
                if kind != b'Q' && kind != b'S' {
                    continue;
                }
                loop {
                    let (kind, bytes) = message(session).await?;
                    client.write_all(&bytes).await.ok()?;
                    if kind == b'Z' {
                        break;
                    }
                }
            }
        });
    }
}

/// Gives each client a session of its own, and another one once it has the lock.
async fn exchange(listener: TcpListener, server: SocketAddr) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(exchange_one(client, server));
    }
}

async fn exchange_one(mut client: TcpStream, server: SocketAddr) -> Option<()> {
    let first = startup(&mut client).await?;
    let (said, mut session) = begin(server, &first).await?;
    client.write_all(&said).await.ok()?;
    let (mut has_prepared, mut has_run) = (false, false);
    loop {
        let (kind, bytes) = message(&mut client).await?;
        has_prepared |= bytes.windows(20).any(|part| part == b"pg_try_advisory_lock");
        has_run |= has_prepared && kind == b'E';
        session.write_all(&bytes).await.ok()?;
        if kind != b'Q' && kind != b'S' {
            continue;
        }
        loop {
            let (kind, bytes) = message(&mut session).await?;
            client.write_all(&bytes).await.ok()?;
            if kind == b'Z' {
                break;
            }
        }
        if has_run {
            session = begin(server, &first).await?.1;
            (has_prepared, has_run) = (false, false);
        }
    }
}

/// A database's URL by way of a proxy.
pub(crate) async fn through<F: Future<Output = ()> + Send + 'static>(
    url: &str,
    proxy: impl FnOnce(TcpListener, SocketAddr) -> F,
) -> String {
    let server = url.split_once('@').and_then(|(_, rest)| rest.split_once('/'));
    let (server, _) = server.expect("an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let near = listener.local_addr().expect("its address").to_string();
    tokio::spawn(proxy(listener, server.parse().expect("an address")));
    url.replace(server, &near)
}

/// The lock stays with the session that took it; nothing is changed without it.
#[tokio::test]
async fn session_exchanged_under_the_lock_is_refused() {
    let database = migrated(Engine::Postgres).await;
    let before = (catalog(&database).await, names(&database).await);
    let url = through(&database.owner_url(), exchange).await;
    let revisions = json!({"revisions": [{
        "name": "m29990101_000001_one",
        "up": [{"sql": "CREATE TABLE extra (id integer)"}], "down": [{"sql": "DROP TABLE extra"}],
    }]});
    let output = Migrator::at(url, &revisions).fails(&["up"], 1).await;
    assert!(output.contains("goes through a pooler"), "{output}");
    assert!(output.contains("this session went from the server's process"), "{output}");
    assert_eq!((catalog(&database).await, names(&database).await), before);
}

#[tokio::test]
async fn transaction_mode_pooler_is_refused_with_a_reason() {
    let database = migrated(Engine::Postgres).await;
    let through = Migrator::at(through(&database.owner_url(), pool).await, &json!({}));
    let output = through.fails(&["up"], 1).await;
    assert!(
        output.contains("goes through a pooler") && output.contains("session mode"),
        "{output}"
    );
    assert!(output.contains("two sessions share the server's process"), "{output}");
}
