//! `bookstore dev`: the cluster of a folder, its URL in `.env`, and what survives a kill.

mod container;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bookstore_tests::{Finished, SOON, program, until};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection, Row as _};
use tempfile::TempDir;

/// What `status` ends with if the cluster does not run.
const STOPPED: i32 = 3;

/// A folder of a developer. Its cluster is stopped at the end, also if the test fails.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // The account of PostgreSQL must be able to enter it.
        let everyone = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), everyone).expect("permissions");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().expect("the folder")
    }

    fn data(&self) -> PathBuf {
        self.path().join(".bookstore/postgres/data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().stdin(Stdio::null()).current_dir(self.0.path());
        for kept in ["PATH", "BOOKSTORE_POSTGRES_BIN"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }

    async fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, &[]).await
    }

    async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        let output = tokio::process::Command::from(command).output();
        let output = tokio::time::timeout(SOON, output).await.expect("an end").expect("an output");
        Finished {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed.
    async fn succeed(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        finished.output
    }

    /// The URL in `.env`.
    fn url(&self) -> String {
        let text = fs::read_to_string(self.0.path().join(".env")).expect(".env");
        let line = text.lines().rfind(|line| line.starts_with("DATABASE_URL="));
        line.expect("a URL").trim_start_matches("DATABASE_URL=").to_owned()
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("a connection by the URL in .env")
    }

    async fn value(&self, sql: &'static str) -> i64 {
        let row = sqlx::query(sql).fetch_one(&mut self.connect().await).await;
        row.expect("a row").get(0)
    }

    /// The process in PostgreSQL's lock file.
    fn server(&self) -> Pid {
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).expect("a lock file");
        let process = lock.lines().next().and_then(|line| line.trim().parse().ok());
        process.and_then(Pid::from_raw).expect("a process")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A test stops its container by its own engine. No other one is asked here.
        let _ = fs::remove_file(self.0.path().join(".bookstore/container"));
        let _ = self.command(&["dev", "down"]).stdout(Stdio::null()).status();
    }
}

/// The processes that work in a folder.
fn processes(folder: &Path) -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let works_there =
        |entry: &fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at == folder);
    entries.filter(works_there).count()
}

#[tokio::test]
async fn dev_up_gives_a_database_whose_url_commands_in_the_folder_use() {
    let project = Project::new();
    fs::write(project.path().join(".env"), "LOG=mine\n").expect("a file");
    let printed = project.succeed(&["dev", "up"]).await;
    assert_eq!(printed, format!("DATABASE_URL={}\n", project.url()));
    let text = fs::read_to_string(project.path().join(".env")).expect(".env");
    assert!(text.starts_with("LOG=mine\n# Written by bookstore dev.\nDATABASE_URL="), "{text}");
    let mode = fs::metadata(project.path().join(".env")).expect(".env").permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read the password in .env");

    // `config` names the source, without the password.
    let config = project.succeed(&["config"]).await;
    assert!(config.contains("# From line 3 of .env.\ndatabase_url = \"postgres://"), "{config}");
    assert!(config.contains("bookstore_owner:***@127.0.0.1:"), "{config}");
    project.succeed(&["migrate", "up"]).await;
    assert_eq!(project.value("SELECT count(*) FROM books").await, 0);

    // A second `up` changes nothing.
    let (server, env) = (project.server(), text);
    assert_eq!(project.succeed(&["dev", "up"]).await, printed);
    assert_eq!(project.server(), server);
    assert_eq!(fs::read_to_string(project.path().join(".env")).expect(".env"), env);
    let status = project.succeed(&["dev", "status"]).await;
    let process = server.as_raw_nonzero();
    assert!(status.starts_with(&format!("running (process {process})\n")), "{status}");

    // The environment overrides the file, which `up` says, and another folder has none.
    let mine = [("DATABASE_URL", "sqlite://mine.db?mode=rwc")];
    let up = project.run_with(&["dev", "up"], &mine).await;
    assert!(up.errors.contains("variable DATABASE_URL overrides .env: unset it"), "{up:?}");
    let config = project.run_with(&["config"], &mine).await.output;
    assert!(config.contains("# From the environment variable DATABASE_URL.\n"), "{config}");
    let config = Project::new().succeed(&["config"]).await;
    assert!(config.contains("# From the default.\ndatabase_url = \"sqlite:"), "{config}");

    // Without the password the server refuses a connection.
    let url = project.url();
    let (role, rest) = url.split_once('@').expect("a URL with a password");
    let wrong = format!("{}x@{rest}", role);
    let refused = PgConnection::connect(&wrong).await.expect_err("a wrong password");
    let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
    assert_eq!(code.as_deref(), Some("28P01"), "{refused}");
}

