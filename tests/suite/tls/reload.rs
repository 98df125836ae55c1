//! Certificates, authorities and revocation lists that are replaced while the service runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bookstore_proto::v1::ListBooksRequest;
use bookstore_tests::{Authority, Engine, Purpose, SOON, TestServer, TlsFiles, dns, until};
use rustls::HandshakeKind;
use tokio::io::AsyncReadExt as _;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{Offer, USUAL, config, config_with, connect, failed, is_ended, list, open, start};
use crate::{admin, client};

bookstore_tests::on_every_engine!(
    certificate_is_replaced_whole_and_no_stream_ends,
    connections_of_refused_certificates_are_ended,
    certificate_that_has_expired_ends_its_connection_and_is_not_resumed,
);

/// Ends the tasks of a test when it is over, also if it has failed.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// When the certificate in force expires, as the metric says.
async fn expiry(server: &TestServer) -> f64 {
    let (_, metrics) = admin::get(server.admin_address().await, "/metrics").await;
    let line = metrics.lines().find(|line| {
        line.starts_with("bookstore_tls_certificate_expiry_seconds{")
            && line.contains("file=\"tls_cert_file\"")
    });
    let value = line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
    value.unwrap_or_else(|| panic!("no expiry in {metrics}"))
}

/// The lines of the log about files that can't be used.
fn errors(server: &TestServer) -> Vec<String> {
    let lines = server.logs().so_far().into_iter();
    lines.filter(|line| line.contains("files have changed and can't be used")).collect()
}

async fn certificate_is_replaced_whole_and_no_stream_ends(engine: Engine) {
    let files = TlsFiles::new();
    let server = start(engine, &files, None).await;
    let request = HealthCheckRequest { service: "ready".to_owned() };
    let watch = HealthClient::new(server.channel()).watch(request).await.expect("a watch");
    let mut watch = watch.into_inner();
    watch.message().await.expect("a state").expect("the first state");
    // 2099-01-01.
    assert!((expiry(&server).await - 4_070_908_800.0).abs() < 1.0);

    let other = Authority::new("The authority after it");
    let names = || vec![dns("localhost")];
    let newer = other.sign(Purpose::Server, names(), (2020, 2090));
    let expired = other.sign(Purpose::Server, names(), (2019, 2020));
    let cut = &newer.certificate[..newer.certificate.len() / 2];
    // Callers that trust both authorities see nothing of all that: those with a connection, and
    // those that make one for each call.
    let over = CancelOnDrop::default();
    let both = config_with(&[&files.authority, &other], USUAL);
    let (address, is_over) = (server.address(), over.0.clone());
    let connecting = tokio::spawn(async move {
        let mut made = 0_u32;
        while !is_over.load(Ordering::Relaxed) {
            connect(address, both.clone()).await.expect("a connection");
            made += 1;
        }
        made
    });
    let (mut books, is_over) = (client::books(&server), over.0.clone());
    let calling = tokio::spawn(async move {
        let mut made = 0_u32;
        while !is_over.load(Ordering::Relaxed) {
            books.list_books(ListBooksRequest::default()).await.expect("a list");
            made += 1;
        }
        made
    });
    let refused_files = [
        // Half of a replacement: the new certificate with the old key.
        (newer.certificate.as_str(), None, "is not the key of the certificate in"),
        (cut, None, "server.crt is no PEM: a section has no end"),
        (&expired.certificate, Some(expired.key.as_str()), "the certificate has expired at"),
    ];
    for (certificate, key, part) in refused_files {
        if let Some(key) = key {
            files.write("server.key", key);
        }
        files.write("server.crt", certificate);
        server.logs().wait_for(|line| line.contains(part)).await;
        // Several intervals later it is still reported once.
        let (address, trusted) = (server.address(), config(&files.authority, USUAL));
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            connect(address, trusted.clone()).await.expect("the old certificate is in force");
        }
        let reported = errors(&server).iter().filter(|line| line.contains(part)).count();
        assert_eq!(reported, 1, "{part}");
        assert!((expiry(&server).await - 4_070_908_800.0).abs() < 1.0, "{part}");
    }
    let watch_time = bookstore_tests::Stopwatch::start();
    files.put_server(&newer);
    until("the new certificate is in force", SOON, async || {
        connect(server.address(), config(&other, USUAL)).await.is_ok()
    })
    .await;
    // Twice the interval.
    let took = watch_time.stop();
    assert!(took.at_most(Duration::from_millis(400)), "{took:?}");
    connect(server.address(), config(&files.authority, USUAL)).await.expect_err("the old one");
    // 2090-01-01.
    assert!((expiry(&server).await - 3_786_912_000.0).abs() < 1.0);
    over.0.store(true, Ordering::Relaxed);
    assert!(connecting.await.expect("no connection is lost") > 0);
    assert!(calling.await.expect("no call is lost") > 0);
    // The stream and its connection are served on.
    let silent = tokio::time::timeout(Duration::from_millis(100), watch.message()).await;
    assert!(silent.is_err(), "the stream has ended: {silent:?}");
    list(&server).await;
}

