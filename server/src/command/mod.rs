//! What people type: the program's subcommands.

mod config;
mod export;
mod import;
mod migrate;
mod serve;
mod transfer;

use std::process::ExitCode;

use clap::{Args as _, CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::runtime::Builder;

use crate::{
    config::{Config, ConfigError, SettingFlags, environment},
    telemetry,
};

/// The exit code for wrong settings (BSD's EX_USAGE). A wrong command line ends with 2.
const USAGE: u8 = 64;

/// The bookstore's data service: gRPC over SQLite or PostgreSQL.
#[derive(Parser)]
#[command(name = "bookstore", version, about)]
struct Program {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or Ctrl-C.
    Serve(serve::Arguments),
    /// Applies, reverts or lists the migrations of the database.
    Migrate(migrate::Arguments),
    /// Imports books from a file into a running service: CSV or JSON Lines.
    Import(import::Arguments),
    /// Exports books from a running service to a file: CSV or JSON Lines.
    Export(export::Arguments),
    /// Prints the settings that are in force and where each comes from; secrets are hidden.
    Config,
}

/// Runs the program with the command line and the environment of this process.
pub fn main() -> ExitCode {
    let program = match Program::from_arg_matches(&command_line().get_matches()) {
        Ok(program) => program,
        Err(error) => error.exit(),
    };
    match program.command {
        Command::Import(arguments) => client(&program.settings, import::run(&arguments)),
        Command::Export(arguments) => client(&program.settings, export::run(&arguments)),
        _ => serve_or_manage(program),
    }
}

/// The commands of the service itself, which need its settings.
fn serve_or_manage(program: Program) -> ExitCode {
    let mut config = match Config::load(&program.settings, environment()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    if let Command::Serve(arguments) = &program.command {
        arguments.apply(&mut config);
    }
    if let Command::Config = program.command {
        return config::run(&config);
    }
    let telemetry = match telemetry::start(&config.log, config.database.echo) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(&error),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = runtime.block_on(async {
        let done = match program.command {
            Command::Serve(arguments) => serve::run(&config, &arguments).await,
            Command::Migrate(arguments) => migrate::run(&config, &arguments).await,
            Command::Import(_) | Command::Export(_) | Command::Config => Ok(()),
        };
        done.map_or_else(|error| fail(&*error), |()| ExitCode::SUCCESS)
    });
    // What still runs has had its time: nothing waits for it.
    runtime.shutdown_background();
    telemetry.finish();
    code
}

/// The commands that are clients of a running service.
const CLIENTS: [&str; 2] = ["import", "export"];

/// What is typed. Clients take none of the settings: their help doesn't show them either.
fn command_line() -> clap::Command {
    let refuse = |_: &str| Err::<String, _>("is a setting of the service, which is running");
    let settings = SettingFlags::augment_args(clap::Command::new("settings"));
    let settings: Vec<_> = settings
        .get_arguments()
        .map(|setting| setting.clone().global(false).hide(true).value_parser(refuse))
        .collect();
    CLIENTS.into_iter().fold(Program::command(), |program, client| {
        program.mut_subcommand(client, |client| client.args(&settings))
    })
}

/// Runs a client, without settings and without a log.
fn client(
    settings: &SettingFlags,
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> ExitCode {
    if !settings.is_empty() {
        let told = "the service's settings are for the service, which is running";
        return fail(&std::io::Error::other(told));
    }
    let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = runtime.block_on(work).unwrap_or_else(|error| fail(&*error));
    // A thread may still wait for a pipe.
    runtime.shutdown_background();
    code
}

/// Any reason why a command could not be carried out.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[expect(clippy::print_stderr, reason = "a command's own output")]
fn refuse(error: &ConfigError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(USAGE)
}

#[expect(clippy::print_stderr, reason = "a command's own output")]
fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
