//! `bookstore backup list`, and the retention of backups in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bookstore_migration::clock;
use indicatif::HumanBytes;
use serde_json::json;

use super::{file::BackupFile, path_error::unlistable};
use crate::command::{failure::Failure, print};

/// How the names of backups in a folder end.
pub(super) const EXTENSION: &str = "backup";

/// The number of seconds of a day.
const DAY: i64 = 86_400;

/// What a folder keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// Backups that are older are deleted. 0 keeps all.
    pub(super) days: u32,
    /// Only so many are kept, the newest ones. `None` keeps all.
    pub(super) number: Option<u32>,
}

/// A file, and what was read of it.
type FoundBackup = (PathBuf, Result<BackupFile, Failure>);

/// The files of a folder that have the name of a backup, each opened or the reason why not, the
/// newest first.
fn read(folder: &Path) -> Result<Vec<FoundBackup>, Failure> {
    let at = |error: std::io::Error| unlistable(folder, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|one| one == EXTENSION) {
            found.push((path.clone(), BackupFile::open(&path)));
        }
    }
    let created = |backup: &Result<BackupFile, Failure>| {
        backup.as_ref().map_or(i64::MIN, |backup| backup.manifest.created_at)
    };
    found.sort_by(|(one, a), (other, b)| created(b).cmp(&created(a)).then(other.cmp(one)));
    Ok(found)
}

/// Prints the backups of a folder. With `check` each is read whole.
///
/// # Errors
/// If the folder can't be read, or one of the backups is damaged, after all are printed.
pub(super) async fn print(folder: &Path, is_json: bool, check: bool) -> Result<(), Failure> {
    let mut damaged = Vec::new();
    let mut documents = Vec::new();
    let mut rows = Vec::new();
    for (path, backup) in read(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let backup = match backup {
            Ok(backup) if check => backup.check(&mut |_| ()).await.map(|()| backup),
            other => other,
        };
        match backup {
            Ok(backup) => {
                let manifest = &backup.manifest;
                let time = clock::text(manifest.created_at);
                let encrypted = if manifest.is_encrypted { "yes" } else { "no" };
                let engine = format!("{} {}", manifest.engine, manifest.engine_version);
                documents.push(json!({
                    "file": path.display().to_string(), "created_at": time, "database": manifest.database,
                    "engine": manifest.engine, "engine_version": manifest.engine_version,
                    "program": manifest.program, "revision": manifest.head(), "position": manifest.position,
                    "rows": manifest.rows(), "bytes": backup.bytes, "encrypted": manifest.is_encrypted,
                }));
                let size = HumanBytes(backup.bytes).to_string();
                let rows_of = manifest.rows().to_string();
                let head = manifest.head().to_owned();
                rows.push([name, time, engine, head, rows_of, size, encrypted.to_owned()]);
            }
            Err(error) => {
                documents
                    .push(json!({"file": path.display().to_string(), "error": error.to_string()}));
                damaged.push(error.to_string());
            }
        }
    }
    if documents.is_empty() {
        print::error(&format!("{}: no backup is in this folder", folder.display()));
    }
    if is_json {
        print::line(&json!({"backups": documents}).to_string());
    } else {
        table(&rows);
    }
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(damaged.join("\n").into()),
    }
}

fn table(rows: &[[String; 7]]) {
    let titles = ["FILE", "CREATED", "ENGINE", "REVISION", "ROWS", "SIZE", "ENCRYPTED"];
    let titles = titles.map(str::to_owned);
    let all: Vec<&[String; 7]> = std::iter::once(&titles).chain(rows).collect();
    let width = |at: usize| all.iter().filter_map(|row| row.get(at)).map(String::len).max();
    let widths: Vec<usize> = (0..7).map(|at| width(at).unwrap_or_default()).collect();
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        print::line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Deletes the backups of the same database that `retention` does not keep. The newest one, and files
/// that are no complete backups, are never deleted.
///
/// # Errors
/// If the folder can't be read or a file can't be deleted.
pub(super) fn prune(newest: &BackupFile, retention: Retention, now: i64) -> Result<(), Failure> {
    let folder = super::path_error::folder_of(&newest.path);
    let of_this = |backup: &BackupFile| {
        backup.manifest.engine == newest.manifest.engine
            && backup.manifest.database == newest.manifest.database
    };
    let backups = read(folder)?.into_iter().filter_map(|(_, backup)| backup.ok());
    let age = |backup: &BackupFile| now - backup.manifest.created_at;
    for (at, backup) in backups.filter(of_this).enumerate() {
        let is_old = retention.days > 0 && age(&backup) > i64::from(retention.days) * DAY;
        let is_over = retention.number.is_some_and(|most| at >= most as usize);
        if backup.path.file_name() != newest.path.file_name() && at > 0 && (is_old || is_over) {
            let shown = backup.path.display();
            fs::remove_file(&backup.path).map_err(|error| {
                format!(
                    "{shown}: it is older than is kept and can't be deleted ({error}): delete it; \
                     the new backup is complete"
                )
            })?;
            print::error(&format!("deleted {shown} (retention)"));
        }
    }
    Ok(())
}
