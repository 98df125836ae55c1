//! A developer's cluster: created by `initdb`, started and stopped by `pg_ctl` (PostgreSQL, VI.III.
//! PostgreSQL Server Applications).

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::TcpListener,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, distr::Alphanumeric};

use super::{
    account, processes,
    state::{self, StateFolder},
};
use crate::{
    command::{failure::Failure, print},
    postgres_programs::{OLDEST, PostgresPrograms, SERVER_PROGRAMS},
};

/// The role that owns the database, as in `deploy/postgres/roles.sql`. The URL names it.
pub(super) const OWNER: &str = "bookstore_owner";
/// The role that creates the database.
pub(super) const SUPERUSER: &str = "postgres";
/// The database of the service.
pub(super) const DATABASE: &str = "bookstore";

/// The files of the folder that keep the port and the password.
const PORT: &str = "port";
const PASSWORD: &str = "password";

/// Letters and digits of the generated password: more than 128 bits.
const PASSWORD_LENGTH: usize = 24;

/// The ports are these, below those that the kernel gives to clients.
const FIRST_PORT: u16 = 15_500;
const PORTS: u16 = 4_000;

/// How long PostgreSQL may take to start, and to stop.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long the processes of a killed server may take to end.
const LEFTOVERS: Duration = Duration::from_secs(10);

/// The pause between two checks of the processes.
const PAUSE: Duration = Duration::from_millis(20);

/// Settings of the cluster. Other machines don't reach it, and it opens no socket in a folder whose
/// path may be too long for one.
const SETTINGS: &str =
    "\n# bookstore dev\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n";

/// The locales to try: the default collation is ICU's, and plain where PostgreSQL has no ICU.
const LOCALES: [&[&str]; 4] = [
    &["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8"],
    &["--locale-provider=icu", "--icu-locale=en-US", "--locale=C"],
    &["--locale=C.UTF-8"],
    &["--locale=C"],
];

/// Whether the cluster ran before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterStart {
    /// This process has started it.
    New,
    /// It ran.
    Running,
}

/// The cluster of a project.
#[derive(Debug)]
pub struct DevCluster {
    programs: PostgresPrograms,
    state: StateFolder,
    port: u16,
    password: String,
}

impl DevCluster {
    /// The cluster of a folder that has one.
    pub(super) fn find(state: &StateFolder) -> Result<Self, Failure> {
        let absent = || "no database here: bookstore dev up creates one".to_owned();
        let port = state.read(PORT)?.ok_or_else(absent)?;
        let port = port.parse().map_err(|_| {
            let path = state.path().join(PORT);
            format!("{}: {port:?} is no port: delete the file", path.display())
        })?;
        let password = state.read(PASSWORD)?.ok_or_else(absent)?;
        let programs = PostgresPrograms::find(SERVER_PROGRAMS, oldest(state)?)?;
        let state = state.clone();
        Ok(Self { programs, state, port, password })
    }

