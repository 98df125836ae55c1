//! A service under test: the program as a process, on a database for one test.

use std::{
    io::PipeWriter,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, ChildStdin};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    Engine,
    authority::{Pair, TlsFiles},
    database::{Database, Row},
    postgres::Origin,
    program::{Lines, command_of, program},
    stopwatch::{Stopwatch, Took},
    wait::SOON,
};

/// A running service. Dropping it kills the process and waits for its end. If the test is failing,
/// the service's log is printed then.
#[derive(Debug)]
pub struct TestServer {
    process: Child,
    // Kept apart from the process, since waiting for the process would close it.
    _input: ChildStdin,
    /// `None` for a Unix domain socket.
    address: Option<SocketAddr>,
    channel: Channel,
    output: Lines,
    logs: Lines,
    // Dropped after the process has ended.
    database: Arc<Database>,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// Its resident memory in bytes.
    pub memory: u64,
    /// Its open file descriptors.
    pub descriptors: u64,
    /// Its threads.
    pub threads: u64,
}

/// The end of a service.
#[derive(Debug)]
pub struct Ended {
    /// The process's exit status.
    pub status: ExitStatus,
    /// The time from the signal to the end.
    pub took: Took,
}

/// The settings of a service to start.
#[derive(Debug)]
pub struct Builder {
    engine: Engine,
    origin: Origin,
    database: Option<Arc<Database>>,
    settings: Vec<(String, String)>,
    flags: Vec<String>,
    wait_for: Option<&'static str>,
    listen: String,
    program: PathBuf,
    tls: Option<ClientTlsConfig>,
}

impl TestServer {
    /// Starts a service on a new database and waits until it is ready.
    ///
    /// # Panics
    /// If it isn't ready within a minute. The message contains its log.
    pub async fn start(engine: Engine) -> Self {
        Self::builder(engine).start().await
    }

    /// The same, with settings of the test.
    pub fn builder(engine: Engine) -> Builder {
        Builder {
            engine,
            origin: Origin::Migrated,
            database: None,
            settings: Vec::new(),
            flags: Vec::new(),
            wait_for: Some("ready"),
            listen: "127.0.0.1:0".to_owned(),
            program: program(),
            tls: None,
        }
    }

    /// A channel to the service, for clients.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The address of its listener.
    ///
    /// # Panics
    /// If that is a Unix domain socket.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a service at a port")
    }

    /// The admin address, if it was started with an `ADMIN_ADDR`.
    pub async fn admin_address(&self) -> SocketAddr {
        let line = self.logs.wait_for(|line| line.contains("listening for operators")).await;
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of the log");
        let address = line["address"].as_str().and_then(|address| address.parse().ok());
        address.expect("an address")
    }

    /// Its database. Another service can be started on it.
    pub fn database(&self) -> Arc<Database> {
        Arc::clone(&self.database)
    }

    /// Runs SQL directly on the database; see [`Database::sql`].
    pub async fn sql(&self, text: &str) -> Vec<Row> {
        self.database.sql(text).await
    }

    /// Its log so far, from standard error.
    pub fn logs(&self) -> &Lines {
        &self.logs
    }

    /// Its standard output, which is only the line with its address.
    pub fn output(&self) -> &Lines {
        &self.output
    }

    /// The peak memory of the process in bytes; `None` where the system doesn't report it as Linux
    /// does.
    pub fn peak_memory(&self) -> Option<u64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1_024)
    }

    /// The id of the process; 0 after its end.
    pub fn process(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// The command line of the process; empty where the system doesn't report it as Linux does.
    pub fn command_line(&self) -> String {
        let id = self.process.id().unwrap_or_default();
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    }

    /// What the process holds now; `None` where the system doesn't report it as Linux does.
    pub fn resources(&self) -> Option<Resources> {
        let folder = format!("/proc/{}", self.process.id()?);
        let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
        let number = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        Some(Resources {
            memory: number("VmRSS:")? * 1_024,
            descriptors: std::fs::read_dir(format!("{folder}/fd")).ok()?.count().try_into().ok()?,
            threads: number("Threads:")?,
        })
    }

    /// The CPU time of the process so far, of all its threads; `None` where the system doesn't
    /// report it as Linux does.
    pub fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()?)).ok()?;
        // The fields follow the program's name, in parentheses, which may contain any character.
        let fields = stat.rsplit_once(')')?.1.split_whitespace();
        // Fields 14 and 15, utime and stime, in ticks.
        let ticks = fields.skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>().ok()?;
        Some(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(&self, signal: Signal) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // The process may end in the meantime, which is no failure of the test.
            kill_process(id, signal).ok();
        }
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    /// If that takes longer than [`SOON`].
    pub async fn ended(&mut self) -> Ended {
        let watch = Stopwatch::start();
        let status = tokio::time::timeout(SOON, self.process.wait()).await;
        let status = status.expect("a service that ends").expect("its exit status");
        Ended { status, took: watch.stop() }
    }

    /// Sends SIGTERM, as Kubernetes does, and waits for the end.
    pub async fn terminate(&mut self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub async fn kill(&mut self) -> Ended {
        self.signal(Signal::KILL);
        self.ended().await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.process.start_kill());
        // A killed process ends at once, but its database must not be removed before that.
        let deadline = Instant::now() + SOON;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if std::thread::panicking() {
            eprintln!("log of the service on {:?}:", self.database.engine());
            for line in self.logs.so_far() {
                eprintln!("  {line}");
            }
        }
    }
}

