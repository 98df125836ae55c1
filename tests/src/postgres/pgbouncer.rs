//! `PgBouncer` in front of a database, for the trial of that name.

use std::{fs, net::TcpStream, process::Child, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    cluster,
    managers::{find, start},
};
use crate::{guard::Run, until};

/// How long it may take to start.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running pooler. Dropping it ends it.
pub(crate) struct PgBouncer {
    process: Child,
    port: u16,
}

/// Whether the program is installed.
pub fn is_installed() -> bool {
    find("pgbouncer").is_some()
}

impl PgBouncer {
    /// Starts it in front of the server of a URL, with this `pool_mode`, and so many sessions of the
    /// server for each database and role. All other settings are its defaults.
    ///
    /// # Panics
    /// If it doesn't start.
    pub(crate) async fn start(url: &str, mode: &str, sessions: u32) -> Self {
        let run = tokio::task::spawn_blocking(Run::shared).await;
        let run = run.expect("no panic in the guard's start");
        let port = cluster::free_ports().next().expect("a free port");
        let name = format!("pgbouncer-{port}");
        let (host, server) = address(url).split_once(':').expect("a port");
        // `auth_type = any` takes every client. The role is the one of the URL.
        let role = url.split_once("//").and_then(|(_, rest)| rest.split_once('@'));
        let role = role.expect("a role").0;
        let settings = format!(
            "[databases]\n* = host={host} port={server} user={role}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = {sessions}\n"
        );
        let file = run.directory.join(format!("{name}.ini"));
        fs::write(&file, settings).expect("a file for PgBouncer");
        let process = start(&run.directory, &name, "pgbouncer", &[&file.display().to_string()]);
        until("PgBouncer listens", TIMEOUT, async || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        Self { process, port }
    }

    /// The same URL by way of the pooler.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(address(url), &format!("127.0.0.1:{}", self.port))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        // SIGTERM ends it at once.
        let _ = id.map(|id| kill_process(id, Signal::TERM));
        drop(self.process.wait());
    }
}

/// The host and port of a URL.
fn address(url: &str) -> &str {
    let rest = url.split_once('@').and_then(|(_, rest)| rest.split_once('/'));
    rest.expect("an address").0
}
