//! `bookstore migrate`: the migrations of the database, by hand.
//!
//! `read` holds what changes nothing, `records` what changes the bookkeeping alone, `script` is `sql`
//! and `roles`.

mod check;
mod context;
mod down;
mod line;
mod new;
mod output;
mod read;
mod records;
mod script;
mod up;

use std::{process::ExitCode, time::Duration};

use bookstore_migration::{
    chain::{Chain, heads},
    error::{MigrationError, exit},
    revision::Revision,
    runner::Options,
};
use clap::{Args, Subcommand};

use self::{
    context::{Context, Problem},
    output::Output,
};
use crate::config::{Config, duration};

/// The arguments of `migrate`.
#[derive(Args)]
#[command(after_help = "TARGET: head, base, +N, -N, a revision or the beginning of its name.\n\
                  Exit codes: 0 done, or nothing left to do; 1 failed; 2 wrong command line; \
                  3 another\nmigration holds the lock; 4 rows break what a step asks for; 5 not \
                  confirmed, or rows\nwould be lost; 6 revisions and database don't agree; 7 the \
                  session ended: run it again;\n8 new finds nothing to do; 9 check could not be made; 64 wrong setting.")]
pub struct Arguments {
    #[command(subcommand)]
    action: Verb,
    /// Answers one JSON document on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// How long to wait for another migration.
    #[arg(long, global = true, value_name = "TIME", default_value = "60s", value_parser = time)]
    lock_wait: Duration,
    /// How long a step waits for a table's lock.
    ///
    /// Then it lets others pass and tries again.
    #[arg(long, global = true, value_name = "TIME", default_value = "3s", value_parser = time)]
    lock_timeout: Duration,
    /// How often it is tried.
    #[arg(long, global = true, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    lock_tries: u32,
}

#[derive(Subcommand)]
enum Verb {
    /// Applies the revisions up to TARGET.
    Up(up::Arguments),
    /// Reverts the revisions after TARGET. Says what would be undone and lost, and asks.
    Down(down::Arguments),
    /// Prints the revision that the database is at.
    Current,
    /// Prints the newest revision that this program has.
    Heads,
    /// Lists the revisions, the newest first; with -v author, time and program.
    History(read::HistoryArguments),
    /// Prints a revision and its SQL, and what was applied where that is another.
    Show(read::ShowArguments),
    /// Lists every revision with its state. Changes nothing.
    Status,
    /// Compares the schema with what the migrations make. Changes nothing. Exit code 1: it differs.
    Check(check::Arguments),
    /// Writes the next revision, from what the entities have changed, into the source.
    New(new::Arguments),
    /// Prints the SQL from one revision to another, without a database.
    Sql(script::Arguments),
    /// Prints the SQL that makes PostgreSQL's roles and gives them their privileges, for a superuser
    /// in the service's database.
    Roles,
    /// Records that the database is at TARGET, without running a step.
    Stamp(records::StampArguments),
    /// Accepts that a revision was edited after it was applied.
    Repair(records::RepairArguments),
}

fn time(text: &str) -> Result<Duration, String> {
    duration(Duration::from_millis(1)..=Duration::from_hours(24))(text)
}

/// Does what was asked.
pub async fn run(config: &Config, revisions: Vec<Revision>, arguments: &Arguments) -> ExitCode {
    let output = Output { is_json: arguments.json };
    let done = run_action(config, revisions, arguments, output).await;
    let code = done.unwrap_or_else(|problem| {
        output.fail(&problem.text(), problem.exit_code());
        ExitCode::from(problem.exit_code())
    });
    match output::failure() {
        Some(error) => {
            output.note(&format!("error: standard output can't be written: {error}"));
            ExitCode::from(exit::FAILED)
        }
        None => code,
    }
}

async fn run_action(
    config: &Config,
    revisions: Vec<Revision>,
    arguments: &Arguments,
    output: Output,
) -> Result<ExitCode, Problem> {
    if let Verb::Heads = arguments.action {
        // Several are shown before they are refused.
        output.heads(&heads(&revisions));
    }
    let chain = Chain::new(revisions).map_err(MigrationError::from)?;
    let options = Options {
        wait: arguments.lock_wait,
        lock_timeout: arguments.lock_timeout,
        lock_tries: arguments.lock_tries,
        ..Options::default()
    };
    let context = Context { config, chain, options, output };
    let done = match &arguments.action {
        Verb::Check(arguments) => return Ok(check::run(&context, arguments).await),
        Verb::Up(arguments) => up::run(&context, arguments).await,
        Verb::Down(arguments) => down::run(&context, arguments).await,
        Verb::Current => read::current(&context).await,
        Verb::Heads => Ok(()),
        Verb::History(arguments) => read::history(&context, arguments).await,
        Verb::Show(arguments) => read::show(&context, arguments).await,
        Verb::Status => read::status(&context).await,
        Verb::New(arguments) => return new::run(&context, arguments).await,
        Verb::Roles => {
            script::roles(output);
            Ok(())
        }
        Verb::Sql(arguments) => script::run(&context, arguments).await,
        Verb::Stamp(arguments) => records::stamp(&context, arguments).await,
        Verb::Repair(arguments) => records::repair(&context, arguments).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}
