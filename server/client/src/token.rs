//! Consistency tokens: the position of what a client has written and read, so that its next read
//! sees it on any node.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The layout of tokens that this crate can put in order. A token of another layout replaces
/// the one before it.
const VERSION: u8 = 0xC1;

/// The tokens of one client and of its clones. A read carries the latest one as
/// `consistency-token`, with `consistency: at-least`.
///
/// The order is that of the service's own sessions: the later timeline wins, within a timeline the
/// greater position. So an answer that arrives late doesn't move the session back.
#[derive(Clone, Debug, Default)]
pub struct Session(Arc<Mutex<Option<String>>>);

impl Session {
    /// The token that the next read carries; none if nothing was written or read yet.
    ///
    /// Another client that takes it over sees what this one has seen.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a token over, such as one that came with a message from another service. A token that
    /// is earlier than the session's is ignored.
    pub fn observe(&self, token: &str) {
        if token.is_empty() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref().is_none_or(|known| is_later(token, known)) {
            *known = Some(token.to_owned());
        }
    }

    /// Forgets the token: reads may be answered by any node again. The client does so by itself
    /// after WRITE_MAY_BE_LOST and TOKEN_UNVERIFIABLE, which it reports once.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The cluster, the timeline and the position of a token; none of an unknown layout.
fn position(token: &str) -> Option<(u64, u32, u64)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (system, rest) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
    let (timeline, rest) = rest.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*system), u32::from_be_bytes(*timeline), u64::from_be_bytes(*number)))
}

/// Whether a token is to replace the known one.
fn is_later(token: &str, known: &str) -> bool {
    match (position(token), position(known)) {
        (Some((system, timeline, number)), Some((other, known_timeline, known_number)))
            if system == other =>
        {
            (timeline, number) > (known_timeline, known_number)
        }
        _ => token != known,
    }
}

/// The consistency of a read, as the metadata `consistency` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// What the client has written and read: the default.
    AtLeast,
    /// Everything that was committed before the read; the primary answers.
    Strong,
    /// The state of any node that lags no more than `database_replica_max_lag`.
    Eventual,
}

impl Consistency {
    /// The value of the metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AtLeast => "at-least",
            Self::Strong => "strong",
            Self::Eventual => "eventual",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(system: u64, timeline: u32, number: u64) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(system.to_be_bytes());
        bytes.extend(timeline.to_be_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.extend([7; 16]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn a_session_goes_forward_only() {
        let session = Session::default();
        session.observe("");
        assert_eq!(session.token(), None);
        for (observed, kept) in [
            (token(1, 1, 5), token(1, 1, 5)),
            (token(1, 1, 4), token(1, 1, 5)),
            (token(1, 1, 6), token(1, 1, 6)),
            (token(1, 2, 3), token(1, 2, 3)),
            (token(1, 1, 9), token(1, 2, 3)),
            // Another database has nothing of the former one.
            (token(2, 1, 1), token(2, 1, 1)),
            ("opaque".to_owned(), "opaque".to_owned()),
            (token(2, 1, 1), token(2, 1, 1)),
        ] {
            session.observe(&observed);
            assert_eq!(session.token(), Some(kept));
        }
        session.forget();
        assert_eq!(session.token(), None);
    }
}
