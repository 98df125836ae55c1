//! Says why the file of a SQLite database cannot be created or opened, with the path and what to do.
//! SQLite itself says only "unable to open database file" (sqlite.org/rescode.html, SQLITE_CANTOPEN).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// SQLite's result code for a file that cannot be opened.
const CANNOT_OPEN: u32 = 14;

/// SQLite's result code for a file that cannot be written. It stands for the directory too, which
/// must take the write-ahead log.
const READ_ONLY: u32 = 8;

/// SQLite's result code for a file that holds no database.
const NOT_A_DATABASE: u32 = 26;

/// The bits of an extended result code that hold the primary one.
const PRIMARY: u32 = 0xff;

/// The sentence for a file that cannot be created. `None` for a reason that may pass, such as a full
/// disk: SQLite gives its own error then.
pub(super) fn of_creation(path: &Path, error: &io::Error) -> Option<String> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    let is_lasting =
        matches!(error.kind(), NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem);
    is_lasting.then(|| {
        directory_problem(path).unwrap_or_else(|| {
            format!("the database's file {} cannot be created: {error}", path.display())
        })
    })
}

/// The sentence for a file that SQLite has not opened. `None` if the reason is not found.
pub(super) fn of_opening(path: &Path, error: &sqlx::Error) -> Option<String> {
    let name = path.display();
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    match code & PRIMARY {
        NOT_A_DATABASE => Some(format!(
            "the file {name} is not a SQLite database: correct the database's URL, or move the file \
             away"
        )),
        CANNOT_OPEN | READ_ONLY => cannot_open(path),
        _ => None,
    }
}

fn cannot_open(path: &Path) -> Option<String> {
    let name = path.display();
    if path.is_dir() {
        return Some(format!("{name} is a directory: name a file in the database's URL"));
    }
    if let Some(problem) = directory_problem(path) {
        return Some(problem);
    }
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
            "the database's file {name} does not exist: correct the database's URL, or add \
             ?mode=rwc to it to create the file"
        )),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Some(format!("the database's file {name} cannot be opened: {error}"))
        }
        Err(_) => None,
        Ok(_) => {
            let directory = directory_of(path);
            creation_refused(&directory).map(|error| {
                format!(
                    "the directory {} cannot be written: {error}. SQLite keeps its write-ahead log \
                     in it, beside {name}",
                    directory.display()
                )
            })
        }
    }
}

/// What is wrong with the directory of the file, if anything.
fn directory_problem(path: &Path) -> Option<String> {
    let (name, directory) = (path.display(), directory_of(path));
    let shown = directory.display();
    match fs::metadata(&directory) {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(format!(
            "{shown} is not a directory, so the database's file {name} cannot be in it"
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
            "the directory {shown} of the database's file {name} does not exist: create it, or \
             correct the database's URL"
        )),
        Err(error) => Some(format!("the directory {shown} of the database's file {name}: {error}")),
    }
}

/// Why no file can be created in the directory, if so.
fn creation_refused(directory: &Path) -> Option<io::Error> {
    let probe = directory.join(format!(".bookstore-{}", std::process::id()));
    match fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => {
            let _ = fs::remove_file(&probe);
            None
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
        Err(error) => Some(error),
    }
}

/// The directory of a file; that of a bare name is the working directory.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
