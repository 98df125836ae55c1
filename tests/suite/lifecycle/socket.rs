//! Unix domain sockets instead of a port, and termination messages.

use std::{fs, os::unix::net::UnixListener, path::Path};

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Engine, Signal, TestServer, run, until};
use serde_json::Value;
use tonic::transport::Endpoint;

use super::SOON;
use crate::client;

/// A service on a Unix domain socket; it prints its address as any other does.
async fn at(path: &Path) -> TestServer {
    let server = TestServer::builder(Engine::Sqlite).env("SHUTDOWN_PAUSE", "0s");
    server.unix(path).start().await
}

async fn list(address: &str) {
    let channel = Endpoint::from_shared(address.to_owned()).expect("an address").connect().await;
    let mut books = client::Books::new(channel.expect("a connection"));
    books.list_books(ListBooksRequest::default()).await.expect("a list");
}

#[tokio::test]
async fn unix_socket_serves_calls_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bookstore.sock");
    let address = format!("unix:{}", path.display());
    let mut server = at(&path).await;
    list(&address).await;
    let probe = run(&["health", "--address", &address], &[]).await;
    assert_eq!(probe.code, Some(0), "{probe:?}");
    // A socket in use is not taken away.
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("b.db").display());
    let second = run(&["serve", "--listen-addr", &address], &[("DATABASE_URL", &url)]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.errors.contains(&format!("listen_addr {address}")), "{second:?}");
    list(&address).await;
    assert_eq!(server.terminate().await.status.code(), Some(0));
    assert!(!path.exists(), "the socket is left behind");

    let mut server = at(&path).await;
    server.kill().await;
    assert!(path.exists(), "a killed service leaves its socket");
    let server = at(&path).await;
    list(&address).await;
    drop(server);
}

#[tokio::test]
async fn file_that_is_no_socket_is_not_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    fs::write(&path, "dear").expect("a file");
    let (address, url) = (
        format!("unix:{}", path.display()),
        format!("sqlite://{}?mode=rwc", folder.path().join("b.db").display()),
    );
    let refused = run(&["serve", "--listen-addr", &address], &[("DATABASE_URL", &url)]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).expect("the file"), "dear");
}

/// The content of the termination message's file.
pub(super) fn reason(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("the reason");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn failed_end_writes_its_termination_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reason");
    let log = path.to_str().expect("a path as text");
    let wrong = run(&["serve"], &[("TERMINATION_LOG", log), ("MAX_CALLS", "none")]).await;
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
    let message = reason(&path);
    assert_eq!(message["exit_code"], 64);
    assert!(
        message["reason"].as_str().is_some_and(|text| text.starts_with("max_calls")),
        "{message}"
    );

    let taken = folder.path().join("taken.sock");
    let _listener = UnixListener::bind(&taken).expect("a socket");
    let (address, url) = (
        format!("unix:{}", taken.display()),
        format!("sqlite://{}?mode=rwc", folder.path().join("b.db").display()),
    );
    let settings = [("TERMINATION_LOG", log), ("LISTEN_ADDR", &*address), ("DATABASE_URL", &*url)];
    let failed = run(&["serve"], &settings).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(reason(&path)["reason"].as_str().is_some_and(|text| text.contains(&address)));

    fs::remove_file(&path).expect("the file is removed");
    let hurried = TestServer::builder(Engine::Sqlite).env("TERMINATION_LOG", log);
    let mut hurried = hurried.env("SHUTDOWN_PAUSE", "5m").start().await;
    hurried.signal(Signal::TERM);
    hurried.logs().wait_for(|line| line.contains("\"stopping\"")).await;
    hurried.signal(Signal::TERM);
    assert_eq!(hurried.ended().await.status.code(), Some(143));
    assert_eq!(reason(&path)["exit_code"], 143);

    fs::remove_file(&path).expect("the file is removed");
    let well = TestServer::builder(Engine::Sqlite).env("TERMINATION_LOG", log);
    let mut well = well.env("SHUTDOWN_PAUSE", "0s").start().await;
    assert_eq!(well.terminate().await.status.code(), Some(0));
    until("nothing is written", SOON, async || !path.exists()).await;
}
