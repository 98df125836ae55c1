//! Why the service doesn't start, or doesn't end well.

use bookstore_migration::error::MigrationError;
use bookstore_store::StoreError;
use thiserror::Error;

use crate::{config::Address, sample_data::SampleDataError};

/// Why the service could not start, or did not end well.
#[derive(Debug, Error)]
pub enum AppError {
    /// The database's URL, or the database itself.
    #[error("the database: {}", .0.report())]
    Store(#[from] StoreError),
    /// Migrating the database.
    #[error("migrating the database: {0}")]
    Migration(#[from] MigrationError),
    /// The address can't be listened on.
    #[error("{setting} {address}: {source}")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: Address,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file of certificates, credentials or rules can't be used.
    #[error("{0}")]
    Security(String),
    /// The listener ended without a signal.
    #[error("the listener: {0}")]
    Listener(#[from] tokio::task::JoinError),
    /// A signal stopped the service, and calls were still in flight after `shutdown_timeout`.
    #[error("calls were in flight after shutdown_timeout: {0} cancelled")]
    CallsCut(usize),
    /// Signals can't be received.
    #[error("installing signal handlers: {0}")]
    Signals(#[source] std::io::Error),
    /// The contract and its registered methods differ: an error of the build.
    #[error("the contract: {0}")]
    Contract(String),
    /// Loading the sample data.
    #[error("loading the sample data: {0}")]
    SampleData(#[from] SampleDataError),
    /// There is no schema to load the sample data into.
    #[error("loading the sample data: the schema is not migrated (serve --migrate does it)")]
    NotMigrated,
}