#[tokio::test]
async fn dev_down_stops_every_process_and_keeps_data_and_port() {
    let project = Project::new();
    project.succeed(&["dev", "up"]).await;
    let url = project.url();
    let row = "CREATE TABLE kept AS SELECT 7::bigint AS n";
    sqlx::query(row).execute(&mut project.connect().await).await.expect("a table");
    assert_eq!(project.succeed(&["dev", "down"]).await, "stopped\n");
    assert_eq!(processes(&project.data()), 0);
    assert_eq!(project.run(&["dev", "status"]).await.code, Some(STOPPED));
    assert_eq!(project.succeed(&["dev", "down"]).await, "not running\n");

    project.succeed(&["dev", "up"]).await;
    assert_eq!(project.url(), url);
    assert_eq!(project.value("SELECT n FROM kept").await, 7);
}

#[tokio::test]
async fn dev_works_after_a_kill_and_with_the_lock_file_of_another_process() {
    let project = Project::new();
    project.succeed(&["dev", "up"]).await;
    let row = "CREATE TABLE kept AS SELECT 7::bigint AS n";
    sqlx::query(row).execute(&mut project.connect().await).await.expect("a table");
    kill_process(project.server(), Signal::KILL).expect("a signal");
    until("the processes have ended", SOON, async || processes(&project.data()) == 0).await;
    assert_eq!(project.run(&["dev", "status"]).await.code, Some(STOPPED));
    assert_eq!(project.succeed(&["dev", "down"]).await, "not running\n");
    assert!(!project.data().join("postmaster.pid").exists(), "the lock file stays");

    // As after a restart of the machine: the process of the lock file is another program's.
    let lock = format!("{}\n{}\n", std::process::id(), project.data().display());
    fs::write(project.data().join("postmaster.pid"), lock).expect("a lock file");
    assert_eq!(project.run(&["dev", "status"]).await.code, Some(STOPPED));
    project.succeed(&["dev", "up"]).await;
    assert_eq!(project.value("SELECT n FROM kept").await, 7);
}

