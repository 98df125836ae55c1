//! TLS on the port for calls, with clients of TLS alone and of gRPC.

mod admin;
mod reload;
mod secrets;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{
    Authority, Engine, Pair, Purpose, SOON, Stopwatch, TestServer, TlsFiles, dns, on_every_engine,
    run, until, uri,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Code;

use crate::{admin as operators, client};

on_every_engine!(
    calls_are_served_over_tls,
    client_certificate_that_is_not_valid_ends_the_handshake,
    other_protocols_and_versions_are_refused,
    files_that_do_not_fit_are_refused_at_the_start,
    silent_peers_keep_no_other_one_waiting_and_are_ended,
);

/// The connection preface of HTTP/2 with an empty SETTINGS frame (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The type of a SETTINGS frame.
const SETTINGS: u8 = 4;

/// What a client of TLS offers.
#[derive(Clone, Copy)]
struct Offer<'a> {
    versions: &'static [&'static SupportedProtocolVersion],
    protocols: &'a [&'a str],
    pair: Option<&'a Pair>,
}

const USUAL: Offer<'static> = Offer { versions: &[&TLS13], protocols: &["h2"], pair: None };

const OLD: Offer<'static> = Offer { versions: &[&TLS12], protocols: &["h2"], pair: None };

/// The TLS of a client that trusts the authority.
fn config(authority: &Authority, offer: Offer<'_>) -> Arc<ClientConfig> {
    config_with(&[authority], offer)
}

/// The TLS of a client that trusts several authorities.
fn config_with(authorities: &[&Authority], offer: Offer<'_>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let authority = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        roots.add(authority.expect("PEM")).expect("an authority");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(offer.versions)
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match offer.pair {
        None => config.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
            config.with_client_auth_cert(vec![chain.expect("PEM")], key).expect("a pair")
        }
    };
    config.alpn_protocols =
        offer.protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Connects with TLS.
async fn handshake(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config).connect(name, stream).await
}

/// Connects with TLS, and waits until the peer answers the preface with its SETTINGS. In TLS 1.3
/// the server's refusal comes after the client's handshake.
async fn open(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let open = async {
        let mut stream = handshake(address, config).await?;
        stream.write_all(PREFACE).await?;
        let mut header = [0; 9];
        stream.read_exact(&mut header).await?;
        match header[3] {
            SETTINGS => Ok(stream),
            other => Err(io::Error::other(format!("a frame of type {other}"))),
        }
    };
    timeout(SOON, open).await.expect("an answer or an end")
}

/// The same, and closes the connection.
async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<()> {
    open(address, config).await.map(|_| ())
}

/// How many handshakes have failed for a reason.
async fn failed(server: &TestServer, reason: &str) -> u64 {
    let (_, metrics) = operators::get(server.admin_address().await, "/metrics").await;
    let line = metrics.lines().find(|line| {
        line.starts_with("bookstore_tls_handshakes_failed_total{")
            && line.contains(&format!("reason=\"{reason}\""))
    });
    let count = line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
    count.unwrap_or_default()
}

/// A service with these files and an operators' port.
async fn start(engine: Engine, files: &TlsFiles, client: Option<&Pair>) -> TestServer {
    let server = TestServer::builder(engine).tls(files, client).env("ADMIN_ADDR", "127.0.0.1:0");
    server.env("LOG_LEVEL", "info,bookstore_server::listener=debug").start().await
}

async fn calls_are_served_over_tls(engine: Engine) {
    let files = TlsFiles::new();
    let server = start(engine, &files, None).await;
    list(&server).await;
    // The program's own client.
    let address = format!("https://localhost:{}", server.address().port());
    let ca = files.text("ca.pem");
    let health = ["health", "--address", &address, "--timeout", "60s"];
    let probe = run(&[&health[..], &["--tls-ca", &ca]].concat(), &[]).await;
    assert_eq!((probe.code, probe.output.as_str()), (Some(0), "SERVING\n"), "{probe:?}");
    let probe = run(&health, &[("BOOKSTORE_TLS_CA", &ca)]).await;
    assert_eq!(probe.code, Some(0), "{probe:?}");
    let probe = run(&health, &[]).await;
    assert_eq!(probe.code, Some(2), "the well-known authorities don't know it: {probe:?}");
    assert!(probe.errors.contains("UnknownIssuer"), "{probe:?}");
    let plain = address.replace("https", "http");
    let probe = run(&["health", "--address", &plain, "--tls-ca", &ca], &[]).await;
    assert_eq!(probe.code, Some(1), "{probe:?}");
    assert!(probe.errors.contains("doesn't begin with https://"), "{probe:?}");
    let out = files.text("books.csv");
    let export = ["export", "--server", &address, "--tls-ca", &ca, &out];
    let exported = run(&export, &[]).await;
    assert_eq!(exported.code, Some(0), "{exported:?}");
}

