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
    /// Restores a backup of a newer program.
    ///
    /// Also one with revisions that this program does not know.
    #[arg(long)]
    allow_newer: bool,
    /// Restores no privileges of roles.
    ///
    /// They are then granted by `bookstore migrate` alone.
    #[arg(long)]
    no_privileges: bool,
    /// A command of the shell that decrypts.
    ///
    /// It decrypts its input to its output, such as 'age -d -i KEYFILE'.
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
    let newer = admit(&backup, database.url.engine(), &chain)?;
    match newer {
        None => {}
        Some(newer) if arguments.allow_newer => print::error(&format!("warning: {newer}")),
        Some(newer) => {
            return Err(format!(
                "{newer}: restore it with the program that made it or a newer one; --allow-newer \
                 restores it nevertheless"
            )
            .into());
        }
    }
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
    let restored = |name: &str| manifest.revisions.iter().any(|one| one == name);
    if chain.revisions().iter().any(|revision| !restored(&revision.name)) {
        print::error("this program has newer revisions: run `bookstore migrate up` next");
    }
    Ok(())
}

/// Refuses a backup of another engine. Returns why the backup is of a newer program than this one,
/// if it is.
fn admit(backup: &BackupFile, engine: Engine, chain: &Chain) -> Result<Option<String>, Failure> {
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
    let (own, maker) = (env!("CARGO_PKG_VERSION"), &manifest.program);
    if let Some(unknown) = manifest.revisions.iter().find(|name| chain.get(name).is_none()) {
        return Ok(Some(format!(
            "{shown}: it has the revision {unknown}, which this program ({own}) does not know; the \
             program {maker} made it"
        )));
    }
    let is_newer = version(maker) > version(own);
    Ok(is_newer.then(|| format!("{shown}: the program {maker} made it, and this one is {own}")))
}

/// The numbers of a version (Semantic Versioning, 11), as in `1.2.3-rc.1`. A text that is no version
/// counts as the newest.
fn version(text: &str) -> [u64; 3] {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = numbers.split('.').map(|number| number.parse().unwrap_or(u64::MAX));
    std::array::from_fn(|_| numbers.next().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let ordered = ["0.1.0", "0.2.0", "0.10.0-rc.1", "0.10.1", "1.0.0", "1.0.x", "later"];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("0.1.0+build.5"), version("0.1.0"));
    }
}
