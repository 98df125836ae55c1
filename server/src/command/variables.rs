//! Variables of PostgreSQL's client library in the environment (PostgreSQL, 34.15. Environment
//! Variables).
//!
//! The driver takes each of them for what the URL doesn't say, so that `PGSSLROOTCERT` or `PGUSER`
//! of a shell would change what `database_url` means. A program can't take variables out of its own
//! environment safely. So it replaces itself by a new start of itself without them. The process
//! stays the same: its id, its parent, its files.

use std::{
    env::{args_os, current_exe, var, var_os},
    process::Command,
};

/// Those that the driver obeys.
const OBEYED: [&str; 13] = [
    "PGAPPNAME",
    "PGDATABASE",
    "PGHOST",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGPORT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGUSER",
];

/// The variable in which the new start finds the names that were taken out, for its log.
const TAKEN_OUT: &str = "BOOKSTORE_IGNORED_VARIABLES";

/// Takes the variables out of the environment. Returns a warning for each.
///
/// # Errors
/// If the program can't be started anew. The sentence names the variables.
pub(super) fn take_out() -> Result<Vec<String>, String> {
    let present: Vec<&str> = OBEYED.into_iter().filter(|name| var_os(name).is_some()).collect();
    if present.is_empty() {
        let names = var(TAKEN_OUT).unwrap_or_default();
        let names = names.split(',').filter(|name| OBEYED.contains(name));
        let warning =
            |name| format!("the environment variable {name} is ignored, only database_url counts");
        return Ok(names.map(warning).collect());
    }
    let names = present.join(",");
    let failed = |reason: String| {
        format!("the environment variables {names} must be unset, only database_url counts{reason}")
    };
    let program = current_exe().map_err(|error| failed(format!(" ({error})")))?;
    let mut command = Command::new(program);
    let mut arguments = args_os();
    let name = arguments.next();
    command.args(arguments).env(TAKEN_OUT, &names);
    for variable in present {
        command.env_remove(variable);
    }
    Err(failed(replace(command, name)))
}

/// Replaces this process. Returns why it could not.
#[cfg(unix)]
fn replace(mut command: Command, name: Option<std::ffi::OsString>) -> String {
    use std::os::unix::process::CommandExt as _;
    if let Some(name) = name {
        command.arg0(name);
    }
    format!(" ({})", command.exec())
}

#[cfg(not(unix))]
fn replace(_: Command, _: Option<std::ffi::OsString>) -> String {
    String::new()
}
