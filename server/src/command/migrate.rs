//! `bookstore migrate`: the migrations of the database, by hand.

use bookstore_migration::tool::{self, Runner};
use clap::{Args, Subcommand};

use super::failure::Failure;
use crate::{app, config::Config};

/// The arguments of `migrate`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Applies pending revisions, all of them unless told how many.
    Up {
        /// How many revisions to apply at most.
        count: Option<u32>,
    },
    /// Reverts the last applied revisions. Their data is lost.
    Down {
        /// How many revisions to revert.
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Lists every revision with its state. Changes nothing.
    Status,
}

/// Does what was asked and tells of each revision.
///
/// # Errors
/// If the database can't be reached or a revision fails.
#[expect(clippy::print_stdout, reason = "a command's own output")]
pub async fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let store = app::open_store(&config.database)?;
    if matches!(arguments.action, Action::Status) && !store.exists() {
        tool::known().iter().for_each(|revision| println!("pending {revision}"));
        return Ok(());
    }
    let session = store.migration_session().await.map_err(app::AppError::from)?;
    let connection = &session.connection;
    match arguments.action {
        Action::Up { count } => {
            let runner = Runner::start(connection, session.lock_file.as_deref()).await?;
            let done = runner.up(count, |revision| println!("applied {revision}")).await?;
            if done == 0 {
                println!("nothing to apply");
            }
        }
        Action::Down { count } => {
            let runner = Runner::start(connection, session.lock_file.as_deref()).await?;
            let done = runner.down(count, |revision| println!("reverted {revision}")).await?;
            if done == 0 {
                println!("nothing to revert");
            }
        }
        Action::Status => {
            for revision in tool::status(connection).await? {
                let state = if revision.applied { "applied" } else { "pending" };
                println!("{state} {}", revision.id);
            }
        }
    }
    Ok(())
}
