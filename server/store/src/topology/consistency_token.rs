//! Consistency tokens: a position, sealed so that a caller can neither make nor change one.
//!
//! A token is base64url (RFC 4648, section 5, without padding) of a version, the position's three
//! numbers and an HMAC-SHA256 (RFC 2104) over them, cut to 128 bits.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    position::Position,
    sealing::{self, SEAL_BYTES},
};

/// The version of the layout. It differs from those of page tokens.
const VERSION: u8 = 0xC1;

/// The length of the version and the position's three numbers.
const BYTES: usize = 1 + 8 + 4 + 8;

impl Position {
    /// Writes the position as a token.
    pub fn seal(&self, key: &[u8; 32]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.system.to_be_bytes());
        bytes.extend(self.timeline.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        let seal = sealing::seal(key, &bytes);
        bytes.extend_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Parses a token; `None` if it was altered or not sealed with this key.
    pub fn open(key: &[u8; 32], token: &str) -> Option<Self> {
        // A longer text can't be a token, so it isn't decoded.
        if token.len() > 2 * (BYTES + SEAL_BYTES) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (sealed, seal) = bytes.split_last_chunk::<SEAL_BYTES>()?;
        if !sealing::is_sealed(key, sealed, seal) {
            return None;
        }
        let (system, rest) = sealed.strip_prefix(&[VERSION])?.split_first_chunk()?;
        let (timeline, rest) = rest.split_first_chunk()?;
        let number = rest.try_into().ok()?;
        Some(Self {
            system: u64::from_be_bytes(*system),
            timeline: u32::from_be_bytes(*timeline),
            number: u64::from_be_bytes(number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_genuine_token_is_read_back() {
        let position = Position { system: u64::MAX, timeline: 3, number: 0x1_0000_00AB };
        let token = position.seal(&[7; 32]);
        assert_eq!(Position::open(&[7; 32], &token), Some(position));
        assert_eq!(Position::open(&[8; 32], &token), None);
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(Position::open(&[7; 32], &altered), None, "{altered}");
        }
        for text in ["", "AAAA", &token[1..], &format!("{token}AAAA"), &token.repeat(9)] {
            assert_eq!(Position::open(&[7; 32], text), None, "{text}");
        }
    }
}
