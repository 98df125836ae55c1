//! The folder `.bookstore` of a project: the cluster's data, port, password and log.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::command::failure::Failure;

/// The name of the folder.
const NAME: &str = ".bookstore";

/// Whether the cluster ran before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterStart {
    /// This process has started it.
    New,
    /// It ran.
    Running,
}

/// The folder of one project.
#[derive(Clone, Debug)]
pub struct StateFolder {
    project: PathBuf,
}

impl StateFolder {
    /// The folder in the working directory. It may not exist.
    pub(super) fn of_working_directory() -> Result<Self, Failure> {
        Ok(Self { project: std::env::current_dir()?.canonicalize()? })
    }

    /// The folder of another project.
    pub(super) fn of(project: &Path) -> Self {
        Self { project: project.to_owned() }
    }

    /// The folder that it is in, where `.env` is too.
    pub(super) fn project(&self) -> &Path {
        &self.project
    }

    pub(super) fn path(&self) -> PathBuf {
        self.project.join(NAME)
    }

    /// What PostgreSQL's account owns: data and log.
    pub(super) fn postgres(&self) -> PathBuf {
        self.path().join("postgres")
    }

    /// The cluster's data directory (PostgreSQL, 19.2. Creating a Database Cluster).
    pub(super) fn data(&self) -> PathBuf {
        self.postgres().join("data")
    }

    /// The data directory while `initdb` fills it.
    pub(super) fn unfinished_data(&self) -> PathBuf {
        self.postgres().join("data.new")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.postgres().join("postgres.log")
    }

    /// Creates the folder, if needed, and locks it, so that no other `bookstore dev` changes it at
    /// the same time. The lock ends with the returned file.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        let folder = self.path();
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        // Nothing of it belongs into a repository.
        fs::write(folder.join(".gitignore"), "*\n").map_err(failed)?;
        let file = File::create(folder.join("lock")).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// The text of a file in the folder; `None` if it does not exist.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.path().join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        }
    }

    /// Writes a file in the folder that its owner alone can read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path().join(name);
        write_private(&path, text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Removes a file of the folder.
    pub(super) fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path().join(name);
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Deletes the data. The port and the password stay.
    pub(super) fn delete_data(&self) -> Result<(), Failure> {
        let folder = self.postgres();
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()).into())
    }
}

/// Writes a file as a whole, which its owner alone can read: it holds a password.
pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&name)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&name, path)
}
