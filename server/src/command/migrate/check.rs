//! `migrate check`: the schema that is there against the one that the migrations make.

use std::process::ExitCode;

use bookstore_migration::check::{self, ReplayPolicy, Report};
use clap::Args;
use serde_json::Value;

use super::context::{Context, Problem};

/// The exit code for a schema that is another one than the migrations make.
const DRIFT: u8 = 1;

/// The exit code of a check that could not be made: not the one of drift.
const NOT_CHECKED: u8 = 9;

/// The arguments of `migrate check`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Compares with the snapshot that the program carries instead of replaying the migrations.
    #[arg(long)]
    snapshot: bool,
}

/// Prints what differs. The exit code is 0 if nothing does, 1 if something does, 9 if the check
/// could not be made.
pub(super) async fn run(context: &Context<'_>, arguments: &Arguments) -> ExitCode {
    let output = context.output;
    match report(context, arguments).await {
        Err(problem) => {
            output.fail(&problem.text(), NOT_CHECKED);
            ExitCode::from(NOT_CHECKED)
        }
        Ok(report) => {
            output
                .json(&report.findings.iter().map(|finding| finding.to_json()).collect::<Value>());
            report.findings.iter().for_each(|finding| output.line(&finding.to_line()));
            output.line(&conclusion(&report));
            if report.is_drift() { ExitCode::from(DRIFT) } else { ExitCode::SUCCESS }
        }
    }
}

async fn report(context: &Context<'_>, arguments: &Arguments) -> Result<Report, Problem> {
    let opener = context.opener()?;
    if !opener.0.exists() {
        return Err("the database doesn't exist: bookstore migrate up makes it".into());
    }
    let session = opener.open_for_inspection().await?;
    let scratch = opener.open_scratch_for(&session).await?;
    let replay = if arguments.snapshot { ReplayPolicy::Never } else { ReplayPolicy::Allowed };
    Ok(check::check(&session, scratch.as_ref(), replay, &context.chain).await?)
}

fn conclusion(report: &Report) -> String {
    let count = report.findings.len();
    let Some(origin) = report.origin else {
        return format!("{count} findings: no revision is applied, so no schema was compared");
    };
    let revision = report.revision.as_deref().unwrap_or("no revision");
    let origin = origin.name();
    match count {
        0 => format!("the schema is that of {revision} (compared by {origin})"),
        count => format!("{count} findings against {revision} (compared by {origin})"),
    }
}
