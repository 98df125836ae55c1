//! The keys of an issuer at an https address: when they are read again, and for how long they count.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ring::digest::{SHA256, digest};
use tokio::sync::watch;

use super::{https::HttpsAddress, key_set::KeySet};
use crate::policy::JwtAlgorithm;

/// How often the keys are read at most because a token names a key that isn't among them.
const AT_UNKNOWN_KEY: Duration = Duration::from_secs(60);

/// How long keys count that can't be read again.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// How soon it is tried again while there are no keys at all.
const RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(5);

/// How soon it is tried again after a failure, at the latest.
const RETRY: Duration = Duration::from_secs(60);

/// What describes the keys of an address. Another one has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyAddressOptions {
    /// The name of the issuer, for the log.
    pub(super) issuer: Arc<str>,
    /// The https address.
    pub(super) url: String,
    /// The certificates (PEM) of the authorities that alone may certify its server.
    pub(super) authorities: Option<Vec<u8>>,
    /// The algorithms that the keys may have.
    pub(super) algorithms: Vec<JwtAlgorithm>,
    /// How often they are read.
    pub(super) refresh: Duration,
}

/// The keys of an issuer at an address.
pub(super) struct KeyAddress {
    pub(super) options: KeyAddressOptions,
    address: HttpsAddress,
    state: Mutex<AddressState>,
    /// Counts the attempts to read that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct AddressState {
    keys: Option<Arc<KeySet>>,
    /// The hash of the document that they stood in.
    document: Option<[u8; 32]>,
    /// When they were read last.
    read: Option<Instant>,
    /// When they are read next; none is at once.
    next: Option<Instant>,
    /// When they were read last because of an unknown key.
    at_unknown_key: Option<Instant>,
    is_reading: bool,
    error: Option<String>,
}

impl KeyAddress {
    /// # Errors
    /// What is wrong with the address or the authorities.
    pub(super) fn new(options: KeyAddressOptions) -> Result<Self, String> {
        let address = HttpsAddress::new(&options.url, options.authorities.as_deref())?;
        let (state, ended) = (Mutex::default(), watch::Sender::new(0));
        Ok(Self { options, address, state, ended })
    }