async fn client_certificate_that_is_not_valid_ends_the_handshake(engine: Engine) {
    let files = TlsFiles::new().client_auth("required").revocation_list();
    let ours = files.authority.client("spiffe://example.org/web");
    let server = start(engine, &files, Some(&ours)).await;
    let name = || vec![uri("spiffe://example.org/web")];
    let stranger = Authority::new("Another authority").client("spiffe://example.org/web");
    let expired = files.authority.sign(Purpose::Client, name(), (2019, 2020));
    let early = files.authority.sign(Purpose::Client, name(), (2098, 2099));
    let wrong_use = files.authority.sign(Purpose::Server, name(), (2020, 2099));
    let revoked = files.authority.client("spiffe://example.org/web");
    let with_one = files.authority.revoke(&[revoked.serial], Duration::from_hours(1));
    files.write("crl.pem", &with_one);
    server.logs().wait_for(|line| line.contains("files have changed and are in force")).await;
    let calls = async || {
        let (_, metrics) = operators::get(server.admin_address().await, "/metrics").await;
        metrics.lines().filter(|line| line.starts_with("rpc_server_call_duration")).count()
    };
    let before = calls().await;
    for (pair, reason) in [
        (None, "certificate_missing"),
        (Some(&stranger), "certificate_unknown_issuer"),
        (Some(&expired), "certificate_expired"),
        (Some(&early), "certificate_not_yet_valid"),
        (Some(&wrong_use), "certificate_purpose"),
        (Some(&revoked), "certificate_revoked"),
    ] {
        let offer = Offer { pair, ..USUAL };
        let refused = connect(server.address(), config(&files.authority, offer)).await;
        assert!(refused.is_err(), "{reason}: it is served");
        until(reason, SOON, async || failed(&server, reason).await == 1).await;
        let line = server.logs().wait_for(|line| line.contains(reason)).await;
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["target"], "audit", "{line}");
        assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
    }
    assert_eq!(calls().await, before, "a layer was reached");
    let offer = Offer { pair: Some(&ours), ..USUAL };
    connect(server.address(), config(&files.authority, offer)).await.expect("a good certificate");
    list(&server).await;
    // An expired list refuses everyone.
    files.write("crl.pem", &files.authority.revoke(&[], Duration::ZERO));
    until("the expired list is in force", SOON, async || {
        let refused = connect(server.address(), config(&files.authority, offer)).await;
        refused.is_err() && failed(&server, "revocation_list_expired").await > 0
    })
    .await;
}

async fn other_protocols_and_versions_are_refused(engine: Engine) {
    let files = TlsFiles::new();
    let server = start(engine, &files, None).await;
    let address = server.address();
    let offer = |offer| config(&files.authority, offer);
    connect(address, offer(USUAL)).await.expect("HTTP/2 over TLS 1.3");
    // Clients from before ALPN.
    connect(address, offer(Offer { protocols: &[], ..USUAL })).await.expect("no ALPN at all");
    let refused = connect(address, offer(OLD)).await.expect_err("TLS 1.2 is served");
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    let refused = connect(address, offer(Offer { protocols: &["http/1.1"], ..USUAL })).await;
    let refused = refused.expect_err("HTTP/1.1 is served");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    // A client in plaintext, which reads an alert.
    let mut plain = TcpStream::connect(address).await.expect("a connection");
    plain.write_all(PREFACE).await.expect("a preface");
    let mut answer = Vec::new();
    let ended = timeout(SOON, plain.read_to_end(&mut answer)).await.expect("an end");
    assert!(ended.is_err() || answer.first() == Some(&21), "no alert: {answer:?}");
    for reason in ["version", "alpn", "protocol"] {
        until(reason, SOON, async || failed(&server, reason).await == 1).await;
    }
    list(&server).await;

    let lenient = TestServer::builder(engine).tls(&files, None).env("TLS_MIN_VERSION", "1.2");
    let lenient = lenient.start().await;
    connect(lenient.address(), offer(OLD)).await.expect("TLS 1.2");
    connect(lenient.address(), offer(USUAL)).await.expect("TLS 1.3");

    let plain = TestServer::start(engine).await;
    let refused = connect(plain.address(), offer(USUAL)).await;
    assert!(refused.is_err(), "TLS on a port without TLS");
}

