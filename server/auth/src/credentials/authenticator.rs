//! Verifies the credentials of calls.

use std::{path::Path, sync::Arc, time::SystemTime};

use ring::digest::{SHA256, digest};

use super::{
    error::{CredentialsError, InvalidCause},
    jwt::{self, JwtRefusal, LONGEST, LONGEST_NAME},
    key_address::{KeyAddress, KeyAddressOptions},
    key_set::KeySet,
    memory::{TokenHash, VerifiedTokens},
    tokens::{PREFIX, StaticTokens},
};
use crate::{
    identity::{Identity, Principal},
    policy::{JwtIssuer, KeySource},
};

/// Verifies credentials: static tokens, JSON Web Tokens of the policy's issuers, and the names of
/// client certificates.
#[derive(Default)]
pub struct Authenticator {
    tokens: StaticTokens,
    issuers: Vec<Trusted>,
    memory: VerifiedTokens,
}

/// An issuer with its keys.
struct Trusted {
    issuer: JwtIssuer,
    keys: Keys,
}

enum Keys {
    /// Of a file.
    Read(Arc<KeySet>),
    /// Of an address.
    At(Arc<KeyAddress>),
}

/// What is known of credentials without waiting.
enum LookedUp {
    /// They are right, or there are none.
    Right(Option<Arc<Principal>>),
    /// They may be of a key that the issuer of this index has published since the keys `seen` were
    /// read. If not, they are refused for this reason.
    NeedsKeys { issuer: usize, seen: Option<Arc<KeySet>>, otherwise: CredentialsError },
}

impl Authenticator {
    /// `tokens` is the content of the file of static tokens. `read` reads the files that issuers name.
    /// Keys that `before` has read from addresses are kept.
    ///
    /// # Errors
    /// What is wrong with the tokens, and the first issuer whose keys can't be used.
    pub fn new(
        tokens: &str,
        issuers: &[JwtIssuer],
        read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, String>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let tokens = StaticTokens::parse(tokens)?;
        let trusted = issuers.iter().map(|issuer| {
            let keys = Keys::of(issuer, read, before);
            let keys = keys.map_err(|error| format!("the issuer {}: {error}", issuer.name))?;
            Ok(Trusted { issuer: issuer.clone(), keys })
        });
        let issuers = trusted.collect::<Result<_, String>>()?;
        Ok(Self { tokens, issuers, memory: VerifiedTokens::default() })
    }

    /// The names of the static tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.names()
    }

    /// Begins to read the keys at addresses where that is due. It has to be called every few seconds,
    /// within tokio's runtime.
    pub fn read_due_keys(&self) {
        for trusted in &self.issuers {
            if let Keys::At(address) = &trusted.keys {
                address.read_if_due();
            }
        }
    }

    /// The principal of a call; none if there are no credentials. `authorization` holds all values
    /// of that header. `certificate` is the name of the connection's client certificate. A call with
    /// a token is the token's; the certificate is its peer then. It waits only for keys of an
    /// issuer.
    ///
    /// # Errors
    /// Why the credentials are refused. Wrong ones never count as none.
    pub async fn authenticate(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&str>,
    ) -> Result<Option<Arc<Principal>>, CredentialsError> {
        let now = SystemTime::now();
        match self.known(authorization, certificate, now)? {
            LookedUp::Right(principal) => Ok(principal),
            LookedUp::NeedsKeys { issuer, seen, otherwise } => {
                let Some(Keys::At(address)) = self.issuers.get(issuer).map(|it| &it.keys) else {
                    return Err(otherwise);
                };
                if !address.read_for_unknown_key(seen.as_ref()).await {
                    return Err(otherwise);
                }
                self.authenticate_now(authorization, certificate)
            }
        }
    }

    /// The same without waiting: keys that aren't known yet are unknown.
    ///
    /// # Errors
    /// Why the credentials are refused.
    pub fn authenticate_now(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&str>,
    ) -> Result<Option<Arc<Principal>>, CredentialsError> {
        match self.known(authorization, certificate, SystemTime::now())? {
            LookedUp::Right(principal) => Ok(principal),
            LookedUp::NeedsKeys { otherwise, .. } => Err(otherwise),
        }
    }

    fn known(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&str>,
        now: SystemTime,
    ) -> Result<LookedUp, CredentialsError> {
        let token = match authorization {
            [] => return certificate.map(of_certificate).transpose().map(LookedUp::Right),
            [value] => bearer(value)?,
            _ => return Err(CredentialsError::Repeated),
        };
        let known = match token.starts_with(PREFIX) {
            true => LookedUp::Right(Some(self.tokens.find(token, now)?)),
            false => self.of_jwt(token, now)?,
        };
        Ok(match (known, certificate) {
            (LookedUp::Right(Some(principal)), Some(peer)) => {
                let peer = Some(peer.into());
                LookedUp::Right(Some(Arc::new(Principal { peer, ..Principal::clone(&principal) })))
            }
            (known, _) => known,
        })
    }

    fn of_jwt(&self, token: &str, now: SystemTime) -> Result<LookedUp, CredentialsError> {
        let hash: TokenHash = hash(token);
        if let Some(it) = self.memory.find(&hash, now)
            && self.issuers.get(it.issuer).is_some_and(|trusted| trusted.keys.are(&it.keys))
        {
            return Ok(LookedUp::Right(Some(it.principal)));
        }
        let invalid = CredentialsError::Invalid;
        let unverified = jwt::parse(token).map_err(invalid)?;
        let name = unverified.issuer().ok_or(invalid(InvalidCause::Issuer))?;
        let trusted = self.issuers.iter().enumerate().find(|(_, it)| it.issuer.issuer == name);
        let (issuer, trusted) = trusted.ok_or(invalid(InvalidCause::Issuer))?;
        let Some(keys) = trusted.keys.now() else {
            let otherwise = CredentialsError::KeysUnavailable(trusted.issuer.name.clone());
            return Ok(LookedUp::NeedsKeys { issuer, seen: None, otherwise });
        };
        match unverified.verify(&trusted.issuer, &keys, now) {
            Ok(principal) => {
                let principal = Arc::new(principal);
                self.memory.put(hash, issuer, keys, principal.clone(), now);
                Ok(LookedUp::Right(Some(principal)))
            }
            Err(JwtRefusal::Invalid(cause)) => Err(invalid(cause)),
            Err(JwtRefusal::Expired) => Err(CredentialsError::Expired),
            Err(JwtRefusal::UnknownKey) => {
                let otherwise = invalid(InvalidCause::UnknownKey);
                Ok(LookedUp::NeedsKeys { issuer, seen: Some(keys), otherwise })
            }
        }
    }
}

