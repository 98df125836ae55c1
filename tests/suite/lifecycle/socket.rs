//! Unix domain sockets instead of a port, and termination messages.

use std::{fs, os::unix::net::UnixListener, path::Path};

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Engine, Signal, TestServer, run, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

/// The type of HEADERS and of RST_STREAM (RFC 9113, 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// Clients of gRPC's C core name the socket's path as their authority, which is no host of a URI.
#[tokio::test]
async fn unix_socket_takes_any_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bookstore.sock");
    let _server = at(&path).await;
    for authority in ["%2Frun%2Fb.sock", "/run/b.sock", "localhost"] {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ] {
            // Literals without indexing (RFC 7541, 6.2.2).
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("a short text"));
                block.extend_from_slice(text.as_bytes());
            }
        }
        let length = u8::try_from(block.len()).expect("a short block");
        // The preface, SETTINGS, HEADERS with END_HEADERS, DATA with an empty message.
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        bytes.extend([0, 0, length, HEADERS, 4, 0, 0, 0, 1]);
        bytes.extend(block);
        bytes.extend(b"\0\0\x05\0\x01\0\0\0\x01\0\0\0\0\0");
        let mut stream = tokio::net::UnixStream::connect(&path).await.expect("a connection");
        stream.write_all(&bytes).await.expect("a request");
        let answered = async {
            loop {
                let mut header = [0; 9];
                stream.read_exact(&mut header).await.expect("a frame");
                let [a, b, c, kind, _, rest @ ..] = header;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                stream.read_exact(&mut payload).await.expect("a frame's payload");
                assert_ne!(kind, RST_STREAM, "{authority}: {payload:?}");
                if kind == HEADERS && rest[3] == 1 {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, answered).await.expect("an answer");
    }
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
