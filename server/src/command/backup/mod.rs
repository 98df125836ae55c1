//! `bookstore backup` and `bookstore restore`: copies of the database that are checked when they are
//! made and when they are restored.

mod file;
mod list;
mod manifest;
mod path_error;
mod postgres;
mod progress;
mod psql;
pub mod restore;
mod sqlite;
mod sqlite_file;
mod stream;
mod workspace;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bookstore_migration::{clock, revision::Engine};
use clap::{Args, Subcommand};

use self::{
    file::{BackupFile, BackupWriter},
    list::{EXTENSION, Retention},
    path_error::{Target, folder_of, unwritable},
    progress::Rate,
    workspace::Workspace,
};
use super::{failure::Failure, print};
use crate::{
    config::{Config, Database},
    shutdown::{Signal, Signals},
};

/// The folder of backups if `--to` names none.
const FOLDER: &str = "backups";

/// The name of the unfinished backup in the workspace.
const UNFINISHED: &str = "backup";

/// The arguments of `backup`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "The service may run meanwhile. What was committed before the start is in the backup.\n\
                  Exit codes: 0 done; 1 failed; 2 wrong command line; 64 wrong setting; \
                  130 Ctrl-C; 143 SIGTERM."
)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<BackupVerb>,
    #[command(flatten)]
    make: MakeArguments,
}

#[derive(Subcommand)]
enum BackupVerb {
    /// Lists the backups of a folder, the newest first.
    List(ListArguments),
}

/// The arguments of `backup` itself.
#[derive(Args)]
struct MakeArguments {
    /// A folder, or the name of a new file.
    ///
    /// A folder gets a file named after the time. A name that ends with / is a folder, which is made.
    #[arg(long, value_name = "DIR|FILE", default_value = "backups/")]
    to: PathBuf,
    /// Deletes older backups. 0 keeps all.
    ///
    /// Those of this database in the folder.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    keep_days: u32,
    /// Keeps only so many backups, the newest.
    ///
    /// Of those of this database in the folder.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Restores the backup to compare it.
    ///
    /// Into a scratch database, and compares counts and checksums of all tables.
    #[arg(long)]
    verify: bool,
    /// A command of the shell that encrypts.
    ///
    /// It encrypts its input to its output, such as 'age -r KEY'.
    #[arg(long, value_name = "COMMAND")]
    encrypt_command: Option<String>,
    /// The command that decrypts it.
    ///
    /// With it the backup is read back.
    #[arg(long, value_name = "COMMAND", requires = "encrypt_command")]
    decrypt_command: Option<String>,
}

/// The arguments of `backup list`.
#[derive(Args)]
struct ListArguments {
    /// The folder.
    #[arg(default_value = FOLDER)]
    folder: PathBuf,
    /// Reads each backup whole and compares its SHA-256.
    #[arg(long)]
    check: bool,
    /// Answers one JSON document on standard output.
    #[arg(long)]
    json: bool,
}

/// Does what was asked.
pub async fn run(config: &Config, arguments: &Arguments) -> ExitCode {
    match &arguments.verb {
        Some(BackupVerb::List(list)) => {
            finish(list::print(&list.folder, list.json, list.check).await)
        }
        None => match Signals::install() {
            Ok(mut signals) => make(&config.database, &arguments.make, &mut signals).await,
            Err(error) => finish(Err(error.into())),
        },
    }
}

