//! What is at a path before a command writes there: only regular files are replaced.

use std::{
    fs::{self, Metadata},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// How many symbolic links may follow each other, as on Linux.
const LINKS: usize = 40;

/// How a command writes to a path.
#[derive(Debug)]
pub enum Place {
    /// As it is: a device, a named pipe, or a descriptor of this process such as `/dev/stdout`.
    Written,
    /// A regular file that is there, or none yet. Symbolic links are followed, so that they stay.
    Replaced {
        /// The path behind all symbolic links.
        path: PathBuf,
        /// The file that is there.
        before: Option<Metadata>,
    },
}

impl Place {
    /// Looks at a path.
    ///
    /// # Errors
    /// If it can't be looked at, as in a cycle of symbolic links.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut path = path.to_path_buf();
        for _ in 0..LINKS {
            if is_descriptor(&path) {
                return Ok(Self::Written);
            }
            match fs::symlink_metadata(&path) {
                Ok(about) if about.is_symlink() => {
                    let target = fs::read_link(&path)?;
                    // An absolute target replaces the whole path.
                    path = path.parent().unwrap_or(Path::new("")).join(target);
                }
                Ok(about) if about.is_file() || about.is_dir() => {
                    return Ok(Self::Replaced { path, before: Some(about) });
                }
                Ok(_) => return Ok(Self::Written),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Self::Replaced { path, before: None });
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many symbolic links"))
    }
}

/// Whether a path names an open descriptor. Its file has another name, or none.
fn is_descriptor(path: &Path) -> bool {
    ["/dev/stdin", "/dev/stdout", "/dev/stderr"].iter().any(|name| path == Path::new(name))
        || path.starts_with("/dev/fd")
        || path.starts_with("/proc") && path.parent().is_some_and(|folder| folder.ends_with("fd"))
}

/// Whether a file has further hard links.
#[cfg(unix)]
pub fn has_other_names(file: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(file) > 1
}

/// Whether a file has further hard links, as far as it is known.
#[cfg(not(unix))]
pub fn has_other_names(_: &Metadata) -> bool {
    false
}

/// Gives a new file the owner of the one that it replaces, where this process may.
#[cfg(unix)]
pub fn keep_owner(before: &Metadata, path: &Path) {
    use std::os::unix::fs::{MetadataExt as _, chown};
    // Who may not give files away replaces the file under its own name.
    let _ = chown(path, Some(before.uid()), Some(before.gid()));
}

/// Does nothing: there are no such owners.
#[cfg(not(unix))]
pub fn keep_owner(_: &Metadata, _: &Path) {}