async fn connections_of_refused_certificates_are_ended(engine: Engine) {
    let files = TlsFiles::new().client_auth("optional").revocation_list();
    let web = files.authority.client("spiffe://example.org/web");
    let mobile = files.authority.client("spiffe://example.org/mobile");
    let server = start(engine, &files, Some(&web)).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{}", server.address()));
    let endpoint = endpoint.expect("an address").tls_config(files.client(Some(&mobile)));
    let other = endpoint.expect("a configuration").connect().await.expect("a connection");
    let watch = async |channel| {
        let request = HealthCheckRequest { service: "ready".to_owned() };
        let watch = HealthClient::new(channel).watch(request).await.expect("a watch");
        let mut watch = watch.into_inner();
        watch.message().await.expect("a state").expect("the first state");
        watch
    };
    let (mut of_web, mut of_mobile) = (watch(server.channel()).await, watch(other.clone()).await);
    files.write("crl.pem", &files.authority.revoke(&[web.serial], Duration::from_hours(1)));
    // GOAWAY: the watch ends, and a new connection is refused.
    let ended = tokio::time::timeout(SOON, of_web.message()).await.expect("an end");
    assert!(matches!(ended, Ok(None)) || ended.is_err_and(|status| is_ended(&status)));
    server.logs().wait_for(|line| line.contains("certificate is no longer accepted")).await;
    let mut books = client::books(&server);
    let refused = books.list_books(ListBooksRequest::default()).await.expect_err("a list");
    assert!(is_ended(&refused), "{refused:?}");
    until("the refusal is counted", SOON, async || {
        failed(&server, "certificate_revoked").await > 0
    })
    .await;
    // The other one's connection is the same.
    let silent = tokio::time::timeout(Duration::from_millis(100), of_mobile.message()).await;
    assert!(silent.is_err(), "the other stream has ended: {silent:?}");
    let offer = Offer { pair: Some(&mobile), ..USUAL };
    connect(server.address(), config(&files.authority, offer)).await.expect("not revoked");
    // An authority that is replaced refuses the certificates of the one before.
    let later = Authority::new("The authority after it");
    files.write("ca.pem", &later.pem());
    files.write("crl.pem", &later.revoke(&[], Duration::from_hours(1)));
    let ended = tokio::time::timeout(SOON, of_mobile.message()).await.expect("an end");
    assert!(matches!(ended, Ok(None)) || ended.is_err_and(|status| is_ended(&status)));
}

async fn certificate_that_has_expired_ends_its_connection_and_is_not_resumed(engine: Engine) {
    let files = TlsFiles::new().client_auth("required");
    let ours = files.authority.client("spiffe://example.org/web");
    let server = start(engine, &files, Some(&ours)).await;
    let left = Duration::from_secs(4);
    let short = files.authority.short_lived_client("spiffe://example.org/batch", left);
    let client = config(&files.authority, Offer { pair: Some(&short), ..USUAL });
    // The sessions of the first connection are resumed by the second one.
    let mut first = open(server.address(), client.clone()).await.expect("a valid certificate");
    let second = open(server.address(), client.clone()).await.expect("a valid certificate");
    assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    let begun = bookstore_tests::Stopwatch::start();
    let mut rest = Vec::new();
    // GOAWAY, and the end, since there is no call.
    let ended = tokio::time::timeout(SOON, first.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it is still open after {:?}", begun.stop());
    server.logs().wait_for(|line| line.contains("certificate is no longer accepted")).await;
    let refused = open(server.address(), client).await.map(|_| ());
    assert!(refused.is_err(), "an expired certificate is resumed");
    until("the refusal is counted", SOON, async || {
        failed(&server, "certificate_expired").await == 1
    })
    .await;
}
