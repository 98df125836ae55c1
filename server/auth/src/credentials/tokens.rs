//! Static tokens: random secrets with a name, of which the service knows the hashes alone.
//!
//! A token is `bks_`, its name, `_` and 256 random bits (base64url, RFC 4648, 5). The file has a line
//! for each: its name, the token's SHA-256 in hexadecimal and, if it expires, `until` and a time (RFC
//! 3339). A name may have several lines, so that a token can be replaced.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::Arc,
    time::SystemTime,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use subtle::ConstantTimeEq;

use super::error::{CredentialsError, InvalidCause};
use crate::{
    identity::{Identity, Principal},
    policy::is_name,
};

/// What every static token begins with.
pub(super) const PREFIX: &str = "bks_";

/// The characters of the secret of a token.
const SECRET_LENGTH: usize = 43;

/// The tokens of a file, by name.
#[derive(Default)]
pub(super) struct StaticTokens(HashMap<Box<str>, Vec<KnownToken>>);

struct KnownToken {
    hash: [u8; 32],
    principal: Arc<Principal>,
}

impl StaticTokens {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with a line, with its number; never what stands in it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = HashMap::<Box<str>, Vec<KnownToken>>::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, known) = line_of(line).map_err(|fault| format!("line {number}: {fault}"))?;
            let all = tokens.entry(name.into()).or_default();
            if all.iter().any(|other| other.hash == known.hash) {
                return Err(format!("line {number}: the token stands in the file already"));
            }
            all.push(known);
        }
        Ok(Self(tokens))
    }

    /// The principal of a token.
    pub(super) fn find(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<Arc<Principal>, CredentialsError> {
        let unknown = CredentialsError::Invalid(InvalidCause::UnknownToken);
        let Some(name) = name_of(token) else {
            return Err(CredentialsError::Invalid(InvalidCause::Malformed));
        };
        let Some(all) = self.0.get(name) else { return Err(unknown) };
        let hash = digest(&SHA256, token.as_bytes());
        // Every line of the name is compared, each in constant time.
        let found = all.iter().fold(None, |found, known| {
            match bool::from(known.hash.ct_eq(hash.as_ref())) {
                true => Some(known),
                false => found,
            }
        });
        let principal = &found.ok_or(unknown)?.principal;
        match principal.expires {
            Some(until) if until <= now => Err(CredentialsError::Expired),
            _ => Ok(principal.clone()),
        }
    }

    /// The names that have a token.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

fn line_of(line: &str) -> Result<(&str, KnownToken), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, hash, until) = match *words {
        [name, hash] => (name, hash, None),
        [name, hash, "until", until] => (name, hash, Some(until)),
        _ => return Err("must be NAME HASH, or NAME HASH until TIME".into()),
    };
    check_name(name)?;
    if name.starts_with(PREFIX) || hash.starts_with(PREFIX) {
        return Err("holds a token instead of its hash: that token is no secret any more".into());
    }
    let hash = bytes_of(hash).ok_or("the hash must be a SHA-256, 64 hexadecimal digits")?;
    let expires = match until {
        None => None,
        Some(text) => {
            let time = DateTime::parse_from_rfc3339(text);
            let time =
                time.map_err(|_| "the time must be as in 2027-01-31T12:00:00Z (RFC 3339)")?;
            Some(SystemTime::from(time))
        }
    };
    let identity = Identity::Token { name: name.into() };
    let principal =
        Principal { name: format!("token:{name}").into(), identity, expires, peer: None };
    Ok((name, KnownToken { hash, principal: Arc::new(principal) }))
}

/// The name within a token; none if it doesn't have a token's form.
fn name_of(token: &str) -> Option<&str> {
    let rest = token.strip_prefix(PREFIX)?;
    let (name, secret) = rest.split_at_checked(rest.len().checked_sub(SECRET_LENGTH)?)?;
    let is_secret =
        secret.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'));
    name.strip_suffix('_').filter(|name| is_secret && check_name(name).is_ok())
}

/// Whether a name can be a token's.
///
/// # Errors
/// Which names can.
fn check_name(name: &str) -> Result<(), String> {
    match is_name(name) {
        true => Ok(()),
        false => {
            Err("the name must be lower-case letters, digits and dashes, with a letter first, \
                      64 characters at most"
                .into())
        }
    }
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A token that was just made, with its line for the file of tokens.
pub struct NewToken {
    /// The token. It can't be found out again.
    pub token: String,
    /// The line, without its end.
    pub line: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewToken").field("line", &self.line).finish_non_exhaustive()
    }
}

