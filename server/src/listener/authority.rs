//! Takes any `:authority` over a Unix socket. Clients of gRPC's C core and others name the socket's
//! path there, which is no host of a URI: h2 would reset the stream before any code of ours sees
//! it. The header blocks of a connection are decoded here and encoded again, with a host in its
//! place.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use loona_hpack::Decoder;
use tokio::io::{AsyncRead, ReadBuf};

/// What stands in place of an authority that is no host.
const LOCAL: &[u8] = b"localhost";

/// A frame's header, and the longest payload that a peer sends without being allowed more (RFC
/// 9113, 4.1 and 4.2).
const FRAME_HEADER: usize = 9;
const FRAME_PAYLOAD: usize = 16_384;

/// The types and flags of frames (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The most of an encoded header block, and of a decoded one. The transport takes less.
const BLOCK: usize = 64 << 10;

/// The table of a decoder that has announced none (RFC 9113, 6.5.2).
const TABLE: usize = 4096;

/// A peer's bytes, behind the connection preface.
pub(super) struct AnyAuthority<R> {
    read: R,
    /// None where the bytes pass as they are.
    rewriter: Option<Rewriter>,
}

impl<R> AnyAuthority<R> {
    /// Rewrites authorities if the peer is local. `preface` bytes pass first.
    pub(super) fn new(read: R, is_local: bool, preface: usize) -> Self {
        Self { read, rewriter: is_local.then(|| Rewriter::new(preface)) }
    }
}

/// Rewrites the frames of one direction of a connection.
struct Rewriter {
    decoder: Decoder<'static>,
    /// How many of the next bytes pass as they are.
    pass: usize,
    /// Bytes of a frame that isn't whole.
    incoming: Vec<u8>,
    /// Bytes for the transport, from `taken` on.
    outgoing: Vec<u8>,
    taken: usize,
    /// The header block that is being received: its stream, its flags and its bytes.
    block: Option<(u32, u8, Vec<u8>)>,
    /// What was read of the peer and waits until the transport has taken `outgoing`.
    unread: Vec<u8>,
}

impl Rewriter {
    fn new(preface: usize) -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(TABLE);
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        let (taken, block, unread) = (0, None, Vec::new());
        Self { decoder, pass: preface, incoming, outgoing, taken, block, unread }
    }

    /// Takes bytes of the peer, and returns how many. The rest waits once there is a block for the
    /// transport: one byte of a frame can stand for 4,000 bytes.
    fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() && self.outgoing.len() <= BLOCK {
            if self.pass > 0 && self.incoming.is_empty() {
                let count = self.pass.min(rest.len());
                self.outgoing.extend_from_slice(&rest[..count]);
                self.pass -= count;
                rest = &rest[count..];
                continue;
            }
            let count = (self.wanted() - self.incoming.len()).min(rest.len());
            self.incoming.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
            let wanted = self.wanted();
            // Before the payload is buffered: a header can announce 16 MiB.
            if wanted > FRAME_HEADER + FRAME_PAYLOAD {
                return Err(invalid("a frame is too large"));
            }
            if self.incoming.len() == wanted {
                self.frame()?;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Forgets what the transport has taken, and the memory of an unusually large part.
    fn clear(&mut self) {
        self.outgoing.clear();
        if self.outgoing.capacity() > BLOCK {
            self.outgoing = Vec::new();
        }
        self.taken = 0;
    }

    /// The length of what is collected before the next step: a frame's header, or with it the
    /// payload of a frame of a header block.
    fn wanted(&self) -> usize {
        match self.incoming.as_slice() {
            [a, b, c, HEADERS | CONTINUATION, ..] if self.incoming.len() >= FRAME_HEADER => {
                FRAME_HEADER + length([*a, *b, *c])
            }
            _ => FRAME_HEADER,
        }
    }

    /// Handles a frame's header, or a whole frame of a header block.
    fn frame(&mut self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.incoming);
        let [a, b, c, kind, flags, s0, s1, s2, s3, payload @ ..] = frame.as_slice() else {
            return Ok(());
        };
        let (length, stream) = (length([*a, *b, *c]), u32::from_be_bytes([*s0, *s1, *s2, *s3]));
        if !matches!(*kind, HEADERS | CONTINUATION) {
            self.outgoing.extend_from_slice(&frame);
            self.pass = length;
            return Ok(());
        }
        let part = match *kind {
            HEADERS => unpadded(*flags, payload)?,
            _ => payload,
        };
        let block = match (*kind, self.block.take()) {
            (HEADERS, None) => (stream, *flags, part.to_vec()),
            (CONTINUATION, Some((of, first, mut bytes))) if of == stream => {
                bytes.extend_from_slice(part);
                (of, first, bytes)
            }
            _ => return Err(invalid("frames of header blocks are mixed")),
        };
        if block.2.len() > BLOCK {
            return Err(invalid("a header block is too large"));
        }
        match flags & END_HEADERS {
            0 => self.block = Some(block),
            _ => self.rewrite(block)?,
        }
        Ok(())
    }

    /// Encodes a header block again, without a table: the transport's decoder has none to keep.
    fn rewrite(&mut self, (stream, flags, bytes): (u32, u8, Vec<u8>)) -> io::Result<()> {
        let mut block = Vec::with_capacity(bytes.len() * 2);
        let decoded = self.decoder.decode_with_cb(&bytes, |name, value| {
            let is_host = |value: &[u8]| http::uri::Authority::try_from(value).is_ok();
            let value: &[u8] = match &*name {
                b":authority" if !is_host(&value) => LOCAL,
                _ => &value,
            };
            // What is beyond makes the block larger than the transport takes, which answers that.
            if block.len() <= BLOCK {
                block.push(0);
                string(&mut block, &name);
                string(&mut block, value);
            }
        });
        decoded.map_err(|error| invalid(&error.to_string()))?;
        let mut parts = block.chunks(FRAME_PAYLOAD).peekable();
        let mut kind = HEADERS;
        // An empty block has a frame too.
        let first = parts.next().unwrap_or_default();
        let mut part = Some(first);
        while let Some(bytes) = part {
            part = parts.next();
            let end = if part.is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS { flags & END_STREAM } else { 0 };
            let length = u32::try_from(bytes.len()).unwrap_or_default();
            self.outgoing.extend_from_slice(&length.to_be_bytes()[1..]);
            self.outgoing.extend_from_slice(&[kind, flags | end]);
            self.outgoing.extend_from_slice(&stream.to_be_bytes());
            self.outgoing.extend_from_slice(bytes);
            kind = CONTINUATION;
        }
        Ok(())
    }
}

