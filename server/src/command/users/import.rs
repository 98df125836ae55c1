//! `bookstore users import`: checks the whole file, then inserts its users in batches.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bookstore_store::{Deadline, FieldViolation, Schema, Store, StoreError};
use clap::Args;

use super::record;
use crate::{
    app,
    command::{failure::Failure, print, transfer::progress::Progress},
    config::Config,
    resource::user::{self, ImportedUser},
    rpc::{calls::Calls, rules::Rules},
};

/// The exit code if users of the file were in the database already.
const PRESENT: u8 = 3;

/// Users in one transaction.
const BATCH: usize = 500;

/// The most faults of a file that are printed.
const SHOWN: usize = 100;

/// The timeout of the read of the schema.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(10);

/// The arguments of `users import`.
#[derive(Args)]
#[command(
    after_help = "A line is an object with email, username and password_hash ($argon2id$, $argon2i$, \
    $argon2d$, $2a$, $2b$ or $2y$); id, full_name, is_active, role, avatar_url and bio are optional. \
    Nothing is written unless the whole file is right. Users whose email is in the database already \
    stay as they are, so the same file can be imported again. Exit codes: 0 all users are in; 1 \
    failed; 2 wrong command line; 3 some users were there already; 64 wrong settings."
)]
pub(super) struct Arguments {
    /// The file, one JSON object a line.
    file: PathBuf,
    /// Checks the file and writes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Imports the file.
///
/// # Errors
/// If the file can't be read or is wrong, the schema is not migrated, or the database fails.
pub(super) async fn run(
    config: &Config,
    known: &[String],
    arguments: &Arguments,
) -> Result<ExitCode, Failure> {
    // A wrong path is told before a wrong database.
    drop(lines(&arguments.file)?);
    let store = app::open_store(&config.database)?;
    let imported = import(config, &store, known, arguments).await;
    store.close().await;
    imported
}

async fn import(
    config: &Config,
    store: &Store,
    known: &[String],
    arguments: &Arguments,
) -> Result<ExitCode, Failure> {
    let schema = store.schema(known, Deadline::after(SCHEMA_TIMEOUT)).await;
    match schema.map_err(|error| error.report())? {
        Schema::Pending(_) => {
            return Err("the schema is not migrated: bookstore migrate up does it".into());
        }
        Schema::Right { refuses_writes: Some(reason), .. } => return Err(reason.into()),
        Schema::ShutOut { revision, minimum_head } => {
            return Err(format!(
                "revision {revision} of the schema needs a program that knows {minimum_head}: \
                 import with a newer program"
            )
            .into());
        }
        Schema::Right { .. } => {}
    }
    let rules = Rules::of_contract()?;
    let calls = Calls::new(store.clone(), rules, config.server.max_message_size);
    let path = &arguments.file;
    let count = check_all(path, &calls)?;
    if arguments.dry_run {
        print::line(&format!("{count} users are right; nothing is written"));
        return Ok(ExitCode::SUCCESS);
    }
    let length = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let mut progress = Progress::start(length);
    let (mut inserted, mut present, mut bytes) = (0, 0, 0);
    let mut batch = Vec::with_capacity(BATCH);
    let mut lines = lines(path)?.peekable();
    while let Some(next) = lines.next() {
        let (line, text) = next?;
        bytes += text.len() as u64 + 1;
        if !text.trim().is_empty() {
            batch.push(checked(&calls, line, &text).map_err(|_| changed(path))?);
        }
        if batch.len() < BATCH && lines.peek().is_some() {
            continue;
        }
        let found = user::import(store, &batch).await.map_err(|error| {
            let done =
                format!("{inserted} users are imported; correct the file and import it again");
            format!("{}\n{done}", told(&error))
        })?;
        for known in batch.iter().filter(|user| found.contains(&user.email)) {
            progress.note(&format!(
                "line {}: email: a user with this email is there already and stays as it is",
                known.line
            ));
        }
        inserted += batch.len() as u64 - found.len() as u64;
        present += found.len() as u64;
        batch.clear();
        progress.update(bytes, inserted + present, 0);
    }
    progress.end();
    print::line(&format!("inserted {inserted}\nalready there {present}"));
    Ok(if present == 0 { ExitCode::SUCCESS } else { ExitCode::from(PRESENT) })
}

/// Checks every line of the file. Returns the number of users.
fn check_all(path: &Path, calls: &Calls) -> Result<usize, Failure> {
    let mut faults = 0;
    let mut emails: HashMap<String, usize> = HashMap::new();
    let mut tell = |line: usize, violations: Vec<FieldViolation>| {
        for FieldViolation { field, description, .. } in violations {
            faults += 1;
            if faults <= SHOWN {
                print::error(&format!("line {line}: {field}: {description}"));
            }
        }
    };
    for next in lines(path)? {
        let (line, text) = next?;
        if text.trim().is_empty() {
            continue;
        }
        match checked(calls, line, &text) {
            Ok(user) => {
                if let Some(first) = emails.insert(user.email, line) {
                    let description = format!("is the email of line {first} too");
                    tell(line, vec![FieldViolation::new("email", description)]);
                }
            }
            Err(violations) => tell(line, violations),
        }
    }
    match faults {
        0 => Ok(emails.len()),
        faults => Err(format!("{}: {faults} fault(s), nothing is imported", path.display()).into()),
    }
}

fn checked(calls: &Calls, line: usize, text: &str) -> Result<ImportedUser, Vec<FieldViolation>> {
    let (request, password_hash) = record::read(text)?;
    ImportedUser::check(calls, line, request, password_hash)
}

/// The lines of the file with their numbers.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<(usize, String), Failure>>, Failure> {
    let shown = path.display().to_string();
    let file = File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    let lines = BufReader::new(file).lines().zip(1..);
    Ok(lines.map(move |(line, number)| match line {
        Ok(text) => Ok((number, text)),
        Err(error) => Err(format!("{shown}: line {number}: {error}").into()),
    }))
}

fn changed(path: &Path) -> Failure {
    format!("{}: changed while it was imported; import it again", path.display()).into()
}

/// An error of the store, with the lines and the fields that it names.
fn told(error: &StoreError) -> String {
    match error {
        StoreError::AlreadyExists(violations) | StoreError::Invalid(violations) => {
            let line = |it: &FieldViolation| {
                format!("{}: {}", it.field.replacen('.', ": ", 1), it.description)
            };
            violations.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        error => error.report(),
    }
}
