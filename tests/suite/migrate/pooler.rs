//! A pooler that shares the server's sessions between transactions is refused.

use std::{net::SocketAddr, sync::Arc};

use bookstore_tests::Engine;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::{Migrator, migrated};

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

/// Gives the single server session to each transaction, as poolers in transaction mode do.
pub(crate) async fn pool(listener: TcpListener, server: SocketAddr) {
    let shared: Arc<Mutex<Option<Server>>> = Arc::default();
    while let Ok((mut client, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let first = startup(&mut client).await?;
            let mut held = shared.clone().lock_owned().await;
            if held.is_none() {
                let mut session = TcpStream::connect(server).await.ok()?;
                session.write_all(&first).await.ok()?;
                let mut startup_answer = Vec::new();
                loop {
                    let (kind, bytes) = message(&mut session).await?;
                    startup_answer.extend(bytes);
                    if kind == b'Z' {
                        break;
                    }
                }
                *held = Some((startup_answer, session));
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

#[tokio::test]
async fn transaction_mode_pooler_is_refused_with_a_reason() {
    let database = migrated(Engine::Postgres).await;
    let url = database.owner_url();
    let server = url.split_once('@').and_then(|(_, rest)| rest.split_once('/'));
    let (server, _) = server.expect("an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let near = listener.local_addr().expect("its address").to_string();
    let pool = tokio::spawn(pool(listener, server.parse().expect("an address")));
    let through = Migrator::at(url.replace(server, &near), &json!({}));
    let errors = through.fails(&["up"], 1).await;
    assert!(
        errors.contains("goes through a pooler") && errors.contains("session mode"),
        "{errors}"
    );
    assert!(errors.contains("two sessions share the server's process"), "{errors}");
    pool.abort();
}