/// Makes a token of 256 random bits, which expires at a time or never.
///
/// # Errors
/// A name that can't be a token's, and an operating system without random numbers.
pub fn new_token(name: &str, until: Option<SystemTime>) -> Result<NewToken, String> {
    check_name(name)?;
    let mut secret = [0; 32];
    let drawn = SystemRandom::new().fill(&mut secret);
    drawn.map_err(|_| "the operating system gives no random numbers")?;
    let token = format!("{PREFIX}{name}_{}", URL_SAFE_NO_PAD.encode(secret));
    let mut line = format!("{name} ");
    for byte in digest(&SHA256, token.as_bytes()).as_ref() {
        // Writing to a text can't fail.
        let _ = write!(line, "{byte:02x}");
    }
    if let Some(until) = until {
        let until = DateTime::<Utc>::from(until).to_rfc3339_opts(SecondsFormat::Secs, true);
        let _ = write!(line, " until {until}");
    }
    Ok(NewToken { token, line })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UNKNOWN: CredentialsError = CredentialsError::Invalid(InvalidCause::UnknownToken);
    const MALFORMED: CredentialsError = CredentialsError::Invalid(InvalidCause::Malformed);

    #[test]
    fn a_token_is_known_by_its_line() {
        let now = SystemTime::now();
        let made = new_token("feed-2", None).unwrap();
        let other = new_token("feed-2", None).unwrap();
        let tokens = format!("# the feed\n\n{}\n  {}  \n", made.line, other.line);
        let tokens = StaticTokens::parse(&tokens).unwrap();
        for made in [&made, &other] {
            let found = tokens.find(&made.token, now).unwrap();
            assert_eq!(&*found.name, "token:feed-2");
            assert_eq!(found.identity, Identity::Token { name: "feed-2".into() });
            assert_eq!(made.token.len(), "bks_feed-2_".len() + 43);
            assert!(!format!("{made:?}").contains(&made.token));
        }
        assert_eq!(tokens.names().collect::<Vec<_>>(), ["feed-2"]);
    }

    #[test]
    fn other_tokens_are_unknown() {
        let now = SystemTime::now();
        let [ours, others] = ["feed", "other"].map(|name| new_token(name, None).unwrap());
        let strangers = new_token("feed", None).unwrap();
        let tokens = StaticTokens::parse(&format!("{}\n{}", ours.line, others.line)).unwrap();
        // Another name with the right secret, and the right name with the secret of another.
        let renamed = ours.token.replace("bks_feed", "bks_other");
        let swapped = others.token.replace("bks_other", "bks_feed");
        let unknown = ours.token.replace("bks_feed", "bks_nobody");
        for token in [&renamed, &swapped, &strangers.token, &unknown] {
            assert_eq!(tokens.find(token, now), Err(UNKNOWN), "{token}");
        }
        let longer = format!("{}A", ours.token);
        let upper = ours.token.to_uppercase();
        for token in ["", "bks_", "bks_feed_", "bks_feed", &upper, &ours.token[1..]] {
            assert_eq!(tokens.find(token, now), Err(MALFORMED), "{token}");
        }
        assert!(tokens.find(&longer, now).is_err());
        assert!(tokens.find(&ours.token[..ours.token.len() - 1], now).is_err());
    }

    #[test]
    fn a_token_expires_at_its_time() {
        let now = SystemTime::now();
        let made = new_token("feed", Some(now + Duration::from_secs(3600))).unwrap();
        let tokens = StaticTokens::parse(&made.line).unwrap();
        assert!(tokens.find(&made.token, now).is_ok());
        let late = now + Duration::from_secs(3601);
        assert_eq!(tokens.find(&made.token, late), Err(CredentialsError::Expired));
        let wrong = new_token("feed", None).unwrap();
        assert_eq!(tokens.find(&wrong.token, late), Err(UNKNOWN), "a wrong one isn't expired");
    }

    #[test]
    fn a_wrong_line_is_named_and_not_quoted() {
        let hash = "ab".repeat(32);
        let token = new_token("feed", None).unwrap().token;
        for (line, fault) in [
            ("feed".to_owned(), "must be NAME HASH"),
            (format!("feed {hash} 2027-01-01T00:00:00Z"), "must be NAME HASH"),
            (format!("feed {hash} until tomorrow"), "the time must be as in"),
            (format!("Feed {hash}"), "the name must be lower-case"),
            (format!("feed {}", &hash[1..]), "64 hexadecimal digits"),
            (format!("feed {}zz", &hash[2..]), "64 hexadecimal digits"),
            (format!("feed {token}"), "holds a token instead of its hash"),
            (format!("feed {hash}\nfeed {hash}"), "line 3: the token stands in the file already"),
        ] {
            let refused = StaticTokens::parse(&format!("# tokens\n{line}")).err().unwrap();
            assert!(refused.contains(fault) && refused.starts_with("line "), "{refused}");
            assert!(!refused.contains(&hash) && !refused.contains(&token), "{refused}");
        }
        for name in ["", "a b", "-a", "a_b", "ä", &"a".repeat(65)] {
            assert!(new_token(name, None).is_err(), "{name}");
        }
    }
}
