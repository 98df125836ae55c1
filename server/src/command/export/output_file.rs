//! Where an export goes: standard output, or a file that is there only as a whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tokio::sync::{mpsc, oneshot};

use crate::command::transfer::format::is_pipe;

/// The file being written, by a thread of its own: a slow one holds up no signal.
pub struct OutputFile {
    bytes: Option<mpsc::Sender<Vec<u8>>>,
    outcome: oneshot::Receiver<io::Result<()>>,
    unfinished: Option<Unfinished>,
    shown: String,
}

/// A file under a name of its own, beside the one that it becomes. Dropped before that, it
/// is removed.
struct Unfinished {
    path: PathBuf,
    becomes: PathBuf,
    renamed: bool,
}

impl OutputFile {
    /// Begins the file; `-` is standard output.
    ///
    /// # Errors
    /// If nothing can be written beside it.
    pub fn create(path: &Path) -> Result<Self, String> {
        let shown = path.display().to_string();
        let (sink, unfinished) = if is_pipe(path) {
            (Sink::Pipe(io::stdout()), None)
        } else {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.filter(|_| !path.is_dir());
            let name = name.ok_or_else(|| format!("{shown} is no file"))?;
            let own = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
            let file = OpenOptions::new().write(true).create_new(true).open(&own);
            let file = file.map_err(|error| format!("{}: {error}", own.display()))?;
            let becomes = path.to_path_buf();
            (Sink::File(file), Some(Unfinished { path: own, becomes, renamed: false }))
        };
        let (bytes, received) = mpsc::channel(1);
        let (ended, outcome) = oneshot::channel();
        std::thread::spawn(move || {
            // Whoever waits for it may have been interrupted.
            let _ = ended.send(sink.write_all(received));
        });
        Ok(Self { bytes: Some(bytes), outcome, unfinished, shown })
    }

    /// Hands bytes on. At most one such piece waits.
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

    /// Waits until all is written and gives the file its name.
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
            fs::rename(&unfinished.path, &unfinished.becomes)
                .map_err(|error| format!("{}: {error}", self.shown))?;
            unfinished.renamed = true;
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

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.renamed {
            // What can't be removed still has a name that passes for nothing.
            drop(fs::remove_file(&self.path));
        }
    }
}

enum Sink {
    Pipe(io::Stdout),
    File(File),
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
            Self::File(mut file) => {
                while let Some(bytes) = received.blocking_recv() {
                    file.write_all(&bytes)?;
                }
                // It must not get its name before its content is safe.
                file.sync_all()
            }
        }
    }
}
