//! The connection preface of HTTP/2, read with a timeout.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{Instant, timeout_at},
};

/// The first bytes of a client that speaks HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads the first bytes of a connection: the whole preface, or as many bytes as show that it is
/// another protocol. None if it hasn't come at `deadline`, or the peer closes the connection.
pub(super) async fn read_preface(
    peer: &mut (impl AsyncRead + Unpin),
    deadline: Instant,
) -> Option<io::Cursor<Vec<u8>>> {
    let mut received = Vec::with_capacity(PREFACE.len());
    let read = async {
        while received.len() < PREFACE.len() && PREFACE.starts_with(&received) {
            let rest = PREFACE.len() - received.len();
            if peer.take(rest as u64).read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok::<(), io::Error>(())
    };
    match timeout_at(deadline, read).await {
        Ok(Ok(())) => Some(io::Cursor::new(received)),
        Ok(Err(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    /// A timeout that no passing test reaches.
    const SOON: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(20);

    async fn received(words: &[&[u8]], within: Duration) -> Option<Vec<u8>> {
        let (mut ours, mut theirs) = duplex(64);
        let speaks = async {
            for word in words {
                theirs.write_all(word).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let both = async { tokio::join!(read_preface(&mut ours, Instant::now() + within), speaks) };
        let (received, ()) = timeout(SOON * 2, both).await.unwrap();
        received.map(io::Cursor::into_inner)
    }

    #[tokio::test]
    async fn a_preface_is_read_in_pieces_and_no_further() {
        let whole = Some(PREFACE.to_vec());
        assert_eq!(received(&[&PREFACE[..5], &PREFACE[5..]], SOON).await, whole);
        assert_eq!(received(&[PREFACE, b"\0\0\0\x04"], SOON).await, whole);
    }

    #[tokio::test]
    async fn another_protocol_is_detected_at_once() {
        assert_eq!(
            received(&[b"GET / HTTP/1.1\r\n"], SOON).await,
            Some(b"GET / HTTP/1.1\r\n".to_vec())
        );
        assert_eq!(received(&[b"PR", b"OPFIND"], SOON).await, Some(b"PROPFIND".to_vec()));
    }

    #[tokio::test]
    async fn a_silent_or_incomplete_preface_is_none() {
        assert_eq!(received(&[], SHORT).await, None);
        assert_eq!(received(&[&PREFACE[..23]], SHORT).await, None);
        let (mut ours, theirs) = duplex(64);
        drop(theirs);
        assert!(
            read_preface(&mut ours, Instant::now() + SOON).await.is_none(),
            "a closed connection"
        );
    }
}
