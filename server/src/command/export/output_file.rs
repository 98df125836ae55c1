//! The output of an export: standard output, a device or a pipe, or a file that gets its name only
//! when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tokio::sync::{mpsc, oneshot};

use crate::command::transfer::{
    format::is_pipe,
    place::{self, Place},
};

/// The file being written. A thread of its own writes it, so that a slow disk delays no signal.
pub struct OutputFile {
    bytes: Option<mpsc::Sender<Vec<u8>>>,
    outcome: oneshot::Receiver<io::Result<()>>,
    unfinished: Option<Unfinished>,
    shown: String,
}

/// A temporary file beside the final one. Dropping it before the rename removes it.
struct Unfinished {
    path: PathBuf,
    becomes: PathBuf,
    renamed: bool,
    /// What the file was before, if it was there.
    before: Option<fs::Metadata>,
}

impl OutputFile {
    /// Opens the output; `-` is standard output.
    ///
    /// # Errors
    /// If nothing can be written beside it.
    pub fn create(path: &Path) -> Result<Self, String> {
        let shown = path.display().to_string();
        let (sink, unfinished) = if is_pipe(path) {
            (Sink::Pipe(io::stdout()), None)
        } else {
            let place = Place::of(path).map_err(|error| format!("{shown}: {error}"))?;
            let (path, before) = match &place {
                Place::Written => (path, None),
                Place::Replaced { path, before } => (path.as_path(), before.clone()),
            };
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.filter(|_| !path.is_dir());
            let name = name.ok_or_else(|| format!("{shown} is no file"))?;
            if let Place::Written = place {
                return Ok(Self::start(Sink::Written(path.to_path_buf()), None, shown));
            }
            let own = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
            let file = OpenOptions::new().write(true).create_new(true).open(&own);
            let file = file.map_err(|error| format!("{}: {error}", own.display()))?;
            let becomes = path.to_path_buf();
            (Sink::File(file), Some(Unfinished { path: own, becomes, renamed: false, before }))
        };
        Ok(Self::start(sink, unfinished, shown))
    }

    fn start(sink: Sink, unfinished: Option<Unfinished>, shown: String) -> Self {
        let (bytes, received) = mpsc::channel(1);
        let (ended, outcome) = oneshot::channel();
        std::thread::spawn(move || {
            // The receiver may be gone after an interrupt.
            let _ = ended.send(sink.write_all(received));
        });
        Self { bytes: Some(bytes), outcome, unfinished, shown }
    }

    /// Passes bytes to the writer. At most one piece is queued.
    ///
    /// # Errors
    /// If an earlier one couldn't be written.
    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        let taken = match &self.bytes {
            Some(sender) => sender.send(bytes).await.is_ok(),
            None => false,
        };
        if taken { Ok(()) } else { Err(self.failure().await) }
    }

    /// Waits until all is written, then renames the file.
    ///
    /// # Errors
    /// If that can't be done; the file is as it was before then.
    pub async fn finish(mut self) -> Result<(), String> {
        self.bytes = None;
        match (&mut self.outcome).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("{}: {error}", self.shown)),
            Err(_) => return Err(format!("{}: its writer is gone", self.shown)),
        }
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.finish().map_err(|error| format!("{}: {error}", self.shown))?;
        }
        Ok(())
    }

    async fn failure(&mut self) -> String {
        match (&mut self.outcome).await {
            Ok(Err(error)) => format!("{}: {error}", self.shown),
            Ok(Ok(())) | Err(_) => format!("{}: its writer is gone", self.shown),
        }
    }
}

impl Unfinished {
    /// Gives the file its name, with the mode and the owner of the one that it replaces.
    fn finish(&mut self) -> io::Result<()> {
        if let Some(before) = &self.before {
            if place::has_other_names(before) {
                // Renaming would leave the old content under the other names. fs::copy would also
                // copy the temporary file's mode, and empty a file whose mode it may not change.
                let mut from = File::open(&self.path)?;
                let mut to = OpenOptions::new().write(true).truncate(true).open(&self.becomes)?;
                io::copy(&mut from, &mut to)?;
                return to.sync_all();
            }
            place::keep_owner(before, &self.path);
            fs::set_permissions(&self.path, before.permissions())?;
        }
        fs::rename(&self.path, &self.becomes)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.renamed {
            // A file that can't be removed keeps its temporary name, which no format has.
            drop(fs::remove_file(&self.path));
        }
    }
}

enum Sink {
    Pipe(io::Stdout),
    File(File),
    /// A device or a pipe. Opening a pipe waits for its reader, so that the writer's thread does it.
    Written(PathBuf),
}

impl Sink {
    fn write_all(self, mut received: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => {
                let mut pipe = pipe.lock();
                while let Some(bytes) = received.blocking_recv() {
                    pipe.write_all(&bytes)?;
                }
                pipe.flush()
            }
            Self::Written(path) => {
                let mut file = OpenOptions::new().write(true).open(path)?;
                while let Some(bytes) = received.blocking_recv() {
                    file.write_all(&bytes)?;
                }
                Ok(())
            }
            Self::File(mut file) => {
                while let Some(bytes) = received.blocking_recv() {
                    file.write_all(&bytes)?;
                }
                // The content must be on disk before the rename.
                file.sync_all()
            }
        }
    }
}
