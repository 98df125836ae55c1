//! `bookstore dev`: a PostgreSQL cluster of one developer's own, in a folder of the project, and the
//! service on it.

mod account;
mod cluster;
mod database;
mod env_file;
mod processes;
mod state;

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::{Command, ExitCode},
};

use clap::{Args, Subcommand};
use tokio::runtime::Builder;

use self::{
    cluster::{ClusterStart, DevCluster},
    state::StateFolder,
};
use super::{failure::Failure, print, serve};
use crate::{
    config::{SettingFlags, environment},
    postgres_programs::{OLDEST, PostgresPrograms},
    sample_data,
};

/// What `status` ends with if the cluster does not run, as `pg_ctl status` does.
const STOPPED: u8 = 3;

/// The arguments of `dev`. Without a subcommand it runs the cluster and the service together.
#[derive(Args)]
pub struct Arguments {
    /// What to do with the cluster.
    #[command(subcommand)]
    pub command: Option<DevCommand>,
    /// How many books the sample data of an empty database has.
    #[arg(
        long,
        value_name = "N",
        default_value = sample_data::BOOKS,
        value_parser = clap::value_parser!(u32)
            .range(i64::from(sample_data::FEWEST_BOOKS)..=i64::from(sample_data::MOST_BOOKS))
    )]
    sample_data: u32,
}

