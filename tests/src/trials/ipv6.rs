//! IPv6 alone: two nodes of PostgreSQL and the service listen on ::1 and nowhere else.

use std::{net::TcpListener, path::PathBuf};

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, book_service_client::BookServiceClient,
};
use tonic::Request;

use crate::{Engine, Replicated, SOON, TestServer, run, until};

/// Makes `scale` calls. On a machine without IPv6 it says so and passes.
pub(super) async fn ipv6(scale: u32) {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let mut cluster = Replicated::start(1).await;
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    for node in 0..2 {
        cluster.stop(node).await;
        for file in ["v3.crt", "v3.key"] {
            let text = std::fs::read_to_string(fixtures.join(file)).expect("a fixture");
            cluster.write_private(node, file, &text);
        }
    }
    let conninfo = format!("primary_conninfo=host=::1 port={} user=postgres", cluster.port(0));
    let tls = ["listen_addresses=::1", "ssl=on", "ssl_cert_file=v3.crt", "ssl_key_file=v3.key"];
    cluster.restart_with(0, &tls).await;
    cluster.restart_with(1, &[&tls[..], &[&conninfo]].concat()).await;
    until("the replica streams over IPv6", SOON, async || {
        let streams = "SELECT count(*) FROM pg_stat_replication WHERE client_addr = '::1'";
        cluster.value(0, streams).await == "1"
    })
    .await;

    let (primary, replica) = (cluster.port(0), cluster.port(1));
    let root = fixtures.join("root.crt").display().to_string();
    for more in ["".to_owned(), format!("?sslmode=verify-full&sslrootcert={root}")] {
        let url =
            format!("postgres://bookstore_app@[::1]:{primary},[::1]:{replica}/bookstore{more}");
        let finished = run(&["topology"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
        for (port, role) in [(primary, "primary"), (replica, "replica")] {
            let name = format!("[::1]:{port}");
            let line = finished.output.lines().find(|line| line.starts_with(&name));
            assert!(line.is_some_and(|line| line.contains(role)), "{}", finished.output);
        }
    }
    // A list with a host of the other family, at which nothing listens.
    let url = format!(
        "postgres:///bookstore?host=127.0.0.1,::1&port={primary},{primary}&user=bookstore_owner"
    );
    let finished = run(&["migrate", "status"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");

    let url = format!("postgres://bookstore_app@[::1]:{primary},[::1]:{replica}/bookstore");
    let server = TestServer::builder(Engine::Postgres).url(&url).listen("[::1]:0").start().await;
    assert!(server.address().is_ipv6(), "{}", server.address());
    let books = BookServiceClient::new(server.channel());
    for number in 0..scale / 2 {
        let mut books = books.clone();
        let id = format!("0195a000-0000-4000-8000-{number:012}");
        let price = Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 });
        let (title, author) = (format!("Book {number}"), "Author".to_owned());
        let book = Some(Book { title, author, price, ..Default::default() });
        let create = CreateBookRequest { id: id.clone(), book };
        books.create_book(create).await.expect("a book");
        let get = GetBookRequest { id, ..Default::default() };
        books.get_book(get).await.expect("the book of this session");
    }
    until("the replica answers reads", SOON, async || {
        let mut read = Request::new(GetBookRequest {
            id: "0195a000-0000-4000-8000-000000000000".to_owned(),
            ..Default::default()
        });
        read.metadata_mut().insert("consistency", "eventual".parse().expect("ASCII"));
        let read = books.clone().get_book(read).await;
        read.is_ok_and(|read| read.metadata().get("served-by").is_some_and(|by| by == "replica"))
    })
    .await;
}
