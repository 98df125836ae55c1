//! What people type: the program's subcommands.

mod config;
mod migrate;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
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
    /// Prints the settings that are in force and where each comes from; secrets are hidden.
    Config,
}

/// Runs the program with the command line and the environment of this process.
pub fn main() -> ExitCode {
    let program = Program::parse();
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
    if let Err(error) = telemetry::start(&config.log, config.database.echo) {
        return fail(&error);
    }
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
            Command::Config => Ok(()),
        };
        done.map_or_else(|error| fail(&*error), |()| ExitCode::SUCCESS)
    });
    // What still runs has had its time: nothing waits for it.
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
