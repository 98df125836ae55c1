//! JSON Web Tokens (RFC 7519) in their compact form (RFC 7515, 3.1).
//!
//! What the token says of itself decides little: its `iss` names the table of the policy and its
//! `kid` the key. The algorithm must be one of the key's own, and keys within the token, or
//! addresses of keys, are not looked at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    error::InvalidCause as Cause,
    json::{self, Object},
    key_set::{self, KeySet},
};
use crate::{
    identity::{Identity, Principal},
    policy::{JwtAlgorithm, JwtIssuer},
};

/// The longest token that is read, in bytes.
pub(super) const LONGEST: usize = 8 * 1024;

/// How far the clocks of issuers may be from this one.
const LEEWAY: Duration = Duration::from_secs(30);

/// The longest name of a principal, in bytes.
pub(super) const LONGEST_NAME: usize = 256;

/// The most keys that are tried on a token without a `kid`.
const MOST_TRIED: usize = 4;

/// Why a token proves nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JwtRefusal {
    /// It is wrong.
    Invalid(Cause),
    /// All of it is right, and it has expired.
    Expired,
    /// The set has no key of its `kid`: a newer set may have it.
    UnknownKey,
}

impl From<Cause> for JwtRefusal {
    fn from(cause: Cause) -> Self {
        Self::Invalid(cause)
    }
}

/// A token whose form is right, and of which nothing is verified.
pub(super) struct Unverified<'a> {
    signed: &'a [u8],
    signature: Vec<u8>,
    algorithm: &'a str,
    header: Object,
    claims: Object,
}

/// Reads a token.
///
/// # Errors
/// What is wrong with its form.
pub(super) fn parse(token: &str) -> Result<Unverified<'_>, Cause> {
    if token.len() > LONGEST {
        return Err(Cause::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Cause::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Cause::Malformed)?;
    // base64url has no dot, so a fourth part is refused here.
    let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| Cause::Malformed);
    let header = json::object(&decode(header)?).ok_or(Cause::Malformed)?;
    let claims = json::object(&decode(claims)?).ok_or(Cause::Malformed)?;
    let signature = decode(signature)?;
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = key_set::named(algorithm).map_or("", JwtAlgorithm::name);
    Ok(Unverified { signed: signed.as_bytes(), signature, algorithm, header, claims })
}