    /// The keys; none if they were never read, or not within a day.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let state = self.state();
        let is_good = state.read.is_some_and(|read| read.elapsed() < KEPT);
        state.keys.clone().filter(|_| is_good)
    }

    /// Begins to read the keys if that is due. It needs tokio's runtime.
    pub(super) fn read_if_due(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.is_reading && state.next.is_none_or(|next| next <= Instant::now()) {
            self.begin(&mut state);
        }
    }

    /// Reads the keys because a token names a key that isn't in the set `seen`, or because there is
    /// no set. Whether there is another set now. It doesn't ask the address if it was asked for an
    /// unknown key within the last minute or, without a set, before that is due. It waits for a
    /// reading that is under way.
    pub(super) async fn read_for_unknown_key(self: &Arc<Self>, seen: Option<&Arc<KeySet>>) -> bool {
        let mut ended = self.ended.subscribe();
        let has_other = |now: Option<&Arc<KeySet>>| match (now, seen) {
            (Some(now), Some(seen)) => !Arc::ptr_eq(now, seen),
            (now, seen) => now.is_some() != seen.is_some(),
        };
        {
            let mut state = self.state();
            if has_other(state.keys.as_ref()) {
                return true;
            }
            if !state.is_reading {
                let now = Instant::now();
                let next = match seen {
                    Some(_) => state.at_unknown_key.map(|at| at + AT_UNKNOWN_KEY),
                    None => state.next,
                };
                if next.is_some_and(|next| now < next) {
                    return false;
                }
                if seen.is_some() {
                    state.at_unknown_key = Some(now);
                }
                self.begin(&mut state);
            }
        }
        // The sender is `self`, so there is always an end.
        let _ = ended.changed().await;
        has_other(self.keys().as_ref())
    }

    /// Reads in a task of its own, so that it goes on if the caller leaves.
    fn begin(self: &Arc<Self>, state: &mut AddressState) {
        state.is_reading = true;
        let reading = KeyReading(self.clone());
        tokio::spawn(async move {
            let read = reading.0.address.read().await;
            reading.0.note(read.as_deref().map_err(String::as_str));
        });
    }

    /// Notes the document that was read, or why none was. Keys are only replaced by others that can
    /// be used.
    fn note(&self, read: Result<&[u8], &str>) {
        let mut state = self.state();
        let KeyAddressOptions { issuer, url, algorithms, refresh, .. } = &self.options;
        let document = read.map(|it| digest(&SHA256, it)).ok();
        let document = document.and_then(|hash| <[u8; 32]>::try_from(hash.as_ref()).ok());
        let now = Instant::now();
        if state.keys.is_some() && document.is_some() && document == state.document {
            state.read = Some(now);
            state.next = Some(now + *refresh);
            state.error = None;
            return;
        }
        match read.map_err(str::to_owned).and_then(|it| KeySet::parse(it, algorithms)) {
            Ok(keys) => {
                let (count, passed_over) = (keys.len(), keys.passed_over.join("; "));
                tracing::info!(target: "audit", %issuer, url, count, passed_over, "keys were read");
                state.keys = Some(Arc::new(keys));
                state.document = document;
                state.read = Some(now);
                state.next = Some(now + *refresh);
                state.error = None;
            }
            Err(error) => {
                let soon = if state.keys.is_some() { RETRY } else { RETRY_WITHOUT_KEYS };
                state.next = Some(now + soon.min(*refresh));
                if state.error.as_ref() != Some(&error) {
                    let in_force = state.keys.as_ref().map_or(0, |keys| keys.len());
                    tracing::error!(
                        target: "audit",
                        %issuer,
                        url,
                        error,
                        in_force,
                        "keys could not be read; those that were read before stay in force for a day"
                    );
                }
                state.error = Some(error);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, AddressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reading that is under way. It ends when this is dropped, also by a panic.
struct KeyReading(Arc<KeyAddress>);

impl Drop for KeyReading {
    fn drop(&mut self) {
        self.0.state().is_reading = false;
        self.0.ended.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::testing::TestIssuer;

    /// An address at which nothing listens.
    fn closed() -> Arc<KeyAddress> {
        let options = KeyAddressOptions {
            issuer: "shop".into(),
            url: "https://127.0.0.1:1/keys".into(),
            authorities: None,
            algorithms: JwtAlgorithm::ALL.to_vec(),
            refresh: Duration::from_secs(600),
        };
        Arc::new(KeyAddress::new(options).unwrap())
    }

    #[test]
    fn keys_are_only_replaced_by_keys_that_can_be_used() {
        let address = closed();
        assert!(address.keys().is_none());
        address.note(Err("no answer"));
        assert!(address.keys().is_none());
        let [first, second] = [0; 2].map(|_| TestIssuer::new().keys().to_string());
        address.note(Ok(first.as_bytes()));
        let keys = address.keys().unwrap();
        for wrong in [Ok(&b"<html>"[..]), Ok(b"{\"keys\": []}"), Err("no answer")] {
            address.note(wrong);
            assert!(Arc::ptr_eq(&address.keys().unwrap(), &keys));
        }
        address.note(Ok(first.as_bytes()));
        assert!(Arc::ptr_eq(&address.keys().unwrap(), &keys), "the same document");
        address.note(Ok(second.as_bytes()));
        assert!(!Arc::ptr_eq(&address.keys().unwrap(), &keys));
        address.state().read = Instant::now().checked_sub(KEPT);
        assert!(address.keys().is_none(), "they count for a day");
    }

    #[test]
    fn a_failure_is_tried_again_soon() {
        let address = closed();
        let wait = || address.state().next.map(|next| next - Instant::now());
        address.note(Err("no answer"));
        assert!(wait().unwrap() <= RETRY_WITHOUT_KEYS);
        address.note(Ok(TestIssuer::new().keys().to_string().as_bytes()));
        assert!(wait().unwrap() > RETRY);
        address.note(Err("no answer"));
        assert!(wait().unwrap() <= RETRY);
    }

    #[tokio::test]
    async fn unknown_keys_ask_once_in_a_minute() {
        let address = closed();
        for _ in 0..3 {
            assert!(!address.read_for_unknown_key(None).await);
        }
        assert_eq!(*address.ended.borrow(), 1, "asked once, and not before that is due again");
        // Those that come while it is asked wait for the one answer.
        address.state().next = None;
        let waiting = (0..100).map(|_| {
            let address = address.clone();
            tokio::spawn(async move { address.read_for_unknown_key(None).await })
        });
        for answer in waiting.collect::<Vec<_>>() {
            assert!(!answer.await.unwrap());
        }
        assert_eq!(*address.ended.borrow(), 2, "asked once more");
        let keys = TestIssuer::new().keys().to_string();
        address.note(Ok(keys.as_bytes()));
        assert!(address.read_for_unknown_key(None).await, "there are keys now");
        let seen = address.keys();
        for _ in 0..3 {
            assert!(!address.read_for_unknown_key(seen.as_ref()).await, "there are no others");
        }
        assert_eq!(*address.ended.borrow(), 3, "asked once for keys that are unknown");
    }

    #[test]
    fn addresses_must_be_https() {
        for url in ["http://login.example/keys", "login.example", "https:///keys", "ftp://x/"] {
            let options = KeyAddressOptions { url: url.into(), ..closed().options.clone() };
            assert!(KeyAddress::new(options).is_err(), "{url}");
        }
        let options =
            KeyAddressOptions { authorities: Some(b"no PEM".to_vec()), ..closed().options.clone() };
        assert!(KeyAddress::new(options).err().unwrap().contains("holds no certificate"));
    }
}
