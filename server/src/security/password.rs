//! Passwords: hashed with Argon2id (RFC 9106), in a small pool of blocking threads.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB on purpose, so no more of them run
//! at once than there are cores.

use std::{fmt, sync::LazyLock, thread::available_parallelism};

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use thiserror::Error;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// A password as a caller sent it. It is never shown, not even in this program's own log.
#[derive(Clone)]
pub struct Password(String);

/// A password could not be hashed or compared: an error of this program or of the stored hash.
#[derive(Debug, Error)]
#[error("hashing a password: {0}")]
pub struct PasswordError(String);

/// One permit a core.
static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

/// The hash to verify against when the user has none, so that both cases take equally long.
static DECOY: LazyLock<Result<String, PasswordError>> =
    LazyLock::new(|| hash_now(&Password::new("no user's password".to_owned())));

impl Password {
    /// Takes a password in.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Hashes it with a salt of its own, as a PHC string.
    ///
    /// # Errors
    /// If the parameters are invalid or the system has no source of randomness.
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
            // The first comparison makes it, also if that doesn't need it.
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

/// A call that is cancelled while it waits for a permit uses no core.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
) -> Result<T, PasswordError> {
    let permit = CORES.acquire().await.map_err(PasswordError::of)?;
    let work = spawn_blocking(move || {
        // Held by the blocking task, which goes on if its call is cancelled.
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
    async fn a_hash_verifies_its_own_password_only() {
        let hash = password("correct horse").hash().await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, password("correct horse").hash().await.unwrap(), "each has its salt");
        assert!(password("correct horse").is_of(Some(hash.clone())).await.unwrap());
        for wrong in ["correct horsf", "Correct horse", "", "correct horse "] {
            assert!(!password(wrong).is_of(Some(hash.clone())).await.unwrap(), "{wrong:?}");
        }
        assert!(!password("no user's password").is_of(None).await.unwrap());
        assert!(password("x").is_of(Some(String::new())).await.is_err());
        assert_eq!(format!("{:?}", password("secret")), "Password(***)");
    }
}
