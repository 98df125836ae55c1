//! Callers that read the same rows all the time, so that the reads of a trial share statements.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bookstore_proto::v1::{GetBookRequest, book_service_client::BookServiceClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tonic::{Code, Request};

use crate::TestServer;

/// Concurrent callers. Two statements of a kind run at a time, so most of them wait for the next.
const READERS: usize = 24;

/// The setting that opens the address with the metrics.
pub(super) const ADMIN: (&str, &str) = ("ADMIN_ADDR", "127.0.0.1:0");

/// The setting of the log that shows this address and no calls.
pub(super) const LOG: (&str, &str) = ("LOG_LEVEL", "warn,bookstore_server::app=info");

/// Callers that read books of these ids.
pub(super) struct Readers {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts them. Each read may be answered by any node. A book that doesn't exist is an answer
    /// too; any other failure ends its caller, as the end of the service does.
    pub(super) fn start(server: &TestServer, ids: &[String]) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let reader = |number: usize| {
            let (channel, stop, answers) = (server.channel(), stop.clone(), answers.clone());
            let id = ids[number % ids.len()].clone();
            tokio::spawn(async move {
                let mut books = BookServiceClient::new(channel);
                while !stop.load(Ordering::Relaxed) {
                    let mut request =
                        Request::new(GetBookRequest { id: id.clone(), ..Default::default() });
                    let eventual = "eventual".parse().expect("ASCII");
                    request.metadata_mut().insert("consistency", eventual);
                    match books.get_book(request).await {
                        Ok(book) => assert_eq!(book.get_ref().id, id, "another caller's book"),
                        Err(status) if status.code() == Code::NotFound => {}
                        Err(_) => return,
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let tasks = (0..READERS).map(reader).collect();
        Self { stop, answers, tasks }
    }

    /// Stops them. Returns how many reads were answered.
    pub(super) async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic of a reader");
        }
        self.answers.load(Ordering::Relaxed)
    }
}

/// The reads that a replica has answered, by the service's metrics.
pub(super) async fn reads_of_replica(server: &TestServer, node: &str) -> u64 {
    let text = metrics(server).await;
    let of_node = |line: &&str| {
        line.starts_with("bookstore_reads_routed_total{")
            && line.contains(&format!("node=\"{node}\""))
            && line.contains("reason=\"replica\"")
    };
    let value = text.lines().find(of_node).and_then(|line| line.rsplit_once(' '));
    value.map_or(0, |(_, value)| value.parse().expect("a count"))
}

async fn metrics(server: &TestServer) -> String {
    let mut stream = TcpStream::connect(server.admin_address().await).await.expect("metrics");
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("metrics");
    text
}

/// Reads that shared statements, and the statements.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shared {
    reads: u64,
    statements: u64,
}

impl Shared {
    /// Those of a service since its start, by its metrics.
    pub(super) async fn count(server: &TestServer) -> Self {
        let text = metrics(server).await;
        let value = |name: &str| {
            // Nothing is shown before the first one.
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value);
            value.map_or(0, |value| value.parse().expect("a count"))
        };
        Self {
            reads: value("bookstore_reads_coalesced_total"),
            statements: value("bookstore_reads_batches_total"),
        }
    }

    /// The sum of both.
    pub(super) fn and(self, other: Self) -> Self {
        let statements = self.statements + other.statements;
        Self { reads: self.reads + other.reads, statements }
    }

    /// Prints them.
    ///
    /// # Panics
    /// If no read shared a statement, so that the trial says nothing about such reads.
    pub(super) fn report(self, trial: &str) {
        let Self { reads, statements } = self;
        eprintln!("{trial}: {reads} reads shared {statements} statements");
        assert!(reads > 0, "no read shared a statement");
    }
}
