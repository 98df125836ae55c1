//! The cluster of a project, on PostgreSQL's programs or in a container.

use super::{
    access::ClusterAccess,
    container::PostgresContainer,
    engine::ContainerEngine,
    server::InstalledServer,
    state::{ClusterStart, StateFolder},
};
use crate::{
    command::failure::Failure,
    postgres_programs::{OLDEST, PostgresPrograms, PostgresProgramsError, SERVER_PROGRAMS},
};

/// The cluster of a project.
#[derive(Debug)]
pub enum DevCluster {
    /// Run by PostgreSQL's programs.
    Installed(InstalledServer),
    /// In a container.
    Container(PostgresContainer),
}

impl DevCluster {
    /// Whether the folder has a cluster.
    pub(super) fn is_in(state: &StateFolder) -> bool {
        state.data().exists() || PostgresContainer::is_in(state)
    }

    /// The cluster of a folder that has one.
    pub(super) fn find(state: &StateFolder) -> Result<Self, Failure> {
        match PostgresContainer::is_in(state) {
            true => PostgresContainer::find(state).map(Self::Container),
            false => InstalledServer::find(state).map(Self::Installed),
        }
    }

    /// Starts the cluster, and creates it first if it does not exist: in a container if
    /// `in_container` says so or PostgreSQL's programs are not installed.
    pub(super) fn start(
        state: &StateFolder,
        in_container: bool,
    ) -> Result<(Self, ClusterStart), Failure> {
        if in_container && state.data().exists() {
            return Err(format!(
                "--container: this folder has a database without a container: bookstore dev down \
                 stops it, and deleting {} makes room for another one",
                state.path().display()
            )
            .into());
        }
        let container = |engine: &dyn Fn() -> Result<ContainerEngine, Failure>| {
            let (container, start) = PostgresContainer::start(state, engine)?;
            Ok((Self::Container(container), start))
        };
        if in_container || PostgresContainer::is_in(state) {
            return container(&|| {
                let missing = "--container: neither docker nor podman is on PATH: install one of \
                               them (https://docs.docker.com/engine/install, \
                               https://podman.io/docs/installation)";
                ContainerEngine::find()?.ok_or_else(|| missing.into())
            });
        }
        if !state.data().exists()
            && let Err(missing @ PostgresProgramsError::NotInstalled { .. }) =
                PostgresPrograms::find(SERVER_PROGRAMS, OLDEST)
        {
            let engine = instead_of_programs(&missing, ContainerEngine::find())?;
            return container(&|| Ok(engine.clone()));
        }
        let (server, start) = InstalledServer::start(state)?;
        Ok((Self::Installed(server), start))
    }

    /// Waits until the database answers.
    pub(super) async fn wait_until_ready(&self) -> Result<(), Failure> {
        match self {
            // pg_ctl has waited.
            Self::Installed(_) => Ok(()),
            Self::Container(container) => container.wait_until_ready().await,
        }
    }

    /// Stops the cluster. Returns whether it ran.
    pub(super) fn stop(&self) -> Result<bool, Failure> {
        match self {
            Self::Installed(server) => server.stop(),
            Self::Container(container) => container.stop(),
        }
    }

    /// Stops the cluster and deletes its data. The port and the password stay.
    pub(super) fn delete(&self, state: &StateFolder) -> Result<(), Failure> {
        match self {
            Self::Installed(server) => {
                server.stop()?;
                state.delete_data()
            }
            Self::Container(container) => container.delete_data(state),
        }
    }

    /// Whether it runs, and in which process or container.
    pub(super) fn running(&self) -> Result<Option<String>, Failure> {
        Ok(match self {
            Self::Installed(server) => server.process().map(|process| format!("process {process}")),
            Self::Container(container) => container.is_running()?.then(|| container.name()),
        })
    }

    /// Port and password.
    pub(super) fn access(&self) -> &ClusterAccess {
        match self {
            Self::Installed(server) => server.access(),
            Self::Container(container) => container.access(),
        }
    }

    /// What runs it, for people.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Installed(server) => format!("PostgreSQL {}", server.version()),
            Self::Container(container) => format!("PostgreSQL in the {}", container.description()),
        }
    }

    /// Where its data is, for people.
    pub(super) fn place(&self, state: &StateFolder) -> String {
        match self {
            Self::Installed(_) => state.data().display().to_string(),
            Self::Container(container) => container.volume(),
        }
    }
}

/// The engine that runs the database where PostgreSQL's programs are missing.
///
/// # Errors
/// If there is no engine, or none that works. The text says what to install.
fn instead_of_programs(
    missing: &PostgresProgramsError,
    engine: Result<Option<ContainerEngine>, Failure>,
) -> Result<ContainerEngine, Failure> {
    match engine {
        Ok(Some(engine)) => Ok(engine),
        Ok(None) => {
            Err(format!("{missing}; or install docker or podman, for a PostgreSQL in a container")
                .into())
        }
        Err(error) => {
            Err(format!("{missing}. There is a container engine, but it fails:\n{error}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_replaces_missing_programs() {
        let missing =
            PostgresProgramsError::NotInstalled { programs: SERVER_PROGRAMS, oldest: OLDEST };
        let podman = ContainerEngine::named("podman").unwrap();
        let found = instead_of_programs(&missing, Ok(Some(podman.clone())));
        assert_eq!(found.unwrap(), podman);
        let neither = instead_of_programs(&missing, Ok(None)).unwrap_err().to_string();
        for part in ["PostgreSQL 15 or newer is not installed", "or install docker or podman"] {
            assert!(neither.contains(part), "{neither}");
        }
        let failed = Err("docker info failed (exit status: 1): no daemon".into());
        let text = instead_of_programs(&missing, failed).unwrap_err().to_string();
        for part in ["PostgreSQL 15 or newer is not installed", "it fails:\ndocker info failed"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
