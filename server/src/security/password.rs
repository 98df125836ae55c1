//! Passwords: hashed with Argon2id (RFC 9106) by a few threads (`workers`), and compared with what is
//! `stored`.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB on purpose, so no more of them run at
//! once than there are threads, and few calls wait for one.

mod stored;
mod workers;

use std::fmt;

use argon2::{
    Algorithm, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use rand::Rng;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use self::stored::{StoredHash, fill};
pub use self::{
    stored::check_foreign,
    workers::{Hashing, PasswordError, configure, memory, threads},
};

/// A password as a caller sent it. It is never shown, not even in this program's own log.
#[derive(Clone)]
pub struct Password {
    /// Composed (Unicode Normalization Form C): keyboards differ in what they send for é.
    composed: String,
    /// As it was typed, where that differs: older hashes are of that.
    typed: Option<String>,
}

/// Whether a password is the one of a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is another one, or nothing is stored.
    Wrong,
    /// It is that one, and the hash is as the settings want it.
    Right,
    /// It is that one, and the hash should be made anew.
    Weak,
}

impl Password {
    /// Takes a password in.
    pub fn new(text: String) -> Self {
        match is_nfc(&text) {
            true => Self { composed: text, typed: None },
            false => Self { composed: text.nfc().collect(), typed: Some(text) },
        }
    }

    /// Hashes it with a salt of its own, as a PHC string.
    ///
    /// # Errors
    /// If too many calls wait; else by a fault of this program or a system without randomness.
    pub async fn hash(self) -> Result<String, PasswordError> {
        let hashes = hash_all(vec![Some(self)]).await?;
        hashes.into_iter().flatten().next().ok_or_else(|| PasswordError::of("no hash"))
    }

    /// Whether a stored hash is that of this password; never without one. It takes as long
    /// with one as without.
    ///
    /// # Errors
    /// If too many calls wait, or what is stored is no hash of Argon2 or bcrypt.
    pub async fn is_of(self, stored: Option<String>) -> Result<Match, PasswordError> {
        let _slot = workers::slot(1)?;
        let hashing = workers::hashing();
        workers::run(move |memory| {
            let made_up = hashing.made_up();
            let hash = stored.as_deref().unwrap_or(&made_up);
            let hash = StoredHash::parse(hash)?;
            let mut found = hash.verify(&self.composed, memory)?;
            let mut weak = hash.is_weaker(&hashing);
            if let (false, Some(typed)) = (found, &self.typed) {
                found = hash.verify(typed, memory)?;
                weak = true;
            }
            // An imported hash may take more memory than the threads keep.
            if memory.len() > hashing.blocks() {
                memory.truncate(hashing.blocks());
                memory.shrink_to_fit();
            }
            Ok(match (found && stored.is_some(), weak) {
                (false, _) => Match::Wrong,
                (true, false) => Match::Right,
                (true, true) => Match::Weak,
            })
        })
        .await
    }
}

