//! The files of a SQLite database that sessions have open, and what their names lead to now.
//!
//! SQLite goes on writing into a file that was removed or replaced, and what it has acknowledged is
//! gone after a restart (sqlite.org/howtocorrupt.html, 2.4). In WAL mode it doesn't look itself.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// A file apart from its name: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

/// The files of a database that was opened.
#[derive(Clone, Debug)]
struct OpenFiles {
    database: FileId,
    log: Option<FileId>,
    log_index: Option<FileId>,
    /// One reference for each open session.
    sessions: Weak<()>,
}

/// The files of a SQLite database, for all of its sessions.
#[derive(Debug)]
pub(crate) struct SqliteFile {
    path: PathBuf,
    opened: Mutex<Option<OpenFiles>>,
}

/// The files of one session.
#[derive(Clone, Debug)]
pub(crate) struct SessionFile {
    file: Arc<SqliteFile>,
    opened: OpenFiles,
    _session: Arc<()>,
}

impl SqliteFile {
    /// Nothing is opened yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, opened: Mutex::default() }
    }

    /// The name of the database's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a session has been opened: from then on a missing file is not created.
    pub(crate) fn was_opened(&self) -> bool {
        self.opened().is_some()
    }

    /// Checks what the names lead to before a session is opened, and returns the file that it opens.
    ///
    /// # Errors
    /// A sentence, where a new session would lose writes or mix two databases.
    pub(crate) fn check_before_open(&self) -> Result<Option<FileId>, String> {
        let Some(opened) = self.opened().clone() else { return Ok(self.id("")) };
        let name = self.path.display();
        let Some(now) = self.id("") else {
            return Err(format!("the database's file {name} was removed"));
        };
        if now != opened.database {
            // SQLite would apply the log of the old file to the new one.
            let is_old = |suffix, old: Option<FileId>| old.is_some() && self.id(suffix) == old;
            return match is_old("-wal", opened.log) || is_old("-shm", opened.log_index) {
                true => Err(format!(
                    "the database's file {name} was replaced, and the write-ahead log beside it is \
                     that of the old one: remove {name}-wal and {name}-shm"
                )),
                false => Ok(Some(now)),
            };
        }
        match opened.sessions.upgrade().is_some() && self.id("-wal") != opened.log {
            true => Err(self.lost_log()),
            false => Ok(Some(now)),
        }
    }

    /// Records the files of a session that has just been opened, and has read; `None` for a
    /// database in memory. `before` is the file before that.
    ///
    /// # Errors
    /// A sentence, if the file was exchanged in between.
    pub(crate) fn session(
        self: &Arc<Self>,
        before: Option<FileId>,
    ) -> Result<Option<SessionFile>, String> {
        let now = self.id("");
        if before.is_some() && before != now {
            return Err(format!("the database's file {} was replaced", self.path.display()));
        }
        let Some(database) = now else { return Ok(None) };
        let mut opened = self.opened();
        let sessions = opened.as_ref().filter(|opened| opened.database == database);
        let session = sessions.and_then(|opened| opened.sessions.upgrade()).unwrap_or_default();
        let sessions = Arc::downgrade(&session);
        let (log, log_index) = (self.id("-wal"), self.id("-shm"));
        let now = OpenFiles { database, log, log_index, sessions };
        *opened = Some(now.clone());
        Ok(Some(SessionFile { file: self.clone(), opened: now, _session: session }))
    }

    /// Whether the name leads to another file than the last session's, or to none.
    pub(crate) fn has_moved(&self) -> bool {
        let opened = self.opened();
        opened.as_ref().is_some_and(|opened| self.id("") != Some(opened.database))
    }

    /// Why nothing can be written through the sessions that are open; `None` if it can.
    pub(crate) fn refuses_writes(&self) -> Option<String> {
        let mut opened = self.opened().clone()?;
        if opened.sessions.strong_count() == 0 {
            // The last session has removed its log.
            opened.log = None;
        }
        self.state_of(&opened).err().or_else(|| self.is_read_only())
    }

    fn state_of(&self, opened: &OpenFiles) -> Result<(), String> {
        let name = self.path.display();
        match self.id("") {
            None => Err(format!("the database's file {name} was removed")),
            Some(now) if now != opened.database => {
                Err(format!("the database's file {name} was replaced"))
            }
            Some(_) if opened.log.is_some() && self.id("-wal") != opened.log => {
                Err(self.lost_log())
            }
            Some(_) => Ok(()),
        }
    }

    fn lost_log(&self) -> String {
        let name = self.path.display();
        format!(
            "the write-ahead log {name}-wal was removed or replaced: stop the service, which writes \
             what it holds into {name}"
        )
    }

    /// Whether the file takes no writes: by its mode, also where this program could pass over it,
    /// or by its file system.
    fn is_read_only(&self) -> Option<String> {
        let by_mode = fs::metadata(&self.path).is_ok_and(|it| it.permissions().readonly());
        let is_read_only = by_mode || !may_write(&self.path);
        is_read_only.then(|| format!("the database's file {} is read-only", self.path.display()))
    }

    fn id(&self, suffix: &str) -> Option<FileId> {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        file_id(Path::new(&name)).ok()
    }

    fn opened(&self) -> MutexGuard<'_, Option<OpenFiles>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionFile {
    /// Checks that what this session has written can be found under the database's name.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.file.state_of(&self.opened)
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map(|file| FileId(file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn file_id(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|_| FileId(0, 0))
}

#[cfg(unix)]
fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
fn may_write(_: &Path) -> bool {
    true
}

/// Whether the file system has less room than a few writes need; `false` where that is unknown.
#[cfg(unix)]
pub(crate) fn is_full(path: &Path) -> bool {
    /// A commit of many rows takes more, and is DISK_FULL then.
    const NEEDED: u64 = 1 << 20;
    rustix::fs::statvfs(path).is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) < NEEDED)
}

