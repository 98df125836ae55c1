//! Reads the files of certificates, credentials and rules again when their content changes.
//!
//! The content decides, not the time of the last change: Kubernetes replaces mounted secrets by
//! renaming a symbolic link, and the new files may be older than the old ones.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use opentelemetry::KeyValue;
use sha2::{Digest, Sha256};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::meters;

/// The largest file that is read, in bytes. Each file is read whole.
const LARGEST: u64 = 16 << 20;

/// The SHA-256 hash of a file's content; none if the file can't be read.
type Hash = Option<[u8; 32]>;

/// Reads the files that a configuration consists of, and notes the hash of each. The reload task
/// calls the loader again when one of them changes.
#[derive(Debug, Default)]
pub struct FileReader {
    seen: BTreeMap<PathBuf, Hash>,
}

impl FileReader {
    /// The whole content of a file.
    ///
    /// # Errors
    /// A sentence that names the file: it can't be read, or has more than 16 MiB.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let content = content(path);
        self.seen.insert(path.to_owned(), content.as_deref().ok().map(hash));
        content
    }

    /// The same as text.
    ///
    /// # Errors
    /// Those of [`FileReader::read`], and bytes that are not UTF-8.
    pub fn read_text(&mut self, path: &Path) -> Result<String, String> {
        let content = self.read(path)?;
        String::from_utf8(content).map_err(|_| format!("{} is not UTF-8", path.display()))
    }
}

/// Loads a configuration from its files and puts it in force. It reads them with the reader. After
/// an error, what was in force stays in force.
type LoadFiles = Box<dyn FnMut(&mut FileReader) -> Result<(), String> + Send>;

/// Files that are loaded together: all of them or none.
struct FileSet {
    /// What they are, for the log and as the attribute `files` of the metric.
    name: &'static str,
    load: LoadFiles,
    seen: BTreeMap<PathBuf, Hash>,
    /// The error of the last load, if it failed.
    error: Option<String>,
}

/// The files that are followed. [`ReloadTask::run`] follows them.
#[derive(Default)]
pub struct ReloadTask {
    sets: Vec<FileSet>,
}

impl fmt::Debug for ReloadTask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.sets.iter().map(|set| set.name);
        formatter.debug_list().entries(names).finish()
    }
}

impl ReloadTask {
    /// Loads a configuration for the first time, and again whenever a file that `load` has read
    /// changes. `name` says what it is ("tls", "policy"). `load` runs on a thread that may block.
    ///
    /// # Errors
    /// That of the first load; the configuration is not followed then.
    pub fn watch(
        &mut self,
        name: &'static str,
        load: impl FnMut(&mut FileReader) -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        let mut set = FileSet { name, load: Box::new(load), seen: BTreeMap::new(), error: None };
        let mut reader = FileReader::default();
        (set.load)(&mut reader)?;
        set.seen = reader.seen;
        self.sets.push(set);
        Ok(())
    }

    /// Loads a configuration as [`ReloadTask::watch`] does. Its users follow the latest one.
    ///
    /// # Errors
    /// That of the first load.
    pub fn follow<T: Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        mut load: impl FnMut(&mut FileReader) -> Result<T, String> + Send + 'static,
    ) -> Result<watch::Receiver<Arc<T>>, String> {
        let mut reader = FileReader::default();
        let (sender, receiver) = watch::channel(Arc::new(load(&mut reader)?));
        let load = move |reader: &mut FileReader| {
            sender.send_replace(Arc::new(load(reader)?));
            Ok(())
        };
        self.sets.push(FileSet { name, load: Box::new(load), seen: reader.seen, error: None });
        Ok(receiver)
    }

    /// Looks at the files every `period`, and loads those again that have changed. It never ends;
    /// without files it does nothing.
    pub async fn run(mut self, period: Duration) {
        if self.sets.is_empty() {
            return;
        }
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is due at once.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            // A file system may hang, and reading keys takes time.
            let checked = tokio::task::spawn_blocking(move || {
                self.check();
                self
            });
            match checked.await {
                Ok(task) => self = task,
                Err(error) => {
                    tracing::error!(%error, "files are not read again any more");
                    return;
                }
            }
        }
    }

    /// Loads the sets again of which a file has changed.
    pub fn check(&mut self) {
        for set in &mut self.sets {
            set.check();
        }
    }
}

impl FileSet {
    fn check(&mut self) {
        let changed =
            |(path, seen): (&PathBuf, &Hash)| content(path).ok().as_deref().map(hash) != *seen;
        if !self.seen.iter().any(changed) {
            return;
        }
        let mut reader = FileReader::default();
        let loaded = (self.load)(&mut reader);
        let files = self.name;
        let outcome = match &loaded {
            Ok(()) => "loaded",
            Err(_) => "failed",
        };
        let attributes = [KeyValue::new("files", files), KeyValue::new("outcome", outcome)];
        meters::RELOADS.add(1, &attributes);
        match loaded {
            Ok(()) => {
                self.seen = reader.seen;
                self.error = None;
                tracing::info!(target: "audit", files, "files have changed and are in force");
            }
            Err(error) => {
                // The loader may have stopped at the first wrong file. The others stay followed.
                self.seen.extend(reader.seen);
                if self.error.as_ref() != Some(&error) {
                    tracing::error!(
                        target: "audit",
                        files,
                        %error,
                        "files have changed and can't be used; what was in force stays in force"
                    );
                }
                self.error = Some(error);
            }
        }
    }
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = fs::File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content).map_err(failed)?;
    match content.len() as u64 > LARGEST {
        true => Err(format!("{} has more than {} MiB", path.display(), LARGEST >> 20)),
        false => Ok(content),
    }
}

fn hash(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn sets_are_loaded_again_when_their_content_changes_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("list"), "one").unwrap();
        fs::write(path("one"), "1").unwrap();
        let loads = Arc::new(Mutex::new(Vec::new()));
        let (noted, list, folder) = (loads.clone(), path("list"), folder.path().to_owned());
        let mut task = ReloadTask::default();
        task.watch("numbers", move |reader| {
            let listed = reader.read_text(&list)?;
            let number = reader.read_text(&folder.join(listed))?;
            let number = number.parse::<u32>().map_err(|error| error.to_string());
            noted.lock().unwrap().push(number.clone());
            number.map(|_| ())
        })
        .unwrap();
        let loaded = || std::mem::take(&mut *loads.lock().unwrap());
        assert_eq!(loaded(), [Ok(1)]);
        task.check();
        assert_eq!(loaded(), [], "nothing has changed");
        // A file that another one names is followed as well.
        fs::write(path("one"), "2").unwrap();
        task.check();
        assert_eq!(loaded(), [Ok(2)]);
        fs::write(path("one"), "two").unwrap();
        task.check();
        task.check();
        assert_eq!(loaded().len(), 1, "a content that can't be used is tried once");
        // The other file is missing at first.
        fs::write(path("list"), "other").unwrap();
        task.check();
        task.check();
        assert_eq!(loaded(), []);
        fs::write(path("other"), "3").unwrap();
        task.check();
        assert_eq!(loaded(), [Ok(3)]);
        fs::remove_file(path("one")).unwrap();
        task.check();
        assert_eq!(loaded(), [], "a file that is named no more is not followed");
    }

    #[test]
    fn the_first_load_must_succeed() {
        let mut task = ReloadTask::default();
        let missing = Path::new("/nonexistent/policy.toml");
        let refused = task.watch("policy", move |reader| reader.read(missing).map(|_| ()));
        let wanted = "/nonexistent/policy.toml: No such file or directory (os error 2)";
        assert_eq!(refused, Err(wanted.to_owned()));
    }
}
