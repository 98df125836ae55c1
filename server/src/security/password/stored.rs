//! Hashes of passwords as rows hold them: Argon2 as PHC strings, which this program makes, and
//! bcrypt in its modular crypt format, which imported users may have.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, PasswordHash},
};

use super::workers::{Hashing, PasswordError};

/// The prefixes of bcrypt. `2y` is PHP's name for what others call `2b`; `2a` differs for passwords
/// that no password of this contract is like.
const BCRYPT: [&str; 3] = ["$2a$", "$2b$", "$2y$"];

/// The bytes of a hash of bcrypt.
const BCRYPT_LENGTH: usize = 60;

/// The costs of bcrypt that are taken in. 4 is the smallest that bcrypt has. 15 takes seconds.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// The most that an imported hash of Argon2 may ask for. A login computes it, so it bounds the
/// memory and the time that one login takes.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;

/// A hash that a row holds.
pub(super) enum StoredHash<'a> {
    Argon2(Box<PasswordHash>),
    Bcrypt(&'a str),
}

impl<'a> StoredHash<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// If it has neither form.
    pub(super) fn parse(text: &'a str) -> Result<Self, PasswordError> {
        if BCRYPT.iter().any(|prefix| text.starts_with(prefix)) {
            return Ok(Self::Bcrypt(text));
        }
        Ok(Self::Argon2(Box::new(PasswordHash::new(text).map_err(PasswordError::of)?)))
    }

    /// Whether it is that of a password.
    ///
    /// # Errors
    /// If it has no salt, or is of an algorithm that is not known.
    pub(super) fn verify(
        &self,
        password: &str,
        memory: &mut Vec<Block>,
    ) -> Result<bool, PasswordError> {
        let hash = match self {
            // bcrypt reads 72 bytes of a password and ignores the others, as it did when the hash
            // was made.
            Self::Bcrypt(hash) => return bcrypt::verify(password, hash).map_err(PasswordError::of),
            Self::Argon2(hash) => hash,
        };
        let params = Params::try_from(&**hash).map_err(PasswordError::of)?;
        let version = match hash.version {
            Some(version) => Version::try_from(version).map_err(PasswordError::of)?,
            // The reference implementation leaves version 0x10 out (argon2, encoding.c).
            None => Version::V0x10,
        };
        let (Some(salt), Some(stored)) = (&hash.salt, &hash.hash) else {
            return Err(PasswordError::of("a hash without a salt or without its value"));
        };
        let algorithm = Algorithm::new(hash.algorithm.as_str()).map_err(PasswordError::of)?;
        let mut output = vec![0; stored.len()];
        fill(algorithm, &params, version, password.as_bytes(), salt, &mut output, memory)?;
        // Compares in constant time.
        Ok(Output::new(&output).map_err(PasswordError::of)? == *stored)
    }

    /// Whether it is of another algorithm than Argon2id, or took less memory or fewer passes than
    /// the settings want.
    pub(super) fn is_weaker(&self, hashing: &Hashing) -> bool {
        let Self::Argon2(hash) = self else { return true };
        hash.algorithm != Algorithm::Argon2id.ident()
            || Params::try_from(&**hash).is_ok_and(|params| {
                params.m_cost() < hashing.memory_kib || params.t_cost() < hashing.passes
            })
    }
}

/// Checks a hash that another program made, before it is stored.
///
/// # Errors
/// What it must be. The sentence does not repeat the hash.
pub fn check_foreign(text: &str) -> Result<(), String> {
    let unknown = || {
        "must be a hash of Argon2 ($argon2id$, $argon2i$, $argon2d$) or bcrypt ($2a$, $2b$, $2y$)"
            .to_owned()
    };
    match StoredHash::parse(text).map_err(|_| unknown())? {
        StoredHash::Bcrypt(text) => {
            let parts: bcrypt::HashParts = text
                .parse()
                .map_err(|_| "must be a whole hash of bcrypt, 60 characters".to_owned())?;
            // A cost of two digits, and salt and value in bcrypt's own base64.
            let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
            let bytes = text.as_bytes();
            if bytes.len() != BCRYPT_LENGTH
                || bytes[6] != b'$'
                || !bytes[7..].iter().copied().all(is_base64)
            {
                return Err("must be a whole hash of bcrypt, 60 characters".to_owned());
            }
            if !BCRYPT_COSTS.contains(&parts.get_cost()) {
                let (least, most) = (BCRYPT_COSTS.start(), BCRYPT_COSTS.end());
                return Err(format!("must have a cost of bcrypt from {least} to {most}"));
            }
        }
        StoredHash::Argon2(hash) => {
            if Algorithm::new(hash.algorithm.as_str()).is_err() {
                return Err(unknown());
            }
            let params = Params::try_from(&*hash)
                .map_err(|error| format!("has wrong parameters of Argon2: {error}"))?;
            if hash.version.is_some_and(|version| Version::try_from(version).is_err()) {
                return Err("must be of version 16 or 19 of Argon2 (v=)".to_owned());
            }
            if hash.salt.is_none() || hash.hash.is_none() {
                return Err("must have a salt and a value".to_owned());
            }
            if params.m_cost() > MOST_MEMORY_KIB
                || params.t_cost() > MOST_PASSES
                || params.p_cost() > MOST_LANES
            {
                return Err(format!(
                    "must have parameters of Argon2 up to m={MOST_MEMORY_KIB}, t={MOST_PASSES}, \
                     p={MOST_LANES}"
                ));
            }
        }
    }
    Ok(())
}

