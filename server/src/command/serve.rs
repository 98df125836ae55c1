//! `bookstore serve`: the service itself.

use std::num::NonZeroU32;

use bookstore_migration::chain::Chain;
use clap::Args;

use super::{failure::Failure, print};
use crate::{
    app,
    config::{Address, Config},
    sample_data,
    shutdown::TerminationMessage,
};

/// The arguments of `serve`.
#[derive(Args)]
pub struct Arguments {
    /// Applies pending migrations first (`--database-migrate true`; SQLite does it anyway).
    #[arg(long)]
    migrate: bool,
    /// Loads generated rows of every resource into an empty database, with N books, 50 to 1000000.
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = sample_data::BOOKS,
        value_parser = clap::value_parser!(u32)
            .range(i64::from(sample_data::FEWEST_BOOKS)..=i64::from(sample_data::MOST_BOOKS))
    )]
    sample_data: Option<u32>,
}

impl Arguments {
    /// Serves a developer's database: migrates first, then loads the sample data.
    pub fn for_development(books: u32) -> Self {
        Self { migrate: true, sample_data: Some(books) }
    }

    /// Overrides the settings with these arguments.
    pub fn apply(&self, config: &mut Config) {
        config.database.migrate |= self.migrate;
    }
}

/// Serves until a signal.
///
/// # Errors
/// If the service can't start, or calls had to be cut at the end.
pub async fn run(
    config: &Config,
    chain: &Chain,
    arguments: &Arguments,
    termination_message: &TerminationMessage,
) -> Result<(), Failure> {
    let books = arguments.sample_data.and_then(NonZeroU32::new);
    app::serve(config, chain, books, termination_message, announce).await?;
    Ok(())
}

/// One line for the parent process: with port 0 it has the port that the system chose.
fn announce(address: &Address) {
    print::announce(format!("LISTENING {address}"));
}
