//! The file of a SQLite database before it is opened: what it is instead of a database, and the files
//! that SQLite keeps beside it (SQLite, "Temporary Files Used By SQLite").

use std::{
    error::Error,
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use crate::command::{failure::Failure, print};

/// How each database file begins (SQLite, "Database File Format", 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Refuses what is no database that this user can read.
///
/// # Errors
/// If it is missing, no file, not readable, or has other content.
pub(super) fn check_readable(file: &Path) -> Result<(), Failure> {
    let shown = file.display();
    let refuse = |problem: String| -> Failure { format!("{shown}: {problem}").into() };
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => refuse("there is no such database: correct DATABASE_URL".to_owned()),
        ErrorKind::PermissionDenied => refuse(format!(
            "this user may not read it ({error}): run the command as the user of the service"
        )),
        _ => refuse(format!("it can't be read ({error}): correct DATABASE_URL")),
    };
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse("it is no file: name a SQLite file in DATABASE_URL".to_owned()));
    }
    let mut start = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(unreadable)?;
    if start != MAGIC {
        return Err(refuse(
            "it is no SQLite database: correct DATABASE_URL, or move the file away".to_owned(),
        ));
    }
    Ok(())
}

/// The file that a symbolic link names; otherwise the path itself.
///
/// # Errors
/// If the file is missing. A link to a disk that is not mounted would otherwise be replaced.
pub(super) fn resolve(file: &Path) -> Result<PathBuf, Failure> {
    if !fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_symlink()) {
        return Ok(file.to_path_buf());
    }
    fs::canonicalize(file).map_err(|error| {
        format!(
            "{}: it is a symbolic link whose file can't be found ({error}): mount its disk, or name \
             the file itself in DATABASE_URL",
            file.display()
        )
        .into()
    })
}

/// The metadata of a database that a restore would replace; `None` if there is none.
///
/// # Errors
/// If it is no database or can't be written, or if a log of a deleted database is left, which SQLite
/// would apply to the new one.
pub(super) fn to_be_replaced(file: &Path) -> Result<Option<Metadata>, Failure> {
    let shown = file.display();
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > 0 || !metadata.is_file() => {
            check_readable(file)?;
            OpenOptions::new().write(true).open(file).map_err(|error| {
                format!(
                    "{shown}: this user may not write it ({error}): run the command as the user of \
                     the service, or change the permissions"
                )
            })?;
            return Ok(Some(metadata));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(format!("{shown}: it can't be read ({error}): correct DATABASE_URL").into());
        }
    }
    for left in ["-wal", "-journal"].map(|ending| beside(file, ending)) {
        if fs::metadata(&left).is_ok_and(|metadata| metadata.len() > 0) {
            return Err(format!(
                "{}: it is the log of a database that is gone, and SQLite would apply it to the \
                 restored one: move it away, then restore again",
                left.display()
            )
            .into());
        }
    }
    Ok(None)
}

/// Gives the new file the mode and the owner of the one that it replaces, so that the service can
/// still open it.
///
/// # Errors
/// If the mode can't be set. A user that may not give files away is told so.
pub(super) fn keep_owner(new: &Path, replaced: &Metadata) -> std::io::Result<()> {
    fs::set_permissions(new, replaced.permissions())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let own = fs::metadata(new)?;
        let (user, group) = (replaced.uid(), replaced.gid());
        if (own.uid(), own.gid()) != (user, group)
            && let Err(error) = chown(new, Some(user), Some(group))
        {
            print::error(&format!(
                "warning: the database belongs to this user now, not to {user}:{group} ({error})"
            ));
        }
    }
    Ok(())
}

/// Why a database can't be opened that this user can read: it is damaged, or SQLite can't write the
/// file of 32 KiB that it needs beside it.
pub(super) fn unopened(file: &Path, error: &dyn Error) -> Failure {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some errors repeat their cause.
        causes.retain(|cause| !cause.contains(&text));
        causes.push(text);
        next = cause.source();
    }
    let (shown, causes) = (file.display(), causes.join(": "));
    if causes.contains("malformed") || causes.contains("not a database") {
        return format!(
            "{shown}: the database is damaged ({causes}): move it, its -wal and its -shm away, then \
             restore a backup"
        )
        .into();
    }
    format!(
        "{shown}: SQLite can't open it ({causes}): free some room on its disk if that is full, and \
         check that this user may write into its folder"
    )
    .into()
}

/// The path of a file that SQLite keeps beside the database.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(file);
    path.push(ending);
    path.into()
}