/// Computes Argon2 in memory that the caller keeps.
pub(super) fn fill(
    algorithm: Algorithm,
    params: &Params,
    version: Version,
    password: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Vec<Block>,
) -> Result<(), PasswordError> {
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.reserve_exact(blocks - memory.len());
        memory.resize(blocks, Block::default());
    }
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2
        .hash_password_into_with_memory(password, salt, output, &mut memory[..blocks])
        .map_err(PasswordError::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the password `correct horse`, made by the bcrypt of Python.
    const OF_BCRYPT: &str = "$2b$04$uecI.qPL65lc2wvPXrz/IeF/TOTvwLcOea6Xcf.zHqyT866oGdwva";

    /// Of the same password by argon2-cffi in version 16, and as older programs write it, without the
    /// version.
    #[test]
    fn hash_without_a_version_is_of_version_16() {
        let named = "$argon2i$v=16$m=1024,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$\
                     aomSxe9+DWlvzNsUOfEW2uZu88YvvD3nvPNYlN7DDDo";
        for hash in [named, &named.replace("$v=16", "")] {
            check_foreign(hash).expect(hash);
            let stored = StoredHash::parse(hash).expect(hash);
            assert!(stored.verify("correct horse", &mut Vec::new()).expect(hash), "{hash}");
            assert!(!stored.verify("wrong horse", &mut Vec::new()).expect(hash), "{hash}");
        }
    }

    #[test]
    fn foreign_hash_that_cannot_be_verified_is_refused() {
        let half = &OF_BCRYPT[..40];
        let costly = OF_BCRYPT.replacen("$04$", "$31$", 1);
        let big = "$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                   AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let whole = |start: &str, salt: &str| {
            format!("$argon2id${start}${salt}$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        };
        let cases: &[(&str, &str)] = &[
            ("", "Argon2"),
            ("secret", "Argon2"),
            ("pbkdf2_sha256$600000$abc$def", "Argon2"),
            ("$6$salt$abc", "Argon2"),
            (half, "60 characters"),
            (&costly, "cost of bcrypt from 4 to 15"),
            (big, "up to m=262144"),
            ("$argon2id$v=19$m=4096,t=2,p=1", "a salt"),
            (&whole("v=20$m=4096,t=2,p=1", "AAAAAAAAAAAAAAAAAAAAAA"), "version 16 or 19"),
            (&whole("v=19$m=4096,t=2,p=1", "AAAA"), "must be a hash of Argon2"),
            (&whole("v=19$m=8,t=2,p=4", "AAAAAAAAAAAAAAAAAAAAAA"), "parameters"),
            (&whole("v=19$m=4096,t=0,p=1", "AAAAAAAAAAAAAAAAAAAAAA"), "parameters"),
            (&whole("v=19$m=4096,t=2,p=1,x=1", "AAAAAAAAAAAAAAAAAAAAAA"), "parameters"),
            (&OF_BCRYPT.replace("IeF", "I!F"), "60 characters"),
            (&OF_BCRYPT.replace("uec", "u c"), "60 characters"),
            (&format!("{OF_BCRYPT} "), "60 characters"),
            (&OF_BCRYPT.replacen("$04$", "$4$a", 1), "60 characters"),
        ];
        for (hash, expected) in cases {
            let error = check_foreign(hash).expect_err(hash);
            assert!(error.contains(expected), "{hash}: {error}");
        }
    }
}
