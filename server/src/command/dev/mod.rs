//! `bookstore dev`: a PostgreSQL cluster of one developer's own, in a folder of the project, and the
//! service on it.

mod access;
mod account;
mod cluster;
mod container;
mod database;
mod engine;
mod env_file;
mod processes;
mod server;
mod state;

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::{Command, ExitCode},
};

use clap::{Args, Subcommand};
use tokio::runtime::Builder;

use self::{
    access::ABSENT,
    cluster::DevCluster,
    state::{ClusterStart, StateFolder},
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
    /// Runs a new database in a container (docker, else podman), also if PostgreSQL is installed.
    #[arg(long)]
    container: bool,
}

/// The subcommands of `dev`.
#[derive(Subcommand)]
pub enum DevCommand {
    /// Starts the cluster, creates it if needed, and writes its URL to `.env`.
    Up {
        /// Runs a new database in a container (docker, else podman), also if PostgreSQL is installed.
        #[arg(long)]
        container: bool,
    },
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
        DevCommand::Up { container } => {
            let _lock = state.lock()?;
            up(&state, container).await?;
            if names_database() {
                print::error(
                    "the environment variable DATABASE_URL overrides .env: unset it for commands \
                     that use this database",
                );
            }
        }
        DevCommand::Down => {
            if !DevCluster::is_in(&state) {
                print::line(ABSENT);
                return Ok(ExitCode::SUCCESS);
            }
            let _lock = state.lock()?;
            let stopped = DevCluster::find(&state)?.stop()?;
            print::line(if stopped { "stopped" } else { "not running" });
        }
        DevCommand::Status => return status(&state),
        DevCommand::Logs { lines, follow } => return logs(&state, lines, follow).await,
        DevCommand::Psql { arguments } => return psql(&state, &arguments),
        DevCommand::Reset { yes } => {
            if !yes {
                confirm(&state)?;
            }
            let _lock = state.lock()?;
            let mut in_container = false;
            if DevCluster::is_in(&state) {
                let cluster = DevCluster::find(&state)?;
                in_container = matches!(cluster, DevCluster::Container(_));
                cluster.delete(&state)?;
            }
            up(&state, in_container).await?;
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
    if names_database() {
        print::error("bookstore dev ignores the environment variable DATABASE_URL");
    }
    let state = StateFolder::of_working_directory()?;
    let _lock = state.lock()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (cluster, start) = runtime.block_on(up(&state, arguments.container))?;
    let settings = settings.with_database_url(cluster.access().url());
    let serve = serve::Arguments::for_development(arguments.sample_data);
    Ok(DevService { settings, serve, started: (start == ClusterStart::New).then_some(cluster) })
}

/// Whether the environment names a database.
fn names_database() -> bool {
    environment().any(|(name, value)| name == "DATABASE_URL" && !value.is_empty())
}

/// Stops the cluster after the service.
///
/// # Errors
/// If PostgreSQL does not stop.
pub fn end(cluster: DevCluster) -> Result<(), Failure> {
    cluster.stop()?;
    let place = match cluster {
        DevCluster::Installed(_) => ".bookstore".to_owned(),
        DevCluster::Container(container) => container.volume(),
    };
    print::error(&format!("the database is stopped; its data stays in {place}"));
    Ok(())
}

/// Starts the cluster, prints its URL and writes the URL to `.env`.
async fn up(
    state: &StateFolder,
    in_container: bool,
) -> Result<(DevCluster, ClusterStart), Failure> {
    // Checked first, so that nothing starts if the file names another database.
    env_file::check(state.project())?;
    let (cluster, start) = DevCluster::start(state, in_container)?;
    cluster.wait_until_ready().await?;
    database::prepare(cluster.access()).await?;
    let url = cluster.access().url();
    env_file::write(state.project(), &url)?;
    let what = match start {
        ClusterStart::New => "started",
        ClusterStart::Running => "runs already",
    };
    print::error(&format!(
        "{} {what} on port {}, data in {}; its URL is in .env",
        cluster.description(),
        cluster.access().port,
        cluster.place(state)
    ));
    print::line(&format!("DATABASE_URL={url}"));
    Ok((cluster, start))
}

fn status(state: &StateFolder) -> Result<ExitCode, Failure> {
    if !DevCluster::is_in(state) {
        print::line(ABSENT);
        return Ok(ExitCode::from(STOPPED));
    }
    let cluster = DevCluster::find(state)?;
    let running = cluster.running()?;
    match &running {
        Some(place) => print::line(&format!("running ({place})")),
        None => print::line("stopped"),
    }
    print::line(&cluster.description());
    print::line(&format!("data {}", cluster.place(state)));
    if let DevCluster::Installed(_) = cluster {
        print::line(&format!("log {}", state.log().display()));
    }
    print::line(&format!("DATABASE_URL={}", cluster.access().url()));
    Ok(if running.is_some() { ExitCode::SUCCESS } else { ExitCode::from(STOPPED) })
}

/// Prints the end of the log, and what is written to it afterwards.
async fn logs(state: &StateFolder, lines: usize, follow: bool) -> Result<ExitCode, Failure> {
    if DevCluster::is_in(state)
        && let DevCluster::Container(container) = DevCluster::find(state)?
    {
        return replace(container.logs(lines, follow));
    }
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
        return Ok(ExitCode::SUCCESS);
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
    if cluster.running()?.is_none() {
        return Err("the database does not run: bookstore dev up starts it".into());
    }
    let mut command = match &cluster {
        DevCluster::Installed(server) => {
            let program = PostgresPrograms::find(&["psql"], OLDEST)?.path("psql");
            let mut command = Command::new(program);
            account::without_variables(&mut command);
            command.envs(server.access().variables());
            command
        }
        DevCluster::Container(container) => {
            container.psql(std::io::stdin().is_terminal() && std::io::stdout().is_terminal())
        }
    };
    command.args(arguments);
    replace(command)
}

#[cfg(unix)]
fn replace(mut command: Command) -> Result<ExitCode, Failure> {
    use std::os::unix::process::CommandExt as _;
    let program = command.get_program().to_string_lossy().into_owned();
    Err(format!("{program}: {}", command.exec()).into())
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
    let place = match DevCluster::is_in(state) {
        true => DevCluster::find(state)?.place(state),
        false => state.data().display().to_string(),
    };
    let mut question = std::io::stderr().lock();
    write!(question, "This deletes all data in {place}. Go on? [y/N] ")?;
    question.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("not confirmed: nothing is deleted".into()),
    }
}
