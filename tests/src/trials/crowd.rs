//! Hostile and idle peers: many connections that are silent, send nonsense, or don't read their
//! answers. Other calls are served all the while, in bounded memory.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bookstore_proto::v1::{
    Book, CreateBookRequest, ExportBooksRequest, ListBooksRequest, Money,
    book_service_client::BookServiceClient,
    book_transfer_service_client::BookTransferServiceClient,
};
use rand::RngCore;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{Engine, Stopwatch, TestServer, raw};

/// The bound of the service's memory: a base, and a share for each connection.
const MEMORY: u64 = 160 << 20;
const MEMORY_EACH: u64 = 40 << 10;

/// The limit for another caller's answer.
const LATENCY: Duration = Duration::from_secs(3);

/// The number of callers that request large answers and read nothing.
const SLOW: usize = 30;

/// Opens `scale` connections.
pub(super) async fn crowd(scale: u32) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the most files");
    let server = TestServer::builder(Engine::Sqlite).env("LOG_LEVEL", "info").start().await;
    let address = server.address();
    let mut books = BookServiceClient::new(server.channel());
    for number in 0..100 {
        books.create_book(create(number)).await.expect("a book");
    }
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut exports = BookTransferServiceClient::new(raw(address).await);
        let export = exports.export_books(ExportBooksRequest::default()).await;
        slow.push(export.expect("an export").into_inner());
    }
    let (mut worst, watch) = (Duration::ZERO, Stopwatch::start());
    let mut held = Vec::new();
    for number in 0..scale {
        held.push(connect(address, number).await);
        if number % 50 == 0 {
            worst = worst.max(served(&mut books).await);
        }
    }
    worst = worst.max(served(&mut books).await);
    drop((held, slow));
    for _ in 0..20 {
        worst = worst.max(served(&mut books).await);
    }
    let (took, limit) = (watch.stop(), LATENCY);
    assert!(worst <= limit.mul_f64(took.stretch()), "another caller waited {worst:?}: {took:?}");
    if let Some(peak) = server.peak_memory() {
        let most = MEMORY + u64::from(scale) * MEMORY_EACH;
        assert!(peak < most, "{peak} bytes, at most {most}");
        eprintln!("{scale} connections: {} MiB at most, {worst:?} for others", peak >> 20);
    }
    let panicked = |line: &String| line.contains("panicked") || line.contains("a panic");
    assert!(!server.logs().so_far().iter().any(panicked), "a call panicked");
}

/// A connection that sends nothing, nonsense, or a preface and then nonsense.
async fn connect(address: SocketAddr, number: u32) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut nonsense = [0; 200];
    rand::rng().fill_bytes(&mut nonsense);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // The service may close the connection meanwhile, which is right.
    let _ = match number % 4 {
        0 => Ok(()),
        1 => stream.write_all(&nonsense).await,
        2 => stream.write_all(preface).await,
        _ => stream.write_all(&[preface.as_slice(), &nonsense].concat()).await,
    };
    stream
}

async fn served(books: &mut BookServiceClient<tonic::transport::Channel>) -> Duration {
    let began = Instant::now();
    let list = ListBooksRequest { page_size: 1, ..Default::default() };
    books.list_books(list).await.expect("a list");
    began.elapsed()
}

fn create(number: u32) -> CreateBookRequest {
    CreateBookRequest {
        id: format!("0195a000-0000-4000-8000-{number:012}"),
        book: Some(Book {
            title: format!("Book {number}"),
            author: "Author".to_owned(),
            description: Some("x".repeat(10_000)),
            price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
            ..Default::default()
        }),
    }
}
