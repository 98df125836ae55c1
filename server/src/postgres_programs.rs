//! Finds PostgreSQL's server and client programs (PostgreSQL, VI.II and VI.III), which the program
//! runs for a developer's cluster and for backups. The harness of the tests finds them here too.

use std::{
    cmp::Reverse,
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest major version that a cluster of the project's own may have: 15 brought logs in JSON
/// and clusters with an ICU collation.
pub const OLDEST: u32 = 15;

/// The server programs that a cluster needs.
pub const SERVER_PROGRAMS: &[&str] = &["postgres", "initdb", "pg_ctl"];

/// The client programs that copy and restore a database.
pub const CLIENT_PROGRAMS: &[&str] = &["pg_dump", "pg_restore", "psql"];

/// The variable that names the folder of the programs. No other folder is then searched.
pub const FOLDER_VARIABLE: &str = "BOOKSTORE_POSTGRES_BIN";

/// The folders that installers use, one pattern a line. `./test` reads the same file.
const PLACES: &str = include_str!("../postgres-places");

/// A folder that holds the programs that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresPrograms {
    folder: PathBuf,
    major: u32,
}

/// Why the programs of PostgreSQL were not found. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresProgramsError {
    /// The folder that the variable names does not hold them, or holds an older version.
    #[error(
        "{FOLDER_VARIABLE}={}: {} of PostgreSQL {oldest} or newer not found in this folder: \
         correct the variable or unset it",
        folder.display(), programs.join(", ")
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The programs that were asked for.
        programs: &'static [&'static str],
        /// The oldest major version that was asked for.
        oldest: u32,
    },
    /// No folder holds them.
    #[error(
        "PostgreSQL {oldest} or newer is not installed ({} not found): install it \
         (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server \
         postgresql; macOS: brew install postgresql@17; others: \
         https://www.postgresql.org/download), or name the folder of its programs in \
         {FOLDER_VARIABLE}",
        programs.join(", ")
    )]
    NotInstalled {
        /// The programs that were asked for.
        programs: &'static [&'static str],
        /// The oldest major version that was asked for.
        oldest: u32,
    },
}

impl PostgresPrograms {
    /// Finds the folder that holds all `programs`, the first one in the major version `oldest` or
    /// newer. The search takes the folder of `BOOKSTORE_POSTGRES_BIN` alone, or else `pg_config
    /// --bindir`, `PATH`, and the usual folders with the newest version first. It starts programs,
    /// so it blocks for some milliseconds.
    ///
    /// # Errors
    /// If no folder holds them. The text says what to install.
    pub fn find(
        programs: &'static [&'static str],
        oldest: u32,
    ) -> Result<Self, PostgresProgramsError> {
        let suitable = |folder: PathBuf| {
            let major = major_version(&folder, programs)?;
            (major >= oldest).then_some(Self { folder, major })
        };
        if let Some(folder) = env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()) {
            let folder = PathBuf::from(folder);
            let error =
                || PostgresProgramsError::Folder { folder: folder.clone(), programs, oldest };
            return suitable(folder.clone()).ok_or_else(error);
        }
        let mut folders = Vec::new();
        if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
            folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let first = folders.into_iter().find_map(suitable);
        let usual = || {
            let usual = PLACES.lines().flat_map(expand).filter_map(suitable);
            usual.min_by_key(|found| Reverse(found.major))
        };
        let error = || PostgresProgramsError::NotInstalled { programs, oldest };
        first.or_else(usual).ok_or_else(error)
    }

    /// The path of one of the programs.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// The folder of the programs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The major version of the programs, such as 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }
}

/// The major version of the first program in a folder, if the folder holds all of them.
fn major_version(folder: &Path, programs: &[&str]) -> Option<u32> {
    if !programs.iter().all(|name| folder.join(name).is_file()) {
        return None;
    }
    let output = Command::new(folder.join(programs.first()?)).arg("--version").output().ok()?;
    major_in(&String::from_utf8(output.stdout).ok()?)
}

/// The major version in the answer to `--version`, such as `pg_dump (PostgreSQL) 15.14`.
fn major_in(text: &str) -> Option<u32> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_numeric()))?;
    number.split(|c: char| !c.is_numeric()).next()?.parse().ok()
}

/// The folders that match a pattern with at most one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = std::fs::read_dir(format!("{folder}/")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.starts_with(start))
        .map(|name| PathBuf::from(format!("{folder}/{name}{after}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_with_a_star_lists_matching_folders() {
        let base = tempfile::tempdir().expect("a directory");
        let name = base.path().display();
        for folder in ["pg-15/bin", "pg-16/bin", "other/bin"] {
            std::fs::create_dir_all(base.path().join(folder)).expect("a folder");
        }
        let mut found = expand(&format!("{name}/pg-*/bin"));
        found.sort();
        assert_eq!(found, [base.path().join("pg-15/bin"), base.path().join("pg-16/bin")]);
        assert!(expand("/nowhere/at-all-*/bin").is_empty());
    }

    #[test]
    fn folder_without_programs_has_no_version() {
        assert_eq!(major_version(Path::new("/"), SERVER_PROGRAMS), None);
    }

    #[test]
    fn version_text_gives_the_major_version() {
        assert_eq!(major_in("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_in("pg_dump (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_in("no number\n"), None);
    }

    #[test]
    fn error_names_the_programs_and_what_to_do() {
        let error = PostgresProgramsError::NotInstalled { programs: CLIENT_PROGRAMS, oldest: 16 };
        let text = error.to_string();
        assert!(
            text.contains("PostgreSQL 16 or newer is not installed (pg_dump, pg_restore, psql")
        );
        assert!(text.contains("https://www.postgresql.org/download"));
        assert!(text.contains("BOOKSTORE_POSTGRES_BIN"));
    }
}
