//! How clients reach a developer's cluster: its port on this machine and the password, which the
//! state folder keeps.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::TcpListener,
};

use rand::{Rng as _, distr::Alphanumeric};

use super::state::StateFolder;
use crate::command::{failure::Failure, print};

/// The role that owns the database, as in `deploy/postgres/roles.sql`. The URL names it.
pub(super) const OWNER: &str = "bookstore_owner";
/// The role that creates the database.
pub(super) const SUPERUSER: &str = "postgres";
/// The database of the service.
pub(super) const DATABASE: &str = "bookstore";

/// The address that clients connect to. Other machines don't reach it.
pub(super) const HOST: &str = "127.0.0.1";

/// The file of the folder that keeps the port.
const PORT: &str = "port";
/// The file of the folder that keeps the password.
pub(super) const PASSWORD: &str = "password";

/// Letters and digits of the generated password: more than 128 bits.
const PASSWORD_LENGTH: usize = 24;

/// The ports are these, below those that the kernel gives to clients.
const FIRST_PORT: u16 = 15_500;
const PORTS: u16 = 4_000;

/// What a state folder without a cluster is answered with.
pub(super) const ABSENT: &str = "no database here: bookstore dev up creates one";

/// The port and the password of a cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterAccess {
    pub(super) port: u16,
    pub(super) password: String,
}

impl ClusterAccess {
    /// What the folder keeps.
    pub(super) fn find(state: &StateFolder) -> Result<Self, Failure> {
        let port = state.read(PORT)?.ok_or(ABSENT)?;
        let port = port.parse().map_err(|_| {
            let path = state.path().join(PORT);
            format!("{}: {port:?} is no port: delete the file", path.display())
        })?;
        let password = state.read(PASSWORD)?.ok_or(ABSENT)?;
        if password.is_empty() || !password.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let path = state.path().join(PASSWORD);
            return Err(format!(
                "{}: a password has letters and digits alone: delete the file",
                path.display()
            )
            .into());
        }
        Ok(Self { port, password })
    }

    /// Chooses a port and a password where the folder keeps none.
    pub(super) fn create(state: &StateFolder) -> Result<Self, Failure> {
        if state.read(PASSWORD)?.is_none() {
            let password = rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LENGTH);
            let password: String = password.map(char::from).collect();
            state.write(PASSWORD, &password)?;
        }
        if state.read(PORT)?.is_none() {
            state.write(PORT, &free_port(state)?.to_string())?;
        }
        Self::find(state)
    }

    /// Takes another port if another program uses this one.
    pub(super) fn move_from_taken_port(&mut self, state: &StateFolder) -> Result<(), Failure> {
        if TcpListener::bind((HOST, self.port)).is_err() {
            let (taken, free) = (self.port, free_port(state)?);
            print::error(&format!("port {taken} is in use: the database gets port {free}"));
            state.write(PORT, &free.to_string())?;
            self.port = free;
        }
        Ok(())
    }

    /// The URL of the database, with the password.
    pub(super) fn url(&self) -> String {
        let Self { password, port } = self;
        format!("postgres://{OWNER}:{password}@{HOST}:{port}/{DATABASE}")
    }

    /// What psql needs to connect, as variables (PostgreSQL, 34.15. Environment Variables).
    pub(super) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("PGHOST", HOST.to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", OWNER.to_owned()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", DATABASE.to_owned()),
        ]
    }
}

/// A free port. The search begins at a port that the path of the project gives, so that projects
/// rarely meet.
fn free_port(state: &StateFolder) -> Result<u16, Failure> {
    let mut hasher = DefaultHasher::new();
    state.project().hash(&mut hasher);
    let start = u16::try_from(hasher.finish() % u64::from(PORTS)).unwrap_or_default();
    (0..PORTS)
        .map(|step| FIRST_PORT + (start + step) % PORTS)
        .find(|port| TcpListener::bind((HOST, *port)).is_ok())
        .ok_or_else(|| format!("no port from {FIRST_PORT} on is free").into())
}
