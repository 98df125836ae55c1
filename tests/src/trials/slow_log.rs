//! Readers of the log that stop, are slow and are gone: calls, health, deadlines and the stop do not
//! depend on them. What found no room is counted.

use std::{
    io::{PipeReader, Read},
    process::Stdio,
    time::{Duration, Instant},
};

use bookstore_proto::v1::{ListBooksRequest, book_service_client::BookServiceClient};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, kill_process},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{SOON, postgres::cluster, program::command, raw, until};

/// The timeout of each call, far above what one takes.
const CALL: Duration = Duration::from_secs(10);

/// A service whose standard error is the other end of a pipe.
struct Service {
    process: Child,
    address: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

/// Makes `scale` calls while the reader is stopped; then reads slowly, and closes the pipe.
pub(super) async fn slow_log(scale: u32) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut service = Service::start(writer.into()).await;
    service.call(scale).await;
    until("dropped lines are counted", SOON, async || service.dropped().await > 0.0).await;

    // A slow reader: the first bytes were kept, and the last line tells what is missing.
    let reads = tokio::task::spawn_blocking(move || read_slowly(reader));
    until("the log says what was dropped", SOON, async || {
        // A line, for the thread to write and to see that there is room.
        service.call(1).await;
        reads.is_finished()
    })
    .await;
    let (text, reader) = reads.await.expect("no panic");
    for line in text.lines() {
        let line = serde_json::from_str::<serde_json::Value>(line);
        assert!(line.is_ok(), "a torn line: {line:?}");
    }
    // The reader leaves. Nothing ends.
    drop(reader);
    service.call(100).await;
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        service.signal(signal);
        service.call(10).await;
    }
    service.stop().await;

    // The pipe is full from the start to the end, since nothing reads it.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fill(&writer);
    let mut service = Service::start(writer.into()).await;
    service.call(100).await;
    service.stop().await;
    drop(reader);
}

/// The part of the line about dropped ones.
const DROPPED: &[u8] = b"found no room and were dropped";

/// Reads until a line tells of dropped ones.
///
/// # Panics
/// If the log ends before.
fn read_slowly(mut reader: PipeReader) -> (String, PipeReader) {
    let (mut bytes, mut part) = (Vec::new(), vec![0; 256 << 10]);
    let mut is_found = false;
    loop {
        let count = reader.read(&mut part).expect("bytes of the log");
        assert!(count > 0, "the service closed the log");
        // What was searched before may end within the part that is sought.
        let new = bytes.len().saturating_sub(DROPPED.len());
        bytes.extend_from_slice(&part[..count]);
        is_found |= bytes[new..].windows(DROPPED.len()).any(|window| window == DROPPED);
        if is_found && bytes.ends_with(b"\n") {
            return (String::from_utf8_lossy(&bytes).into_owned(), reader);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes to a pipe until it has no room.
fn fill(writer: &std::io::PipeWriter) {
    let flags = fcntl_getfl(writer).expect("flags");
    fcntl_setfl(writer, flags | OFlags::NONBLOCK).expect("flags");
    while rustix::io::write(writer, &[b'\n'; 512]).is_ok() {}
    while rustix::io::write(writer, b"\n").is_ok() {}
    fcntl_setfl(writer, flags).expect("flags");
}

impl Service {
    async fn start(errors: Stdio) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}/b.db?mode=rwc", folder.path().display());
        // The admin address can't be read from a log that is blocked, so the test chooses it.
        let port = cluster::free_ports().next().expect("a free port");
        let admin = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::from(command(&["serve", "--listen-addr", "127.0.0.1:0"]));
        command.env("DATABASE_URL", url).env("ADMIN_ADDR", admin.to_string());
        command
            .env("SHUTDOWN_PAUSE", "0s")
            .env("LOG_LEVEL", "trace")
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut process = command.kill_on_drop(true).spawn().expect("the program");
        let output = process.stdout.take().expect("a piped output");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line).await;
        read.expect("a line");
        let address = line.trim().strip_prefix("LISTENING ").expect("the address");
        let address = address.parse().expect("an address");
        let service = Self { process, address, admin, _folder: folder };
        until("the service is ready", SOON, async || service.is_serving("ready").await).await;
        service
    }

    async fn is_serving(&self, name: &str) -> bool {
        let request = HealthCheckRequest { service: name.to_owned() };
        let mut health = HealthClient::new(raw(self.address).await);
        let answer = tokio::time::timeout(CALL, health.check(request)).await;
        let answer = answer.expect("an answer in time").expect("an answer");
        answer.into_inner().status()
            == tonic_health::pb::health_check_response::ServingStatus::Serving
    }

    /// Makes calls, each of which logs some kilobytes.
    async fn call(&self, calls: u32) {
        let mut books = BookServiceClient::new(raw(self.address).await);
        for _ in 0..calls {
            let list = books.list_books(ListBooksRequest::default());
            let answer = tokio::time::timeout(CALL, list).await;
            answer.expect("an answer in time").expect("a list");
        }
        assert!(self.is_serving("live").await);
    }

    /// The metric of dropped lines.
    async fn dropped(&self) -> f64 {
        let mut stream = TcpStream::connect(self.admin).await.expect("the admin address");
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("metrics");
        let line = text.lines().find(|line| line.starts_with("bookstore_log_lines_dropped_total"));
        let value = line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value);
        value.expect("the metric").parse().expect("a number")
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("a running process"), signal).expect("a signal");
    }

    async fn stop(&mut self) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(SOON, self.process.wait()).await;
        let status = status.expect("an end in time").expect("an exit status");
        assert_eq!(status.code(), Some(0));
        eprintln!("it stopped in {:?}", began.elapsed());
    }
}
