//! A folder beside the result in which a backup or a restore works, so that the result gets its
//! name only when it is complete.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::file::unwritable;
use crate::command::failure::Failure;

/// How the names of such folders begin.
const PREFIX: &str = ".bookstore-unfinished-";

/// The file whose lock tells that the folder is in use.
const LOCK: &str = "lock";

/// The folder. It is removed when this is dropped. After SIGKILL the next backup or restore there
/// removes it, since the lock has ended with the process.
pub(super) struct Workspace {
    folder: PathBuf,
    _lock: File,
}

impl Workspace {
    /// Makes it in the folder of the result, after removing those of processes that were killed.
    pub(super) fn create(beside: &Path) -> Result<Self, Failure> {
        sweep(beside);
        let folder = beside.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        let at = |error: std::io::Error| unwritable(&folder, &error);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder).map_err(at)?;
        let lock = File::create(folder.join(LOCK)).and_then(|lock| lock.lock().map(|()| lock));
        match lock {
            Ok(lock) => Ok(Self { folder, _lock: lock }),
            Err(error) => {
                // What could be made of it is removed.
                let _ = fs::remove_dir_all(&folder);
                Err(at(error))
            }
        }
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives a complete file its name, and returns when the name is on the disk.
    pub(super) fn publish(&self, name: &str, becomes: &Path) -> Result<(), Failure> {
        let renamed = fs::rename(self.path(name), becomes).and_then(|()| {
            let folder = folder_of(becomes);
            File::open(folder)?.sync_all()
        });
        renamed.map_err(|error| unwritable(becomes, &error))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // The next one there tries again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Removes the folders that no process has locked.
fn sweep(beside: &Path) {
    for entry in fs::read_dir(beside).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_free = || match File::open(entry.path().join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // It is being made at this moment, or was killed before its lock.
            Err(_) => false,
        };
        if is_ours && is_free() {
            // One that can't be removed is tried again next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_folder_is_removed_only_without_its_process() {
        let base = tempfile::tempdir().expect("a folder");
        let running = Workspace::create(base.path()).expect("a workspace");
        let killed = base.path().join(format!("{PREFIX}killed"));
        fs::create_dir(&killed).expect("a folder");
        fs::write(killed.join(LOCK), "").expect("a lock");
        let other = Workspace::create(base.path()).expect("a second one");
        assert!(!killed.exists(), "its process is gone");
        assert!(running.folder.exists(), "its process runs");
        drop((running, other));
        assert_eq!(fs::read_dir(base.path()).expect("a folder").count(), 0);
    }
}
