//! The container engine: docker or podman, whose command lines agree in what is used here
//! (docs.docker.com/reference/cli, docs.podman.io).

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use super::account;
use crate::command::failure::Failure;

/// The programs that are looked for on `PATH`, in this order.
const ENGINES: [&str; 2] = ["docker", "podman"];

/// The variable that names another image, such as one of a registry of one's own.
pub(super) const IMAGE_VARIABLE: &str = "BOOKSTORE_POSTGRES_IMAGE";

/// An engine whose containers this account may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainerEngine(&'static str);

impl ContainerEngine {
    /// The first engine on `PATH` that answers; `None` if there is none on `PATH`.
    ///
    /// # Errors
    /// What the engines say, if there are some and none answers.
    pub(super) fn find() -> Result<Option<Self>, Failure> {
        let mut refusals = Vec::new();
        for name in ENGINES.into_iter().filter(|name| is_on_path(name)) {
            let engine = Self(name);
            // It asks the daemon, where the engine has one.
            match engine.run(&["info"]) {
                Ok(_) => return Ok(Some(engine)),
                Err(refusal) => refusals.push(refusal.to_string()),
            }
        }
        if refusals.is_empty() { Ok(None) } else { Err(refusals.join("\n").into()) }
    }

    /// The engine of this name, which made the container of a folder.
    pub(super) fn named(name: &str) -> Option<Self> {
        ENGINES.into_iter().find(|engine| *engine == name).map(Self)
    }

    /// The name of its program.
    pub(super) fn name(&self) -> &'static str {
        self.0
    }

    /// A command of the engine. The variables of PostgreSQL's client library are not those of the
    /// container.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.0);
        account::without_variables(&mut command);
        command
    }

    /// Runs a command to its end and returns what it prints.
    ///
    /// # Errors
    /// The command and what the engine says, if it fails.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = self.command();
        self.finish(command.args(arguments))
    }

    /// Runs a command of the engine to its end, as [`ContainerEngine::run`] does.
    pub(super) fn finish(&self, command: &mut Command) -> Result<String, Failure> {
        let verb = command.get_args().next().unwrap_or_default().to_string_lossy().into_owned();
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| self.not_started(&error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        let text = String::from_utf8_lossy(text);
        Err(format!("{} {verb} failed ({}): {}", self.0, output.status, text.trim()).into())
    }

    fn not_started(&self, error: &std::io::Error) -> String {
        let name = self.0;
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("{name} is not on PATH: it runs the database of this folder in a container")
            }
            _ => format!("{name}: {error}"),
        }
    }

    /// Pulls an image if this machine has not got it. The engine shows the progress on standard
    /// error.
    ///
    /// # Errors
    /// If the engine fails. It has said why on standard error.
    pub(super) fn pull(&self, image: &str) -> Result<(), Failure> {
        if self.run(&["image", "inspect", image]).is_ok() {
            return Ok(());
        }
        crate::command::print::error(&format!("{} pulls {image}", self.0));
        let mut command = self.command();
        command.args(["pull", image]).stdin(Stdio::null()).stdout(std::io::stderr());
        let status = command.status().map_err(|error| self.not_started(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(format!(
            "{} pull {image} failed ({status}): the lines above say why. {} names another image",
            self.0, IMAGE_VARIABLE
        )
        .into())
    }
}

/// Whether a folder of `PATH` holds a program of this name.
fn is_on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_program(&folder.join(name)))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.with_extension("exe").is_file()
}