#[cfg(not(unix))]
pub(crate) fn is_full(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(folder: &Path, suffix: &str) -> PathBuf {
        folder.join(format!("b.db{suffix}"))
    }

    fn with(folder: &Path, suffixes: &[&str]) -> Arc<SqliteFile> {
        for suffix in suffixes {
            fs::write(named(folder, suffix), suffix).expect("a file");
        }
        Arc::new(SqliteFile::new(named(folder, "")))
    }

    fn session(file: &Arc<SqliteFile>) -> SessionFile {
        let before = file.check_before_open().expect("a database");
        file.session(before).expect("the same database").expect("its file")
    }

    #[test]
    fn moved_files_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let file = with(folder, &["", "-wal", "-shm"]);
        let session = session(&file);
        let may_open = file.check_before_open().is_ok();
        assert_eq!((session.check(), may_open, file.has_moved()), (Ok(()), true, false));
        fs::rename(named(folder, ""), named(folder, ".old")).expect("a move");
        assert!(session.check().is_err_and(|it| it.ends_with("was removed")));
        assert!(file.check_before_open().is_err_and(|it| it.ends_with("was removed")));
        with(folder, &[""]);
        assert!(session.check().is_err_and(|it| it.ends_with("was replaced")) && file.has_moved());
        assert!(file.check_before_open().is_err_and(|it| it.contains("that of the old one")));
        fs::rename(named(folder, "-wal"), named(folder, "-wal.old")).expect("a move");
        fs::rename(named(folder, "-shm"), named(folder, "-shm.old")).expect("a move");
        assert!(file.check_before_open().is_ok(), "a new file without a log");
        for suffix in ["", "-wal", "-shm"] {
            let old = named(folder, &format!("{suffix}.old"));
            fs::rename(old, named(folder, suffix)).expect("a move back");
        }
        assert_eq!((session.check(), file.has_moved()), (Ok(()), false), "it is there again");
        fs::rename(named(folder, "-wal"), named(folder, "-wal.old")).expect("a move");
        assert!(session.check().is_err_and(|it| it.contains("write-ahead log")));
        assert!(file.check_before_open().is_err_and(|it| it.contains("write-ahead log")));
        assert!(file.refuses_writes().is_some_and(|it| it.contains("write-ahead log")));
        drop(session);
        assert!(file.check_before_open().is_ok(), "no session had the log open");
        assert_eq!(file.refuses_writes(), None, "the last session has removed it");
    }

    #[test]
    fn mode_without_writes_is_heeded() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = with(folder.path(), &["", "-wal"]);
        let _session = session(&file);
        assert_eq!(file.refuses_writes(), None);
        let mut mode = fs::metadata(file.path()).expect("its mode").permissions();
        mode.set_readonly(true);
        fs::set_permissions(file.path(), mode).expect("a mode");
        assert!(file.refuses_writes().is_some_and(|it| it.ends_with("is read-only")));
    }
}