/// Prints why a command failed.
fn finish(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::last_words(format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs work until a signal comes. What it has begun is then removed.
async fn until_signal(
    signals: &mut Signals,
    work: impl Future<Output = Result<(), Failure>>,
) -> ExitCode {
    tokio::select! {
        done = work => finish(done),
        signal = signals.wait() => interrupted(signal),
    }
}

fn interrupted(signal: Signal) -> ExitCode {
    print::last_words("interrupted: nothing was left and nothing changed".to_owned());
    ExitCode::from(signal.exit_code())
}

async fn make(database: &Database, arguments: &MakeArguments, signals: &mut Signals) -> ExitCode {
    let (to, is_folder) = match destination(&arguments.to) {
        Ok(destination) => destination,
        Err(error) => return finish(Err(error)),
    };
    let workspace = match Workspace::create(folder_of(&to), Target::Backup) {
        Ok(workspace) => workspace,
        Err(error) => return finish(Err(error)),
    };
    let work = async {
        write(database, arguments, &workspace).await?;
        read_back(arguments, &workspace).await?;
        if arguments.verify {
            verify(database, arguments, &workspace).await?;
        }
        // Of two backups of the same second the first one keeps its name.
        let (mut name, mut number) = (to.clone(), 1);
        while !workspace.publish_new(UNFINISHED, &name)? {
            if !is_folder {
                return Err(format!("{}: it was made meanwhile: try again", to.display()).into());
            }
            number += 1;
            name = numbered(&to, number);
        }
        let to = name;
        let backup = BackupFile::open(&to)?;
        let manifest = &backup.manifest;
        print::line(&format!(
            "{}: {} rows of {} tables at {}, {} bytes",
            to.display(),
            manifest.rows(),
            manifest.tables.len(),
            manifest.head(),
            backup.bytes
        ));
        if is_folder {
            let retention = Retention { days: arguments.keep_days, number: arguments.keep };
            list::prune(&backup, retention, now())?;
        }
        Ok(())
    };
    let mut work = Box::pin(work);
    tokio::select! {
        done = &mut work => finish(done),
        signal = signals.wait() => {
            // It ends the client programs and their sessions.
            drop(work);
            drop(workspace);
            if arguments.verify && database.url.engine() == Engine::Postgres {
                // The next --verify drops it otherwise.
                let _ = postgres::drop_scratch(database).await;
            }
            interrupted(signal)
        }
    }
}

/// The path of the new backup, and whether the user named its folder only.
fn destination(to: &Path) -> Result<(PathBuf, bool), Failure> {
    if to == Path::new("-") {
        return Err("-: a backup is read back, so it can't be written to standard output: name a \
                    file or a folder with --to"
            .into());
    }
    let is_folder = to.is_dir() || to.to_string_lossy().ends_with('/');
    if !is_folder {
        if to.exists() {
            let to = to.display();
            return Err(format!("{to}: it exists: name a new file, or a folder").into());
        }
        return Ok((to.to_path_buf(), false));
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(to).map_err(|error| unwritable(to, &error, Target::Backup))?;
    let time = clock::text(now()).replace(['-', ':'], "");
    Ok((to.join(format!("bookstore-{time}.{EXTENSION}")), true))
}

/// The path with a number behind its name.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{number}.{EXTENSION}"))
}

/// The current time in seconds since 1970.
fn now() -> i64 {
    bookstore_store::now().timestamp()
}

/// Writes the backup into the workspace.
async fn write(
    database: &Database,
    arguments: &MakeArguments,
    workspace: &Workspace,
) -> Result<(), Failure> {
    let encrypt = arguments.encrypt_command.as_deref();
    let (is_encrypted, now) = (encrypt.is_some(), now());
    let path = workspace.path(UNFINISHED);
    let content;
    let mut writer;
    let mut rate;
    match database.url.engine() {
        Engine::Postgres => {
            let (snapshot, manifest) = postgres::snapshot(database, is_encrypted, now).await?;
            rate = Rate::start("backup");
            writer = BackupWriter::create(&path, &manifest)?;
            content = snapshot.write(&mut writer, encrypt, &mut rate).await?;
        }
        Engine::Sqlite => {
            let mut copied = Rate::start("copy");
            let manifest =
                sqlite::snapshot(database, workspace, is_encrypted, now, &mut copied).await?;
            copied.end();
            rate = Rate::start("backup");
            writer = BackupWriter::create(&path, &manifest)?;
            content = sqlite::write(workspace, &mut writer, encrypt, &mut rate).await?;
        }
    }
    writer.finish(&content)?;
    rate.end();
    Ok(())
}

/// Reads the file from the disk again: its hash, and the plain content where it can be decrypted.
async fn read_back(arguments: &MakeArguments, workspace: &Workspace) -> Result<(), Failure> {
    let backup = BackupFile::open(&workspace.path(UNFINISHED))?;
    let mut rate = Rate::start("read back");
    backup.check(&mut |bytes| rate.set(bytes)).await?;
    let decrypt = arguments.decrypt_command.as_deref();
    if decrypt.is_some() || !backup.manifest.is_encrypted {
        stream::unpack(&backup, decrypt, &mut tokio::io::sink(), &mut rate).await?;
    }
    rate.end();
    Ok(())
}

/// Restores the backup into a scratch database.
async fn verify(
    database: &Database,
    arguments: &MakeArguments,
    workspace: &Workspace,
) -> Result<(), Failure> {
    let decrypt = arguments.decrypt_command.as_deref();
    let backup = BackupFile::open(&workspace.path(UNFINISHED))?;
    if backup.manifest.is_encrypted && decrypt.is_none() {
        return Err("--verify of an encrypted backup needs --decrypt-command".into());
    }
    let mut rate = Rate::start("verify");
    match database.url.engine() {
        Engine::Postgres => postgres::verify(database, &backup, decrypt, &mut rate).await?,
        Engine::Sqlite => {
            sqlite::unpack_and_check(database, &backup, decrypt, workspace, &mut rate).await?;
        }
    }
    rate.end();
    Ok(())
}
