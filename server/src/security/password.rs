//! Passwords: hashed with Argon2id (RFC 9106), in a small pool of blocking threads.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB on purpose, so no more of them run
//! at once than there are cores.

use std::{fmt, sync::LazyLock, thread::available_parallelism};

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use thiserror::Error;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// A password as a caller sent it. It is never shown, not even in a log of this program's own.
#[derive(Clone)]
pub struct Password(String);

/// A password could not be hashed or compared: a fault of this program or of what it stored.
#[derive(Debug, Error)]
#[error("hashing a password: {0}")]
pub struct PasswordError(String);

/// One permit a core.
static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

/// What is compared where there is nothing to compare with, so that it takes as long.
static DECOY: LazyLock<Result<String, PasswordError>> =
    LazyLock::new(|| hash_now(&Password::new("nobody has this one".to_owned())));

impl Password {
    /// Takes a password in.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Hashes it with a salt of its own, as a PHC string.
    ///
    /// # Errors
    /// Only by a fault of this program or a system without randomness.
    pub async fn hash(self) -> Result<String, PasswordError> {
        blocking(move || hash_now(&self)).await
    }

    /// Whether a stored hash is that of this password; never without one. It takes as long
    /// with one as without.
    ///
    /// # Errors
    /// If what is stored is no hash of Argon2id.
    pub async fn is_of(self, stored: Option<String>) -> Result<bool, PasswordError> {
        blocking(move || {
            // Made by whoever comes first, whether or not it is needed then.
            let decoy = DECOY.as_ref().map_err(|error| PasswordError(error.0.clone()))?;
            let hash = stored.as_ref().unwrap_or(decoy);
            let hash = PasswordHash::new(hash).map_err(PasswordError::of)?;
            let verified = Argon2::default().verify_password(self.0.as_bytes(), &hash);
            match verified {
                Ok(()) => Ok(stored.is_some()),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(PasswordError::of(error)),
            }
        })
        .await
    }
}

impl PasswordError {
    fn of(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

fn hash_now(password: &Password) -> Result<String, PasswordError> {
    let hash: PasswordHash =
        Argon2::default().hash_password(password.0.as_bytes()).map_err(PasswordError::of)?;
    Ok(hash.to_string())
}

/// Whoever leaves while it waits for a core has cost nothing.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
) -> Result<T, PasswordError> {
    let permit = CORES.acquire().await.map_err(PasswordError::of)?;
    let work = spawn_blocking(move || {
        // Held by the work, which goes on if its caller leaves.
        let _permit = permit;
        work()
    });
    work.await.map_err(PasswordError::of)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_is_of_its_password_alone() {
        let hash = password("correct horse").hash().await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, password("correct horse").hash().await.unwrap(), "each has its salt");
        assert!(password("correct horse").is_of(Some(hash.clone())).await.unwrap());
        for wrong in ["correct horsf", "Correct horse", "", "correct horse "] {
            assert!(!password(wrong).is_of(Some(hash.clone())).await.unwrap(), "{wrong:?}");
        }
        assert!(!password("nobody has this one").is_of(None).await.unwrap());
        assert!(password("x").is_of(Some(String::new())).await.is_err());
        assert_eq!(format!("{:?}", password("secret")), "Password(***)");
    }
}
