//! Requests that are refused before they have come whole, written frame by frame: no client's
//! library sends the rest of a request whose answer is there.

use bookstore_tests::{AccessFiles, Engine, TestServer, on_every_engine, policy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

on_every_engine!(refusals_do_not_end_their_connection);

/// More than the transport takes for a violation of its protocol.
const CALLS: u32 = 1_200;
/// Calls at a time, fewer than a connection may have.
const BATCH: u32 = 50;

/// Types and flags of frames (RFC 9113, 6. Frame Definitions).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A client's end of HTTP/2.
struct Frames(TcpStream);

impl Frames {
    async fn open(server: &TestServer) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        stream.set_nodelay(true).expect("a connection without delay");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        stream.write_all(preface).await.expect("a preface");
        Self(stream)
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.expect("an open connection");
    }

    /// The next frame: its type, flags, stream and payload.
    async fn next(&mut self) -> (u8, u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.expect("a frame");
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.expect("its payload");
        (kind, flags, u32::from_be_bytes(stream), payload)
    }

    /// The next frame of this type. Those that end a stream or the connection may not come before.
    async fn until(&mut self, wanted: u8) -> (u8, u32) {
        loop {
            let (kind, flags, stream, payload) = self.next().await;
            if kind == wanted {
                return (flags, stream);
            }
            let payload = String::from_utf8_lossy(&payload);
            assert!(![RST_STREAM, GOAWAY].contains(&kind), "type {kind} of {stream}: {payload}");
        }
    }
}

/// The headers of a request, none of them in a table (RFC 7541, 6.2.2).
fn headers(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[length], text.as_bytes()].concat()
    };
    // `:method: POST` and `:scheme: http` by their numbers, then `:path` and `:authority`.
    let mut block = vec![0x83, 0x86, 0x04];
    block.extend(text(path));
    block.push(0x01);
    block.extend(text("localhost"));
    for (name, value) in
        [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(more)
    {
        block.push(0);
        block.extend(text(name));
        block.extend(text(value));
    }
    block
}

/// Each rest of a request comes after its answer. All of them are taken, without a reset.
async fn refusals_do_not_end_their_connection(engine: Engine) {
    let files = AccessFiles::new(&policy(|_| "member".to_owned(), ""));
    let server = files.apply(TestServer::builder(engine)).start().await;
    let list = "/bookstore.v1.CategoryService/ListCategories";
    let kinds = [
        ("without credentials", headers(list, &[])),
        ("with wrong credentials", headers(list, &[("authorization", "Bearer wrong")])),
        ("with wrong metadata", headers(list, &[("request-id", "a b")])),
    ];
    for (kind, headers) in kinds {
        let mut connection = Frames::open(&server).await;
        for batch in 0..CALLS / BATCH {
            let streams = (batch * BATCH..(batch + 1) * BATCH).map(|call| 2 * call + 1);
            for stream in streams.clone() {
                connection.send(HEADERS, END_HEADERS, stream, &headers).await;
            }
            for _ in streams.clone() {
                let (flags, _) = connection.until(HEADERS).await;
                assert_ne!(flags & END_STREAM, 0, "the answer is whole: {kind}");
            }
            for stream in streams {
                connection.send(DATA, END_STREAM, stream, &[0; 5]).await;
            }
        }
        // Answered behind all that came before.
        connection.send(PING, 0, 0, &[7; 8]).await;
        while connection.until(PING).await.0 & ACK == 0 {}
    }
}
