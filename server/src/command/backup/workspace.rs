//! A folder beside the result in which a backup or a restore works, so that the result gets its
//! name only when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::path_error::{self, PREFIX, Target, folder_of};
use crate::command::failure::Failure;

/// The file whose lock tells that the folder is in use.
const LOCK: &str = "lock";

/// The folder. It is removed when this is dropped. After SIGKILL the next backup or restore there
/// removes it, since the lock has ended with the process.
pub(super) struct Workspace {
    folder: PathBuf,
    target: Target,
    _lock: File,
}

impl Workspace {
    /// Makes it in the folder of the result, after removing those of processes that were killed.
    ///
    /// # Errors
    /// If the folder of the result is missing or can't be written.
    pub(super) fn create(beside: &Path, target: Target) -> Result<Self, Failure> {
        sweep(beside);
        let at = |error: io::Error| path_error::unwritable(beside, &error, target);
        loop {
            let folder = beside.join(unused_name());
            let mut builder = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&folder).map_err(at)?;
            match lock(&folder) {
                // Another process removed the folder before it was locked.
                Ok(_) if !folder.exists() => {}
                Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => {}
                Ok(lock) => return Ok(Self { folder, target, _lock: lock }),
                Err(error) => {
                    // What could be made of it is removed.
                    let _ = fs::remove_dir_all(&folder);
                    return Err(at(error));
                }
            }
        }
    }

    /// Why a file in it can't be written.
    pub(super) fn unwritable(&self, path: &Path, error: &io::Error) -> Failure {
        path_error::unwritable(path, error, self.target)
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives a complete file its name, in place of a file that has it, and returns when the name is on
    /// the disk.
    pub(super) fn publish(&self, name: &str, becomes: &Path) -> Result<(), Failure> {
        let renamed = fs::rename(self.path(name), becomes).and_then(|()| sync_name(becomes));
        renamed.map_err(|error| self.unwritable(becomes, &error))
    }

    /// The same for a name that no file has: `false` if one has it. A link is made, since a rename would
    /// replace the file of another process that has just taken the name.
    pub(super) fn publish_new(&self, name: &str, becomes: &Path) -> Result<bool, Failure> {
        match fs::hard_link(self.path(name), becomes) {
            Ok(()) => {
                sync_name(becomes).map_err(|error| self.unwritable(becomes, &error))?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(_) if becomes.exists() => Ok(false),
            // The file system has no links.
            Err(_) => self.publish(name, becomes).map(|()| true),
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // The next one there tries again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Waits until the name of a file is on the disk.
fn sync_name(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The name of a new folder.
fn unused_name() -> String {
    format!("{PREFIX}{}", uuid::Uuid::new_v4().simple())
}

/// Makes the lock of a folder and waits for it. It ends with the process.
fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::create(folder.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// Removes the folders that no process has locked.
fn sweep(beside: &Path) {
    for entry in fs::read_dir(beside).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // One that can't be removed is tried again next time.
            let _ = remove_unlocked(&entry.path());
        }
    }
}

/// Removes a folder that no process has locked.
///
/// A process that has made its folder and not yet locked it finds the folder gone and makes
/// another one. For this the folder gets another name before its content is removed.
fn remove_unlocked(folder: &Path) -> io::Result<()> {
    // A process that was killed before its lock has left none.
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    if lock.try_lock().is_err() {
        return Ok(());
    }
    let removed = folder.with_file_name(unused_name());
    fs::rename(folder, &removed)?;
    fs::remove_dir_all(&removed)
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    fn workspace(base: &Path) -> Workspace {
        Workspace::create(base, Target::Backup).expect("a workspace")
    }

    #[test]
    fn unfinished_folder_is_removed_only_without_its_process() {
        let base = tempfile::tempdir().expect("a folder");
        let running = workspace(base.path());
        let killed = ["killed", "killed-before-its-lock"].map(|name| {
            let killed = base.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&killed).expect("a folder");
            killed
        });
        fs::write(killed[0].join(LOCK), "").expect("a lock");
        fs::write(killed[0].join("backup"), "a part").expect("a file");
        let other = base.path().join(".another-folder");
        fs::create_dir(&other).expect("a folder");
        let second = workspace(base.path());
        assert!(killed.iter().all(|killed| !killed.exists()), "their processes are gone");
        assert!(running.folder.exists(), "its process runs");
        drop((running, second));
        let left: Vec<_> = fs::read_dir(base.path()).expect("a folder").flatten().collect();
        assert!(left.len() == 1 && left[0].path() == other, "{left:?}");
    }

    #[test]
    fn file_that_has_the_name_already_is_not_replaced() {
        let base = tempfile::tempdir().expect("a folder");
        let own = workspace(base.path());
        fs::write(own.path("backup"), "new").expect("a file");
        let (taken, free) = (base.path().join("taken"), base.path().join("free"));
        fs::write(&taken, "old").expect("a file");
        assert!(!own.publish_new("backup", &taken).expect("an answer"));
        assert!(own.publish_new("backup", &free).expect("an answer"));
        drop(own);
        let content = |path: &Path| fs::read_to_string(path).expect("a file");
        assert_eq!((content(&taken), content(&free)), ("old".to_owned(), "new".to_owned()));
    }

    /// Otherwise one of two backups that start at the same time would lose its folder.
    #[test]
    fn folder_of_a_process_that_starts_is_not_removed() {
        const PROCESSES: usize = 8;
        let base = tempfile::tempdir().expect("a folder");
        for _ in 0..50 {
            let all = Barrier::new(PROCESSES);
            thread::scope(|scope| {
                for _ in 0..PROCESSES {
                    scope.spawn(|| {
                        all.wait();
                        let own = workspace(base.path());
                        fs::write(own.path("backup"), "content").expect("a file of its own");
                        all.wait();
                        assert!(own.path("backup").exists(), "another one removed it");
                        all.wait();
                    });
                }
            });
        }
        assert_eq!(fs::read_dir(base.path()).expect("a folder").count(), 0);
    }
}
