//! Finds PostgreSQL's server programs.

use std::path::PathBuf;

use bookstore_server::postgres_programs::{OLDEST, PostgresPrograms, SERVER_PROGRAMS};

/// The folder of `initdb`, `postgres` and `pg_ctl`, where the program itself finds it.
pub(super) fn find() -> Result<PathBuf, String> {
    let found = PostgresPrograms::find(SERVER_PROGRAMS, OLDEST);
    found
        .map(|programs| programs.folder().to_owned())
        .map_err(|error| format!("{error}; ./test installs PostgreSQL"))
}
