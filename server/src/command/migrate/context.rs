//! What every verb of `migrate` works with, and why it fails.

use bookstore_migration::{
    chain::Chain,
    error::{MigrationError, exit},
    runner::Options,
    target::TargetError,
};

use sea_orm::DbErr;

use super::output::Output;
use crate::{app, command::failure::Failure, config::Config, migrations::StoreOpener};

/// What every verb works with.
pub(super) struct Context<'a> {
    /// The settings.
    pub(super) config: &'a Config,
    /// The revisions that the program has.
    pub(super) chain: Chain,
    /// How the steps run.
    pub(super) options: Options,
    /// How results are printed.
    pub(super) output: Output,
}

impl Context<'_> {
    /// Opens sessions of the configured database.
    pub(super) fn opener(&self) -> Result<StoreOpener, Problem> {
        Ok(StoreOpener(app::open_store(&self.config.database)?))
    }
}

/// Why a verb failed.
pub(super) enum Problem {
    Migration(MigrationError),
    Other(Failure),
}

impl<E: Into<Failure>> From<E> for Problem {
    fn from(error: E) -> Self {
        // An error of a runner has an exit code of its own, and so has a target's.
        match error.into().downcast::<MigrationError>() {
            Ok(error) => Self::Migration(*error),
            Err(error) => match error.downcast::<TargetError>() {
                Ok(error) => Self::Migration((*error).into()),
                Err(error) => Self::Other(match error.downcast::<DbErr>() {
                    // In the same words as an error of a runner.
                    Ok(error) => MigrationError::from(*error).to_string().into(),
                    Err(error) => error,
                }),
            },
        }
    }
}

impl Problem {
    /// What is printed.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Migration(error) => error.to_string(),
            Self::Other(error) => error.to_string(),
        }
    }

    /// What the program ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Migration(error) => error.exit_code(),
            Self::Other(_) => exit::FAILED,
        }
    }
}
