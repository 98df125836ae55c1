//! HTTP/2 written and read frame by frame (RFC 9113, 6. Frame Definitions), for what no client's
//! library does.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The type of frames that carry messages.
pub const DATA: u8 = 0;
/// The type of frames that begin a request or an answer, or end an answer.
pub const HEADERS: u8 = 1;
/// The type of frames that cancel a stream.
pub const RST_STREAM: u8 = 3;
/// The type of frames that the peer answers.
pub const PING: u8 = 6;
/// The type of frames that end a connection.
pub const GOAWAY: u8 = 7;
/// The flag of the last frame of a request or an answer.
pub const END_STREAM: u8 = 1;
/// The flag of HEADERS that are whole.
pub const END_HEADERS: u8 = 4;
/// The flag of the answer to a PING.
pub const ACK: u8 = 1;

/// A frame that was received.
#[derive(Clone, Debug)]
pub struct ReceivedFrame {
    /// What it is, such as [`DATA`].
    pub kind: u8,
    /// Its flags, such as [`END_STREAM`].
    pub flags: u8,
    /// The number of its stream; 0 for the connection's own.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// A client's end of a connection.
#[derive(Debug)]
pub struct Frames(TcpStream);

impl Frames {
    /// Opens a connection and sends the preface.
    ///
    /// # Panics
    /// If the port is closed.
    pub async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a connection without delay");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        stream.write_all(preface).await.expect("a preface");
        Self(stream)
    }

    /// Sends frames, as in [`frame`], at once.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn send(&mut self, frames: &[Vec<u8>]) {
        self.0.write_all(&frames.concat()).await.expect("an open connection");
    }

    /// The next frame.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn receive(&mut self) -> ReceivedFrame {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.expect("a frame");
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.expect("its payload");
        ReceivedFrame { kind, flags, stream: u32::from_be_bytes(stream), payload }
    }

    /// The next frame of this type.
    ///
    /// # Panics
    /// If one comes before that ends a stream or the connection.
    pub async fn until(&mut self, kind: u8) -> ReceivedFrame {
        loop {
            let frame = self.receive().await;
            if frame.kind == kind {
                return frame;
            }
            let text = String::from_utf8_lossy(&frame.payload);
            assert!(![RST_STREAM, GOAWAY].contains(&frame.kind), "{frame:?}: {text}");
        }
    }
}

/// A frame.
///
/// # Panics
/// If it is longer than a frame can be.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The headers of a request, none of them in a table (RFC 7541, 6.2.2).
///
/// # Panics
/// If one is longer than 127 bytes.
#[must_use]
pub fn headers(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 128);
        [&[length.expect("a short text")], text.as_bytes()].concat()
    };
    // `:method: POST` and `:scheme: http` by their numbers, then `:path` and `:authority`.
    let mut block = vec![0x83, 0x86, 0x04];
    block.extend(text(path));
    block.push(0x01);
    block.extend(text("localhost"));
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    for (name, value) in grpc.iter().chain(more) {
        block.push(0);
        block.extend(text(name));
        block.extend(text(value));
    }
    block
}

/// A message as gRPC frames it (gRPC over HTTP/2, Length-Prefixed-Message).
#[must_use]
pub fn prefixed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], message].concat()
}
