//! The account of PostgreSQL's programs. PostgreSQL refuses to run as root (PostgreSQL, 19.1. The
//! PostgreSQL User Account).

use std::{path::Path, process::Command};

/// A command that runs as the account of the server, without the variables of PostgreSQL's client
/// library. A data directory that exists belongs to that account: root can stop what another user
/// has started.
pub(super) fn command(program: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    without_variables(&mut command);
    #[cfg(not(unix))]
    let _ = data;
    command.current_dir("/").stdin(std::process::Stdio::null()).env("LC_ALL", "C");
    #[cfg(unix)]
    if let Some((user, group)) = server_account().map(|account| owner(data).unwrap_or(account)) {
        use std::os::unix::process::CommandExt as _;
        command.uid(user).gid(group);
    }
    command
}

/// Takes the variables of PostgreSQL's client library and server from a command: `PGDATA`, `PGHOST`
/// and others of the shell would name another cluster.
pub(super) fn without_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
}

/// Whose data directory it is, unless it does not exist or is root's.
#[cfg(unix)]
fn owner(data: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(data).ok()?;
    (found.uid() != 0).then(|| (found.uid(), found.gid()))
}

/// Gives a folder to the account of the server.
#[cfg(unix)]
pub(super) fn give(folder: &Path) -> std::io::Result<()> {
    match server_account() {
        Some((user, group)) => std::os::unix::fs::chown(folder, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The folder is the account's already.
#[cfg(not(unix))]
pub(super) fn give(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Whether the programs run as another account than this process.
pub(super) fn is_other() -> bool {
    #[cfg(unix)]
    return server_account().is_some();
    #[cfg(not(unix))]
    false
}

/// The user and the group that the programs get instead of root: `postgres`, else `nobody`.
#[cfg(unix)]
fn server_account() -> Option<(u32, u32)> {
    /// The id of the account nobody on systems that don't name one.
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |wanted: &str| {
        let mut fields = accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(wanted)).then_some(fields)
        })?;
        let user = fields.nth(1)?.parse().ok()?;
        Some((user, fields.next()?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).unwrap_or((NOBODY, NOBODY)))
}
