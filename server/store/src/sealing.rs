//! Seals of tokens. A caller can return a token, but can neither make nor change one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The length of a seal in bytes: the first half of an HMAC-SHA256.
pub const SEAL_BYTES: usize = 16;

/// Seals bytes with a key: the first half of their HMAC-SHA256 (RFC 2104).
pub fn seal(key: &[u8; 32], bytes: &[u8]) -> [u8; SEAL_BYTES] {
    let full = mac(key, bytes).finalize().into_bytes();
    let mut seal = [0; SEAL_BYTES];
    seal.copy_from_slice(&full[..SEAL_BYTES]);
    seal
}

/// Whether a seal is that of the bytes under the key. The comparison takes constant time.
pub fn is_sealed(key: &[u8; 32], bytes: &[u8], seal: &[u8; SEAL_BYTES]) -> bool {
    mac(key, bytes).verify_truncated_left(seal).is_ok()
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> Hmac<Sha256> {
    // RFC 2104 pads a short key with zeros. A block of full length can't be refused.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    <Hmac<Sha256> as KeyInit>::new(&block.into()).chain_update(bytes)
}