/// The subcommands of `dev`.
#[derive(Subcommand)]
pub enum DevCommand {
    /// Starts the cluster, creates it if needed, and writes its URL to `.env`.
    Up,
    /// Stops the cluster. Its data stays.
    Down,
    /// Prints the state and the URL of the cluster. The exit code is 0 if it runs, else 3.
    Status,
    /// Prints the last lines of PostgreSQL's log.
    Logs {
        /// How many lines.
        #[arg(long, short = 'n', default_value_t = 100)]
        lines: usize,
        /// Prints new lines too, until Ctrl-C.
        #[arg(long, short)]
        follow: bool,
    },
    /// Opens psql in the database. Arguments are passed to psql.
    Psql {
        /// Arguments of psql, such as `-c 'SELECT 1'`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Deletes all data of the cluster and starts it empty.
    Reset {
        /// Doesn't ask.
        #[arg(long)]
        yes: bool,
    },
}

/// What the service needs to serve the cluster.
pub struct DevService {
    /// The settings, with the cluster's URL.
    pub settings: SettingFlags,
    /// The arguments of `serve`.
    pub serve: serve::Arguments,
    /// The cluster, if this process has started it and must stop it.
    pub started: Option<DevCluster>,
}

/// Runs a subcommand.
///
/// # Errors
/// If PostgreSQL is not installed, or a program of it fails. The text says what to do.
pub async fn run(verb: DevCommand) -> Result<ExitCode, Failure> {
    let state = StateFolder::of_working_directory()?;
    match verb {
        DevCommand::Up => {
            let _lock = state.lock()?;
            up(&state).await?;
        }
        DevCommand::Down => {
            if !state.data().exists() {
                print::line("no database here: bookstore dev up creates one");
                return Ok(ExitCode::SUCCESS);
            }
            let _lock = state.lock()?;
            let stopped = DevCluster::find(&state)?.stop()?;
            print::line(if stopped { "stopped" } else { "not running" });
        }
        DevCommand::Status => return status(&state),
        DevCommand::Logs { lines, follow } => logs(&state, lines, follow).await?,
        DevCommand::Psql { arguments } => return psql(&state, &arguments),
        DevCommand::Reset { yes } => {
            if !yes {
                confirm(&state)?;
            }
            let _lock = state.lock()?;
            if state.data().exists() {
                DevCluster::find(&state)?.stop()?;
                state.delete_data()?;
            }
            up(&state).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts the cluster for the service.
///
/// # Errors
/// If a setting names another database, PostgreSQL is not installed, or a program of it fails.
pub fn begin(arguments: &Arguments, settings: SettingFlags) -> Result<DevService, Failure> {
    if settings.has_database_url() {
        return Err("--database-url: bookstore dev serves the database of this folder, \
                    bookstore serve serves another one"
            .into());
    }
    let mut variables = environment();
    let named = |(name, value): &(String, String)| name == "DATABASE_URL" && !value.is_empty();
    if variables.any(|variable| named(&variable)) {
        print::error("bookstore dev ignores the environment variable DATABASE_URL");
    }
    let state = StateFolder::of_working_directory()?;
    let _lock = state.lock()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (cluster, start) = runtime.block_on(up(&state))?;
    let settings = settings.with_database_url(cluster.url());
    let serve = serve::Arguments::for_development(arguments.sample_data);
    Ok(DevService { settings, serve, started: (start == ClusterStart::New).then_some(cluster) })
}

/// Stops the cluster after the service.
///
/// # Errors
/// If PostgreSQL does not stop.
pub fn end(cluster: DevCluster) -> Result<(), Failure> {
    cluster.stop()?;
    print::error("the database is stopped; its data stays in .bookstore");
    Ok(())
}

/// Starts the cluster, prints its URL and writes the URL to `.env`.
async fn up(state: &StateFolder) -> Result<(DevCluster, ClusterStart), Failure> {
    // Checked first, so that nothing starts if the file names another database.
    env_file::check(state.project())?;
    let (cluster, start) = DevCluster::start(state)?;
    database::prepare(&cluster).await?;
    env_file::write(state.project(), &cluster.url())?;
    let what = match start {
        ClusterStart::New => "started",
        ClusterStart::Running => "runs already",
    };
    print::error(&format!(
        "PostgreSQL {} {what} on port {}, data in {}; its URL is in .env",
        cluster.version(),
        cluster.port(),
        state.data().display()
    ));
    print::line(&format!("DATABASE_URL={}", cluster.url()));
    Ok((cluster, start))
}

fn status(state: &StateFolder) -> Result<ExitCode, Failure> {
    if !state.data().exists() {
        print::line("no database here: bookstore dev up creates one");
        return Ok(ExitCode::from(STOPPED));
    }
    let cluster = DevCluster::find(state)?;
    let process = cluster.process();
    match process {
        Some(process) => print::line(&format!("running (process {process})")),
        None => print::line("stopped"),
    }
    print::line(&format!("PostgreSQL {}", cluster.version()));
    print::line(&format!("data {}", state.data().display()));
    print::line(&format!("log {}", state.log().display()));
    print::line(&format!("DATABASE_URL={}", cluster.url()));
    Ok(if process.is_some() { ExitCode::SUCCESS } else { ExitCode::from(STOPPED) })
}

/// Prints the end of the log, and what is written to it afterwards.
async fn logs(state: &StateFolder, lines: usize, follow: bool) -> Result<(), Failure> {
    let path = state.log();
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            format!("{}: {error}; bookstore dev up starts the database", path.display())
        })
    };
    let text = read(&path)?;
    let shown = String::from_utf8_lossy(&text);
    let all: Vec<&str> = shown.lines().collect();
    for line in &all[all.len().saturating_sub(lines)..] {
        print::line(line);
    }
    if !follow {
        return Ok(());
    }
    let mut at = text.len();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let text = read(&path)?;
        // A shorter file is a new one.
        let new = text.get(at..).unwrap_or(&text);
        if !new.is_empty() {
            print::line(String::from_utf8_lossy(new).trim_end_matches('\n'));
        }
        at = text.len();
    }
}

/// Replaces this process by psql. The password is in its environment, not in its command line.
fn psql(state: &StateFolder, arguments: &[std::ffi::OsString]) -> Result<ExitCode, Failure> {
    let cluster = DevCluster::find(state)?;
    if cluster.process().is_none() {
        return Err("the database does not run: bookstore dev up starts it".into());
    }
    let program = PostgresPrograms::find(&["psql"], OLDEST)?.path("psql");
    let mut command = Command::new(program);
    account::without_variables(&mut command);
    command.envs(cluster.variables()).args(arguments);
    replace(command)
}

#[cfg(unix)]
fn replace(mut command: Command) -> Result<ExitCode, Failure> {
    use std::os::unix::process::CommandExt as _;
    Err(format!("psql: {}", command.exec()).into())
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<ExitCode, Failure> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Asks at the terminal. Without one, `--yes` is the only way.
fn confirm(state: &StateFolder) -> Result<(), Failure> {
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        return Err("reset deletes all data: confirm it with --yes".into());
    }
    let mut question = std::io::stderr().lock();
    write!(question, "This deletes all data in {}. Go on? [y/N] ", state.data().display())?;
    question.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("not confirmed: nothing is deleted".into()),
    }
}
