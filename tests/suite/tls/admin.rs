//! TLS of the admin address.

use std::{net::SocketAddr, time::Duration};

use bookstore_tests::{Authority, Engine, Purpose, SOON, TestServer, TlsFiles, dns, run, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Offer, USUAL, config, handshake};

bookstore_tests::on_every_engine!(admin_address_has_the_certificate_of_the_port);

/// The answer to a request by HTTP/1.1 over TLS.
async fn ask(address: SocketAddr, authority: &Authority, path: &str) -> std::io::Result<String> {
    let offer = Offer { protocols: &["http/1.1"], ..USUAL };
    let mut stream = handshake(address, config(authority, offer)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn admin_address_has_the_certificate_of_the_port(engine: Engine) {
    // Callers of the port must have certificates; operators need none.
    let files = TlsFiles::new().client_auth("required");
    let ours = files.authority.client("spiffe://example.org/web");
    let builder = TestServer::builder(engine).tls(&files, Some(&ours));
    let server = builder.env("ADMIN_ADDR", "127.0.0.1:0").env("ADMIN_TLS", "true").start().await;
    let address = server.admin_address().await;
    let status = ask(address, &files.authority, "/status").await.expect("an answer");
    assert!(status.starts_with("HTTP/1.1 200 OK\r\n"), "{status}");
    assert!(status.contains("\"HEALTHY\""), "{status}");
    // Health checks of gRPC, by HTTP/2.
    let health = format!("https://localhost:{}", address.port());
    let health = ["health", "--address", &health, "--tls-ca", &files.text("ca.pem")];
    let probe = run(&health, &[]).await;
    assert_eq!((probe.code, probe.output.as_str()), (Some(0), "SERVING\n"), "{probe:?}");
    // Plaintext gets an alert (RFC 8446, 6) and no answer.
    let mut plain = TcpStream::connect(address).await.expect("a connection");
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("a request");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), plain.read_to_end(&mut answer)).await;
    read.expect("the connection is closed").expect("an alert");
    assert!(answer.first().is_none_or(|kind| *kind == 21), "{answer:?}");
    // It follows the files.
    let later = Authority::new("The authority after it");
    files.put_server(&later.sign(Purpose::Server, vec![dns("localhost")], (2020, 2090)));
    until("the new certificate is in force", SOON, async || {
        ask(address, &later, "/livez").await.is_ok_and(|answer| answer.ends_with("ok\n"))
    })
    .await;
    ask(address, &files.authority, "/livez").await.expect_err("the old certificate");
}

#[tokio::test]
async fn admin_tls_needs_a_certificate_and_an_address() {
    let files = TlsFiles::new();
    let database = format!("sqlite://{}?mode=rwc", files.text("books.db"));
    let shared = [
        ("DATABASE_URL", database.as_str()),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("ADMIN_TLS", "true"),
    ];
    let (cert, key) = (files.text("server.crt"), files.text("server.key"));
    let pair = [("TLS_CERT_FILE", cert.as_str()), ("TLS_KEY_FILE", key.as_str())];
    for (settings, needed) in [
        (&[("ADMIN_ADDR", "127.0.0.1:0")][..], "tls_cert_file and tls_key_file"),
        (&pair[..], "admin_addr"),
    ] {
        let ended = run(&["serve"], &[settings, &shared].concat()).await;
        assert_eq!(ended.code, Some(64), "{ended:?}");
        let wanted = format!(
            "admin_tls = \"true\" from the environment variable ADMIN_TLS: must come with {needed}"
        );
        assert!(ended.errors.contains(&wanted), "{ended:?}");
    }
}
