//! A key of the caller's, with the fingerprint of its request.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// A key under which a write happens once.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The caller's key.
    pub key: Uuid,
    /// The fingerprint of the request. Two requests are the same if theirs are equal.
    pub fingerprint: [u8; 32],
}

impl IdempotencyKey {
    /// Makes a key with the fingerprint of `request`: an HMAC-SHA256 (RFC 2104), so that a
    /// reader of the table learns nothing of the request. The same request must have the same
    /// bytes.
    pub fn new(sealing_key: &[u8; 32], key: Uuid, request: &[u8]) -> Self {
        // RFC 2104 pads a short key with zeros. A block of full length can't be refused.
        let mut block = [0; 64];
        block[..sealing_key.len()].copy_from_slice(sealing_key);
        let mac = <Hmac<Sha256> as KeyInit>::new(&block.into()).chain_update(request);
        Self { key, fingerprint: mac.finalize().into_bytes().into() }
    }
}
