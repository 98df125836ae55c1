//! `bookstore restore`: a backup into an empty database.

use std::{path::PathBuf, process::ExitCode};

use bookstore_migration::revision::Engine;
use bookstore_migration::{chain::Chain, clock, revision::Revision};
use clap::Args;

use super::{
    file::BackupFile, finish, postgres, postgres::PostgresRestore, progress::Rate, sqlite,
    until_signal,
};
use crate::{
    command::{failure::Failure, print},
    config::{Config, Database},
    shutdown::Signals,
};

/// The arguments of `restore`.
#[derive(Args)]
#[command(
    after_help = "The database must be empty. After a failure or an interrupt it is as before.\n\
                  Exit codes: 0 done; 1 failed; 2 wrong command line; 64 wrong setting; \
                  130 Ctrl-C; 143 SIGTERM."
)]
pub struct Arguments {
    /// The backup, as `bookstore backup list` shows it.
    file: PathBuf,
    /// Replaces what the database has. Stop the service before.
    #[arg(long)]
    force: bool,
    /// Restores no privileges of roles. They are then granted by `bookstore migrate` alone.
    #[arg(long)]
    no_privileges: bool,
    /// A command of the shell that decrypts its input to its output, such as 'age -d -i KEYFILE'.
    #[arg(long, value_name = "COMMAND")]
    decrypt_command: Option<String>,
}

/// Does what was asked.
pub async fn run(config: &Config, revisions: Vec<Revision>, arguments: &Arguments) -> ExitCode {
    match Signals::install() {
        Ok(mut signals) => {
            let work = restore(&config.database, revisions, arguments);
            until_signal(&mut signals, work).await
        }
        Err(error) => finish(Err(error.into())),
    }
}

async fn restore(
    database: &Database,
    revisions: Vec<Revision>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let chain = Chain::new(revisions)?;
    let backup = BackupFile::open(&arguments.file)?;
    admit(&backup, database.url.engine(), &chain)?;
    let decrypt = arguments.decrypt_command.as_deref();
    let shown = backup.path.display();
    match (backup.manifest.is_encrypted, decrypt) {
        (true, None) => {
            return Err(format!("{shown}: it is encrypted: give --decrypt-command").into());
        }
        (false, Some(_)) => {
            return Err(format!("{shown}: it is not encrypted: leave --decrypt-command out").into());
        }
        _ => {}
    }
    let mut rate = Rate::start("check");
    backup.check(&mut |bytes| rate.set(bytes)).await?;
    rate.end();
    let mut rate = Rate::start("restore");
    match database.url.engine() {
        Engine::Postgres => {
            let (force, privileges) = (arguments.force, !arguments.no_privileges);
            let how = PostgresRestore { decrypt, force, privileges };
            postgres::restore(database, &backup, how, &mut rate).await?;
        }
        Engine::Sqlite => {
            sqlite::restore(database, &backup, decrypt, arguments.force, &mut rate).await?;
        }
    }
    rate.end();
    let manifest = &backup.manifest;
    print::line(&format!(
        "restored {} rows of {} tables from {}, at {}",
        manifest.rows(),
        manifest.tables.len(),
        clock::text(manifest.created_at),
        manifest.head()
    ));
    if chain.head().is_some_and(|head| head.name != manifest.head()) {
        print::error("this program has newer revisions: run `bookstore migrate up` next");
    }
    Ok(())
}

/// Refuses a backup of another engine, or of a newer program.
fn admit(backup: &BackupFile, engine: Engine, chain: &Chain) -> Result<(), Failure> {
    let (shown, manifest) = (backup.path.display(), &backup.manifest);
    let wanted = match engine {
        Engine::Postgres => "postgres",
        Engine::Sqlite => "sqlite",
    };
    if manifest.engine != wanted {
        return Err(format!(
            "{shown}: it is a backup of {} and DATABASE_URL names {wanted}: name a database of the \
             same engine",
            manifest.engine
        )
        .into());
    }
    let unknown = manifest.revisions.iter().find(|name| chain.get(name).is_none());
    match unknown {
        None => Ok(()),
        Some(unknown) => Err(format!(
            "{shown}: it has the revision {unknown}, which this program ({}) does not know: restore \
             it with the program that made it ({}) or a newer one",
            env!("CARGO_PKG_VERSION"),
            manifest.program
        )
        .into()),
    }
}
