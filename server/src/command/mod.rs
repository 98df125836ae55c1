//! The command line: the program's subcommands.

mod backup;
mod config;
mod dev;
mod explain;
mod export;
mod failure;
mod health;
mod help;
mod import;
mod migrate;
mod policy;
mod print;
mod serve;
mod settings;
mod token;
mod topology;
mod transfer;
mod users;
mod variables;

use std::{process::ExitCode, time::Duration};

use bookstore_migration::{chain::Chain, revision::Revision, revisions::revisions};
use clap::{Args as _, CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::runtime::Builder;

use self::failure::{Failure, USAGE};
use crate::{
    app::AppError,
    config::{Config, ConfigError, SettingFlags, environment},
    shutdown::TerminationMessage,
    telemetry,
};

/// How long a command that fails waits until its log is written.
const FLUSH: Duration = Duration::from_millis(500);

/// The variable that names the file for the termination message.
const TERMINATION_LOG: &str = "TERMINATION_LOG";

/// The bookstore's data service: gRPC over SQLite or PostgreSQL.
#[derive(Parser)]
#[command(name = "bookstore", version, about, after_help = settings::MORE)]
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
    /// Applies, reverts, lists and writes the migrations of the database.
    Migrate(migrate::Arguments),
    /// Probes every node of the database and prints its role and state.
    Topology,
    /// Makes a backup of the database while the service runs, or lists backups.
    Backup(backup::Arguments),
    /// Restores a backup into an empty database.
    Restore(backup::restore::Arguments),
    /// Imports books from a file into a running service: CSV or JSON Lines.
    Import(import::Arguments),
    /// Exports books from a running service to a file: CSV or JSON Lines.
    Export(export::Arguments),
    /// Works on the accounts of users in the database: imports them with their hashes.
    Users(users::Arguments),
    /// Asks a running service for its health. The exit code is the answer.
    Health(health::Arguments),
    /// Makes static tokens, with which callers prove who they are.
    Token(token::Arguments),
    /// Checks, shows and explains a policy: who may call what.
    Policy(policy::Arguments),
    /// Prints the plan of a list for a filter and an order: its indexes, and advice if it sorts or scans.
    Explain(explain::Arguments),
    /// Lists every setting: its flag, default, environment variable and meaning.
    Settings,
    /// Runs a PostgreSQL of this folder's own and the service, for one developer.
    Dev(dev::Arguments),
    /// Prints the settings that are in force and where each comes from; secrets are hidden.
    Config,
}

/// Runs the program with the command line and the environment of this process.
pub fn main() -> ExitCode {
    main_with(revisions())
}

/// The same with other revisions than the released ones, as an older or a newer program has them.
pub fn main_with(revisions: Vec<Revision>) -> ExitCode {
    let matches = command_line().try_get_matches();
    let program = match matches.and_then(|matches| Program::from_arg_matches(&matches)) {
        Ok(program) => program,
        Err(error) => return mistyped(&error),
    };
    match program.command {
        Command::Import(arguments) => client(&program.settings, import::run(&arguments)),
        Command::Export(arguments) => client(&program.settings, export::run(&arguments)),
        Command::Health(arguments) => client(&program.settings, health::run(&arguments)),
        Command::Token(arguments) => client(&program.settings, token::run(&arguments)),
        Command::Settings => settings::run(command_line()),
        Command::Policy(arguments) => in_runtime(policy::run(&program.settings, &arguments)),
        Command::Dev(dev::Arguments { command: Some(command), .. }) => {
            client(&program.settings, dev::run(command))
        }
        _ => serve_or_manage(program, revisions),
    }
}

/// Exits with 2. `health` has the codes of `grpc_health_probe`. Help is no error.
fn mistyped(error: &clap::Error) -> ExitCode {
    // It fails only where the output is closed.
    let _ = error.print();
    let is_probe = std::env::args_os().nth(1).is_some_and(|word| word == "health");
    match u8::try_from(error.exit_code()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) if is_probe => ExitCode::from(health::MISTYPED),
        code => ExitCode::from(code.unwrap_or(2)),
    }
}

/// The commands of the service itself, which need its settings.
fn serve_or_manage(mut program: Program, revisions: Vec<Revision>) -> ExitCode {
    let termination_message =
        environment().find(|(name, path)| name == TERMINATION_LOG && !path.is_empty());
    let termination_message =
        TerminationMessage::to(termination_message.map(|(_, path)| path.into()));
    let ignored = match variables::take_out() {
        Ok(ignored) => ignored,
        Err(problem) => {
            let error = ConfigError { problems: vec![problem] };
            termination_message.write(&error.to_string(), USAGE);
            return refuse(&error);
        }
    };
    let mut cluster = None;
    if let Command::Dev(arguments) = program.command {
        match dev::begin(&arguments, program.settings) {
            Ok(begun) => {
                program.settings = begun.settings;
                program.command = Command::Serve(begun.serve);
                cluster = begun.started;
            }
            Err(error) => return fail(&*error),
        }
    }
    let code = with_settings(program, revisions, &termination_message, ignored);
    match cluster.map(dev::end) {
        Some(Err(error)) => fail(&*error),
        _ => code,
    }
}

