//! `bookstore serve`: the service itself.

use bookstore_migration::chain::Chain;
use clap::Args;

use super::{failure::Failure, print};
use crate::{
    app,
    config::{Address, Config},
    shutdown::TerminationMessage,
};

/// The arguments of `serve`.
#[derive(Args)]
pub struct Arguments {
    /// Applies pending migrations first (`--database-migrate true`; SQLite does it anyway).
    #[arg(long)]
    migrate: bool,
    /// Loads a generated set of books into an empty database.
    #[arg(long)]
    sample_data: bool,
}

impl Arguments {
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
    app::serve(config, chain, arguments.sample_data, termination_message, announce).await?;
    Ok(())
}

/// One line for the parent process: with port 0 it has the port that the system chose.
fn announce(address: &Address) {
    print::announce(format!("LISTENING {address}"));
}
