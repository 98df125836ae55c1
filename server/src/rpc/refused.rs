//! Why a request is not carried out.

use bookstore_store::FieldViolation;
use tonic::Status;

use super::status;

/// Why a request isn't carried out.
#[derive(Debug)]
pub enum Refused {
    /// Its values break rules.
    Invalid(Vec<FieldViolation>),
    /// Its bytes are no message of its type.
    Malformed,
    /// The schema has not been found right yet.
    NotReady,
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(violations) => status::invalid(&violations),
            Refused::Malformed => status::malformed_message(),
            Refused::NotReady => status::schema_pending(&[]),
        }
    }
}
