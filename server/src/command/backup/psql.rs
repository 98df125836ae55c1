//! PostgreSQL's client programs, and one session of `psql` that answers statement by statement
//! (PostgreSQL, VI.II. PostgreSQL Client Applications).
//!
//! They get the connection in their environment, as other processes could read a password on a
//! command line.

use std::{collections::BTreeMap, process::Stdio};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines,
    },
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};

use super::stream::ended;
use crate::{
    command::failure::Failure,
    config::Database,
    postgres_programs::{CLIENT_PROGRAMS, OLDEST, PostgresPrograms},
};

/// What `psql` prints after the rows of a statement. No value of the statements has it.
const END: &str = "-- end of the rows --";

/// The most that is kept of what a program says on standard error.
const LONGEST_ERROR: u64 = 8 << 10;

/// The variables of libpq for the parameters of a URL (PostgreSQL, 34.15. Environment Variables).
const VARIABLES: [(&str, &str); 9] = [
    ("application_name", "PGAPPNAME"),
    ("dbname", "PGDATABASE"),
    ("options", "PGOPTIONS"),
    ("password", "PGPASSWORD"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("user", "PGUSER"),
];

/// The client programs and the connection that they open.
#[derive(Clone)]
pub(super) struct ClientPrograms {
    programs: PostgresPrograms,
    variables: BTreeMap<&'static str, String>,
}

impl ClientPrograms {
    /// Finds the programs, for the primary of the configured nodes.
    ///
    /// # Errors
    /// If they are not installed, or can't verify the server's certificate as the settings ask.
    pub(super) fn find(database: &Database) -> Result<Self, Failure> {
        let programs = PostgresPrograms::find(CLIENT_PROGRAMS, OLDEST)?;
        let nodes = database.nodes();
        let mut variables = BTreeMap::new();
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for (_, url) in &nodes {
            let query = url.split_once('?').map_or("", |(_, query)| query);
            for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                let value = percent_decode_str(value).decode_utf8()?.into_owned();
                match name {
                    "host" => hosts.push(value),
                    "port" => ports.push(value),
                    name => {
                        let known = VARIABLES.iter().find(|(parameter, _)| *parameter == name);
                        // All nodes have those of the first one.
                        if let Some((_, variable)) = known {
                            variables.entry(*variable).or_insert(value);
                        }
                    }
                }
            }
        }
        if nodes.len() > 1 {
            variables.insert("PGTARGETSESSIONATTRS", "read-write".to_owned());
        }
        variables.insert("PGHOST", hosts.join(","));
        variables.insert("PGPORT", ports.join(","));
        variables.insert("PGCLIENTENCODING", "UTF8".to_owned());
        variables.entry("PGAPPNAME").or_insert_with(|| "bookstore-backup".to_owned());
        let verifies = variables.get("PGSSLMODE").is_some_and(|mode| mode.starts_with("verify"));
        if verifies && !variables.contains_key("PGSSLROOTCERT") {
            if programs.major() < 16 {
                return Err(format!(
                    "pg_dump {} can't use the system's certificates: add sslrootcert=FILE to the \
                     URL, or install PostgreSQL's client programs of version 16 or newer",
                    programs.major()
                )
                .into());
            }
            variables.insert("PGSSLROOTCERT", "system".to_owned());
        }
        Ok(Self { programs, variables })
    }

    /// The major version of the programs.
    pub(super) fn major(&self) -> u32 {
        self.programs.major()
    }

    /// The same with another database of the server.
    pub(super) fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.variables.insert("PGDATABASE", name.to_owned());
        other
    }

    /// Starts one of the programs. It ends with this process.
    pub(super) fn start(
        &self,
        name: &'static str,
        arguments: &[&str],
        input: Stdio,
    ) -> Result<RunningProgram, Failure> {
        let mut command = Command::new(self.programs.path(name));
        // Other variables of libpq would change the connection.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command.args(arguments).envs(&self.variables).env("LC_ALL", "C").kill_on_drop(true);
        let pipes = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C at a terminal reaches this process alone, which then ends the program.
        #[cfg(unix)]
        pipes.process_group(0);
        let mut child = pipes.spawn().map_err(|error| format!("{name}: {error}"))?;
        let errors = child.stderr.take();
        let errors = tokio::spawn(async move {
            let mut text = Vec::new();
            if let Some(mut errors) = errors {
                // What was read until then is shown.
                let _ = (&mut errors).take(LONGEST_ERROR).read_to_end(&mut text).await;
                let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(RunningProgram { name, child, errors })
    }

    /// Opens a session of `psql`.
    pub(super) async fn session(&self) -> Result<PsqlSession, Failure> {
        let arguments = ["-XqAt", "-vON_ERROR_STOP=1", "-vVERBOSITY=default", "-w"];
        let mut program = self.start("psql", &arguments, Stdio::piped())?;
        let (input, output) = (program.child.stdin.take(), program.child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("psql has no pipes".into());
        };
        let lines = BufReader::new(output).lines();
        let mut session = PsqlSession { program, input: Some(input), lines };
        session.rows("SELECT 1").await?;
        Ok(session)
    }
}

/// A client program that runs.
pub(super) struct RunningProgram {
    name: &'static str,
    child: Child,
    errors: JoinHandle<String>,
}

impl RunningProgram {
    /// Its standard output.
    pub(super) fn output(&mut self) -> Result<ChildStdout, Failure> {
        Ok(self.child.stdout.take().ok_or("the output was taken already")?)
    }

    /// Its standard input.
    pub(super) fn input(&mut self) -> Result<ChildStdin, Failure> {
        Ok(self.child.stdin.take().ok_or("the input was taken already")?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What it said on standard error, if it failed.
    pub(super) async fn finish(mut self) -> Result<(), Failure> {
        let status = self.child.wait().await?;
        let errors = self.errors.await.unwrap_or_default();
        if status.success() { Ok(()) } else { Err(failure(self.name, &errors, &ended(status))) }
    }
}

/// The sentence for a program that failed, with a hint where its reason is known.
fn failure(name: &str, errors: &str, end: &str) -> Failure {
    let own = format!("{name}: ");
    let lines = errors.lines().map(|line| line.trim().trim_start_matches(own.as_str()));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let said = if lines.is_empty() { end.to_owned() } else { lines.join("; ") };
    let has = |part: &str| errors.contains(part);
    let hint = if has("No space left") || has("could not extend file") {
        ": the server has no room; free some there and run it again"
    } else if has("server closed the connection") || has("terminating connection") {
        ": the server ended the session; its log says why, for example a full disk"
    } else if has("database \"") && has("does not exist") {
        ": make it first (createdb), or correct DATABASE_URL"
    } else if has("certificate verify failed") || has("does not match host name") {
        ": correct sslrootcert or the host in DATABASE_URL"
    } else if has("Connection refused") || has("could not translate host name") {
        ": start the server, or correct DATABASE_URL"
    } else if has("role \"") && has("does not exist") {
        ": make the roles first (`bookstore migrate roles | psql -d DATABASE`), or restore with \
         --no-privileges"
    } else if has("permission denied to create database") {
        ": --verify makes a scratch database, so the role needs CREATEDB"
    } else if has("lock timeout") {
        ": a session uses the tables: stop the service and end other sessions, then restore again"
    } else if has("permission denied for schema") {
        ": prepare the database (`bookstore migrate roles | psql -d DATABASE`), and use the URL of \
         its owner (bookstore_owner)"
    } else if has("permission denied") || has("must be owner") {
        ": use the URL of the database's owner (bookstore_owner)"
    } else if has("no password supplied") || has("password authentication failed") {
        ": correct the password in the URL"
    } else {
        ""
    };
    format!("{name}: {said}{hint}").into()
}

/// A session of `psql`. It ends, and its open transaction with it, when it is dropped.
pub(super) struct PsqlSession {
    program: RunningProgram,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl PsqlSession {
    /// Runs statements and returns the lines that they print, with `|` between columns.
    ///
    /// # Errors
    /// What the server says, after which the session is over.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        let text = format!("{sql};\n\\echo '{END}'\n");
        let mut rows = Vec::new();
        if self.write(text.as_bytes()).await.is_err() {
            return Err(self.failure().await);
        }
        while let Some(line) = self.lines.next_line().await? {
            if line == END {
                return Ok(rows);
            }
            rows.push(line);
        }
        Err(self.failure().await)
    }

    /// The only value of a statement.
    pub(super) async fn value(&mut self, sql: &str) -> Result<String, Failure> {
        Ok(self.rows(sql).await?.pop().unwrap_or_default())
    }

    /// Passes a part of a script on.
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let closed = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let input = self.input.as_mut().ok_or_else(closed)?;
        input.write_all(bytes).await?;
        input.flush().await
    }

    /// Runs a script that `source` gives. `change` may replace its first part.
    ///
    /// # Errors
    /// What the server says about the first statement that fails.
    pub(super) async fn script(
        &mut self,
        mut source: impl AsyncRead + Unpin,
        change: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Result<(), Failure> {
        // The results of its statements are of no use.
        self.rows("\\o /dev/null\nSELECT 1").await?;
        let mut head = Vec::new();
        (&mut source).take(HEAD).read_to_end(&mut head).await?;
        let mut part = change(head);
        while !part.is_empty() {
            if self.write(&part).await.is_err() {
                return Err(self.failure().await);
            }
            part.resize(1 << 17, 0);
            let count = source.read(&mut part).await?;
            part.truncate(count);
        }
        // A script without a newline at its end would swallow the command.
        if self.write(b"\n\\o\n").await.is_err() {
            return Err(self.failure().await);
        }
        Ok(())
    }

    /// Why the session is over.
    async fn failure(&mut self) -> Failure {
        self.input = None;
        let end = match self.program.child.wait().await {
            Ok(status) => ended(status),
            Err(error) => error.to_string(),
        };
        let errors = (&mut self.program.errors).await.unwrap_or_default();
        failure(self.program.name, &errors, &end)
    }
}

/// How much of a script is passed to the function that may change it.
const HEAD: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_of_a_failed_program_says_what_to_do() {
        for (errors, says) in [
            ("ERROR:  could not extend file: No space left on device", "has no room; free some"),
            ("server closed the connection unexpectedly", "its log says why"),
            ("FATAL:  database \"x\" does not exist", "make it first (createdb)"),
            ("ERROR:  role \"x\" does not exist", "make the roles first"),
            ("ERROR:  canceling statement due to lock timeout", "stop the service"),
            ("ERROR:  permission denied for schema public", "prepare the database"),
            ("ERROR:  permission denied for table x", "the database's owner"),
            ("ERROR:  must be owner of table x", "the database's owner"),
            ("SSL error: certificate verify failed", "correct sslrootcert"),
            ("connection failed: Connection refused", "start the server"),
        ] {
            let text = failure("psql", &format!("psql: {errors}\n"), "exit code 3").to_string();
            assert!(text.starts_with(&format!("psql: {errors}: ")), "{text}");
            assert!(text.contains(says), "{text}: {says}");
        }
        let text = failure("psql", "", "a signal ended it").to_string();
        assert_eq!(text, "psql: a signal ended it");
    }
}