/// `bookstore dev` leaves the cluster behind when it is killed, and so does the shell of `up`.
#[tokio::test]
async fn dev_goes_on_with_the_cluster_of_a_killed_service() {
    let project = Project::new();
    let mut command = project.command(&["dev", "--listen-addr", "127.0.0.1:0"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut service = Ended(command.spawn().expect("the service"));
    until("the sample data is loaded", SOON, async || has_items(&project).await).await;
    service.0.kill().expect("a signal");
    service.0.wait().expect("an end");
    let server = project.server();
    assert_eq!(project.run(&["dev", "status"]).await.code, Some(0), "the cluster has ended");
    project.succeed(&["dev", "up"]).await;
    assert_eq!(project.server(), server);
    assert_eq!(project.value("SELECT count(*) FROM books").await, 500);
    assert_eq!(project.succeed(&["dev", "down"]).await, "stopped\n");
    assert_eq!(processes(&project.data()), 0);
}

/// A developer works as root in the folder of another account, or has started the cluster so.
#[tokio::test]
async fn dev_as_root_stops_and_starts_the_cluster_of_another_account() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    const NOBODY: u32 = 65_534;
    let project = Project::new();
    std::os::unix::fs::chown(project.path(), Some(NOBODY), Some(NOBODY)).expect("an owner");
    let mut up = project.command(&["dev", "up"]);
    std::os::unix::process::CommandExt::uid(&mut up, NOBODY);
    std::os::unix::process::CommandExt::gid(&mut up, NOBODY);
    let up = tokio::process::Command::from(up).output().await.expect("an output");
    assert!(up.status.success(), "{up:?}");
    assert_eq!(project.succeed(&["dev", "down"]).await, "stopped\n");
    project.succeed(&["dev", "up"]).await;
    assert_eq!(project.value("SELECT 1::bigint").await, 1);
}

#[tokio::test]
async fn dev_reset_deletes_the_data_after_a_confirmation_alone() {
    let project = Project::new();
    project.succeed(&["dev", "up"]).await;
    let row = "CREATE TABLE kept AS SELECT 7::bigint AS n";
    sqlx::query(row).execute(&mut project.connect().await).await.expect("a table");
    let refused = project.run(&["dev", "reset"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("confirm it with --yes"), "{refused:?}");
    assert_eq!(project.value("SELECT n FROM kept").await, 7);

    project.succeed(&["dev", "reset", "--yes"]).await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(project.value(tables).await, 0);
}

#[tokio::test]
async fn dev_moves_to_a_free_port_if_its_port_is_taken() {
    let project = Project::new();
    project.succeed(&["dev", "up"]).await;
    let port = fs::read_to_string(project.path().join(".bookstore/port")).expect("a port");
    project.succeed(&["dev", "down"]).await;
    let taken = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port");
    let up = project.run(&["dev", "up"]).await;
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.errors.contains(&format!("port {port} is in use")), "{up:?}");
    drop(taken);
    assert!(!project.url().contains(&format!(":{port}/")), "{}", project.url());
    assert_eq!(project.value("SELECT 1::bigint").await, 1);
}

#[tokio::test]
async fn dev_refuses_a_url_of_another_database_before_it_starts_anything() {
    let project = Project::new();
    let text = "A=1\nDATABASE_URL=sqlite://mine.db\n";
    fs::write(project.path().join(".env"), text).expect("a file");
    let refused = project.run(&["dev", "up"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("line 2 of .env has a DATABASE_URL"), "{refused:?}");
    assert!(!project.data().exists());
    assert_eq!(fs::read_to_string(project.path().join(".env")).expect(".env"), text);

    let refused = project.run(&["dev", "--database-url", "sqlite://mine.db"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("--database-url"), "{refused:?}");

    let missing = [("BOOKSTORE_POSTGRES_BIN", "/nowhere")];
    let project = Project::new();
    let refused = project.run_with(&["dev", "up"], &missing).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.errors.contains("BOOKSTORE_POSTGRES_BIN=/nowhere"), "{refused:?}");
}

#[tokio::test]
async fn dev_alone_serves_sample_data_and_stops_the_database_with_the_service() {
    let project = Project::new();
    let mut command =
        project.command(&["dev", "--sample-data", "60", "--listen-addr", "127.0.0.1:0"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).env("SHUTDOWN_PAUSE", "0s");
    let mut service = Ended(command.spawn().expect("the service"));
    until("the sample data is loaded", SOON, async || has_items(&project).await).await;
    assert_eq!(project.value("SELECT count(*) FROM books").await, 60);
    let process = i32::try_from(service.0.id()).ok().and_then(Pid::from_raw);
    kill_process(process.expect("a process"), Signal::INT).expect("a signal");
    assert_eq!(service.0.wait().expect("an end").code(), Some(0));
    assert_eq!(processes(&project.data()), 0);

    // A database that ran before stays.
    project.succeed(&["dev", "up"]).await;
    let mut command = project.command(&["dev", "--listen-addr", "127.0.0.1:0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).env("SHUTDOWN_PAUSE", "0s");
    let mut service = Ended(command.spawn().expect("the service"));
    let output = service.0.stdout.take().expect("its output");
    let listens = tokio::task::spawn_blocking(move || {
        use std::io::BufRead as _;
        let mut lines = std::io::BufReader::new(output).lines().map_while(Result::ok);
        lines.any(|line| line.starts_with("LISTENING "))
    });
    assert!(listens.await.expect("an output"), "it doesn't listen");
    let process = i32::try_from(service.0.id()).ok().and_then(Pid::from_raw);
    kill_process(process.expect("a process"), Signal::INT).expect("a signal");
    assert_eq!(service.0.wait().expect("an end").code(), Some(0));
    assert_eq!(project.run(&["dev", "status"]).await.code, Some(0));
}

/// Whether the last of the sample data is loaded.
async fn has_items(project: &Project) -> bool {
    if !project.path().join(".env").is_file() {
        return false;
    }
    let Ok(mut connection) = PgConnection::connect(&project.url()).await else { return false };
    let count = sqlx::query("SELECT count(*) FROM items").fetch_one(&mut connection).await;
    count.is_ok_and(|row| row.get::<i64, _>(0) > 0)
}

/// A process that is killed if the test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