/// Hashes passwords one after the other, so that a call with many takes turns with others.
///
/// # Errors
/// If too many calls wait; else by a fault of this program or a system without randomness.
pub async fn hash_all(
    passwords: Vec<Option<Password>>,
) -> Result<Vec<Option<String>>, PasswordError> {
    let count = passwords.iter().flatten().count();
    if count == 0 {
        return Ok(passwords.into_iter().map(|_| None).collect());
    }
    let _slot = workers::slot(count)?;
    let mut hashes = Vec::with_capacity(passwords.len());
    for password in passwords {
        hashes.push(match password {
            None => None,
            Some(password) => {
                let hashing = workers::hashing();
                let hashed = workers::run(move |memory| hash_now(&password, &hashing, memory));
                Some(hashed.await?)
            }
        });
    }
    Ok(hashes)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// The bytes of a salt, as RFC 9106 recommends.
const SALT: usize = 16;

fn hash_now(
    password: &Password,
    hashing: &Hashing,
    memory: &mut Vec<Block>,
) -> Result<String, PasswordError> {
    let salt: [u8; SALT] = rand::rng().random();
    let params = hashing.params().map_err(PasswordError::of)?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    fill(algorithm, &params, version, password.composed.as_bytes(), &salt, &mut output, memory)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(PasswordError::of)?,
        salt: Some(Salt::new(&salt).map_err(PasswordError::of)?),
        hash: Some(Output::new(&output).map_err(PasswordError::of)?),
    };
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_verifies_its_own_password_only() {
        let hash = password("correct horse").hash().await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, password("correct horse").hash().await.unwrap(), "each has its salt");
        let compare = async |text: &str| password(text).is_of(Some(hash.clone())).await.unwrap();
        assert_eq!(compare("correct horse").await, Match::Right);
        for wrong in ["correct horsf", "Correct horse", "", "correct horse "] {
            assert_eq!(compare(wrong).await, Match::Wrong, "{wrong:?}");
        }
        assert_eq!(password("no user's password").is_of(None).await.unwrap(), Match::Wrong);
        assert!(password("x").is_of(Some(String::new())).await.is_err());
        assert_eq!(format!("{:?}", password("secret")), "Password(***)");
    }

    #[tokio::test]
    async fn a_composed_letter_is_the_decomposed_one() {
        let hash = password("caf\u{e9} au lait").hash().await.unwrap();
        let decomposed = password("cafe\u{301} au lait").is_of(Some(hash)).await.unwrap();
        assert_eq!(decomposed, Match::Right);
        // As it was made before passwords were composed.
        let old = Password { composed: "cafe\u{301} au lait".to_owned(), typed: None };
        let old = old.hash().await.unwrap();
        let typed = password("cafe\u{301} au lait").is_of(Some(old)).await.unwrap();
        assert_eq!(typed, Match::Weak, "it is made anew, composed");
    }

    /// The example of the standard's authors with the smallest parameters.
    #[tokio::test]
    async fn a_weaker_hash_is_told() {
        let weaker = Hashing { memory_kib: 8, passes: 1, threads: 1 };
        let hash = hash_now(&password("correct horse"), &weaker, &mut Vec::new()).unwrap();
        let compared = password("correct horse").is_of(Some(hash.clone())).await.unwrap();
        assert_eq!(compared, Match::Weak);
        assert_eq!(password("wrong").is_of(Some(hash)).await.unwrap(), Match::Wrong);
    }

    /// What another implementation of Argon2id made.
    #[tokio::test]
    async fn hashes_of_others_are_read() {
        use argon2::{Argon2, PasswordHasher};
        let theirs: PasswordHash = Argon2::default().hash_password(b"correct horse").unwrap();
        let compared = password("correct horse").is_of(Some(theirs.to_string())).await.unwrap();
        assert_eq!(compared, Match::Right);
    }

    /// Of the password `correct horse`, made by the bcrypt of Python.
    const OF_BCRYPT: &str = "$2b$04$uecI.qPL65lc2wvPXrz/IeF/TOTvwLcOea6Xcf.zHqyT866oGdwva";

    /// Of the password `correct horse`, made by argon2-cffi with Argon2i.
    const OF_ARGON2I: &str = "$argon2i$v=19$m=1024,t=2,p=2$HT3VPdGasziS2MF2P6hEgg$0gV3KNaZGZUT3XFkcbDqz6em6foGI9fCjzJ5nHnpQRI";

    #[tokio::test]
    async fn hash_of_another_program_is_right_and_weak() {
        for hash in [OF_BCRYPT, &OF_BCRYPT.replace("$2b$", "$2y$"), OF_ARGON2I] {
            check_foreign(hash).unwrap();
            let compare = async |text: &str| {
                Password::new(text.to_owned()).is_of(Some(hash.to_owned())).await.unwrap()
            };
            assert_eq!(compare("correct horse").await, Match::Weak, "{hash}");
            assert_eq!(compare("correct horsf").await, Match::Wrong, "{hash}");
        }
    }
}
