//! Remembers tokens that were verified, so that a caller's next calls cost a hash.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::key_set::KeySet;
use crate::identity::Principal;

/// The most tokens that are remembered.
const MOST: usize = 10_000;

/// How long a token is remembered at most.
const AT_MOST: Duration = Duration::from_secs(60);

/// The parts of the memory, each with a lock of its own.
const PARTS: usize = 16;

/// The SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// The tokens that were verified within a minute, by their hash. A token is remembered together
/// with the keys that verified it, and forgotten with them.
#[derive(Default)]
pub(super) struct VerifiedTokens([Mutex<HashMap<TokenHash, Remembered>>; PARTS]);

/// A token that was verified.
#[derive(Clone)]
pub(super) struct Remembered {
    /// Whose it is.
    pub(super) principal: Arc<Principal>,
    /// The index of its issuer.
    pub(super) issuer: usize,
    /// The keys of which one verified it.
    pub(super) keys: Arc<KeySet>,
    until: SystemTime,
}

impl VerifiedTokens {
    /// The token of a hash, if it was verified and is still good.
    pub(super) fn find(&self, hash: &TokenHash, now: SystemTime) -> Option<Remembered> {
        self.part(hash).get(hash).filter(|it| now < it.until && is_recent(it.until, now)).cloned()
    }

    /// Remembers a token.
    pub(super) fn put(
        &self,
        hash: TokenHash,
        issuer: usize,
        keys: Arc<KeySet>,
        principal: Arc<Principal>,
        now: SystemTime,
    ) {
        let until = now + AT_MOST;
        let until = principal.expires.map_or(until, |expires| expires.min(until));
        let mut part = self.part(&hash);
        if part.len() >= MOST / PARTS {
            part.retain(|_, it| now < it.until);
        }
        if part.len() >= MOST / PARTS {
            // Far more callers than a minute has room for: they begin anew, a part at a time.
            part.clear();
        }
        part.insert(hash, Remembered { principal, issuer, keys, until });
    }

    fn part(&self, hash: &TokenHash) -> MutexGuard<'_, HashMap<TokenHash, Remembered>> {
        let part = &self.0[usize::from(hash[0]) % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a time is within a minute, also after the clock was set back.
fn is_recent(until: SystemTime, now: SystemTime) -> bool {
    until.duration_since(now).is_ok_and(|rest| rest <= AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{credentials::testing, identity::Identity};

    fn principal(expires: Option<SystemTime>) -> Arc<Principal> {
        let identity = Identity::Certificate { name: "dns:a".into() };
        Arc::new(Principal { name: "a".into(), identity, expires, peer: None })
    }

    #[test]
    fn tokens_are_forgotten_after_a_minute_and_when_they_expire() {
        let (memory, now) = (VerifiedTokens::default(), SystemTime::now());
        let keys = testing::issuer_keys();
        memory.put([1; 32], 0, keys.clone(), principal(None), now);
        memory.put([2; 32], 0, keys, principal(Some(now + Duration::from_secs(5))), now);
        let found = |hash, after| memory.find(&[hash; 32], now + Duration::from_secs(after));
        assert!(found(1, 59).is_some() && found(1, 60).is_none());
        assert!(found(2, 4).is_some() && found(2, 5).is_none());
        assert!(found(3, 0).is_none());
        let before = now - Duration::from_secs(1);
        assert!(memory.find(&[1; 32], before).is_none(), "the clock was set back");
    }

    #[test]
    fn the_memory_is_bounded() {
        let (memory, now) = (VerifiedTokens::default(), SystemTime::now());
        let keys = testing::issuer_keys();
        for number in 0..3 * u32::try_from(MOST).unwrap() {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_le_bytes());
            memory.put(hash, 0, keys.clone(), principal(None), now);
            assert!(memory.find(&hash, now).is_some(), "{number}");
        }
        let all: usize = memory.0.iter().map(|part| part.lock().unwrap().len()).sum();
        assert!(all <= MOST, "{all}");
    }
}
