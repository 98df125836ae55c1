//! Sentences for paths that can't be read or written: they name the path and say what to do.

use std::{
    io::{Error, ErrorKind},
    path::{Path, PathBuf},
};

use crate::command::failure::Failure;

/// How the names of the folders begin in which a backup or a restore works.
pub(super) const PREFIX: &str = ".bookstore-unfinished-";

/// What a command writes. It decides which setting names another path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A backup, at the path of `--to`.
    Backup,
    /// The SQLite file of `DATABASE_URL`.
    Database,
}

impl Target {
    fn other(self) -> &'static str {
        match self {
            Self::Backup => "name another path with --to",
            Self::Database => "name a file in another folder in DATABASE_URL",
        }
    }

    fn unchanged(self) -> &'static str {
        match self {
            Self::Backup => "nothing was left there, and older backups are as before",
            Self::Database => "the database is as before",
        }
    }
}

/// Why a path can't be written.
pub(super) fn unwritable(path: &Path, error: &Error, target: Target) -> Failure {
    let (path, other) = (shown(path), target.other());
    let shown = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            format!("{shown}: no room ({error}): free some or {other}; {}", target.unchanged())
        }
        ErrorKind::NotFound => {
            format!("{shown}: there is no such folder ({error}): make it first, or {other}")
        }
        ErrorKind::PermissionDenied => format!(
            "{shown}: this user may not write there ({error}): change the permissions or the user, \
             or {other}"
        ),
        ErrorKind::ReadOnlyFilesystem => {
            format!("{shown}: the file system is mounted read-only ({error}): {other}")
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            format!("{shown}: a part of this path is a file and no folder ({error}): {other}")
        }
        _ => format!("{shown}: it can't be written ({error}): {other}"),
    }
    .into()
}

/// Why a file can't be read.
pub(super) fn unreadable(path: &Path, error: &Error) -> Failure {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!(
            "{shown}: there is no such file ({error}): `bookstore backup list FOLDER` shows the \
             backups of a folder"
        ),
        ErrorKind::PermissionDenied => format!(
            "{shown}: this user may not read it ({error}): run the command as the user that made \
             the backup, or change the permissions"
        ),
        ErrorKind::NotADirectory => {
            format!("{shown}: a part of this path is a file and no folder ({error}): correct it")
        }
        _ => format!("{shown}: it can't be read ({error}): use another backup"),
    }
    .into()
}

/// Why a folder can't be listed.
pub(super) fn unlistable(folder: &Path, error: &Error) -> Failure {
    let shown = folder.display();
    match error.kind() {
        ErrorKind::NotFound => format!(
            "{shown}: there is no such folder ({error}): name the folder that `bookstore backup \
             --to` was given"
        ),
        ErrorKind::NotADirectory => {
            format!("{shown}: it is no folder ({error}): name the folder that the backup is in")
        }
        ErrorKind::PermissionDenied => format!(
            "{shown}: this user may not list it ({error}): run the command as the user that makes \
             the backups, or change the permissions"
        ),
        _ => format!("{shown}: it can't be listed ({error})"),
    }
    .into()
}

/// The path that the user knows: the folder in which the unfinished file is.
fn shown(path: &Path) -> PathBuf {
    let is_unfinished = |path: &&Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
    };
    let unfinished = path.ancestors().find(is_unfinished);
    unfinished.map_or(path, folder_of).to_path_buf()
}

/// The folder of a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