async fn files_that_do_not_fit_are_refused_at_the_start(engine: Engine) {
    let files = TlsFiles::new().client_auth("required");
    let database = TestServer::start(engine).await.database();
    let other = Authority::new("Another authority").server();
    let expired = files.authority.sign(Purpose::Server, vec![dns("localhost")], (2019, 2020));
    let (cert, key) = (files.text("server.crt"), files.text("server.key"));
    for (name, content, part) in [
        ("server.key", other.key.as_str(), "server.key is not the key of the certificate in"),
        ("server.key", "", "server.key holds no private key"),
        ("server.key", &other.certificate, "server.key holds no private key"),
        ("server.crt", "", "server.crt holds no certificate"),
        ("server.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n", "server.crt is no PEM"),
        ("server.crt", &expired.certificate, "the certificate has expired at 2020-01-01T00:00:00Z"),
        ("ca.pem", "", "ca.pem holds no certificate"),
    ] {
        let kept = std::fs::read_to_string(files.path(name)).expect("a file");
        files.write(name, content);
        let mut settings: Vec<(&str, String)> = files.settings();
        settings.push(("DATABASE_URL", database.url()));
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = run(&["serve", "--listen-addr", "127.0.0.1:0"], &settings).await;
        assert_eq!(refused.code, Some(64), "{part}: {refused:?}");
        assert!(refused.errors.contains(part), "{part}: {}", refused.errors);
        files.write(name, &kept);
    }
    for (settings, part) in [
        (vec![("TLS_CERT_FILE", &*cert)], "tls_cert_file"),
        (vec![("TLS_KEY_FILE", &*key)], "must come with tls_cert_file"),
        (vec![("TLS_CLIENT_CA_FILE", &*cert)], "must come with tls_cert_file and tls_key_file"),
        (vec![("TLS_CLIENT_CRL_FILE", &*cert)], "must come with tls_client_ca_file"),
    ] {
        let refused = run(&["serve"], &settings).await;
        assert_eq!(refused.code, Some(64), "{refused:?}");
        assert!(refused.errors.contains(part), "{refused:?}");
    }
}

/// Peers that say nothing, and peers that stop in the middle of a handshake.
async fn silent_peers_keep_no_other_one_waiting_and_are_ended(engine: Engine) {
    let files = TlsFiles::new();
    let server = start(engine, &files, None).await;
    let mut silent = Vec::new();
    for at in 0..100 {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        if at % 2 == 0 {
            let name = ServerName::try_from("localhost").expect("a name");
            let config = config(&files.authority, USUAL);
            let mut hello = rustls::ClientConnection::new(config, name).expect("a client");
            let mut bytes = Vec::new();
            hello.write_tls(&mut bytes).expect("a ClientHello");
            stream.write_all(&bytes).await.expect("a ClientHello");
        }
        silent.push(stream);
    }
    let watch = Stopwatch::start();
    connect(server.address(), config(&files.authority, USUAL)).await.expect("a connection");
    let took = watch.stop();
    assert!(took.at_most(Duration::from_secs(2)), "it waited for others: {took:?}");
    for stream in &mut silent {
        let mut rest = Vec::new();
        let ended = timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a silent peer is not ended");
    }
    until("each is counted", SOON, async || failed(&server, "timeout").await == 100).await;
}

/// Makes a call that succeeds.
async fn list(server: &TestServer) {
    let request = ListBooksRequest::default();
    client::books(server).list_books(request).await.expect("a list");
}

/// A call of a connection that the server has ended.
fn is_ended(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
}