impl Builder {
    /// A setting, by the name of its environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Serves with TLS. The server's channel has this client certificate.
    pub fn tls(mut self, files: &TlsFiles, client: Option<&Pair>) -> Self {
        self.tls = Some(files.client(client));
        let settings = files.settings().into_iter();
        settings.fold(self, |builder, (name, value)| builder.env(name, &value))
    }

    /// Serves the database at this URL. The server's own database stays empty.
    pub fn url(mut self, url: &str) -> Self {
        self.engine = Engine::Sqlite;
        self.env("DATABASE_URL", url)
    }

    /// A flag of `serve`, or its value.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Serves an existing database, also beside another service.
    pub fn on(mut self, database: Arc<Database>) -> Self {
        self.engine = database.engine();
        self.database = Some(database);
        self
    }

    /// Leaves the database without tables, as it always is on SQLite.
    pub fn unmigrated(mut self) -> Self {
        self.origin = Origin::Empty;
        self
    }

    /// Waits for this health name instead of `ready`, or with `None` only for the port.
    pub fn wait_for(mut self, name: Option<&'static str>) -> Self {
        self.wait_for = name;
        self
    }

    /// Listens on a Unix domain socket instead of a port.
    pub fn unix(mut self, path: &Path) -> Self {
        self.listen = format!("unix:{}", path.display());
        self
    }

    /// Listens on this address instead of a port of 127.0.0.1.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Runs this program rather than the one under test, as that of another release. Unless it is
    /// built from `bookstore-tests` too, it doesn't end by itself when the test process is killed.
    pub fn program(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.program);
        self
    }

    /// Starts the service.
    ///
    /// # Panics
    /// If it doesn't reach the awaited state within a minute. Its log is printed.
    pub async fn start(self) -> TestServer {
        let database = match self.database {
            Some(database) => database,
            None => Arc::new(Database::create(self.engine, self.origin).await),
        };
        let (output, output_end) = std::io::pipe().expect("a pipe for the output");
        let (logs, logs_end) = std::io::pipe().expect("a pipe for the log");
        let (output, logs) = (Lines::capture(output), Lines::capture(logs));
        let arguments = ["serve", "--listen-addr", &self.listen].map(str::to_owned);
        let arguments = [arguments.as_slice(), &self.flags].concat();
        let command = command_of(&self.program, &arguments);
        let mut process = spawn(command, &database, self.settings, output_end, logs_end);
        let input = process.stdin.take().expect("a piped input");

        let line = tokio::time::timeout(SOON, async {
            tokio::select! {
                line = output.wait_for(|_| true) => line,
                status = process.wait() => panic!("it ended with {status:?}:\n{}", text(&logs)),
            }
        });
        let line = line.await.unwrap_or_else(|_| panic!("it writes nothing:\n{}", text(&logs)));
        let printed =
            line.strip_prefix("LISTENING ").unwrap_or_else(|| panic!("it wrote {line:?}"));
        let address: Option<SocketAddr> = printed.parse().ok();
        assert!(address.is_some() || printed == self.listen, "it wrote {line:?}");
        let scheme = match (address, &self.tls) {
            (None, _) => "",
            (Some(_), None) => "http://",
            (Some(_), Some(_)) => "https://",
        };
        let endpoint = Endpoint::from_shared(format!("{scheme}{printed}"));
        let mut endpoint = endpoint.expect("an address").tcp_nodelay(true);
        if let Some(tls) = self.tls {
            endpoint = endpoint.tls_config(tls).expect("files of TLS");
        }
        let channel = endpoint.connect_lazy();
        let server =
            TestServer { process, _input: input, address, channel, output, logs, database };
        if let Some(name) = self.wait_for {
            let served = tokio::time::timeout(SOON, serves(server.channel(), name));
            assert!(served.await.is_ok(), "health of {name:?} isn't SERVING after {SOON:?}");
        }
        server
    }
}

fn spawn(
    mut command: Command,
    database: &Database,
    settings: Vec<(String, String)>,
    output: PipeWriter,
    logs: PipeWriter,
) -> Child {
    command.env("DATABASE_URL", database.url());
    // This process holds the standard input. When it dies, the service ends.
    command.env("BOOKSTORE_TEST_STDIN_GUARD", "1").stdin(Stdio::piped());
    command.envs(settings).stdout(output).stderr(logs);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true).spawn().expect("the program under test starts")
}

fn text(lines: &Lines) -> String {
    lines.so_far().join("\n")
}

/// Waits until the service reports a health name as SERVING.
async fn serves(channel: Channel, name: &str) {
    let request = HealthCheckRequest { service: name.to_owned() };
    let mut states = HealthClient::new(channel).watch(request).await.expect("a watch").into_inner();
    while let Some(state) = states.message().await.expect("a state of health") {
        if state.status() == ServingStatus::Serving {
            return;
        }
    }
    panic!("the watch of {name:?} ended");
}
