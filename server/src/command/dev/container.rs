//! A developer's cluster in a container, for machines without PostgreSQL's server programs. It relies
//! on the interface of the image `postgres` (hub.docker.com/_/postgres, "Environment Variables").

use std::{
    fmt::Write as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use rand::{Rng as _, distr::Alphanumeric};

use super::{
    access::{ABSENT, ClusterAccess, DATABASE, HOST, OWNER},
    database,
    engine::{ContainerEngine, IMAGE_VARIABLE},
    state::{ClusterStart, StateFolder},
};
use crate::command::failure::Failure;

/// The image: the major version that compose.yml uses.
const IMAGE: &str = "postgres:16-bookworm";

/// Where the image keeps the data.
const DATA: &str = "/var/lib/postgresql/data";

/// The port in the container.
const INNER_PORT: u16 = 5432;

/// The file of the folder that names the container.
const RECORD: &str = "container";

/// The start of the container's name. Eight random characters follow.
const NAME_PREFIX: &str = "bookstore-dev-";

/// How long the container may take until its database answers. The first start runs `initdb`.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The seconds that PostgreSQL may take to stop before the engine kills it.
const STOP_SECONDS: &str = "60";

/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// Lines of the container's log that an error shows.
const SHOWN: &str = "8";

/// The arguments of `initdb`: the same locale as without a container.
const INITDB: &str = "--encoding=UTF8 --locale-provider=icu --icu-locale=en-US --locale=C.UTF-8";

/// The cluster of a project in a container. Its data is in a volume of the same name.
#[derive(Debug)]
pub struct PostgresContainer {
    engine: ContainerEngine,
    name: String,
    image: String,
    access: ClusterAccess,
}

impl PostgresContainer {
    /// Whether the folder has a container.
    pub(super) fn is_in(state: &StateFolder) -> bool {
        state.path().join(RECORD).exists()
    }

    /// The container of a folder that has one.
    pub(super) fn find(state: &StateFolder) -> Result<Self, Failure> {
        let record = state.read(RECORD)?.ok_or(ABSENT)?;
        let unreadable = || {
            let path = state.path().join(RECORD);
            format!("{}: it names no container: delete the file", path.display())
        };
        let mut lines = record.splitn(4, '\n');
        let mut next = || lines.next().map(str::to_owned).ok_or_else(unreadable);
        let (engine, name, image, project) = (next()?, next()?, next()?, PathBuf::from(next()?));
        let engine = ContainerEngine::named(&engine).ok_or_else(unreadable)?;
        if !name.starts_with(NAME_PREFIX) {
            return Err(unreadable().into());
        }
        // A folder that was moved keeps its container. A copy would share that of the original.
        if project != state.project() && StateFolder::of(&project).read(RECORD)? == Some(record) {
            return Err(format!(
                "this folder is a copy of {}, which the container {name} belongs to: delete {} for \
                 a database of its own",
                project.display(),
                state.path().display()
            )
            .into());
        }
        Ok(Self { engine, name, image, access: ClusterAccess::find(state)? })
    }

    /// Starts the container, and creates it and its volume first if they do not exist.
    pub(super) fn start(
        state: &StateFolder,
        engine: impl FnOnce() -> Result<ContainerEngine, Failure>,
    ) -> Result<(Self, ClusterStart), Failure> {
        ClusterAccess::create(state)?;
        if !Self::is_in(state) {
            let random = rand::rng().sample_iter(Alphanumeric).take(8).map(char::from);
            let random = random.collect::<String>().to_ascii_lowercase();
            let image = std::env::var(IMAGE_VARIABLE).ok().filter(|image| !image.is_empty());
            let image = image.unwrap_or_else(|| IMAGE.to_owned());
            let engine = engine()?;
            // Before anything is written down, so that another image can be tried after a failure.
            engine.pull(&image)?;
            record(state, &engine, &format!("{NAME_PREFIX}{random}"), &image)?;
        }
        let mut container = Self::find(state)?;
        record(state, &container.engine, &container.name, &container.image)?;
        match container.status()?.as_deref() {
            Some("running") => return Ok((container, ClusterStart::Running)),
            // The volume keeps the data. A new container can have another port.
            Some(_) => container.remove()?,
            None => {}
        }
        container.engine.pull(&container.image)?;
        container.access.move_from_taken_port(state)?;
        let mut command = container.run_command(state);
        if let Err(error) = container.engine.finish(&mut command) {
            // The engine keeps a container that it could not start.
            let _ = container.remove();
            return Err(error);
        }
        Ok((container, ClusterStart::New))
    }

    /// The command that creates and starts the container. The password is in its environment, not
    /// in its command line.
    fn run_command(&self, state: &StateFolder) -> Command {
        let mut command = self.engine.command();
        command.args(["run", "--detach", "--name", &self.name]);
        command.arg("--label").arg(format!("bookstore.project={}", state.project().display()));
        command.arg("--publish").arg(format!("{HOST}:{}:{INNER_PORT}", self.access.port));
        command.arg("--volume").arg(format!("{}:{DATA}", self.name));
        // Parallel queries take more than the 64 MiB that engines give.
        command.args(["--shm-size", "256m"]);
        command.arg("--env").arg(format!("PGDATA={DATA}"));
        command.arg("--env").arg(format!("POSTGRES_INITDB_ARGS={INITDB}"));
        command
            .args(["--env", "POSTGRES_PASSWORD"])
            .env("POSTGRES_PASSWORD", &self.access.password);
        command.arg(&self.image);
        command
    }

    /// Waits until the database answers.
    ///
    /// # Errors
    /// If the container ends, or takes too long, with the end of its log.
    pub(super) async fn wait_until_ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let Err(error) = database::try_to_connect(&self.access).await else { return Ok(()) };
            if error
                .as_database_error()
                .is_some_and(|error| error.code().as_deref() == Some("28P01"))
            {
                return Err(format!(
                    "the database in the volume {} has another password than that in .bookstore: \
                     bookstore dev reset deletes the data",
                    self.name
                )
                .into());
            }
            let has_ended = self.status()?.as_deref() != Some("running");
            if has_ended || Instant::now() > deadline {
                let mut text = format!("PostgreSQL does not start in the container {}", self.name);
                if !has_ended {
                    let _ = write!(text, " within {} s ({error})", START_TIMEOUT.as_secs());
                }
                return Err(format!("{text}\n{}", self.last_lines()).into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Stops the container. Returns whether it ran.
    pub(super) fn stop(&self) -> Result<bool, Failure> {
        let runs = self.is_running()?;
        if runs {
            self.engine.run(&["stop", "-t", STOP_SECONDS, &self.name])?;
        }
        Ok(runs)
    }

    /// Removes the container and deletes its volume.
    pub(super) fn delete_data(&self, state: &StateFolder) -> Result<(), Failure> {
        if self.status()?.is_some() {
            self.remove()?;
        }
        let filter = format!("name={}", self.name);
        let volumes = self.engine.run(&["volume", "ls", "--quiet", "--filter", &filter])?;
        if volumes.lines().any(|volume| volume == self.name) {
            self.engine.run(&["volume", "rm", &self.name])?;
        }
        state.remove(RECORD)
    }

    fn remove(&self) -> Result<(), Failure> {
        self.engine.run(&["rm", "--force", &self.name]).map(drop)
    }

    pub(super) fn is_running(&self) -> Result<bool, Failure> {
        Ok(self.status()?.as_deref() == Some("running"))
    }

    /// The state of the container, such as `running` or `exited`; `None` if it does not exist. The
    /// engines print different words in a list, so the list says only whether it exists.
    fn status(&self) -> Result<Option<String>, Failure> {
        let filter = format!("name=^{}$", self.name);
        let list = ["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"];
        if self.engine.run(&list)?.is_empty() {
            return Ok(None);
        }
        let inspect = ["container", "inspect", "--format", "{{.State.Status}}", &self.name];
        self.engine.run(&inspect).map(Some)
    }

    /// The end of the container's log.
    fn last_lines(&self) -> String {
        let mut command = self.engine.command();
        let output = command.args(["logs", "--tail", SHOWN, &self.name]).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat());
        String::from_utf8_lossy(&text.unwrap_or_default()).trim().to_owned()
    }

    /// The command that prints the log, on standard output alone.
    pub(super) fn logs(&self, lines: usize, follow: bool) -> Command {
        let mut command = self.engine.command();
        command.args(["logs", "--tail", &lines.to_string()]);
        if follow {
            command.arg("--follow");
        }
        command.arg(&self.name).stderr(std::io::stdout());
        command
    }

    /// The command that runs psql in the container, with a terminal if there is one.
    pub(super) fn psql(&self, has_terminal: bool) -> Command {
        let mut command = self.engine.command();
        command.args(["exec", "--interactive"]);
        if has_terminal {
            command.arg("--tty");
        }
        for variable in [format!("PGUSER={OWNER}"), format!("PGDATABASE={DATABASE}")] {
            command.arg("--env").arg(variable);
        }
        command.args([&self.name, "psql"]);
        command
    }

    pub(super) fn access(&self) -> &ClusterAccess {
        &self.access
    }

    /// The container, for people.
    pub(super) fn name(&self) -> String {
        format!("container {}", self.name)
    }

    /// The engine, the container and its image, for people.
    pub(super) fn description(&self) -> String {
        format!("container {} of {}, image {}", self.name, self.engine.name(), self.image)
    }

    /// The volume, for people.
    pub(super) fn volume(&self) -> String {
        format!("the volume {} of {}", self.name, self.engine.name())
    }
}

/// Writes down which container belongs to the folder. The image stays with the data, whose major
/// version it has.
fn record(
    state: &StateFolder,
    engine: &ContainerEngine,
    name: &str,
    image: &str,
) -> Result<(), Failure> {
    let project = state.project().display();
    state.write(RECORD, &format!("{}\n{name}\n{image}\n{project}", engine.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_has_the_version_of_compose() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../compose.yml");
        let compose = std::fs::read_to_string(path).unwrap();
        assert!(compose.contains(&format!("image: {IMAGE}\n")), "{IMAGE}");
    }
}
