//! Answers that are too large to store whole: they are stored without their resources.

use std::fmt::Debug;

use futures_util::future::BoxFuture;

use crate::{error::StoreError, session::connection::Connection};

/// The size from which on an answer is stored abridged, in bytes.
pub(crate) const LARGE: usize = 64 * 1024;

/// The first byte of an abridged answer. No encoded message begins with it, since field numbers
/// begin at 1 (Protocol Buffers, Encoding).
const MARK: u8 = 0;

/// Abridges large answers and restores them. The store doesn't know their types.
pub trait LargeAnswers: Debug + Send + Sync {
    /// The answer of a method with nothing but ids in its resources; `None` if it has none.
    fn abridge(&self, method: &str, answer: &[u8]) -> Option<Vec<u8>>;

    /// The answer with its resources as they are now. One that was deleted stays an id.
    ///
    /// # Errors
    /// What the database answers.
    fn restore<'a>(
        &'a self,
        method: &'a str,
        abridged: Vec<u8>,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;
}

/// The stored form of an answer.
pub(crate) fn stored(
    large_answers: Option<&dyn LargeAnswers>,
    method: &str,
    answer: &[u8],
) -> Vec<u8> {
    let abridged = large_answers
        .filter(|_| answer.len() > LARGE)
        .and_then(|large_answers| large_answers.abridge(method, answer));
    match abridged {
        Some(abridged) => [&[MARK], abridged.as_slice()].concat(),
        None => answer.to_vec(),
    }
}

/// The abridged answer in a stored one; the error is a whole answer.
pub(crate) fn abridged(stored: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
    match stored.split_first() {
        Some((&MARK, abridged)) => Ok(abridged.to_vec()),
        _ => Err(stored),
    }
}
