//! Why a check fails.

use sea_orm::DbErr;
use thiserror::Error;

use crate::{catalog::SnapshotError, error::MigrationError};

/// Why a schema could not be checked.
#[derive(Debug, Error)]
pub enum CheckError {
    /// What the database answers.
    #[error("{0}")]
    Database(#[from] DbErr),
    /// The snapshot in the program can't be read: an error of the build.
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    /// Nothing may be created, and the snapshot is of another revision.
    #[error(
        "the migrations can't be replayed here ({reason}), and the snapshot that the program \
         carries is of {head}, to which the database isn't migrated: check as the schema's owner"
    )]
    NoReplay {
        /// Why nothing may be created.
        reason: String,
        /// The revision of the snapshot.
        head: String,
    },
    /// The migrations can't be replayed at all.
    #[error("{0}")]
    Replay(#[from] MigrationError),
}
