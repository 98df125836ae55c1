//! Finds PostgreSQL's server programs.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest version that the harness can use: it brought logs in JSON and clusters with an ICU
/// collation.
const OLDEST: u32 = 15;

/// The folders that installers use, in a pattern's order with the newest version last. `./test`
/// reads the same file.
const PLACES: &str = include_str!("../../postgres-places");

/// The folder of `initdb`, `postgres` and `pg_ctl`: `$BOOKSTORE_POSTGRES_BIN`, `pg_config
/// --bindir`, `PATH`, then the usual folders, newest version first.
pub(super) fn find() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os("BOOKSTORE_POSTGRES_BIN") {
        let folder = PathBuf::from(folder);
        return match version(&folder) {
            Some(OLDEST..) => Ok(folder),
            _ => Err(format!(
                "BOOKSTORE_POSTGRES_BIN={}: no programs of PostgreSQL {OLDEST} or newer there",
                folder.display()
            )),
        };
    }
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut usual: Vec<PathBuf> = PLACES.lines().flat_map(expand).collect();
    usual.sort_by_cached_key(|folder| std::cmp::Reverse(version(folder)));
    folders.extend(usual);
    folders.into_iter().find(|folder| version(folder) >= Some(OLDEST)).ok_or_else(|| {
        format!(
            "PostgreSQL {OLDEST} or newer isn't installed: run ./test, which installs PostgreSQL, \
             or name the folder of its server programs in BOOKSTORE_POSTGRES_BIN"
        )
    })
}

/// The major version of the server programs in a folder, if all are there.
fn version(folder: &Path) -> Option<u32> {
    if !["initdb", "postgres", "pg_ctl"].iter().all(|name| folder.join(name).is_file()) {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
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
        assert_eq!(version(Path::new("/")), None);
    }
}