impl Keys {
    fn of(
        issuer: &JwtIssuer,
        read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, String>,
        before: Option<&Authenticator>,
    ) -> Result<Self, String> {
        match &issuer.keys {
            KeySource::File(path) => {
                let keys = KeySet::parse(&read(path)?, &issuer.algorithms);
                let keys = keys.map_err(|error| format!("{}: {error}", path.display()))?;
                if !keys.passed_over.is_empty() {
                    let passed_over = keys.passed_over.join("; ");
                    let issuer = &issuer.name;
                    tracing::info!(target: "audit", %issuer, passed_over, "keys are passed over");
                }
                Ok(Self::Read(Arc::new(keys)))
            }
            KeySource::Url { url, authorities } => {
                let options = KeyAddressOptions {
                    issuer: issuer.name.clone(),
                    url: url.clone(),
                    authorities: authorities.as_deref().map(read).transpose()?,
                    algorithms: issuer.algorithms.clone(),
                    refresh: issuer.keys_refresh,
                };
                let known = before.into_iter().flat_map(|before| &before.issuers);
                let same = known.filter_map(|trusted| match &trusted.keys {
                    Keys::At(address) if address.options == options => Some(address.clone()),
                    _ => None,
                });
                match same.last() {
                    Some(address) => Ok(Self::At(address)),
                    None => Ok(Self::At(Arc::new(KeyAddress::new(options)?))),
                }
            }
        }
    }

    /// The keys in force.
    fn now(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Read(keys) => Some(keys.clone()),
            Self::At(address) => address.keys(),
        }
    }

    /// Whether these are the keys in force.
    fn are(&self, keys: &Arc<KeySet>) -> bool {
        match self {
            Self::Read(own) => Arc::ptr_eq(own, keys),
            Self::At(address) => address.keys().is_some_and(|own| Arc::ptr_eq(&own, keys)),
        }
    }
}

/// The token of a header: `Bearer`, in any case (RFC 9110, 11.1), one space and the token.
fn bearer(value: &[u8]) -> Result<&str, CredentialsError> {
    let invalid = |cause| CredentialsError::Invalid(cause);
    if value.len() > LONGEST + "bearer ".len() {
        return Err(invalid(InvalidCause::TooLong));
    }
    let text = str::from_utf8(value).map_err(|_| invalid(InvalidCause::Scheme))?;
    let (scheme, token) = text.split_once(' ').ok_or(invalid(InvalidCause::Scheme))?;
    match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ') {
        true => Ok(token),
        false => Err(invalid(InvalidCause::Scheme)),
    }
}

fn of_certificate(name: &str) -> Result<Arc<Principal>, CredentialsError> {
    let full = format!("cert:{name}");
    if full.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(CredentialsError::Invalid(InvalidCause::Certificate));
    }
    let identity = Identity::Certificate { name: name.into() };
    Ok(Arc::new(Principal { name: full.into(), identity, expires: None, peer: None }))
}

fn hash(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}
