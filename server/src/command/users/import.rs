//! `bookstore users import`: checks the whole file, then inserts its users in batches.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bookstore_store::{Deadline, FieldViolation, Schema, Store, StoreError};
use clap::Args;

use super::record;
use crate::{
    app,
    command::{
        failure::Failure,
        import::source::{FileInput, JsonlSource, LARGEST, Raw, Record},
        print,
        transfer::{format::is_pipe, progress::Progress},
    },
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
    drop(open(&arguments.file)?);
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
    let mut lines = open(path)?;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH
            && let Some(record) = next(&mut lines, path)?
        {
            bytes = record.read;
            batch.push(checked(&calls, &record).map_err(|_| changed(path))?);
        }
        if batch.is_empty() {
            break;
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
        progress.update(bytes, inserted + present, 0);
    }
    progress.end();
    if inserted + present != count {
        return Err(changed(path));
    }
    print::line(&format!("inserted {inserted}\nalready there {present}"));
    Ok(if present == 0 { ExitCode::SUCCESS } else { ExitCode::from(PRESENT) })
}

/// Checks every line of the file. Returns the number of users.
fn check_all(path: &Path, calls: &Calls) -> Result<u64, Failure> {
    let (mut faults, mut count) = (0, 0);
    // The line of each value that no two users may have.
    let mut seen: HashMap<(&str, String), i64> = HashMap::new();
    let mut lines = open(path)?;
    while let Some(record) = next(&mut lines, path)? {
        count += 1;
        let violations = match checked(calls, &record) {
            Ok(user) => {
                let unique = [("email", Some(user.email)), ("id", user.id)];
                let unique = unique.into_iter().filter_map(|(field, value)| Some((field, value?)));
                let again = |(field, value)| {
                    let first = seen.insert((field, value), record.line)?;
                    let description = format!("is the {field} of line {first} too");
                    Some(FieldViolation::new(field, description))
                };
                unique.filter_map(again).collect()
            }
            Err(violations) => violations,
        };
        for FieldViolation { field, description, .. } in violations {
            faults += 1;
            if faults <= SHOWN {
                print::error(&format!("line {}: {field}: {description}", record.line));
            }
        }
    }
    match faults {
        0 => Ok(count),
        faults => Err(format!("{}: {faults} fault(s), nothing is imported", path.display()).into()),
    }
}

fn checked(calls: &Calls, record: &Record) -> Result<ImportedUser, Vec<FieldViolation>> {
    let wrong = |description: String| vec![FieldViolation::new(record::LINE, description)];
    let text = match &record.raw {
        Raw::Line(line) => std::str::from_utf8(line).map_err(|error| {
            wrong(format!("is no UTF-8 from byte {} on", error.valid_up_to() + 1))
        })?,
        _ => return Err(wrong(format!("is longer than {LARGEST} bytes"))),
    };
    let (request, password_hash) = record::read(text)?;
    ImportedUser::check(calls, record.line, request, password_hash)
}

/// Opens the file. It is read twice, so it must be a regular one.
fn open(path: &Path) -> Result<JsonlSource, Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("{shown}: {error}");
    let is_stream = is_pipe(path) || {
        let about = std::fs::metadata(path).map_err(failed)?;
        !about.is_file() && !about.is_dir()
    };
    if is_stream {
        return Err(format!(
            "{shown}: must be a regular file, since it is read twice: write the users to one first"
        )
        .into());
    }
    let (input, _) = FileInput::open(path).map_err(failed)?;
    Ok(JsonlSource::new(input))
}

fn next(lines: &mut JsonlSource, path: &Path) -> Result<Option<Record>, Failure> {
    lines.next().map_err(|error| format!("{}: {error}", path.display()).into())
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