    /// Starts the cluster, and creates it first if it does not exist.
    pub(super) fn start(state: &StateFolder) -> Result<(Self, ClusterStart), Failure> {
        let programs = PostgresPrograms::find(SERVER_PROGRAMS, oldest(state)?)?;
        if state.read(PASSWORD)?.is_none() {
            let password = rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LENGTH);
            let password: String = password.map(char::from).collect();
            state.write(PASSWORD, &password)?;
        }
        if state.read(PORT)?.is_none() {
            state.write(PORT, &free_port(state)?.to_string())?;
        }
        if !state.data().exists() {
            create(&programs, state)?;
        }
        let mut cluster = Self::find(state)?;
        cluster.check_version()?;
        if cluster.process().is_some() {
            return Ok((cluster, ClusterStart::Running));
        }
        cluster.clear()?;
        if TcpListener::bind(("127.0.0.1", cluster.port)).is_err() {
            let (taken, free) = (cluster.port, free_port(state)?);
            print::error(&format!("port {taken} is in use: the database gets port {free}"));
            state.write(PORT, &free.to_string())?;
            cluster.port = free;
        }
        let log = state.log();
        let port = format!("-p {}", cluster.port);
        let mut command = cluster.pg_ctl("start");
        command.arg("-o").arg(port).arg("-l").arg(&log);
        let output = command.output()?;
        if !output.status.success() {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let end: Vec<&str> = text.lines().rev().take(5).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            return Err(format!(
                "PostgreSQL does not start: {}\n{}",
                said(&output),
                end.join("\n")
            )
            .into());
        }
        Ok((cluster, ClusterStart::New))
    }

    /// Stops the cluster and waits until its processes have ended. Returns whether it ran.
    pub(super) fn stop(&self) -> Result<bool, Failure> {
        let runs = self.process().is_some();
        if runs {
            let output = self.pg_ctl("stop").args(["-m", "fast"]).output()?;
            if !output.status.success() && self.process().is_some() {
                let path = self.state.log();
                let reason = said(&output);
                return Err(format!(
                    "PostgreSQL does not stop: {reason}; its log is {}",
                    path.display()
                )
                .into());
            }
        }
        self.clear()?;
        Ok(runs)
    }

    /// The process of the server, if it runs.
    pub(super) fn process(&self) -> Option<u32> {
        let data = self.state.data();
        let lock = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let process: u32 = lock.lines().next()?.trim().parse().ok()?;
        match processes::of(&data) {
            Some(found) => found.contains(&process).then_some(process),
            // pg_ctl asks the system whether the process exists.
            None => {
                let status = self.pg_ctl("status").output().ok()?.status;
                status.success().then_some(process)
            }
        }
    }

    /// Waits for the last processes of a killed server and removes its lock file. After a restart of
    /// the machine the file may name another program's process: PostgreSQL would not start then.
    fn clear(&self) -> Result<(), Failure> {
        let data = self.state.data();
        let deadline = Instant::now() + LEFTOVERS;
        // Without the list PostgreSQL judges the lock file itself.
        while let Some(left) = processes::of(&data) {
            if left.is_empty() {
                let file = data.join("postmaster.pid");
                if file.exists() {
                    fs::remove_file(&file)?;
                }
                break;
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "processes of PostgreSQL remain after its end: {left:?}; stop them with kill"
                )
                .into());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Refuses data of another major version than that of the programs.
    fn check_version(&self) -> Result<(), Failure> {
        let data = fs::read_to_string(self.state.data().join("PG_VERSION")).unwrap_or_default();
        let (data, programs) = (data.trim(), self.programs.major());
        if data == programs.to_string() {
            return Ok(());
        }
        Err(format!(
            "the data is of PostgreSQL {data}, the programs in {} are of {programs}: name the \
             folder of the programs of {data} in BOOKSTORE_POSTGRES_BIN, or delete the data with \
             bookstore dev reset",
            self.programs.folder().display()
        )
        .into())
    }

    fn pg_ctl(&self, verb: &str) -> Command {
        let mut command = account::command(&self.programs.path("pg_ctl"));
        command.arg(verb).arg("-D").arg(self.state.data());
        if verb != "status" {
            command.args(["-s", "-w", "-t", &TIMEOUT.as_secs().to_string()]);
        }
        command
    }

    /// The URL of the database, with the password.
    pub(super) fn url(&self) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{OWNER}:{password}@127.0.0.1:{port}/{DATABASE}")
    }

    /// What psql needs to connect, as variables (PostgreSQL, 34.15. Environment Variables).
    pub(super) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", OWNER.to_owned()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", DATABASE.to_owned()),
        ]
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// The major version of the programs.
    pub(super) fn version(&self) -> u32 {
        self.programs.major()
    }
}

/// The oldest version of the programs that can run the data.
fn oldest(state: &StateFolder) -> Result<u32, Failure> {
    let version = fs::read_to_string(state.data().join("PG_VERSION"));
    Ok(version.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(OLDEST))
}

/// Creates the data directory, whole or not at all.
fn create(programs: &PostgresPrograms, state: &StateFolder) -> Result<(), Failure> {
    let (folder, data) = (state.postgres(), state.unfinished_data());
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    account::give(&folder).map_err(failed)?;
    // initdb reads the password from a file that its account can read.
    let file = folder.join(PASSWORD);
    let password = state.read(PASSWORD)?.unwrap_or_default();
    state::write_private(&file, &password).map_err(failed)?;
    account::give(&file).map_err(failed)?;
    let mut last = String::new();
    for locale in LOCALES {
        if data.exists() {
            fs::remove_dir_all(&data).map_err(failed)?;
        }
        let mut command = account::command(&programs.path("initdb"));
        command.args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"]);
        command.arg(format!("--username={SUPERUSER}")).args(locale);
        command.arg("--pwfile").arg(&file).arg("--pgdata").arg(&data);
        let output = command.output()?;
        if output.status.success() {
            let settings = data.join("postgresql.conf");
            let text = fs::read_to_string(&settings).map_err(failed)? + SETTINGS;
            fs::write(&settings, text).map_err(failed)?;
            fs::remove_file(&file).map_err(failed)?;
            fs::rename(&data, state.data()).map_err(failed)?;
            return Ok(());
        }
        last = said(&output);
    }
    let hint = if account::is_other() && last.contains("ermission denied") {
        "\nPostgreSQL does not run as root, and its account cannot enter this folder: run the \
         command as another user, or let others enter the folder and those above it (chmod o+x)"
    } else {
        ""
    };
    Err(format!("initdb: {last}{hint}").into())
}

/// A free port. The search begins at a port that the path of the project gives, so that projects
/// rarely meet.
fn free_port(state: &StateFolder) -> Result<u16, Failure> {
    let mut hasher = DefaultHasher::new();
    state.project().hash(&mut hasher);
    let start = u16::try_from(hasher.finish() % u64::from(PORTS)).unwrap_or_default();
    (0..PORTS)
        .map(|step| FIRST_PORT + (start + step) % PORTS)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| format!("no port from {FIRST_PORT} on is free").into())
}

/// What a program of PostgreSQL has printed.
fn said(output: &Output) -> String {
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(text).trim().to_owned()
}