/// The same with the settings still to be loaded.
fn with_settings(
    program: Program,
    revisions: Vec<Revision>,
    termination_message: &TerminationMessage,
    ignored: Vec<String>,
) -> ExitCode {
    let mut config = match Config::load(&program.settings, environment()) {
        Ok(config) => config,
        Err(error) => {
            termination_message.write(&error.to_string(), USAGE);
            return refuse(&error);
        }
    };
    config.warnings.extend(ignored);
    if let Err(error) = telemetry::check() {
        termination_message.write(&error.to_string(), USAGE);
        return refuse(&error);
    }
    if let Command::Serve(arguments) = &program.command {
        arguments.apply(&mut config);
    }
    if let Command::Config = program.command {
        return config::run(&config);
    }
    let failed = |error: &(dyn std::error::Error + 'static)| {
        termination_message.write(&error.to_string(), 1);
        fail(error)
    };
    let telemetry = match telemetry::start(&config.log, config.database.echo) {
        Ok(telemetry) => telemetry,
        Err(error) => return failed(&error),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let code = runtime.block_on(async {
        let done = match program.command {
            Command::Serve(arguments) => match Chain::new(revisions) {
                Ok(chain) => serve::run(&config, &chain, &arguments, termination_message).await,
                Err(error) => Err(error.into()),
            },
            Command::Migrate(arguments) => {
                return migrate::run(&config, revisions, &arguments).await;
            }
            Command::Users(arguments) => {
                let known = revisions.into_iter().map(|revision| revision.name).collect();
                match users::run(&config, known, &arguments).await {
                    Ok(code) => return code,
                    Err(error) => Err(error),
                }
            }
            Command::Backup(arguments) => return backup::run(&config, &arguments).await,
            Command::Restore(arguments) => {
                return backup::restore::run(&config, revisions, &arguments).await;
            }
            Command::Topology => topology::run(&config).await,
            Command::Explain(arguments) => {
                let known: Vec<String> = revisions.into_iter().map(|it| it.name).collect();
                match explain::run(&config, &known, &arguments).await {
                    Ok(code) => return code,
                    Err(error) => Err(error),
                }
            }
            // These are clients, or have printed their output already.
            _ => Ok(()),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => match error.downcast_ref::<AppError>() {
                Some(AppError::Security(problems)) => {
                    termination_message.write(problems, USAGE);
                    telemetry::flush(FLUSH);
                    refuse(&*error)
                }
                _ => failed(&*error),
            },
        }
    });
    // What still runs had its time to end, so the runtime doesn't wait for it.
    runtime.shutdown_background();
    telemetry.finish();
    code
}

/// The commands that are clients of a running service, or need none.
const CLIENTS: [&str; 4] = ["import", "export", "health", "token"];

/// The command line. Clients take no settings, and their help shows none.
fn command_line() -> clap::Command {
    let refuse = |_: &str| Err::<String, _>("is a setting of the service, which is running");
    let settings = SettingFlags::augment_args(clap::Command::new("settings"));
    let settings: Vec<_> = settings
        .get_arguments()
        .map(|setting| setting.clone().global(false).hide(true).value_parser(refuse))
        .collect();
    let program = CLIENTS.into_iter().fold(Program::command(), |program, client| {
        program.mut_subcommand(client, |client| client.args(&settings))
    });
    // Each setting is a flag of the other commands too. Their help shows those that they are mostly
    // called with, so that it fits one screen.
    let shown = |names: &[&str]| {
        let settings = SettingFlags::augment_args(clap::Command::new("settings"));
        let hide = |setting: &clap::Arg| {
            let hidden = !names.contains(&setting.get_id().as_str());
            setting.clone().hide(hidden)
        };
        settings.get_arguments().map(hide).collect::<Vec<_>>()
    };
    let names: Vec<_> = settings.iter().map(|setting| setting.get_id().as_str()).collect();
    let all = shown(&names);
    let program = settings::SHOWN.iter().fold(program, |program, (name, names)| {
        program.mut_subcommand(*name, |command| settings::pointed_to(command.args(shown(names))))
    });
    let program = program
        .mut_args(|arg| match arg.get_help_heading() {
            Some(_) => arg.hide(true),
            None => arg,
        })
        .mut_subcommand("settings", |command| command.args(all));
    help::short(program, "")
}

/// Runs a client, without settings and without a log.
fn client(
    settings: &SettingFlags,
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> ExitCode {
    if !settings.is_empty() {
        let message = "the service's settings are for the service, which is running";
        return fail(&std::io::Error::other(message));
    }
    in_runtime(work)
}

/// Runs a command without a log.
fn in_runtime(work: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = runtime.block_on(work).unwrap_or_else(|error| fail(&*error));
    // A thread may still be blocked on a pipe.
    runtime.shutdown_background();
    code
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    print::last_words(error.to_string());
    ExitCode::from(USAGE)
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    telemetry::flush(FLUSH);
    print::last_words(format!("error: {error}"));
    ExitCode::FAILURE
}