impl Unverified<'_> {
    /// The claim `iss`, which isn't verified.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Verifies the token and gives its principal.
    ///
    /// # Errors
    /// The first thing that is wrong; that it has expired only if all else is right.
    pub(super) fn verify(
        &self,
        issuer: &JwtIssuer,
        keys: &KeySet,
        now: SystemTime,
    ) -> Result<Principal, JwtRefusal> {
        if self.issuer() != Some(&issuer.issuer) {
            return Err(Cause::Issuer.into());
        }
        let algorithm = JwtAlgorithm::named(self.algorithm).ok_or(Cause::Algorithm)?;
        if !issuer.algorithms.contains(&algorithm) {
            return Err(Cause::Algorithm.into());
        }
        // No extension is understood here.
        if self.header.contains_key("crit") {
            return Err(Cause::Critical.into());
        }
        if !self.has_type(issuer.typ.as_deref()) {
            return Err(Cause::Type.into());
        }
        self.verify_signature(keys, algorithm)?;
        self.verify_audience(&issuer.audience)?;
        let expires = self.verify_times(issuer, now)?;
        let subject = self.subject(issuer)?;
        if expires + LEEWAY <= now {
            return Err(JwtRefusal::Expired);
        }
        let name = format!("jwt:{}#{subject}", issuer.name).into();
        let roles = self.roles(issuer);
        let identity = Identity::Jwt {
            issuer: issuer.name.clone(),
            subject: subject.into(),
            roles: roles.into_iter().map(Into::into).collect(),
        };
        Ok(Principal { name, identity, expires: Some(expires + LEEWAY), peer: None })
    }

    fn has_type(&self, wanted: Option<&str>) -> bool {
        let typ = match self.header.get("typ") {
            None => None,
            Some(Value::String(typ)) => Some(typ.to_ascii_lowercase()),
            Some(_) => return false,
        };
        // RFC 7515, 4.1.9: `application/` may be left out.
        let plain = |typ: &str| typ.trim_start_matches("application/").to_ascii_lowercase();
        match (typ, wanted) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(typ), None) => matches!(&*plain(&typ), "jwt" | "at+jwt"),
            (Some(typ), Some(wanted)) => plain(&typ) == plain(wanted),
        }
    }

    fn verify_signature(&self, keys: &KeySet, algorithm: JwtAlgorithm) -> Result<(), JwtRefusal> {
        let id = match self.header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(Cause::Malformed.into()),
        };
        let mut candidates = keys.candidates(id, algorithm).take(MOST_TRIED).peekable();
        if candidates.peek().is_none() {
            return Err(match id {
                Some(id) if keys.has(id) => Cause::Algorithm.into(),
                Some(_) => JwtRefusal::UnknownKey,
                None => Cause::Algorithm.into(),
            });
        }
        match candidates.any(|key| key.verifies(algorithm, self.signed, &self.signature)) {
            true => Ok(()),
            false if id.is_some_and(|id| !keys.has(id)) => Err(JwtRefusal::UnknownKey),
            false => Err(Cause::Signature.into()),
        }
    }

    fn verify_audience(&self, audience: &str) -> Result<(), Cause> {
        let audiences = self.claims.get("aud").and_then(json::texts);
        match audiences.is_some_and(|all| all.contains(&audience)) {
            true => Ok(()),
            false => Err(Cause::Audience),
        }
    }

    /// When the token expires, by its own clock.
    fn verify_times(&self, issuer: &JwtIssuer, now: SystemTime) -> Result<SystemTime, Cause> {
        let expires = time(&self.claims, "exp")?.ok_or(Cause::Times)?;
        let issued = time(&self.claims, "iat")?;
        let not_before = time(&self.claims, "nbf")?;
        if [issued, not_before].iter().flatten().any(|time| *time > now + LEEWAY) {
            return Err(Cause::Times);
        }
        let since = issued.unwrap_or(now);
        match expires.duration_since(since) {
            Ok(lifetime) if lifetime > issuer.max_lifetime => Err(Cause::Lifetime),
            _ => Ok(expires),
        }
    }

    fn subject(&self, issuer: &JwtIssuer) -> Result<&str, Cause> {
        let subject = self.claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let length = "jwt:#".len() + issuer.name.len() + subject.len();
        let is_printable = !subject.chars().any(char::is_control);
        match !subject.is_empty() && is_printable && length <= LONGEST_NAME {
            true => Ok(subject),
            false => Err(Cause::Subject),
        }
    }

    /// The texts of the claim with roles that mean something to the policy.
    fn roles(&self, issuer: &JwtIssuer) -> Vec<&str> {
        let Some(path) = issuer.roles_claim.as_deref() else { return Vec::new() };
        let nested = || {
            let mut parts = path.split('.');
            let first = self.claims.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part))
        };
        let claim = self.claims.get(path).or_else(nested);
        let texts = match claim {
            Some(Value::String(text)) => vec![text.as_str()],
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        texts.into_iter().filter(|text| issuer.roles.contains_key(*text)).collect()
    }
}

/// A time of a claim (RFC 7519, 2, NumericDate); none if there is no such claim.
fn time(claims: &Object, name: &str) -> Result<Option<SystemTime>, Cause> {
    /// The year 9999: what is later is a mistake, such as milliseconds.
    const LATEST: f64 = 253_402_300_800.0;
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..LATEST).contains(seconds));
    let seconds = seconds.ok_or(Cause::Times)?;
    Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
}
