//! `bookstore migrate check`: the schema that is there against the one that the migrations make.

use std::process::ExitCode;

use bookstore_migration::check::{self, Replay, Report};
use bookstore_store::Store;
use clap::Args;

use crate::{app::AppError, command::Failure};

/// The exit code for a schema that is another one than the migrations make.
const DRIFT: u8 = 1;

/// The exit code of a check that could not be made. It is none of drift.
const NOT_CHECKED: u8 = 9;

/// The arguments of `migrate check`.
#[derive(Args)]
pub struct Arguments {
    /// Prints the findings as a JSON list.
    #[arg(long)]
    json: bool,
    /// Compares with the snapshot that the program carries instead of replaying the migrations.
    #[arg(long)]
    snapshot: bool,
}

/// Prints what differs. The exit code is 0 if nothing does, 1 if something does, 9 if the check
/// could not be made.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's own output")]
pub async fn run(store: &Store, arguments: &Arguments) -> ExitCode {
    match report(store, arguments).await {
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(NOT_CHECKED)
        }
        Ok(report) => {
            if arguments.json {
                let findings = report.findings.iter().map(|finding| finding.to_json());
                println!("{:#}", findings.collect::<serde_json::Value>());
            } else {
                report.findings.iter().for_each(|finding| println!("{}", finding.to_line()));
                println!("{}", conclusion(&report));
            }
            if report.is_drift() { ExitCode::from(DRIFT) } else { ExitCode::SUCCESS }
        }
    }
}

async fn report(store: &Store, arguments: &Arguments) -> Result<Report, Failure> {
    if !store.exists() {
        return Err("the database doesn't exist: bookstore migrate up makes it".into());
    }
    let session = store.inspection_session().await.map_err(AppError::from)?;
    let scratch = store.memory_session().await.map_err(AppError::from)?;
    let replay = if arguments.snapshot { Replay::Never } else { Replay::Allowed };
    Ok(check::check(&session, Some(&scratch), replay).await?)
}

fn conclusion(report: &Report) -> String {
    let revision = report.revision.as_deref().unwrap_or("no revision");
    let origin = report.origin.name();
    match report.findings.len() {
        0 => format!("the schema is that of {revision} (compared by {origin})"),
        count => format!("{count} findings against {revision} (compared by {origin})"),
    }
}
