//! A developer's cluster on PostgreSQL's programs: created by `initdb`, started and stopped by
//! `pg_ctl` (PostgreSQL, VI.III. PostgreSQL Server Applications).

use std::{
    fs,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use super::{
    access::{ClusterAccess, PASSWORD, SUPERUSER},
    account, processes,
    state::{self, ClusterStart, StateFolder},
};
use crate::{
    command::failure::Failure,
    postgres_programs::{OLDEST, PostgresPrograms, SERVER_PROGRAMS},
};

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

/// The cluster of a project, run by PostgreSQL's programs.
#[derive(Debug)]
pub struct InstalledServer {
    programs: PostgresPrograms,
    state: StateFolder,
    access: ClusterAccess,
}

impl InstalledServer {
    /// The cluster of a folder that has one.
    pub(super) fn find(state: &StateFolder) -> Result<Self, Failure> {
        let access = ClusterAccess::find(state)?;
        let programs = PostgresPrograms::find(SERVER_PROGRAMS, oldest(state)?)?;
        let state = state.clone();
        Ok(Self { programs, state, access })
    }

    /// Starts the cluster, and creates it first if it does not exist.
    pub(super) fn start(state: &StateFolder) -> Result<(Self, ClusterStart), Failure> {
        let programs = PostgresPrograms::find(SERVER_PROGRAMS, oldest(state)?)?;
        ClusterAccess::create(state)?;
        if !state.data().exists() {
            create(&programs, state)?;
        }
        let mut cluster = Self::find(state)?;
        cluster.check_version()?;
        if cluster.process().is_some() {
            return Ok((cluster, ClusterStart::Running));
        }
        cluster.clear()?;
        cluster.access.move_from_taken_port(state)?;
        let log = state.log();
        let port = format!("-p {}", cluster.access.port);
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
        let mut command = account::command(&self.programs.path("pg_ctl"), &self.state.data());
        command.arg(verb).arg("-D").arg(self.state.data());
        if verb != "status" {
            command.args(["-s", "-w", "-t", &TIMEOUT.as_secs().to_string()]);
        }
        command
    }

    pub(super) fn access(&self) -> &ClusterAccess {
        &self.access
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
        let mut command = account::command(&programs.path("initdb"), &data);
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

/// What a program of PostgreSQL has printed.
fn said(output: &Output) -> String {
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(text).trim().to_owned()
}