fn length([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

/// The block's part of a HEADERS frame (RFC 9113, 6.2).
fn unpadded(flags: u8, payload: &[u8]) -> io::Result<&[u8]> {
    let (padding, mut rest) = match (flags & PADDED, payload) {
        (0, all) => (0, all),
        (_, [padding, rest @ ..]) => (usize::from(*padding), rest),
        _ => return Err(invalid("padding is missing")),
    };
    if flags & PRIORITY != 0 {
        rest = rest.get(5..).ok_or_else(|| invalid("a priority is missing"))?;
    }
    let end = rest.len().checked_sub(padding).ok_or_else(|| invalid("padding is too long"))?;
    Ok(&rest[..end])
}

/// A string literal without Huffman's code (RFC 7541, 5.2).
fn string(block: &mut Vec<u8>, text: &[u8]) {
    const MOST: usize = 127;
    if text.len() < MOST {
        block.push(u8::try_from(text.len()).unwrap_or_default());
    } else {
        block.push(127);
        let mut rest = text.len() - MOST;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128 + 128).unwrap_or_default());
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap_or_default());
    }
    block.extend_from_slice(text);
}

fn invalid(problem: &str) -> io::Error {
    tracing::warn!(problem, "a connection over the Unix socket is ended: its HTTP/2 is invalid");
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

impl<R: AsyncRead + Unpin> AsyncRead for AnyAuthority<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { read, rewriter } = &mut *self;
        let Some(rewriter) = rewriter else { return Pin::new(read).poll_read(context, into) };
        while rewriter.taken == rewriter.outgoing.len() {
            rewriter.clear();
            if !rewriter.unread.is_empty() {
                let unread = std::mem::take(&mut rewriter.unread);
                let taken = rewriter.push(&unread)?;
                rewriter.unread = unread[taken..].to_vec();
                continue;
            }
            let mut bytes = [0; 4096];
            let mut bytes = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *read).poll_read(context, &mut bytes))?;
            if bytes.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let taken = rewriter.push(bytes.filled())?;
            rewriter.unread.extend_from_slice(&bytes.filled()[taken..]);
        }
        let rest = &rewriter.outgoing[rewriter.taken..];
        let count = rest.len().min(into.remaining());
        into.put_slice(&rest[..count]);
        rewriter.taken += count;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    /// What the transport gets of bytes that come one at a time.
    fn rewritten(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut rewriter = Rewriter::new(3);
        for byte in bytes {
            assert_eq!(rewriter.push(&[*byte])?, 1);
        }
        Ok(rewriter.outgoing)
    }

    fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut block = vec![0];
        string(&mut block, name);
        string(&mut block, value);
        block
    }

    #[test]
    fn an_authority_that_is_no_host_is_replaced() {
        let data = frame(0, 1, b"some data");
        for (given, expected) in
            [("%2Frun%2Fb.sock", "localhost"), ("/run/b.sock", "localhost"), ("a:1", "a:1")]
        {
            let (authority, long) = (literal(b":authority", given.as_bytes()), [b'x'; 300]);
            let block = [authority, literal(b"long", &long)].concat();
            let (first, rest) = block.split_at(7);
            // Padded and with a priority, in two frames.
            let padded = [&[2, 0, 0, 0, 0, 9][..], first, &[0, 0]].concat();
            let bytes = [
                b"PRI".to_vec(),
                frame(HEADERS, PADDED | PRIORITY | END_STREAM, &padded),
                frame(CONTINUATION, END_HEADERS, rest),
                data.clone(),
            ];
            let whole =
                [literal(b":authority", expected.as_bytes()), literal(b"long", &long)].concat();
            let wanted =
                [b"PRI".to_vec(), frame(HEADERS, END_HEADERS | END_STREAM, &whole), data.clone()];
            assert_eq!(rewritten(&bytes.concat()).unwrap(), wanted.concat(), "{given}");
        }
    }

    #[test]
    fn an_indexed_authority_is_replaced_each_time() {
        // Literal with incremental indexing of static name 1, and then the entry that it made.
        let first = [&[0x41, 4][..], b"/run"].concat();
        let bytes = [
            b"PRI".to_vec(),
            frame(HEADERS, END_HEADERS, &first),
            frame(HEADERS, END_HEADERS, &[0x80 | 62]),
        ];
        let wanted = frame(HEADERS, END_HEADERS, &literal(b":authority", LOCAL));
        let wanted = [b"PRI".to_vec(), wanted.clone(), wanted];
        assert_eq!(rewritten(&bytes.concat()).unwrap(), wanted.concat());
    }

    #[test]
    fn invalid_and_endless_blocks_end_the_connection() {
        for bytes in [
            frame(HEADERS, END_HEADERS, &[0x80 | 100]),
            frame(HEADERS, END_HEADERS | PADDED, &[9, 1]),
            frame(CONTINUATION, END_HEADERS, &[]),
            [frame(HEADERS, 0, &[]), frame(HEADERS, 0, &[])].concat(),
            (0..6)
                .map(|at| frame(if at == 0 { 1 } else { 9 }, 0, &[0; 16_000]))
                .collect::<Vec<_>>()
                .concat(),
        ] {
            assert!(rewritten(&[b"PRI".to_vec(), bytes].concat()).is_err());
        }
        // The frame's header alone, which announces nearly 16 MiB.
        let announced = [b"PRI".as_slice(), &[0xff, 0xff, 0xff, 1, 4, 0, 0, 0, 1]].concat();
        assert!(rewritten(&announced).is_err_and(|error| error.to_string().contains("too large")));
        // A small block of a large one: the rest is not kept.
        let entry = [&[0x40, 1, b'n', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
        let bomb = [entry, vec![0x80 | 62; 12_000]].concat();
        let kept = rewritten(&[b"PRI".to_vec(), frame(HEADERS, END_HEADERS, &bomb)].concat());
        assert!(kept.unwrap().len() < 2 * BLOCK);
    }

    #[tokio::test]
    async fn many_blocks_of_a_large_entry_are_rewritten_in_bounded_memory() {
        let entry = [&[0x40, 1, b'n', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
        let again = frame(HEADERS, END_HEADERS, &[0x80 | 62]);
        let bytes = [frame(HEADERS, END_HEADERS, &entry), again.repeat(1_000)].concat();
        let mut read = AnyAuthority::new(bytes.as_slice(), true, 0);
        let (mut got, mut most, mut part) = (Vec::new(), 0, vec![0; 10_000]);
        loop {
            let count = read.read(&mut part).await.unwrap();
            got.extend_from_slice(&part[..count]);
            let held = read.rewriter.as_ref().unwrap().outgoing.capacity();
            most = most.max(held);
            if count == 0 {
                assert!(held <= BLOCK, "{held} bytes are kept");
                break;
            }
        }
        assert!(most <= 4 * BLOCK, "{most} bytes at once");
        let whole = frame(HEADERS, END_HEADERS, &literal(b"n", &[b'v'; 4000]));
        assert!(got == whole.repeat(1_001), "{} bytes", got.len());
    }
}
